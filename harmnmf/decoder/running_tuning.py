"""Tuning of a stream, from what was heard so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.signal.harmonics import FrequencyAxis
from harmnmf.signal.tuning import estimate_tuning

from .levels import AUDIBLE

__all__ = ["RunningTuning"]

# A frame in five, ten in a second, is kept, if it is less than 40 dB below the loud parts.
_THINNING = 5
# Kept frames from which the tuning is estimated: the first times, and later.
_FIRST, _LATER = (50, 150), 600
# Changes in semitones that do not matter.
_NEGLIGIBLE = 0.03


class RunningTuning:
    """Estimate by how much the tuning of a stream must be corrected.

    Parameters
    ----------
    axis : FrequencyAxis
        Frequencies of the bins.
    expected : float or None
        :func:`harmnmf.signal.tuning.estimate_tuning` of the dictionary; if it has none, the tuning
        of the stream is not corrected.
    """

    def __init__(self, axis: FrequencyAxis, expected: float | None) -> None:
        self._axis = axis
        self._expected = expected
        self._n_seen = 0
        self._first: tuple[int, ...] = _FIRST
        self._kept: list[NDArray[np.float32]] = []

    def push(self, V: NDArray[np.float32], level: float) -> float:
        """Take the magnitudes of the next frames, (n_bins, n_frames).

        Returns the semitones by which the stream is sharper than was assumed so far; 0 most of the
        time. Later frames must be measured with this correction.
        """
        if self._expected is None:
            return 0.0
        own = V[:, -self._n_seen % _THINNING :: _THINNING]
        self._n_seen += V.shape[1]
        self._kept += [frame.copy() for frame in own.T if frame.max() > AUDIBLE * level]
        n_wanted = self._first[0] if self._first else _LATER
        if len(self._kept) < n_wanted:
            return 0.0
        self._first = self._first[1:]
        tuning = estimate_tuning(np.stack(self._kept, axis=1), self._axis)
        change = 0.0 if tuning is None else tuning - self._expected
        is_heard = abs(change) > _NEGLIGIBLE
        if is_heard or n_wanted == _LATER:
            self._kept = []
        return change if is_heard else 0.0
