"""Annotations of beats, keys and hands, read from MIDI files and text files."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import FormatError
from harmnmf.notes.files import read_notes
from harmnmf.notes.midi import notes_of_events, ticks_to_seconds
from harmnmf.notes.midi_events import (
    KEY_SIGNATURE,
    NOTE_ON,
    TIME_SIGNATURE,
    TRACK_NAME,
    MidiEvents,
    read_events,
)
from harmnmf.notes.note_list import NoteList
from harmnmf.notes.suffixes import MIDI_SUFFIXES
from harmnmf.score.bars import TICKS, beat_duration
from harmnmf.score.score import Key
from harmnmf.storage.files import open_plain

from .beat_files import read_beats

__all__ = ["BEAT_SUFFIXES", "Annotations", "read_annotations"]

BEAT_SUFFIXES = (".tsv", ".csv", ".txt", ".beats", ".lab")

_MAX_BEATS = 1_000_000
_TEMPO = 500_000  # microseconds per beat
_MODES = ("major", "minor")
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

    The beats of a MIDI file are those of its tempo map and time signatures, from the first note to
    the last. A first bar that is shorter than the second is a pickup, and begins with no downbeat.
    Its hands are two tracks with notes: by their names, or the first is the right hand. A text file
    is read by :func:`~harmnmf.score.reading.beat_files.read_beats`.

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
    with open_plain(path) as file:
        midi = read_events(file.read())
    if midi.division < 0:
        raise FormatError(f"{path}: its times are in frames, and it has no beats")
    if midi.format == 2 and len(midi.ends) > 1:
        raise FormatError(f"{path}: its tracks follow one another, and have no common beats")
    signatures = _time_signatures(midi)
    if not signatures and all(tempo == _TEMPO for _, _, tempo in midi.tempi):
        warnings.warn(
            f"{path}: has no time signature and no tempo but 120; its beats are probably not "
            "those of the music",
            stacklevel=3,
        )
    try:
        ticks, is_downbeat = _beats(signatures, midi)
    except ValueError as error:
        raise FormatError(f"{path}: has {error}") from error
    beats = _seconds(midi, ticks)
    is_played = (beats >= notes.onset[0] - _UPBEAT) & (beats < notes.offset.max())
    return Annotations(beats[is_played], beats[is_played & is_downbeat], _keys(midi), _hands(midi))


def _seconds(midi: MidiEvents, ticks: ArrayLike) -> NDArray[np.float64]:
    tempi = [(tick, tempo) for _, tick, tempo in midi.tempi]
    return ticks_to_seconds(np.asarray(ticks, np.float64), tempi, midi.division)


def _time_signatures(midi: MidiEvents) -> list[tuple[int, int, int]]:
    """Tick, upper and lower number of each time signature, of those at one tick the last."""
    found = {
        e.tick: (e.content[0], 2 ** e.content[1]) for e in midi.meta if e.kind == TIME_SIGNATURE
    }
    return [(tick, *found[tick]) for tick in sorted(found)]


def _beats(
    signatures: list[tuple[int, int, int]], midi: MidiEvents
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Ticks of the beats, and which are downbeats."""
    if not signatures or signatures[0][0] > 0:
        signatures = [(0, 4, 4), *signatures]
    stops = [*(tick for tick, _, _ in signatures[1:]), max(midi.ends)]
    bars = [4 * upper / lower * midi.division for _, upper, lower in signatures]  # in ticks
    ticks, is_downbeat = [], []
    for index, ((start, upper, lower), stop) in enumerate(zip(signatures, stops, strict=True)):
        beat = beat_duration(upper, lower) / TICKS * midi.division
        if (stop - start) / beat > _MAX_BEATS:
            raise ValueError(f"more than {_MAX_BEATS} beats")
        ticks.append(np.arange(start, stop, beat))
        is_pickup = start == 0 and stop == bars[0] and bars[0] < max(bars[1:2], default=0)
        number = np.arange(ticks[index].size) % round(bars[index] / beat)
        is_downbeat.append((number == 0) & (not is_pickup))
    return np.concatenate(ticks), np.concatenate(is_downbeat)


def _keys(midi: MidiEvents) -> tuple[tuple[float, Key], ...]:
    events = sorted(
        (event.tick, event.content) for event in midi.meta if event.kind == KEY_SIGNATURE
    )
    times = _seconds(midi, [tick for tick, _ in events])
    return tuple(
        (time, Key(0, int.from_bytes(content[:1], "big", signed=True), _MODES[content[1]]))
        for time, (_, content) in zip(times.tolist(), events, strict=True)
    )


def _hands(midi: MidiEvents) -> tuple[NoteList, NoteList] | None:
    tracks = sorted({event.track for event in midi.events if event.kind == NOTE_ON})
    hands = {}
    for track in tracks:
        events = [event for event in midi.events if event.track == track]
        notes, _ = notes_of_events(replace(midi, events=events))
        if len(notes):
            hands[track] = notes
    if len(hands) != 2:
        return None
    right, left = hands
    names = {event.track: event.content for event in midi.meta if event.kind == TRACK_NAME}
    words = [
        re.findall("[a-z]+", names.get(track, b"").decode("latin-1").lower().replace(".", ""))
        for track in (right, left)
    ]
    if set(words[0]).intersection(_LEFT) or set(words[1]).intersection(_RIGHT):
        right, left = left, right
    return hands[right], hands[left]
