"""Voices of each staff, and note values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bars import Bars
from .quantization import Quantized

__all__ = ["assign_voices"]

# A note is held against others if its key is down this many times as long as until the next onset.
_HELD = 1.6
# Costs of voices: of a note that is cut, for each octave of its ratio beyond the first; of a second
# voice, once and at each onset; of a second voice alone; of a pair of voices that cross; of
# chords that are divided; of the distance to the note before in the voice, for each semitone.
_CUT, _CUT_FROM = 2.5, 0.8
_SECOND, _STAY, _ALONE = 1.0, 0.15, 1.0
_CROSSED, _DIVIDED, _SEMITONE = 1.5, 0.4, 0.03
_BEAM = 12

# A note lasts until the next onset of its voice if its key is down for this share of the time, by
# the time in beats, or if the pedal sustains it for most of the time; otherwise a rest follows.
_FILLED = ((0.6, 0.0), (1.1, 0.2), (2.1, 0.35), (math.inf, 0.4))
_SOUNDING = 0.7
# Keys are released before the end of the written note: octaves by which it is longer.
_ARTICULATION = 0.15
# The parts of a beat at which a note may end, for the part at which it begins.
_ENDS = {1: 2, 2: 2, 3: 3, 4: 4, 6: 6, 8: 8}


def assign_voices(notes: Quantized, bars: Bars) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the notes of each staff into voices, and find their durations.

    A staff has one voice, in which each note ends at the next or before, except where notes are
    held while others move: there are two, and the division of least cost is found by dynamic
    programming. A note lasts until the next of its voice, or is followed by a rest if its key is
    released long before.

    Parameters
    ----------
    notes : Quantized
        Notes, with durations until the release of the key.
    bars : Bars
        Bars; no note lasts longer than the last.

    Returns
    -------
    voice : ndarray of int, shape (n_notes,)
        1 or 2 in each staff: see :class:`~harmnmf.score.score.ScoreNotes`.
    duration : ndarray of int, shape (n_notes,)
        Duration in ticks; 0 for a grace note.

    Examples
    --------
    >>> from harmnmf.score.bars import BeatGrid
    >>> from harmnmf.notes.note_list import NoteList
    >>> from harmnmf.score.quantization import quantize
    >>> grid = BeatGrid([0.5, 1.0, 1.5, 2.0], Bars([[4, 4]]))
    >>> notes = NoteList([0.5, 0.5, 1.0, 1.5], [0.9, 2.4, 1.4, 2], [72, 60, 71, 72], [70] * 4)
    >>> assign_voices(quantize(notes, grid, [1, 1, 1, 1]), grid.bars)
    (array([2, 1, 1, 1]), array([1920,  480,  480,  960]))
    """
    voice = np.ones(len(notes), np.int64)
    duration = np.zeros(len(notes), np.int64)
    ends = _NoteEnds(bars)
    for staff in (1, 2):
        of_staff = np.flatnonzero((notes.staff == staff) & (notes.ornament != "grace"))
        if not of_staff.size:
            continue
        groups = _groups(notes, of_staff)
        for group, n_upper in zip(groups, _divide(groups), strict=True):
            voice[group.index[: len(group.index) - n_upper]] = 2
        onsets = [group.onset for group in groups]
        for part in (1, 2):
            chosen = of_staff[voice[of_staff] == part]
            duration[chosen] = _durations(notes, chosen, np.array(onsets), ends)
    _place_graces(notes, voice)
    return voice, duration


class _Group(NamedTuple):
    """Notes of a staff that begin together, in ascending order of pitch."""

    onset: int
    index: NDArray[np.int64]
    pitch: list[int]
    release: list[int]  # position in ticks


def _groups(notes: Quantized, of_staff: NDArray[np.int64]) -> list[_Group]:
    order = of_staff[np.lexsort((notes.pitch[of_staff], notes.onset[of_staff]))]
    onset = notes.onset[order]
    release = onset + notes.duration[order]
    bounds = np.flatnonzero(np.diff(onset, prepend=-1, append=-1))
    return [
        _Group(
            int(onset[first]),
            order[first:last],
            notes.pitch[order[first:last]].tolist(),
            release[first:last].tolist(),
        )
        for first, last in pairwise(bounds)
    ]


def _divide(groups: list[_Group]) -> list[int]:
    """Find how many notes of each group are in the upper voice, counted from above."""
    n_upper = [len(group.pitch) for group in groups]
    first = 0
    while first < len(groups) - 1:
        last, until = first, _held_until(groups, first)
        while last + 1 < len(groups) and groups[last + 1].onset < until:
            last += 1
            until = max(until, _held_until(groups, last))
        if last > first:
            following = groups[last + 1] if last + 1 < len(groups) else None
            n_upper[first : last + 1] = _divide_segment(groups[first : last + 1], following)
        first = last + 1
    return n_upper


def _held_until(groups: list[_Group], index: int) -> float:
    """Release of the notes of a group if they are held against the next, or its onset."""
    group = groups[index]
    if index + 1 == len(groups):
        return group.onset
    release = max(group.release)
    room = groups[index + 1].onset - group.onset
    return release if release - group.onset > _HELD * room else group.onset


class _Chord(NamedTuple):
    """Notes of a voice that begin together."""

    onset: int
    pitch: list[int]
    release: list[int]


@dataclass
class _Path:
    """Divided groups, and the last chord of each voice."""

    cost: float
    last: tuple[_Chord | None, _Chord | None]
    is_double: bool
    n_upper: tuple[int, ...]


def _divide_segment(groups: list[_Group], following: _Group | None) -> list[int]:
    """Divide groups among which notes are held, by dynamic programming."""
    paths = [_Path(0.0, (None, None), False, ())]
    for group in groups:
        extended: dict[tuple[object, ...], _Path] = {}
        for path in paths:
            for n_upper in range(len(group.pitch) + 1):
                new = _extend(path, group, n_upper)
                upper, lower = new.last
                key = (
                    upper and (upper.onset, len(upper.pitch)),
                    lower and (lower.onset, len(lower.pitch)),
                    new.is_double,
                )
                if key not in extended or new.cost < extended[key].cost:
                    extended[key] = new
        paths = sorted(extended.values(), key=lambda path: path.cost)[:_BEAM]
    if following is not None:
        for path in paths:
            path.cost += _cut_cost(path.last[0], following.onset)
    return list(min(paths, key=lambda path: path.cost).n_upper)


def _extend(path: _Path, group: _Group, n_upper: int) -> _Path:
    """Append a group to a path, with so many notes in the upper voice."""
    divided = len(group.pitch) - n_upper
    chords = [
        _Chord(group.onset, group.pitch[divided:], group.release[divided:]) if n_upper else None,
        _Chord(group.onset, group.pitch[:divided], group.release[:divided]) if divided else None,
    ]
    cost = path.cost
    sounding = [
        chord is not None and max(chord.release) > group.onset and new is None
        for chord, new in zip(path.last, chords, strict=True)
    ]
    is_double = all(new or held for new, held in zip(chords, sounding, strict=True))
    if is_double:
        cost += _STAY if path.is_double else _SECOND
    elif divided:
        cost += _ALONE
    if divided and n_upper and not path.is_double:
        cost += _DIVIDED
    for new, before in zip(chords, path.last, strict=True):
        if new is None or before is None:
            continue
        cost += _cut_cost(before, group.onset)
        if path.is_double:
            cost += _SEMITONE * min(abs(a - b) for a in new.pitch for b in before.pitch)
    upper, lower = (
        new or (chord if held else None)
        for new, chord, held in zip(chords, path.last, sounding, strict=True)
    )
    if upper and lower and min(upper.pitch) < max(lower.pitch):
        cost += _CROSSED
    last = tuple(new or chord for new, chord in zip(chords, path.last, strict=True))
    return _Path(cost, (last[0], last[1]), is_double, (*path.n_upper, n_upper))


def _cut_cost(chord: _Chord | None, onset: int) -> float:
    """Cost of ending a chord at the next onset of its voice, for all notes that are held longer."""
    if chord is None:
        return 0.0
    room = onset - chord.onset
    ratios = ((release - chord.onset) / room for release in chord.release)
    return sum(_CUT * max(math.log2(ratio) - _CUT_FROM, 0.0) for ratio in ratios if ratio > 1)


class _NoteEnds:
    """Positions at which notes may end."""

    def __init__(self, bars: Bars) -> None:
        self.end = int(bars.starts[-1])
        self._beats = np.append(bars.beats(), self.end)

    def beat(self, position: int) -> int:
        """Find the length in ticks of the beat at a position."""
        index = int(np.clip(np.searchsorted(self._beats, position, "right") - 1, 0, None))
        index = min(index, self._beats.size - 2)
        return int(self._beats[index + 1] - self._beats[index])

    def near(self, onset: int, room: int) -> NDArray[np.int64]:
        """Find parts of beats between an onset and the end of the room."""
        first = max(int(np.searchsorted(self._beats, onset, "right")) - 1, 0)
        last = int(np.searchsorted(self._beats, onset + room, "left"))
        beats = self._beats[first : last + 1]
        length = self.beat(onset)
        fraction = (onset - int(beats[0])) / length
        fits = (n for n in _ENDS if abs(fraction * n - round(fraction * n)) < 1e-6)
        parts = _ENDS[next(fits, 1)]
        inside = beats[0] + np.arange(1, parts) * length // parts
        return np.concatenate([inside, beats])


def _durations(
    notes: Quantized, chosen: NDArray[np.int64], onsets: NDArray[np.int64], ends: _NoteEnds
) -> NDArray[np.int64]:
    """Find the durations of the notes of one voice."""
    starts, chord = np.unique(notes.onset[chosen], return_inverse=True)
    chord = chord.reshape(-1)
    sizes = np.bincount(chord)
    held = np.bincount(chord, notes.duration[chosen]) / sizes
    sounding = np.bincount(chord, notes.sounding[chosen]) / sizes
    rooms = np.diff(np.append(starts, max(ends.end, starts[-1] + 1 if starts.size else 0)))
    values = np.empty(starts.size, np.int64)
    for index, (start, room) in enumerate(zip(starts.tolist(), rooms.tolist(), strict=True)):
        beats = room / ends.beat(start)
        share = next(share for limit, share in _FILLED if beats <= limit)
        is_filled = held[index] >= share * room or sounding[index] >= _SOUNDING * room
        if is_filled and index + 1 < starts.size:
            values[index] = room
            continue
        after = onsets[np.searchsorted(onsets, start, "right") :][:32]
        candidates = np.concatenate([ends.near(start, room), after, [start + room]]) - start
        candidates = candidates[(candidates > 0) & (candidates <= room)]
        octaves = np.log2(candidates / held[index]) - _ARTICULATION
        values[index] = candidates[np.abs(octaves).argmin()]
    return values[chord]


def _place_graces(notes: Quantized, voice: NDArray[np.int64]) -> None:
    """Put each grace note into the voice of the nearest note that it precedes."""
    for index in np.flatnonzero(notes.ornament == "grace"):
        main = np.flatnonzero(
            (notes.onset == notes.onset[index])
            & (notes.staff == notes.staff[index])
            & (notes.ornament != "grace")
        )
        if main.size:
            distance = np.abs(notes.pitch[main] - notes.pitch[index])
            voice[index] = voice[main[distance.argmin()]]
