"""From the times of notes to their positions in a score, given the times of the beats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList

from .bars import Bars, BeatGrid

__all__ = ["Quantized", "quantize"]

# Divisions of a beat, for the right and the left hand. Both mostly have the same.
_DIVISIONS = (
    *((division, division) for division in (1, 2, 3, 4, 5, 6, 8, 12, 16)),
    *((2, 3), (3, 2), (3, 4), (4, 3), (4, 6), (6, 4), (3, 8), (8, 3), (6, 8), (8, 6)),
)
# Costs are negative log probabilities. Of a division, in simple and in compound time:
_SIMPLE = {1: 0.0, 2: 0.5, 4: 1.0, 3: 2.0, 8: 2.5, 6: 3.0, 5: 5.0, 12: 5.0, 16: 5.0}
_COMPOUND = {1: 0.0, 3: 0.3, 6: 1.0, 2: 2.0, 12: 2.5, 4: 3.0, 8: 5.0, 5: 6.0, 16: 6.0}
_TWO_DIVISIONS = 3.0  # of hands that divide a beat differently
_NEW_DIVISION = 1.0  # of another division than in the beat before
_LEVEL = 0.6  # of a position, for each halving of the beat
_CHORD = -0.7  # of a note at the position of the one before

# Standard deviations: of onsets from the beats' constant tempo, in seconds and in beats; of the
# time from one onset to the next, in seconds and in proportion; of onsets in a chord, in seconds.
_ONSET_SECONDS, _ONSET_BEATS = 0.02, 0.05
_STEP_SECONDS, _STEP_RATIO = 0.02, 0.15
_SPREAD = 0.02

_BEAM = 48  # states that are kept after each note
_IMPOSSIBLE = 1e6


@dataclass(frozen=True, eq=False)
class Quantized:
    """Notes at positions of a score, in order of onset, staff and pitch; no two are the same key.

    Parameters
    ----------
    onset : ndarray of int, shape (n_notes,)
        Position in ticks.
    duration : ndarray of int, shape (n_notes,)
        Ticks until the release of the key, 1 or more; 0 for a grace note.
        :func:`~harmnmf.score.voices.assign_voices` makes note values of them.
    pitch : ndarray of int, shape (n_notes,)
        MIDI number.
    staff : ndarray of int, shape (n_notes,)
        1 for the right hand, 2 for the left.
    ornament : ndarray of str, shape (n_notes,)
        As in :class:`~harmnmf.score.score.ScoreNotes`.
    written : ndarray of int, shape (n_played,)
        For each played note the index of its note here.
    """

    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    pitch: NDArray[np.int64]
    staff: NDArray[np.int64]
    ornament: NDArray[np.str_]
    written: NDArray[np.int64]

    def __len__(self) -> int:
        return self.onset.size


def quantize(notes: NoteList, grid: BeatGrid, staff: ArrayLike) -> Quantized:
    """Find the positions of notes in a score.

    Each beat is divided into equal parts, for each hand, and each onset falls on one of them. The
    division and the positions are those of least cost, by dynamic programming over the notes:
    onsets deviate little from a constant tempo within the beat, and the time from one to the next
    less, notes at one position are close in time, and simple divisions are more probable.

    Notes before the first bar go to its start, and those after the last bar line into the last bar.

    Parameters
    ----------
    notes : NoteList
        Notes; offsets are releases of keys.
    grid : BeatGrid
        Beats and bars.
    staff : array_like of int, shape (n_played,)
        1 for notes of the right hand, 2 for the left.

    Returns
    -------
    Quantized
        Notes at their positions. Notes of one pitch at one position are one note.

    Raises
    ------
    ParameterError
        If `staff` has another length, or values other than 1 and 2.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> grid = BeatGrid([0.5, 1.0, 1.5, 2.0], Bars([[4, 4]]))
    >>> notes = NoteList([0.51, 1.02, 1.24, 1.5], [1, 1.2, 1.5, 2], [60, 62, 64, 65], [70] * 4)
    >>> quantize(notes, grid, [1, 1, 1, 1]).onset
    array([  0, 480, 720, 960])
    """
    hand = np.array(staff, np.int64)
    if hand.shape != (len(notes),) or not np.isin(hand, (1, 2)).all():
        raise ParameterError("staff must be 1 or 2 for each note")
    position = _positions(notes.onset, grid, hand)
    release = np.round(grid.position(notes.offset)).astype(np.int64)
    return _merge(position, np.maximum(release - position, 1), notes.pitch, hand)


def _merge(
    position: NDArray[np.int64],
    duration: NDArray[np.int64],
    pitch: NDArray[np.int64],
    staff: NDArray[np.int64],
) -> Quantized:
    """Make one note of those that have one pitch and one position: the longest."""
    keys, written = np.unique(np.column_stack([position, pitch]), axis=0, return_inverse=True)
    written = written.reshape(-1)
    longest = np.zeros(len(keys), np.int64)
    np.maximum.at(longest, written, duration)
    hand = np.full(len(keys), 2)
    np.minimum.at(hand, written, staff)
    order = np.lexsort((keys[:, 1], hand, keys[:, 0]))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Quantized(
        onset=keys[order, 0],
        duration=longest[order],
        pitch=keys[order, 1],
        staff=hand[order],
        ornament=np.full(len(order), "", "<U8"),
        written=rank[written],
    )


def _positions(
    onset: NDArray[np.float64], grid: BeatGrid, staff: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Find the positions of onsets in ticks."""
    if not onset.size:
        return np.zeros(0, np.int64)
    beats = grid.bars.beats()
    lengths = np.diff(np.append(beats, grid.bars.starts[-1]))
    beat = np.clip(np.searchsorted(grid.time, onset, side="right") - 1, 0, beats.size - 2)
    seconds = np.diff(grid.time)[beat]
    fractional = beat + (onset - grid.time[beat]) / seconds
    found = _decode(fractional, seconds, _is_compound(grid.bars)[beat].astype(np.int64), staff)
    index = np.clip(np.floor(found + 1e-6).astype(np.int64), 0, beats.size - 1)
    part = np.minimum(found - index, 15 / 16)
    return np.maximum(np.round(beats[index] + part * lengths[index]), 0).astype(np.int64)


def _is_compound(bars: Bars) -> NDArray[np.bool_]:
    """Which beats have three parts."""
    numerator, denominator = bars.time_signatures[bars.bar_at(bars.beats())].T
    return (denominator >= 8) & (numerator > 3) & (numerator % 3 == 0)


@dataclass(frozen=True, eq=False)
class _States:
    """Positions in a beat, for each of its divisions."""

    part: NDArray[np.float64]  # of the beat
    division: NDArray[np.int64]  # index in _DIVISIONS
    is_open: NDArray[np.bool_]  # (2, n_states): to notes of the right hand, and of the left
    level: NDArray[np.float64]  # (2, n_states): cost in simple and in compound time
    beat: NDArray[np.float64]  # (2, n_states): cost of the division, in simple and compound time


def _states() -> _States:
    rows = []
    for index, (right, left) in enumerate(_DIVISIONS):
        n_parts = math.lcm(right, left)
        costs = [
            max(table[right], table[left]) + (_TWO_DIVISIONS if right != left else 0.0)
            for table in (_SIMPLE, _COMPOUND)
        ]
        for part in range(n_parts):
            is_open = part * right % n_parts == 0, part * left % n_parts == 0
            if any(is_open):
                smallest = n_parts // math.gcd(part, n_parts) if part else 1
                level = _LEVEL * math.log2(smallest)
                # A third of a beat is its first level in compound time.
                compound = max(level - _LEVEL * 0.6, 0.0) if smallest % 3 == 0 else level
                rows.append((part / n_parts, index, *is_open, level, compound, *costs))
    columns = np.array(rows).T
    return _States(
        columns[0], columns[1].astype(np.int64), columns[2:4] > 0, columns[4:6], columns[6:8]
    )


def _decode(
    time: NDArray[np.float64],
    seconds: NDArray[np.float64],
    time_class: NDArray[np.int64],
    staff: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Find the positions of least cost, in beats, for onsets in beats of a length in seconds."""
    states = _states()
    best: list[NDArray[np.int64]] = []  # for each note the states that were kept,
    before: list[NDArray[np.int64]] = []  # for each of them that of the note before
    placed: list[NDArray[np.float64]] = []
    cost = previous = np.zeros(0)
    division = np.zeros(0, np.int64)
    for index in range(time.size):
        kind = time_class[index]
        position = np.round(time[index] - states.part) + states.part
        sigma = math.hypot(_ONSET_SECONDS / seconds[index], _ONSET_BEATS)
        local = _robust((time[index] - position) / sigma) + states.level[kind]
        local[~states.is_open[staff[index] - 1]] = _IMPOSSIBLE
        chosen = np.flatnonzero(local < local.min() + 16)
        position, local = position[chosen], local[chosen]
        entry = states.beat[kind, chosen]
        if index == 0:
            total, source = local + entry, np.zeros(chosen.size, np.int64)
        else:
            step = position[:, None] - previous
            passed = time[index] - time[index - 1]
            jitter = _STEP_SECONDS / seconds[index]
            scale = np.hypot(jitter, _STEP_RATIO * step)
            move = _robust((passed - step) / scale) + np.log(scale / jitter)
            spread = _robust(np.array(passed * seconds[index] / _SPREAD))
            move = np.where(np.abs(step) < 1e-6, spread + _CHORD, move)
            is_same = states.division[chosen][:, None] == division
            is_new = np.floor(position + 1e-9)[:, None] > np.floor(previous + 1e-9)
            is_within = np.floor(position + 1e-9)[:, None] == np.floor(previous + 1e-9)
            move += np.where(is_new, entry[:, None] + np.where(is_same, 0, _NEW_DIVISION), 0.0)
            move[~(is_new | (is_within & is_same & (step > -1e-6)))] = _IMPOSSIBLE
            sums = move + cost
            source = sums.argmin(1)
            total = sums[np.arange(chosen.size), source] + local
        kept = np.argsort(total, kind="stable")[:_BEAM]
        cost = total[kept] - total[kept[0]]
        previous, division = position[kept], states.division[chosen[kept]]
        best.append(chosen[kept])
        before.append(source[kept])
        placed.append(previous)
    found = np.empty(time.size)
    state = 0
    for index in range(time.size - 1, -1, -1):
        found[index] = placed[index][state]
        state = before[index][state]
    return found


def _robust(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cost of a deviation in standard deviations: quadratic up to 2, and linear beyond (Huber)."""
    size = np.abs(deviation)
    return np.where(size < 2, size * size / 2, 2 * size - 2)
