"""Excerpts that the network of beats is trained on: onsets of simulated performances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmnmf.score.beats.network import BEATS_A_BAR, PERIODS
from harmnmf.score.beats.onset_features import HEIGHTS, ONES, PITCHES, group_onsets, onset_features
from harmnmf.score.score import Score

from .simulation import SimulatedPerformance, simulate_performance

__all__ = ["BeatExcerpt", "BeatTargets", "beat_targets", "draw_excerpt", "transposed"]

# Onsets up to here from a beat are at it, and the nearest up to there; in seconds.
_AT_BEAT, _NEAR_BEAT = 0.045, 0.07
# Excerpts keep features as integers, of this many a unit.
_STEPS = 24
_FROM_THE_START = 0.3  # share of excerpts
_SHORT = 0.15


class BeatTargets(NamedTuple):
    """What the network should find at each onset, shape (n_onsets,).

    Attributes
    ----------
    beat, downbeat, between : ndarray
        Whether there is a beat or a downbeat, and the number of beats before the next onset.
    period : ndarray
        Duration of the beat, as a fractional index of :data:`~harmnmf.score.beats.network.PERIODS`.
    beats_a_bar : ndarray of int
        Index in :data:`~harmnmf.score.beats.network.BEATS_A_BAR`, or -1.
    """

    beat: NDArray[np.float32]
    downbeat: NDArray[np.float32]
    between: NDArray[np.float32]
    period: NDArray[np.float32]
    beats_a_bar: NDArray[np.int64]


class BeatExcerpt(NamedTuple):
    """Features and targets of consecutive onsets; those past the end of the music are not `valid`.

    Attributes
    ----------
    features : ndarray of int8, shape (N_FEATURES, n_onsets)
        Features in steps of 1/24.
    beat, downbeat, between, period, beats_a_bar : ndarray, shape (n_onsets,)
        Targets, as in :class:`BeatTargets`.
    valid : ndarray of bool, shape (n_onsets,)
        Whether there is an onset.
    """

    features: NDArray[np.int8]
    beat: NDArray[np.float32]
    downbeat: NDArray[np.float32]
    between: NDArray[np.float32]
    period: NDArray[np.float32]
    beats_a_bar: NDArray[np.int64]
    valid: NDArray[np.bool_]


def beat_targets(time: NDArray[np.float64], performance: SimulatedPerformance) -> BeatTargets:
    """Tell of each onset where the beats are."""
    beats = performance.beat
    distance = np.abs(beats[:, None] - time)
    nearest = distance.argmin(axis=1)
    is_found = distance[np.arange(len(beats)), nearest] <= _NEAR_BEAT
    at = distance <= _AT_BEAT
    at[np.flatnonzero(is_found), nearest[is_found]] = True
    beat, downbeat = (np.asarray(x.any(axis=0)) for x in (at, at[performance.is_downbeat]))
    before = np.searchsorted(time, beats[~is_found]) - 1
    between = np.bincount(before[before >= 0], minlength=len(time))
    between[-1] = 0
    # The duration of a beat, smoothed over three.
    duration = np.log2(np.diff(beats)) if len(beats) > 1 else np.zeros(1)
    padded = np.pad(duration, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    current = np.clip(np.searchsorted(beats, time, side="right") - 1, 0, None)
    first, step = np.log2(PERIODS[0]), np.log2(PERIODS[1] / PERIODS[0])
    period = np.clip((smooth - first) / step, 0, len(PERIODS) - 1)
    classes = {n: index for index, n in enumerate(BEATS_A_BAR)}
    beats_a_bar = np.array([classes.get(n, -1) for n in performance.n_beats.tolist()])
    return BeatTargets(
        beat.astype(np.float32),
        downbeat.astype(np.float32),
        between.astype(np.float32),
        period[np.clip(current, 0, len(period) - 1)].astype(np.float32),
        beats_a_bar[current],
    )


def draw_excerpt(score: Score, rng: np.random.Generator, *, n_onsets: int = 512) -> BeatExcerpt:
    """Play a part of a score drawn at random, and measure its onsets."""
    n_bars = len(score.bars)
    # A bit more than is needed.
    a_bar = len(np.unique(score.notes.onset)) / n_bars
    while True:
        wanted = int(1.3 * n_onsets / max(a_bar, 0.1)) + 2
        latest = max(0, n_bars - 3 * wanted // 4)
        from_the_start = rng.random() < _FROM_THE_START
        first_bar = 0 if from_the_start else int(rng.integers(latest + 1))
        performance = simulate_performance(score, rng, first_bar=first_bar, n_bars=wanted)
        if len(performance.notes) < 8 or len(performance.beat) < 4:
            continue
        time, features = onset_features(performance.notes, group_onsets(performance.notes))
        if len(time) >= 8:
            break
    length = n_onsets - 8 if rng.random() >= _SHORT else int(rng.integers(16, n_onsets - 8))
    last = max(0, len(time) - length)
    start = 0 if from_the_start else int(rng.integers(min(last, n_onsets // 4) + 1))
    chosen = slice(start, start + length)
    targets = {name: x[chosen] for name, x in beat_targets(time, performance)._asdict().items()}
    quantized = np.clip(np.round(_STEPS * features[:, chosen]), -128, 127).astype(np.int8)
    n = quantized.shape[1]
    before = int(rng.integers(4, 9)) if n <= n_onsets - 12 else 4
    padding = (before, n_onsets - n - before)
    return BeatExcerpt(
        features=np.pad(quantized, [(0, 0), padding]),
        valid=np.pad(np.ones(n, bool), padding),
        **{name: np.pad(x, padding) for name, x in targets.items()},
    )


def transposed(features: NDArray[np.int8], semitones: int) -> NDArray[np.float32]:
    """Scale the features of an excerpt, moved by some semitones; keys past the end are lost."""
    n = len(PITCHES)
    moved = features.astype(np.float32) / np.float32(_STEPS)
    roll = np.zeros_like(moved[:n])
    if semitones >= 0:
        roll[semitones:] = moved[: n - semitones]
    else:
        roll[:semitones] = moved[-semitones:n]
    moved[:n] = roll
    moved[n : n + 12] = np.roll(moved[n : n + 12], semitones, axis=0)
    moved[HEIGHTS] += semitones / 24 * moved[ONES]
    return moved
