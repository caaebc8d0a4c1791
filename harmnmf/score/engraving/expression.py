"""Marks of tempo, loudness and pedal of a performance, at the places of its score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmnmf.score.bars import TICKS, BeatGrid, beat_duration, is_compound
from harmnmf.score.score import Performance, Score

__all__ = ["Direction", "directions"]

# Velocities of dynamics in MuseScore and other programs.
_DYNAMICS = {"pp": 33, "p": 49, "mp": 64, "mf": 80, "f": 96, "ff": 112}
# Changes that are marked: of loudness in velocities, of tempo as the logarithm of its ratio.
_LOUDNESS_CHANGE, _TEMPO_CHANGE = 12.0, 0.2
_SHORTEST, _LASTING = 4, 8  # bars, at least and for a change of that size


@dataclass(frozen=True)
class Direction:
    """A mark at a position in ticks, above the first staff or below one of them.

    `kind` is "tempo" (`value` is the number of beats a minute, each of a note value `unit` with
    `dots`, and `tempo` that of quarters), "dynamics" (`value` is "p", "mf", ...) or "pedal"
    (`value` is "start" or "stop").
    """

    position: int
    staff: int
    kind: str
    value: str
    unit: int = TICKS
    dots: int = 0
    tempo: float = 0.0


def directions(score: Score) -> list[Direction]:
    """Derive the marks of a score from its performance; without one there are none.

    Tempo and dynamics are marked at the beginning, and where they change for several bars.
    The pedal is marked at beats.

    Parameters
    ----------
    score : Score
        Score.

    Returns
    -------
    list of Direction
        Marks in order of their positions.
    """
    if score.performance is None:
        return []
    marks = _tempi(score.performance.grid)
    marks += _dynamics(score, score.performance)
    marks += _pedal(score.performance)
    return sorted(marks, key=lambda mark: mark.position)


def _tempi(grid: BeatGrid) -> list[Direction]:
    bars = grid.bars
    seconds = np.diff(grid.time_at(bars.starts))
    quarters = np.diff(bars.starts) / TICKS
    marks: list[Direction] = []
    for start, end in _stretches(np.log(quarters / seconds), _TEMPO_CHANGE):
        tempo = 60 * quarters[start:end].sum() / seconds[start:end].sum()
        numerator, denominator = bars.time_signatures[start].tolist()
        beat = beat_duration(numerator, denominator)
        is_dotted = is_compound(numerator, denominator)
        marks.append(
            Direction(
                int(bars.starts[start]),
                staff=1,
                kind="tempo",
                value=f"{tempo * TICKS / beat:.0f}",
                unit=beat * 2 // 3 if is_dotted else beat,
                dots=int(is_dotted),
                tempo=round(tempo, 2),
            )
        )
    return marks


def _dynamics(score: Score, performance: Performance) -> list[Direction]:
    if not len(performance.notes):
        return []
    bar = score.bars.bar_at(performance.grid.position(performance.notes.onset))
    n_notes = np.bincount(bar, minlength=len(score.bars))
    loudness = np.bincount(bar, performance.notes.velocity, len(score.bars))
    played = np.flatnonzero(n_notes)
    marks: list[Direction] = []
    for start, end in _stretches(loudness[played] / n_notes[played], _LOUDNESS_CHANGE):
        members = played[start:end]
        mean = loudness[members].sum() / n_notes[members].sum()
        value = min(_DYNAMICS, key=lambda name: abs(_DYNAMICS[name] - mean))
        if not marks or marks[-1].value != value:
            marks.append(Direction(int(score.bars.starts[members[0]]), 1, "dynamics", value))
    return marks


def _stretches(values: NDArray[np.float64], change: float) -> list[tuple[int, int]]:
    """Divide values of bars into stretches of little change, each of several bars.

    A stretch costs the sum of squared deviations from its mean, and as much as a `change` that
    lasts for several bars; dynamic programming finds the division that costs least.
    """
    n = len(values)
    sums, squares = (np.concatenate([[0.0], np.cumsum(x)]) for x in (values, values**2))
    cost, first = np.zeros(n + 1), np.zeros(n + 1, np.int64)
    for end in range(1, n + 1):
        starts = np.arange(max(end - _SHORTEST, 0) + 1)
        # The first stretch may be short, if all are.
        starts = starts[(starts == 0) | (starts >= _SHORTEST)]
        length = end - starts
        deviation = squares[end] - squares[starts] - (sums[end] - sums[starts]) ** 2 / length
        total = cost[starts] + deviation + _LASTING * change**2
        best = int(total.argmin())
        cost[end], first[end] = total[best], starts[best]
    stretches = []
    end = n
    while end:
        stretches.append((int(first[end]), end))
        end = int(first[end])
    return stretches[::-1]


def _pedal(performance: Performance) -> list[Direction]:
    """Pedal at the nearest beats; what would have no length is left out."""
    beats = performance.grid.bars.beats()
    position = performance.grid.position(performance.notes.pedal)
    nearest = np.searchsorted((beats[1:] + beats[:-1]) / 2, position)
    marks: list[Direction] = []
    for start, end in beats[nearest].tolist():
        start = max(start, marks[-1].position) if marks else start
        if start < end:
            marks.append(Direction(start, 2, "pedal", "start"))
            marks.append(Direction(end, 2, "pedal", "stop"))
    return marks
