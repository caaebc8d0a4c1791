"""What is known of the beats of a piece: read from MIDI files and from text files."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi
from numpy.typing import NDArray

from harmnmf.errors import FormatError
from harmnmf.notes.files import read_notes
from harmnmf.notes.note_list import NoteList
from harmnmf.notes.suffixes import MIDI_SUFFIXES
from harmnmf.storage.files import open_plain

from .beat_files import read_beats
from .score import Key

__all__ = ["BEAT_SUFFIXES", "Annotations", "read_annotations"]

BEAT_SUFFIXES = (".tsv", ".csv", ".txt", ".beats", ".lab")

_MAX_BYTES = 2**23
_MAX_DURATION = 24 * 3600  # seconds
_UPBEAT = 0.07  # seconds that a beat may precede the first note
_RIGHT, _LEFT = ("right", "rh", "upper", "treble"), ("left", "lh", "lower", "bass")


@dataclass(frozen=True)
class Annotations:
    """Beats of a piece, and its keys and hands where they are known.

    Parameters
    ----------
    beats : ndarray, shape (n_beats,)
        Time of each beat in seconds.
    downbeats : ndarray, shape (n_downbeats,), optional
        Time of each beat that begins a bar, in seconds.
    keys : tuple of tuple of float and Key
        Time in seconds of each key signature, and the key.
    hands : tuple of NoteList, optional
        Notes of the right hand, and of the left.
    """

    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64] | None = None
    keys: tuple[tuple[float, Key], ...] = ()
    hands: tuple[NoteList, NoteList] | None = None

    def slice(self, end: float) -> Annotations:
        """Keep what begins before a time in seconds."""
        downbeats = self.downbeats
        return Annotations(
            self.beats[self.beats < end],
            None if downbeats is None else downbeats[downbeats < end],
            tuple((time, key) for time, key in self.keys if time < end),
            self.hands and (self.hands[0].slice(0, end), self.hands[1].slice(0, end)),
        )


def read_annotations(path: str | Path) -> Annotations:
    r"""Read beats, and keys and hands if they are there.

    The beats of a MIDI file are those of its tempo map and time signatures, as pretty_midi finds
    them, from the first note to the last. A first bar that is shorter than the second is a pickup,
    and begins with no downbeat. Its hands are two tracks with notes: by their names, or the first
    is the right hand. A text file is read by :func:`~harmnmf.score.beat_files.read_beats`.

    A :class:`UserWarning` says that a MIDI file has neither a tempo nor a time signature: its
    beats are those of the standard, 120 a minute.

    Parameters
    ----------
    path : str or Path
        MIDI file, or text file of beats.

    Returns
    -------
    Annotations
        Beats, and what else is known.

    Raises
    ------
    FormatError
        If the file is missing or damaged, or has no beats.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "beats.txt")
    ...     _ = path.write_text("0.5 1\n1.0 2\n1.5 1\n")
    ...     read_annotations(path).downbeats
    array([0.5, 1.5])
    """
    path = Path(path)
    if path.suffix.lower() in MIDI_SUFFIXES:
        return _read_midi(path)
    table = read_beats(path)
    if table.ndim == 1:
        return Annotations(table)
    return Annotations(table[:, 0], table[table[:, 1] == 1, 0])


def _read_midi(path: Path) -> Annotations:
    notes = read_notes(path, offset="key")
    if not len(notes):
        raise FormatError(f"{path}: has no notes, and so no beats")
    midi = _pretty_midi(path)
    first, last = notes.onset[0] - _UPBEAT, notes.offset.max()
    beats, downbeats = midi.get_beats(), midi.get_downbeats()
    signatures = midi.time_signature_changes
    if len(signatures) > 1 and _is_pickup(signatures, downbeats):
        downbeats = downbeats[1:]
    keys = tuple((change.time, _key(change.key_number)) for change in midi.key_signature_changes)
    beats, downbeats = (times[(times >= first) & (times <= last)] for times in (beats, downbeats))
    return Annotations(beats, downbeats, keys, _hands(midi))


def _pretty_midi(path: Path) -> pretty_midi.PrettyMIDI:
    try:
        with open_plain(path) as file, warnings.catch_warnings():
            # read_notes has said what is damaged.
            warnings.simplefilter("ignore")
            midi = pretty_midi.PrettyMIDI(io.BytesIO(file.read(_MAX_BYTES)))
            duration = midi.get_end_time()
    except Exception as error:  # mido raises any error for a damaged file
        raise FormatError(f"{path}: its tempo map cannot be read ({error})") from error
    if duration > _MAX_DURATION:
        raise FormatError(f"{path}: lasts more than 24 hours")
    if not midi.time_signature_changes and midi.get_tempo_changes()[1].tolist() == [120.0]:
        warnings.warn(
            f"{path}: has no time signature and no tempo but 120; its beats are hardly those of "
            "the music",
            stacklevel=4,
        )
    return midi


def _is_pickup(signatures: list[pretty_midi.TimeSignature], downbeats: NDArray[np.float64]) -> bool:
    """Whether the first bar is shorter than the second, and the only one of its time signature."""
    first, second = signatures[:2]
    is_shorter = first.numerator / first.denominator < second.numerator / second.denominator
    return is_shorter and len(downbeats) > 1 and bool(np.isclose(downbeats[1], second.time))


def _key(number: int) -> Key:
    """Key of a number of pretty_midi: 0 is C major, and 12 C minor."""
    is_minor = number >= 12
    fifths = (7 * (number % 12) - 3 * is_minor + 5) % 12 - 5
    return Key(0, fifths, "minor" if is_minor else "major")


def _hands(midi: pretty_midi.PrettyMIDI) -> tuple[NoteList, NoteList] | None:
    tracks = [track for track in midi.instruments if track.notes and not track.is_drum]
    if len(tracks) != 2:
        return None
    names = [re.findall("[a-z]+", track.name.lower().replace(".", "")) for track in tracks]
    swapped = any(word in names[0] for word in _LEFT) or any(word in names[1] for word in _RIGHT)
    right, left = (
        NoteList(*np.array([(n.start, n.end, n.pitch, n.velocity) for n in track.notes]).T)
        for track in (tracks[::-1] if swapped else tracks)
    )
    return right, left
