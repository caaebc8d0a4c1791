"""Beats at a smooth tempo, and their bars: the most likely paths through probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bar_path", "beat_path", "log_odds"]

_SHORT = 12.0  # cost of a bar that is cut short
_LEAST = 0.005  # probabilities closer to 0 or 1 say no more
_CHANGE = 14.0  # cost of a change of the interval between beats, for its relative size
_GREATEST = 7.0  # cost of the greatest change: a pause, a new tempo
_SLACK = 0.8  # frames by which intervals differ at a constant tempo


def log_odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithm of p / (1 - p), for probabilities kept off 0 and 1."""
    p = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(p / (1 - p)))


def beat_path(
    evidence: NDArray[np.floating], interval_evidence: NDArray[np.floating], shortest: int
) -> NDArray[np.int64]:
    """Find the beats with the greatest sum of evidence, less costs of changes of tempo.

    A hidden semi-Markov model: its states are the intervals between beats, and the probability of
    an interval depends on the one before.

    Parameters
    ----------
    evidence : ndarray, shape (n_frames,)
        Log odds of a beat in each frame.
    interval_evidence : ndarray, shape (n_intervals, n_frames)
        Evidence for an interval of `shortest` frames, and one more each, before a beat in each
        frame.
    shortest : int
        Shortest interval between beats in frames.

    Returns
    -------
    ndarray of int, shape (n_beats,)
        Frames of the beats; the first and the last are less than an interval from the ends.
    """
    intervals = shortest + np.arange(len(interval_evidence))
    longest = int(intervals[-1])
    local = (evidence + interval_evidence).T.astype(np.float32)
    n_frames = evidence.size
    n = intervals.size
    columns = np.arange(n)
    difference = np.abs(intervals[:, None] - intervals[None, :]) - _SLACK
    cost = _CHANGE * np.maximum(difference, 0) / np.minimum(intervals[:, None], intervals[None, :])
    cost = np.minimum(cost, _GREATEST).astype(np.float32)

    # best[t, j]: the best path whose next interval, from a beat at frame t - longest, is j.
    best = np.full((n_frames + longest, n), -np.inf, np.float32)
    previous = np.zeros((n_frames, n), np.int16)
    score = np.empty((n_frames, n), np.float32)
    for start in range(0, n_frames, shortest):
        frames = np.arange(start, min(start + shortest, n_frames))
        reached = best[frames[:, None] + longest - intervals, columns]
        # A path begins where there is no room for a beat before.
        reached = np.where(frames[:, None] < intervals, np.maximum(reached, 0), reached)
        block = reached + local[frames]
        score[frames] = block
        total = block[:, :, None] - cost
        before = total.argmax(axis=1)
        previous[frames] = before
        best[frames + longest] = np.take_along_axis(total, before[:, None, :], axis=1)[:, 0]

    ends = np.where(np.arange(n_frames)[:, None] >= n_frames - intervals, score, -np.inf)
    frame, state = np.unravel_index(int(ends.argmax()), ends.shape)
    beats = [int(frame)]
    while frame - intervals[state] >= 0:
        frame = frame - intervals[state]
        beats.append(int(frame))
        state = previous[frame, state]
    return np.array(beats[::-1])


def bar_path(evidence: NDArray[np.float64], n_beats: int) -> tuple[NDArray[np.int64], float]:
    """Find the downbeats with the greatest sum of evidence, less a cost of short bars.

    Parameters
    ----------
    evidence : ndarray, shape (n_beats_in_all,)
        Log odds that each beat begins a bar.
    n_beats : int
        Beats of a bar. Few bars are shorter, and none longer.

    Returns
    -------
    downbeats : ndarray of int, shape (n_downbeats,)
        Beats that begin a bar; the first is one of the first `n_beats`, so that there is one.
    score : float
        The sum.
    """
    n = evidence.size
    values = evidence.tolist()
    best: list[float] = []
    before: list[int] = []
    for index, value in enumerate(values):
        score, source = (0.0, -1) if index < n_beats else (best[index - n_beats], index - n_beats)
        for short in range(max(min(2, n_beats - 1), 1), min(n_beats, index + 1)):
            if best[index - short] - _SHORT > score:
                score, source = best[index - short] - _SHORT, index - short
        best.append(score + value)
        before.append(source)
    index = max(range(max(n - n_beats, 0), n), key=best.__getitem__)
    score = best[index]
    downbeats = []
    while index >= 0:
        downbeats.append(index)
        index = before[index]
    return np.array(downbeats[::-1]), score
