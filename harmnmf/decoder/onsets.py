"""Onsets in the probabilities of a network: which peaks are onsets, and where they lie.

The limits that depend on the key are from performances, scales and chords rendered with pianos that
neither the shipped network nor the dictionary knows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ONSET", "SHORTEST_NOTE", "SHORTEST_PEDAL", "TOGETHER", "are_overtones", "measure_onsets",
    "onset_thresholds", "repetition_frames",
]  # fmt: skip

# Seconds.
SHORTEST_NOTE = 0.04
SHORTEST_PEDAL = 0.1
TOGETHER = 0.05  # between onsets of keys that are struck together
_REPETITION = 0.06  # within which a key has no two onsets
# Music seldom has the lowest and the highest keys, A0 to D1 and D#7 to C8: networks find them
# improbable, and are right at lower probabilities than elsewhere. Thresholds there are this part.
_SELDOM = (26, 99)
_SELDOM_THRESHOLD = 2 / 3
# The fundamentals of the deepest strings, up to F1, are weak, and the levels of their partials
# differ from piano to piano as no others do: a note at one of these partials, in semitones, that is
# struck together with such a string is heard only if its probability is near that of the string.
_DEEPEST = 29
_PARTIALS = np.unique(np.round(12 * np.log2(np.arange(2, 25))).astype(int))
_OVERTONE_RATIO = 0.95
# Row of the key, frame of the peak, its interpolated position in frames and its height there, and
# MIDI velocity.
ONSET = np.dtype(
    [("key", "i8"), ("frame", "i8"), ("position", "f8"), ("summit", "f8"), ("velocity", "i8")]
)


def onset_thresholds(pitches: NDArray[np.int64], onset_threshold: float) -> NDArray[np.float64]:
    """Minimum probability of an onset of each key.

    Parameters
    ----------
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    onset_threshold : float
        Threshold; the lowest and the highest keys have two thirds of it.

    Returns
    -------
    ndarray, shape (n_pitches,)

    Examples
    --------
    >>> onset_thresholds(np.array([21, 60, 108]), 0.6).round(3)
    array([0.4, 0.6, 0.4])
    """
    is_seldom = (pitches <= _SELDOM[0]) | (pitches >= _SELDOM[1])
    thresholds: NDArray[np.float64] = onset_threshold * np.where(is_seldom, _SELDOM_THRESHOLD, 1)
    return thresholds


def repetition_frames(hop_duration: float) -> int:
    """Frames on either side of an onset within which its key has no other, at least 1.

    `hop_duration` is in seconds from frame to frame.
    """
    return max(1, round(_REPETITION / hop_duration))


def measure_onsets(
    onset: NDArray[np.float32],
    velocity: NDArray[np.float32],
    keys: NDArray[np.int64],
    peaks: NDArray[np.int64],
    start: int,
) -> NDArray[np.void]:
    """Measure the position, height and velocity of onsets.

    Peaks are interpolated by triangles through their neighbours; before the first and after the
    last frame probabilities are 0.

    Parameters
    ----------
    onset, velocity : ndarray, shape (n_pitches, n_frames)
        As of :class:`~harmnmf.decoder.posteriors.NotePosteriors`.
    keys, peaks : ndarray of int, shape (n_onsets,)
        Rows and frames of the peaks.
    start : int
        Number of the first frame.

    Returns
    -------
    ndarray of `ONSET`, shape (n_onsets,)
        Frames and positions are counted from frame 0.

    Examples
    --------
    >>> onset, velocity = np.array([[0.2, 0.8, 0.5]]), np.full((1, 3), 0.5)
    >>> found = measure_onsets(onset, velocity, np.array([0]), np.array([1]), start=100)
    >>> found["frame"], found["position"], found["summit"].round(2), found["velocity"]
    (array([101]), array([101.25]), array([0.95]), array([64]))
    """
    found = np.empty(len(keys), ONSET)
    found["key"], found["frame"] = keys, start + peaks
    offset, found["summit"] = _interpolated(onset, keys, peaks)
    found["position"] = found["frame"] + offset
    found["velocity"] = np.round(127 * velocity[keys, peaks]).clip(1, 127)
    return found


def are_overtones(
    found: NDArray[np.void], pitches: NDArray[np.int64], hop_duration: float
) -> NDArray[np.bool_]:
    """Tell which onsets are overtones of a deep string rather than notes.

    Parameters
    ----------
    found : ndarray of `ONSET`, shape (n_onsets,)
        Onsets.
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    hop_duration : float
        Seconds from frame to frame.

    Returns
    -------
    ndarray of bool, shape (n_onsets,)
        Whether the key is at a partial of a deep string that is struck together with it, and less
        probable.

    Examples
    --------
    >>> found = np.array([(0, 50, 50, 0.9, 64), (1, 50, 50, 0.6, 64)], ONSET)
    >>> are_overtones(found, np.array([24, 36]), 0.02)
    array([False,  True])
    """
    pitch, position, summit = pitches[found["key"]], found["position"], found["summit"]
    overtones = np.zeros(len(found), bool)
    for deep in np.flatnonzero(pitch <= _DEEPEST):
        are_together = np.abs(position - position[deep]) <= TOGETHER / hop_duration
        are_lower = summit < _OVERTONE_RATIO * summit[deep]
        overtones |= are_together & are_lower & np.isin(pitch - pitch[deep], _PARTIALS)
    return overtones


def _interpolated(
    onset: NDArray[np.float32], keys: NDArray[np.int64], peaks: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolate peaks by triangles through their neighbours: distances in frames, and heights."""
    padded = np.pad(onset, ((0, 0), (1, 1))).astype(np.float64)
    before, at, after = (padded[keys, peaks + d] for d in range(3))
    rise = at - np.minimum(before, after)
    offset = 0.5 * (after - before) / np.where(rise > 0, rise, np.inf)
    return offset, at + np.abs(offset) * rise
