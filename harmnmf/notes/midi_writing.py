"""Write MIDI files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mido
import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.storage.files import atomic_path
from harmnmf.validation import check_number

from .note_list import NoteList, note_order

__all__ = ["write_midi"]

_SUSTAIN = 64
_BEAT = 500_000  # microseconds at 120 beats per minute
_TEMPI = (4, 1000)  # beats per minute; a file has three bytes for the length of a beat
_TICKS_PER_BEAT = 480  # and more at slow tempi, so that a tick is at most 1/960 s
_GAP, _GAP_TICKS = 0.01, 2  # seconds and ticks before a key is struck again


def write_midi(
    path: str | Path,
    notes: NoteList,
    *,
    tempo: float = 120.0,
    tracks: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Write notes and the sustain pedal to a MIDI file.

    The file has one piano track, or several with the pedal in each. Times are rounded to 1/960 s
    or less. Overlapping notes of one pitch are cut (:meth:`NoteList.without_overlaps`), and a note
    ends at least 10 ms, and two ticks, before its key is struck again: many programs do not hear
    the second note otherwise.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    notes : NoteList
        Notes.
    tempo : float, default=120.0
        Beats per minute, from 4 to 1000. Bars and note values in score programs depend on it, the
        times in seconds do not.
    tracks : mapping of str to array_like of int, optional
        Name of each track, and the indices of its notes. Each note must be in one track. Default:
        one track without a name.

    Raises
    ------
    ParameterError
        If the tempo is out of range, or a note is not in one track.
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_midi(Path(folder, "song.mid"), NoteList([0.5], [1.0], [60], [70]), tempo=90)
    """
    check_number("tempo", tempo, *_TEMPI)
    beat = round(6e7 / tempo)  # microseconds
    ticks_per_beat = _TICKS_PER_BEAT * 2 ** max(0, math.ceil(math.log2(beat / _BEAT)))
    rate = ticks_per_beat * 1e6 / beat
    start = np.rint(notes.onset * rate)
    end = np.maximum(np.rint(notes.offset * rate), start + 1)
    columns = (start, end, notes.pitch, notes.velocity)
    # Rounding can make notes overlap or coincide; of those that coincide, the longest is kept.
    rounded = NoteList(*columns)
    names, track = _tracks(tracks, len(notes))
    track = track[note_order(*columns)]
    gap = max(math.ceil(_GAP * rate), _GAP_TICKS)
    end = np.minimum(rounded.offset, rounded.next_onset - gap)
    end = np.maximum(end, rounded.onset + 1)
    kept = rounded.next_onset > rounded.onset

    # Ticks and messages. Of those at one tick the pedal is the first, so that it holds the notes
    # that are released with it, and new notes are the last.
    pedal = [
        (tick, 0, mido.Message("control_change", control=_SUSTAIN, value=value))
        for tick, value in zip(*_integers(notes.pedal_values.T * [[rate], [1]]), strict=True)
    ]
    played = []
    for number, name in enumerate(names):
        inside = kept & (track == number)
        strokes = []
        values = [x[inside] for x in (rounded.onset, end, rounded.pitch, rounded.velocity)]
        for on, off, pitch, velocity in zip(*_integers(values), strict=True):
            strokes.append((off, 1, mido.Message("note_off", note=pitch, velocity=0)))
            strokes.append((on, 2, mido.Message("note_on", note=pitch, velocity=velocity)))
        played.append(_mido_track(name, pedal + strokes))
    head = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=beat)])
    midi = mido.MidiFile(
        type=1, ticks_per_beat=ticks_per_beat, charset="utf-8", tracks=[head, *played]
    )
    with atomic_path(path) as temporary:
        midi.save(temporary)


def _tracks(
    tracks: Mapping[str, ArrayLike] | None, n_notes: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the tracks, and the index of the track of each note."""
    if tracks is None:
        return [""], np.zeros(n_notes, np.int64)
    members = [np.asarray(indices, np.int64) for indices in tracks.values()]
    if sorted(index for indices in members for index in indices.tolist()) != list(range(n_notes)):
        raise ParameterError(f"each of {n_notes} notes must be in one of the tracks")
    track = np.empty(n_notes, np.int64)
    for number, indices in enumerate(members):
        track[indices] = number
    return list(tracks), track


def _mido_track(name: str, events: list[tuple[int, int, mido.Message]]) -> mido.MidiTrack:
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)] if name else [])
    track.append(mido.Message("program_change", program=0))
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    return track


def _integers(values: Sequence[NDArray[Any]] | NDArray[Any]) -> list[list[int]]:
    integers: list[list[int]] = np.rint(values).astype(np.int64).tolist()
    return integers
