"""Features of the onsets of a performance, for the network that finds its beats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList

__all__ = ["HEIGHTS", "N_FEATURES", "ONES", "PITCHES", "group_onsets", "onset_features"]

Floats = NDArray[np.float32]

PITCHES = range(21, 109)

# Notes of a chord: gaps between onsets, and all of it, in seconds.
_GAP, _CHORD = 0.03, 0.06
# Soft classes of a time in seconds, equal in width on a logarithmic axis.
_INTERVALS = np.log2(np.geomspace(0.04, 5.12, 22))
_DURATIONS = np.log2(np.geomspace(0.06, 7.68, 8))
_LAGS = np.log2(np.geomspace(0.1, 4.53, 45))
_NEIGHBOURS = 48  # groups on either side of which the lags are told
_BASS_SECONDS = 1.5
N_FEATURES = len(PITCHES) + 12 + 2 * len(_INTERVALS) + 3 * len(_DURATIONS) + 6 + 6 * len(_LAGS)
# Rows of the lowest and the highest pitch, in units of two octaves, and the row of ones.
HEIGHTS = slice(N_FEATURES - 6 * len(_LAGS) - 5, N_FEATURES - 6 * len(_LAGS) - 3)
ONES = N_FEATURES - 6 * len(_LAGS) - 1


def group_onsets(notes: NoteList) -> NDArray[np.int64]:
    """Group notes that begin together, as those of a chord.

    Returns
    -------
    ndarray of int, shape (n_notes,)
        Index of the group of each note, ascending.

    Examples
    --------
    >>> group_onsets(NoteList([0, 0.02, 0.5], [1, 1, 1], [60, 64, 67], [70, 70, 70]))
    array([0, 0, 1])
    """
    group = np.zeros(len(notes), np.int64)
    start, last, index = -np.inf, -np.inf, -1
    for i, onset in enumerate(notes.onset.tolist()):
        if onset - last > _GAP or onset - start > _CHORD:
            start, index = onset, index + 1
        group[i], last = index, onset
    return group


def onset_features(notes: NoteList, group: NDArray[np.int64]) -> tuple[NDArray[np.float64], Floats]:
    """Measure groups of notes.

    Parameters
    ----------
    notes : NoteList
        Notes, one or more.
    group : ndarray of int, shape (n_notes,)
        As by :func:`group_onsets`.

    Returns
    -------
    time : ndarray, shape (n_groups,)
        Mean onset of each group in seconds.
    features : ndarray, shape (N_FEATURES, n_groups)
        The first ``len(PITCHES)`` rows tell which pitches begin; the next twelve which pitch
        classes.
    """
    n = int(group[-1]) + 1
    size = np.bincount(group)
    time = np.bincount(group, notes.onset) / size
    first = np.searchsorted(group, np.arange(n))
    roll = np.zeros((n, len(PITCHES)), np.float32)
    key = np.clip(notes.pitch, PITCHES[0], PITCHES[-1]) - PITCHES[0]
    roll[group, key] = 1
    chroma = np.zeros((n, 12), np.float32)
    chroma[group, notes.pitch % 12] = 1
    low = np.minimum.reduceat(notes.pitch, first)
    high = np.maximum.reduceat(notes.pitch, first)
    duration = notes.offset - notes.onset
    longest = np.maximum.reduceat(duration, first)
    low_duration = np.maximum.reduceat(np.where(notes.pitch == low[group], duration, 0), first)
    high_duration = np.maximum.reduceat(np.where(notes.pitch == high[group], duration, 0), first)
    loudness = np.bincount(group, notes.velocity) / size
    interval = np.diff(time)
    before, after = np.append(np.inf, interval), np.append(interval, np.inf)

    offsets = np.concatenate([np.arange(-_NEIGHBOURS, 0), np.arange(1, _NEIGHBOURS + 1)])
    other = np.arange(n)[:, None] + offsets
    exists = (other >= 0) & (other < n)
    other = np.clip(other, 0, n - 1)
    lag = np.where(exists, np.abs(time[other] - time[:, None]), np.inf)
    near = lag < _BASS_SECONDS
    is_lower = near & (low[other] < low[:, None] - 2)
    bass = (1 - is_lower.sum(axis=1) / np.maximum(near.sum(axis=1), 1)) ** 4
    louder = (loudness - _mean(loudness[other], near, loudness)) / 16
    common = np.zeros((n, len(offsets)), np.float32)
    for distance in range(1, min(_NEIGHBOURS + 1, n)):
        overlap = np.einsum("ij,ij->i", roll[:-distance], roll[distance:])
        common[distance:, _NEIGHBOURS - distance] = overlap
        common[:-distance, _NEIGHBOURS + distance - 1] = overlap
    n_keys = roll.sum(axis=1)
    alike = common / np.maximum(n_keys[:, None], n_keys[other])
    weights = np.stack([np.ones_like(lag), bass[other], alike])
    columns = [
        roll,
        chroma,
        _soft_classes(before, _INTERVALS),
        _soft_classes(after, _INTERVALS),
        *(_soft_classes(x, _DURATIONS) for x in (longest, low_duration, high_duration)),
        np.column_stack(
            [np.log2(size) / 2, (low - 60) / 24, (high - 60) / 24, bass, louder, np.ones(n)]
        ),
        _lag_histogram(lag, weights, offsets > 0),
    ]
    return time, np.concatenate(columns, axis=1).astype(np.float32).T


def _mean(
    values: NDArray[np.float64], chosen: NDArray[np.bool_], default: NDArray[np.float64]
) -> NDArray[np.float64]:
    count = chosen.sum(axis=1)
    total = (values * chosen).sum(axis=1)
    return np.asarray(np.where(count, total / np.maximum(count, 1), default))


def _position(seconds: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional index of times among centres, within them."""
    step = centres[1] - centres[0]
    with np.errstate(divide="ignore"):
        return np.clip((np.log2(seconds) - centres[0]) / step, 0, len(centres) - 1)


def _soft_classes(seconds: NDArray[np.float64], centres: NDArray[np.float64]) -> Floats:
    """Share each time between the two nearest classes, (n, n_classes)."""
    distance = np.abs(_position(seconds, centres)[:, None] - np.arange(len(centres)))
    return np.maximum(0, 1 - distance).astype(np.float32)


def _lag_histogram(
    lag: NDArray[np.float64], weights: NDArray[np.float64], is_after: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Sum weights of other groups by their lag, before and after: (n, n_weights * 2 * n_lags)."""
    n, n_lags = len(lag), len(_LAGS)
    step = _LAGS[1] - _LAGS[0]
    with np.errstate(divide="ignore"):
        position = (np.log2(lag) - _LAGS[0]) / step
    inside = (position > -1) & (position < n_lags)
    row, column = np.nonzero(inside)
    position = position[inside]
    lower = np.floor(position).astype(np.int64)
    upper_share = position - lower
    # A bin more at either end takes what lies beyond.
    cell = (row * 2 + is_after[column]) * (n_lags + 2) + lower + 1
    histograms = []
    for weight in weights:
        w = weight[inside]
        counts = np.bincount(cell, w * (1 - upper_share), 2 * n * (n_lags + 2) + 1)
        counts += np.bincount(cell + 1, w * upper_share, 2 * n * (n_lags + 2) + 1)
        histograms.append(counts[:-1].reshape(n, 2, n_lags + 2)[..., 1:-1])
    stacked = np.stack(histograms, axis=1).reshape(n, -1)
    return np.minimum(stacked, 4.0)
