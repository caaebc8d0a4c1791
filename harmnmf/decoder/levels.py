"""Levels that those of a recording's notes are measured by."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["AUDIBLE", "RunningLevel", "reference_level"]

# The loud parts: this quantile of the loudest row of each frame. Frames 40 dB below the second
# quantile are left out, or a recording with long silences would have too low a level.
_LOUD = 0.99
_LOUD_OF_ALL = 0.995
AUDIBLE = 0.01
# A recording whose loud parts are below this level in dB (a full-scale sinusoid is at 0 dB) is
# silent.
_SILENCE = -70.0
# Frames after which what was heard of a stream counts by a factor of 1/e: a minute.
_MEMORY = 3000.0
# Its levels are counted in steps of half a decibel.
_LOWEST, _STEP, _N_LEVELS = -120.0, 0.5, 320
_MIDDLES = 10 ** ((_LOWEST + _STEP * (np.arange(_N_LEVELS) + 0.5)) / 20)
# Frames that a level to begin with counts for.
_START = 500.0


def reference_level(V: NDArray[np.float32]) -> float:
    """Measure the magnitude of the loud parts of a recording.

    `V`, (n_rows, n_frames), has magnitudes of frequency bins or of keys.
    """
    loudest = V.max(axis=0, initial=0.0)
    if loudest.size:
        loudest = loudest[loudest > AUDIBLE * np.quantile(loudest, _LOUD_OF_ALL)]
    loud = float(np.quantile(loudest, _LOUD)) if loudest.size else 0.0
    return max(loud, 10 ** (_SILENCE / 20))


class RunningLevel:
    """The :func:`reference_level` of a stream, from what was heard so far.

    Parameters
    ----------
    level : float, optional
        Level to begin with. Default: that of the first frame.

    Examples
    --------
    >>> level = RunningLevel()
    >>> [round(level.push(np.full((3, 100), x)), 2) for x in (0.1, 1.0, 0.1)]
    [0.1, 1.03, 1.03]
    """

    def __init__(self, level: float | None = None) -> None:
        self._counts = np.zeros(_N_LEVELS)
        if level is not None:
            self._add(np.array([level]), _START)

    def push(self, V: NDArray[np.float32]) -> float:
        """Take the magnitudes of the next frames, (n_bins, n_frames); return the level."""
        self._counts *= math.exp(-V.shape[1] / _MEMORY)
        self._add(V.max(axis=0, initial=0.0), 1.0)
        return self.level

    @property
    def level(self) -> float:
        """Magnitude of the loud parts."""
        audible = AUDIBLE * _quantile(self._counts, _LOUD_OF_ALL) < _MIDDLES
        return max(_quantile(self._counts * audible, _LOUD), 10 ** (_SILENCE / 20))

    def _add(self, loudest: NDArray[np.floating], count: float) -> None:
        decibels = 20 * np.log10(np.maximum(loudest, 1e-12))
        steps = ((decibels - _LOWEST) / _STEP).astype(int).clip(0, _N_LEVELS - 1)
        np.add.at(self._counts, steps, count)


def _quantile(counts: NDArray[np.float64], q: float) -> float:
    """Quantile of the counted levels; 0 if there are none."""
    total = counts.sum()
    if not total > 0:
        return 0.0
    return float(_MIDDLES[np.searchsorted(counts.cumsum(), q * total)])
