"""Groups of notes whose sounds a separation divides: hands, pitches, ranges, tracks, single notes.

A group is an array of indices of notes. No note is in two groups. The names of groups are safe as
names of files, sort as the groups do, and are never "residual".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.notes.pitch_names import parse_pitch, pitch_name
from harmnmf.notes.tracks import TrackNotes
from harmnmf.validation import check_integer

__all__ = [
    *("RESIDUAL", "Groups", "NoteGroups", "find_groups", "group_by_hand", "group_by_note"),
    *("group_by_pitch", "group_by_range", "group_by_track", "group_of_note", "note_name"),
    "range_names",
]

# Name of the part that belongs to no group: noise of hammers, pedal and room, and other notes.
RESIDUAL = "residual"

NoteGroups = dict[str, NDArray[np.int64]]
Groups = Mapping[str, ArrayLike]  # indices, or a boolean for each note

# Words in the names of tracks, of several languages.
_RIGHT = {
    *("right", "rh", "upper", "treble", "rechts", "rechte", "droite", "md", "destra", "derecha"),
    *("direita", "右手"),
}
_LEFT = {
    *("left", "lh", "lower", "bass", "links", "linke", "gauche", "mg", "sinistra", "izquierda"),
    *("esquerda", "左手"),
}
_MIDDLE_C = 60
_LONGEST_NAME = 60  # characters


def group_by_hand(notes: NoteList, tracks: TrackNotes | None = None) -> NoteGroups:
    """Group notes by hand.

    Parameters
    ----------
    notes : NoteList
        Notes.
    tracks : TrackNotes, optional
        The same notes with their tracks. If the names of all tracks say a hand, as ``Piano right``
        and ``LH``, the tracks are the hands. So they are if there are two of other names, of which
        that with the higher mean pitch is the right hand. Otherwise the hands are estimated by
        :func:`harmnmf.score.hands.assign_hands`.

    Returns
    -------
    dict of str to ndarray of int
        Indices of the notes of ``left`` and ``right``, perhaps none.

    Examples
    --------
    >>> group_by_hand(NoteList([0, 0, 0.5], [0.4, 1, 1], [48, 76, 74], [70, 70, 70]))
    {'left': array([0]), 'right': array([1, 2])}
    """
    is_right = None if tracks is None else _right_tracks(tracks)
    if tracks is not None and is_right is not None:
        plays_right = is_right[tracks.track]
    else:
        from harmnmf.score.hands import assign_hands

        plays_right = assign_hands(notes) == 1
    return {"left": np.flatnonzero(~plays_right), "right": np.flatnonzero(plays_right)}


def group_by_note(notes: NoteList) -> NoteGroups:
    """Make a group of each note.

    Parameters
    ----------
    notes : NoteList
        Notes.

    Returns
    -------
    dict of str to ndarray of int
        Index of each note, in order. Its name has its number, its onset and its pitch.

    Examples
    --------
    >>> group_by_note(NoteList([0, 12.345], [1, 13], [60, 61], [70, 70]))
    {'0001_0000.000s_C4': array([0]), '0002_0012.345s_Cs4': array([1])}
    """
    columns = zip(notes.onset.tolist(), notes.pitch.tolist(), strict=True)
    return {
        note_name(i, len(notes), onset, pitch): np.array([i])
        for i, (onset, pitch) in enumerate(columns)
    }


def note_name(index: int, n_notes: int, start: float, pitch: int) -> str:
    """Name of the sound of one note.

    Parameters
    ----------
    index : int
        Index of the note.
    n_notes : int
        Number of all notes.
    start : float
        Time in seconds at which the sound begins.
    pitch : int
        MIDI number.

    Returns
    -------
    str
        Its number, from 1, its start and its pitch.

    Examples
    --------
    >>> note_name(16, 100, 12.345, 60)
    '0017_0012.345s_C4'
    """
    n_digits = max(4, len(str(n_notes)))
    return f"{index + 1:0{n_digits}d}_{start:08.3f}s_{_pitch_name(pitch)}"


def group_by_pitch(notes: NoteList) -> NoteGroups:
    """Group notes by pitch.

    Parameters
    ----------
    notes : NoteList
        Notes.

    Returns
    -------
    dict of str to ndarray of int
        Indices of the notes of each pitch that occurs, from low to high. Its name is the MIDI
        number and the pitch name, with ``s`` for sharps.

    Examples
    --------
    >>> group_by_pitch(NoteList([0, 1, 2], [1, 2, 3], [61, 60, 61], [70, 70, 70]))
    {'060_C4': array([1]), '061_Cs4': array([0, 2])}
    """
    return {
        f"{pitch:03d}_{_pitch_name(pitch)}": np.flatnonzero(notes.pitch == pitch)
        for pitch in np.unique(notes.pitch).tolist()
    }


def group_by_range(notes: NoteList, splits: Sequence[int] = (_MIDDLE_C,)) -> NoteGroups:
    """Group notes by ranges of pitch.

    Parameters
    ----------
    notes : NoteList
        Notes.
    splits : sequence of int, default=(60,)
        MIDI number of the lowest pitch of each range but the first, ascending.

    Returns
    -------
    dict of str to ndarray of int
        Indices of the notes of each range, from low to high, perhaps none.

    Raises
    ------
    ParameterError
        If there are no splits, or they are not MIDI numbers from 1 to 127 that ascend.

    Examples
    --------
    >>> group_by_range(NoteList([0, 1, 2], [1, 2, 3], [61, 48, 84], [70, 70, 70]), [60, 72])
    {'1_below_C4': array([1]), '2_C4-B4': array([0]), '3_from_C5': array([2])}
    """
    names = range_names(splits)
    index = np.searchsorted(np.asarray(splits), notes.pitch, side="right")
    return {name: np.flatnonzero(index == i) for i, name in enumerate(names)}


def range_names(splits: Sequence[int] = (_MIDDLE_C,)) -> list[str]:
    """Names of the ranges of :func:`group_by_range`, from low to high.

    Parameters
    ----------
    splits : sequence of int, default=(60,)
        As in `group_by_range`.

    Raises
    ------
    ParameterError
        As in `group_by_range`.

    Examples
    --------
    >>> range_names([54, 60])
    ['1_below_Fs3', '2_Fs3-B3', '3_from_C4']
    """
    for split in splits:
        check_integer("a split", split, 1, 127)
    if not len(splits) or any(b <= a for a, b in pairwise(splits)):
        raise ParameterError(f"splits must be one or more, and ascend, not {list(splits)}")
    inner = [
        "-".join(dict.fromkeys((_pitch_name(low), _pitch_name(high - 1))))
        for low, high in pairwise(splits)
    ]
    ranges = [f"below_{_pitch_name(splits[0])}", *inner, f"from_{_pitch_name(splits[-1])}"]
    return _numbered(ranges)


def group_by_track(tracks: TrackNotes) -> NoteGroups:
    """Group notes by the tracks of a MIDI file.

    Parameters
    ----------
    tracks : TrackNotes
        Notes with their tracks.

    Returns
    -------
    dict of str to ndarray of int
        Indices of the notes of each track, in the order of the file. Its name is its number and
        its name, in letters, digits, hyphens and underscores.

    Examples
    --------
    >>> notes = NoteList([0, 1], [1, 2], [60, 62], [70, 70])
    >>> group_by_track(TrackNotes(notes, np.array([1, 0]), ("Violin I", "Piano: RH")))
    {'1_Violin_I': array([1]), '2_Piano_RH': array([0])}
    """
    names = _numbered([_file_name(name) or "track" for name in tracks.names])
    return {name: np.flatnonzero(tracks.track == i) for i, name in enumerate(names)}


def group_of_note(groups: Groups, n_notes: int) -> NDArray[np.int64]:
    """Find the group of each note.

    Parameters
    ----------
    groups : mapping of str to array_like
        Indices of the notes of each group, or a boolean for each note.
    n_notes : int
        Number of notes.

    Returns
    -------
    ndarray of int, shape (n_notes,)
        Number of the group of each note, from 0, or -1 if it is in none.

    Raises
    ------
    ParameterError
        If an index is out of range, a note is in two groups, or a group is named "residual".

    Examples
    --------
    >>> group_of_note({"low": [True, False, False], "high": [2]}, 3)
    array([ 0, -1,  1])
    """
    group = np.full(n_notes, -1)
    for number, (name, members) in enumerate(groups.items()):
        if name == RESIDUAL:
            raise ParameterError(f"no group can be named {RESIDUAL}")
        chosen = np.asarray(members)
        if chosen.dtype == bool and chosen.shape == (n_notes,):
            chosen = np.flatnonzero(chosen)
        if chosen.size == 0:
            continue
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise ParameterError(
                f"group {name} must be indices of notes, or a boolean for each of {n_notes} notes"
            )
        if chosen.min() < 0 or chosen.max() >= n_notes:
            raise ParameterError(f"group {name} has an index that is not from 0 to {n_notes - 1}")
        if (group[chosen] >= 0).any():
            raise ParameterError(f"a note of group {name} is in another group too")
        group[chosen] = number
    return group


def find_groups(names: Iterable[str], name: str) -> list[str]:
    """Find the groups that a user means by a name.

    Parameters
    ----------
    names : iterable of str
        Names of groups.
    name : str
        The name of a group, its number, or the rest of its name, in either case; or a pitch in any
        spelling of :func:`harmnmf.notes.pitch_names.parse_pitch`. The time in the name of a note
        does not count, as its sound begins before its onset.

    Returns
    -------
    list of str
        Names of the groups, perhaps none; more than one if tracks have the same name.

    Examples
    --------
    >>> find_groups(["058_As3", "060_C4"], "Bb3")
    ['058_As3']
    >>> find_groups(["1_Piano_RH", "2_Piano_LH"], "2")
    ['2_Piano_LH']
    """
    wanted = _file_name(_without_time(name).replace("#", "s")).lower()
    if not wanted:
        return []
    return [
        group
        for group in names
        if wanted in _short_names(group) or _is_pitch(name, *group.split("_")[:2])
    ]


def _short_names(group: str) -> set[str]:
    """Names in lower case that mean a group: its own, and if it has a number, that and the rest."""
    whole = _file_name(_without_time(group)).lower()
    number, _, rest = whole.partition("_")
    return {whole, rest, number, number.lstrip("0")} if number.isdecimal() else {whole}


def _without_time(name: str) -> str:
    return re.sub(r"(?<=\d)_\d+\.\d{3}s(?=_)", "", name, flags=re.IGNORECASE)


def _is_pitch(name: str, number: str, pitch: str = "") -> bool:
    """Tell whether a name is that of a group's number and pitch."""
    try:
        return parse_pitch(name) == parse_pitch(number) == parse_pitch(pitch)
    except ParameterError:
        return False


def _right_tracks(tracks: TrackNotes) -> NDArray[np.bool_] | None:
    """Tell for each track whether it is of the right hand; None if the tracks are not hands."""
    words = [_words(name) for name in tracks.names]
    # 1 for the right hand, -1 for the left, 0 where the name says neither, or both.
    sides = [bool(found & _RIGHT) - bool(found & _LEFT) for found in words]
    if set(sides) == {1, -1}:
        return np.array(sides) == 1
    if len(sides) != 2:
        return None
    # One name may say a hand; otherwise, the pitch decides.
    first, second = (tracks.notes.pitch[tracks.track == i].mean() for i in range(2))
    is_first = sides[0] > sides[1] or (sides[0] == sides[1] and bool(first >= second))
    return np.array([is_first, not is_first])


def _words(name: str) -> set[str]:
    """Words of a name in lower case, without numbers; ``R.H.`` is one."""
    return set(re.findall(r"[^\W\d_]+", name.lower().replace(".", "")))


def _numbered(names: Sequence[str]) -> list[str]:
    n_digits = len(str(len(names)))
    return [f"{i:0{n_digits}d}_{name}" for i, name in enumerate(names, start=1)]


def _pitch_name(pitch: int) -> str:
    # A sharp sign in the name of a file would have to be quoted in addresses and shells.
    return pitch_name(pitch).replace("#", "s")


def _file_name(name: str) -> str:
    """Replace what no name of a file may have on some system."""
    safe = re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", name))
    return safe[:_LONGEST_NAME].strip("_")
