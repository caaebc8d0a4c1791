"""Positions of onsets in the beats of a score: the divisions of each beat, and its parts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bars import BeatGrid, is_compound

__all__ = ["find_positions"]

# Divisions of a beat, for the right and the left hand, with their costs in simple and in compound
# time: negative logarithms of how often they are in 1,430 songs of the OpenScore Lieder corpus,
# where those that are missing there get more.
_DIVISIONS = {
    (1, 1): (1.15, 1.65),
    (2, 2): (0.95, 4.8),
    (3, 3): (2.4, 0.7),
    (4, 4): (1.8, 6.5),
    (5, 5): (7.0, 8.0),
    (6, 6): (4.5, 1.25),
    (8, 8): (3.9, 8.0),
    (9, 9): (math.inf, 5.0),
    (12, 12): (6.5, 4.8),
    (16, 16): (7.5, 9.0),
    (3, 2): (3.0, 3.5),
    (2, 3): (3.5, 3.5),
    (3, 4): (3.5, 5.0),
    (4, 3): (3.5, 5.0),
    (4, 6): (4.5, 5.0),
    (6, 4): (4.5, 5.0),
    (3, 8): (4.5, 6.0),
    (8, 3): (4.5, 6.0),
    (6, 8): (5.0, 6.0),
    (8, 6): (5.0, 6.0),
}
_NEW_DIVISION = 2.0  # cost of another division than in the beat before
_LATE = 2.6  # cost of a beat whose first part has no note
# Cost of parts without a note, after a note of the same beat.
_SKIP = {1: (0.0, 0.0), 2: (0.0, 1.0), 3: (2.5, 1.4), 4: (1.8, 2.0), 6: (1.5, 1.5), 8: (1.8, 2.0)}
_SKIP_FINER = (2.0, 2.0)
_CHORD = -1.0  # cost of a note at the position of the one before

# Standard deviations: of onsets from the beats' constant tempo, in seconds and in beats; of the
# time from one onset to the next, in seconds and in proportion; of onsets in a chord, in seconds.
_ONSET_SECONDS, _ONSET_BEATS = 0.02, 0.09
_STEP_SECONDS, _STEP_RATIO = 0.025, 0.25
_SPREAD, _ROLLED_SPREAD = 0.033, 0.1
# They are those of free playing, and smaller in precise performances: by a factor for the first
# pass, then one from the mean deviation in standard deviations; by its square root in chords.
_FIRST_TOLERANCE, _LEAST_TOLERANCE, _MEAN_DEVIATION = 0.6, 0.3, 0.3
_BOUND = 2.0  # standard deviations up to which costs are quadratic, and linear beyond

_TOGETHER = 0.012  # seconds between notes that are one event for certain
_PRIOR_BEATS = 30.0  # weight of the costs of divisions beside those found in the piece, in beats
_N_PASSES = 2
_BEAM, _MARGIN = 48, 12.0  # number of states that are kept after each note, and their cost
_NEAR = 10.0  # cost of deviations from the position in question at most
_IMPOSSIBLE = 1e6


def find_positions(
    onset: NDArray[np.float64],
    grid: BeatGrid,
    staff: NDArray[np.int64],
    is_rolled: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Find the positions of onsets by dynamic programming.

    Parameters
    ----------
    onset : ndarray, shape (n_notes,)
        Onsets in seconds, in any order.
    grid : BeatGrid
        Beats and bars.
    staff : ndarray of int, shape (n_notes,)
        1 for notes of the right hand, 2 for the left.
    is_rolled : ndarray of bool, shape (n_notes,)
        Which notes follow another one in a rolled chord.

    Returns
    -------
    ndarray of int, shape (n_notes,)
        Positions in ticks.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> grid = BeatGrid([0.5, 1.0, 1.5, 2.0], Bars([[4, 4]]))
    >>> onset = np.array([0.51, 1.02, 1.24, 1.5])
    >>> find_positions(onset, grid, np.ones(4, int), np.zeros(4, bool))
    array([  0, 480, 720, 960])
    """
    if not onset.size:
        return np.zeros(0, np.int64)
    order = np.argsort(onset, kind="stable")
    first = np.diff(onset[order], prepend=-np.inf) > _TOGETHER
    event = np.empty(onset.size, np.int64)
    event[order] = np.cumsum(first) - 1
    time = np.bincount(event, onset) / np.bincount(event)
    is_played = np.zeros((2, time.size), np.bool_)
    is_played[staff - 1, event] = True
    spread = np.where(np.bincount(event, is_rolled) > 0, _ROLLED_SPREAD, _SPREAD)
    beats = grid.bars.beats()
    lengths = np.diff(np.append(beats, grid.bars.starts[-1]))
    beat = np.clip(np.searchsorted(grid.time, time, side="right") - 1, 0, beats.size - 2)
    seconds = np.diff(grid.time)[beat]
    compound = np.array([is_compound(*bar) for bar in grid.bars.time_signatures.tolist()], np.int64)
    events = _Events(
        beat + (time - grid.time[beat]) / seconds,
        seconds,
        compound[grid.bars.bar_at(beats[beat])],
        is_played,
        spread,
    )
    found = _fit(events)[event]
    index = np.clip(np.floor(found + 1e-6).astype(np.int64), 0, beats.size - 1)
    part = np.where(found - index < 1 - 1e-6, found - index, 0.0)
    return np.maximum(np.round(beats[index] + part * lengths[index]), 0).astype(np.int64)


class _Events(NamedTuple):
    """Onsets, of one note or of several that are together."""

    time: NDArray[np.float64]  # in beats
    seconds: NDArray[np.float64]  # of the beat
    metre: NDArray[np.int64]  # 0 in simple time, 1 in compound time
    is_played: NDArray[np.bool_]  # (2, n_events): by the right hand, by the left
    spread: NDArray[np.float64]  # from the event before in a chord, in seconds


class _States(NamedTuple):
    """Positions in a beat, for each of its divisions."""

    part: NDArray[np.float64]  # of the beat
    division: NDArray[np.int64]  # index in _DIVISIONS
    is_open: NDArray[np.bool_]  # (2, n_states): to notes of the right hand, and of the left
    rank: NDArray[np.int64]  # among the parts of the division
    is_last: NDArray[np.bool_]  # of the division
    skip: NDArray[np.float64]  # (2, n_states): cost of parts without a note


def _states() -> _States:
    rows = []
    for index, (right, left) in enumerate(_DIVISIONS):
        n_parts = math.lcm(right, left)
        hands = [
            (part * right % n_parts == 0, part * left % n_parts == 0) for part in range(n_parts)
        ]
        parts = [part for part in range(n_parts) if any(hands[part])]
        skip = _SKIP.get(max(right, left), _SKIP_FINER)
        for rank, part in enumerate(parts):
            is_last = rank == len(parts) - 1
            rows.append((part / n_parts, index, *hands[part], rank, is_last, *skip))
    part, division, right_open, left_open, rank, is_last, *skips = np.array(rows).T
    return _States(
        part,
        division.astype(np.int64),
        np.stack([right_open, left_open]) > 0,
        rank.astype(np.int64),
        is_last > 0,
        np.stack(skips),
    )


def _fit(events: _Events) -> NDArray[np.float64]:
    """Find positions in beats; divisions that are frequent in the piece become more probable."""
    states = _states()
    prior = np.array(list(_DIVISIONS.values())).T  # (2, n_divisions)
    cost = prior
    position, division = _decode(events, states, cost, _FIRST_TOLERANCE)
    for _ in range(_N_PASSES - 1):
        deviation = np.abs(events.time - position)
        expected = np.hypot(_ONSET_SECONDS / events.seconds, _ONSET_BEATS)
        tolerance = np.clip(
            np.mean(np.minimum(deviation / expected, 2.0)) / _MEAN_DEVIATION, _LEAST_TOLERANCE, 1.0
        )
        beat = np.floor(position + 1e-9)
        is_first = np.concatenate([[True], beat[1:] != beat[:-1]])
        share = np.exp(-prior)
        share /= share.sum(1, keepdims=True)
        for metre in (0, 1):
            chosen = division[is_first & (events.metre == metre)]
            counts = np.bincount(chosen, minlength=len(_DIVISIONS)) + _PRIOR_BEATS * share[metre]
            share[metre] = counts / counts.sum()
        with np.errstate(divide="ignore"):
            cost = -np.log(share)
        position, division = _decode(events, states, cost, float(tolerance))
    return position


def _decode(
    events: _Events, states: _States, cost: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the positions of least total cost, in beats, and their divisions: Viterbi's algorithm.

    `cost` is that of divisions, in simple and in compound time; `tolerance` a factor of deviations.
    """
    entry = cost[:, states.division] + np.where(states.rank > 0, _LATE, 0.0)
    leave = np.where(states.is_last, 0.0, states.skip)
    is_open = np.array(
        [states.is_open[0], states.is_open[1], states.is_open.all(0)]
    )  # to the right hand, to the left, to both
    hands = np.where(events.is_played.all(0), 2, events.is_played[1])
    n_events = events.time.size
    kept: list[NDArray[np.int64]] = []  # for each event the states that were kept,
    before: list[NDArray[np.int64]] = []  # for each of them that of the event before,
    placed: list[NDArray[np.float64]] = []  # and the position
    total = np.zeros(0)
    for index in range(n_events):
        time, second, metre = events.time[index], events.seconds[index], events.metre[index]
        position = np.round(time - states.part) + states.part
        local = _robust(
            (time - position) / math.hypot(_ONSET_SECONDS / second, _ONSET_BEATS * tolerance)
        )
        local[~is_open[hands[index]]] = _IMPOSSIBLE
        chosen = np.flatnonzero(local < local.min() + _NEAR)
        position, local = position[chosen], local[chosen]
        start = entry[metre, chosen]
        if index == 0:
            source = np.zeros(chosen.size, np.int64)
            sums = start + local
        else:
            last, past = kept[-1], placed[-1]
            passed = time - events.time[index - 1]
            jitter = _STEP_SECONDS / second
            step = position[:, None] - past
            scale = np.hypot(jitter, _STEP_RATIO * tolerance * step)
            move = _robust((passed - step) / scale) + np.log(scale / jitter)
            move[np.abs(step) < 1e-6] = (
                _robust(passed * second / (events.spread[index] * math.sqrt(tolerance))) + _CHORD
            )
            is_same = states.division[chosen][:, None] == states.division[last]
            beats = np.floor(position + 1e-9)[:, None] - np.floor(past + 1e-9)
            is_skipped = states.rank[chosen][:, None] > states.rank[last] + 1
            within = np.where(is_skipped, states.skip[metre, chosen][:, None], 0.0)
            within[~is_same | (step < -1e-6)] = _IMPOSSIBLE
            into = start[:, None] + np.where(is_same, 0.0, _NEW_DIVISION) + leave[metre, last]
            move += np.where(beats > 0, into, np.where(beats == 0, within, _IMPOSSIBLE))
            move += total
            source = move.argmin(1)
            sums = move[np.arange(chosen.size), source] + local
        order = np.argsort(sums, kind="stable")[:_BEAM]
        order = order[sums[order] <= sums[order[0]] + _MARGIN]
        total = sums[order] - sums[order[0]]
        kept.append(chosen[order])
        before.append(source[order])
        placed.append(position[order])
    found = np.empty(n_events)
    division = np.empty(n_events, np.int64)
    state = 0
    for index in range(n_events - 1, -1, -1):
        found[index] = placed[index][state]
        division[index] = states.division[kept[index][state]]
        state = before[index][state]
    return found, division


def _robust(deviation: ArrayLike) -> NDArray[np.float64]:
    """Cost of a deviation in standard deviations: quadratic, and linear beyond a bound (Huber)."""
    size = np.abs(deviation)
    return np.where(size < _BOUND, size * size / 2, _BOUND * size - _BOUND**2 / 2)
