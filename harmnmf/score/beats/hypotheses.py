"""Hypotheses of the beats and bars of a performance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import Bars, beat_duration, is_compound

from .beat_path import bar_path, beat_path, log_odds
from .beat_times import align_beats
from .network import PERIODS, PERIODS_AN_OCTAVE, BeatProbabilities
from .statistics import BeatStatistics, Chords

__all__ = ["METRES", "Hypothesis", "bar_hypotheses", "metre_of", "track_again", "track_in_ranges"]

Floats = NDArray[np.float64]

# Ranges of the beat in seconds: their shortest, and the longest relative to it.
_SHORTEST = (0.2, 0.29, 0.42, 0.61, 0.89, 1.3)
_WIDTH = 2.2
_DOUBLED = (2, 3, 4)  # ranges whose beats are doubled, too
# How far the beat may be from a given tempo, and the standard deviation of its logarithm.
_TOLERANCE, _SPREAD = 1.35, 0.15
_LONGEST = 3.5  # seconds
_NEAR_OCTAVE = 1.9
_KNOWN = 1.5  # evidence for beats that were found before
_MARGIN = 3.0  # seconds before the first note, and after the last
# Beats of a bar, and whether they are dotted.
METRES = ((2, False), (2, True), (3, False), (3, True), (4, False), (4, True))
_UNCERTAIN = 0.16  # seconds within which a beat lies at which no note begins
_PERIOD_WEIGHT = 0.5


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """Beats and bars, and statistics that tell how simply they notate the piece.

    Parameters
    ----------
    time : ndarray, shape (n_beats,)
        Times of the beats in seconds.
    downbeats : ndarray of int, shape (n_downbeats,)
        Which of them begin a bar.
    metre : tuple of (int, bool)
        Beats of a bar, and whether they are dotted.
    downbeat_evidence : ndarray, shape (n_beats,)
        Log odds that each beat begins a bar.
    statistics : ndarray, shape (n_statistics,)
        Statistics.
    """

    time: Floats
    downbeats: NDArray[np.int64]
    metre: tuple[int, bool]
    downbeat_evidence: Floats
    statistics: Floats


def metre_of(time_signature: tuple[int, int]) -> tuple[int, bool]:
    """Beats of a bar, and whether they are dotted; raises ParameterError if it is impossible."""
    duration = int(Bars([time_signature]).starts[-1])
    return duration // beat_duration(*time_signature), is_compound(*time_signature)


def bar_hypotheses(
    tracked: list[Floats], notes: NoteList, probabilities: BeatProbabilities
) -> list[Hypothesis]:
    """Find the bars of each metre for each list of beats."""
    chords = Chords(notes)
    hypotheses = []
    for time in tracked:
        statistics = BeatStatistics(chords, probabilities, time)
        evidence = log_odds(statistics.downbeat_probability)
        of_beats = statistics.of_beats
        paths = {n_beats: bar_path(evidence, n_beats) for n_beats, _ in METRES}
        for metre in METRES:
            downbeats, score = paths[metre[0]]
            of_bars = statistics.of_bars(downbeats, metre[0], is_compound=metre[1], score=score)
            values = np.concatenate([of_beats, of_bars])
            hypotheses.append(Hypothesis(time, downbeats, metre, evidence, values))
    return hypotheses


def track_in_ranges(
    notes: NoteList, probabilities: BeatProbabilities, period: float | None = None
) -> list[Floats]:
    """Find beats in each of several ranges of tempo, or near one period in seconds."""
    if period is not None:
        return [_track(notes, probabilities, period / _TOLERANCE, period * _TOLERANCE, near=period)]
    tracked = [_track(notes, probabilities, shortest, shortest * _WIDTH) for shortest in _SHORTEST]
    # Where the network favours another level, a path of fast beats is worse than these.
    doubled = [
        np.sort(np.concatenate([time, (time[1:] + time[:-1]) / 2]))
        for time in (tracked[index] for index in _DOUBLED)
    ]
    return tracked + [align_beats(time, notes.onset, notes.velocity / 64) for time in doubled]


def track_again(notes: NoteList, probabilities: BeatProbabilities, time: Floats) -> Floats:
    """Find beats near given ones, at all tempi that are less than an octave from the usual."""
    period = float(np.median(np.diff(time)))
    shortest, longest = period / _NEAR_OCTAVE, min(period * _NEAR_OCTAVE, max(_LONGEST, period))
    return _track(notes, probabilities, shortest, longest, known=time)


def _track(
    notes: NoteList,
    probabilities: BeatProbabilities,
    shortest: float,
    longest: float,
    near: float | None = None,
    known: Floats | None = None,
) -> Floats:
    """Find beats of a range of intervals in seconds, perhaps near a period, or near known beats."""
    rate = probabilities.frame_rate
    start, end = float(notes.onset[0]), float(notes.onset[-1])
    evidence, logarithm = _evidence(probabilities, round(_MARGIN * rate))
    low = max(round(shortest * rate), 2)
    intervals = np.arange(low, max(round(longest * rate), low) + 1) / rate
    of_intervals = _PERIOD_WEIGHT * _at_intervals(logarithm, intervals)
    if near is not None:
        distance = np.log(intervals / near) / _SPREAD
        of_intervals -= 0.5 * distance[:, None] ** 2
    if known is not None:
        frames = np.round((known + _MARGIN) * rate).astype(int)[:, None] + np.arange(-2, 3)
        evidence[np.unique(np.clip(frames, 0, evidence.size - 1))] += _KNOWN
    beats = beat_path(evidence, of_intervals, low) / rate - _MARGIN
    within = beats[(beats > start - 0.1) & (beats < end + 0.1)]
    if within.size < 2:  # one chord, or nearly so
        within = np.array([start, start + float(intervals.mean())])
    return align_beats(within, notes.onset, notes.velocity / 64)


def _evidence(
    probabilities: BeatProbabilities, margin: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log odds of beats, and logarithms of the probabilities of periods, with margins in time."""
    rate = probabilities.frame_rate
    beat = np.asarray(probabilities.beat, np.float64)
    frames = np.clip(np.round(probabilities.onset * rate).astype(int), 0, beat.size - 1)
    # Where no note begins, the time of a beat is uncertain by some frames.
    spread = np.minimum(_UNCERTAIN * rate * beat, 0.5)
    spread[frames] = 0
    evidence = log_odds(spread)
    for shift, cost in ((0, 0.0), (-1, 0.2), (1, 0.2), (-2, 0.8), (2, 0.8)):
        near = np.clip(frames + shift, 0, beat.size - 1)
        np.maximum.at(evidence, near, log_odds(beat[frames]) - cost)
    logarithm = np.log(np.asarray(probabilities.period, np.float64) + 1e-3)
    return np.pad(evidence, margin, constant_values=-0.5), np.pad(
        logarithm, [(0, 0), (margin, margin)], mode="edge"
    )


def _at_intervals(
    logarithm: NDArray[np.float64], seconds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate between periods."""
    place = np.clip(np.log2(seconds / PERIODS[0]) * PERIODS_AN_OCTAVE, 0, len(PERIODS) - 1.001)
    below = place.astype(int)
    part = (place - below)[:, None]
    return np.asarray((1 - part) * logarithm[below] + part * logarithm[below + 1])
