"""Comparison of the sample rate of a source with the clock of the computer."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import NamedTuple

__all__ = ["SampleClock"]

_WINDOW = 5.0  # seconds
# Relative deviations that are told, by the number of windows after which they are certain.
_LIMITS = {4: 0.01, 24: 0.001}
# From here on, a wrong sample rate rather than a clock that is not exact.
_WRONG_RATE = 0.01


class _Point(NamedTuple):
    """A number of samples, and the time at which they had come."""

    time: float
    n_samples: int


class SampleClock:
    """Measurement of the rate at which samples really come.

    Samples may come late, not early: the earliest of each 5 s count. The median of the rates
    between these leaves out interruptions.

    Parameters
    ----------
    sample_rate : int
        Samples per second, as the source says.

    Examples
    --------
    >>> clock = SampleClock(44100)
    >>> for second in range(30):
    ...     clock.update(second, 48000)
    >>> round(clock.measured_rate)
    48000
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._n = 0
        self._earliest: _Point | None = None  # of this window
        self._points: deque[_Point] = deque(maxlen=max(_LIMITS))
        self._is_told = False

    @property
    def measured_rate(self) -> float:
        """Samples per second by the clock of the computer: the median of the last 2 minutes.

        For the first 15 s, the rate that the source says.
        """
        points = list(self._points)
        # Not between neighbours, whose times may be close.
        rates = [
            (after.n_samples - before.n_samples) / (after.time - before.time)
            for before, after in zip(points[:-2], points[2:], strict=True)
        ]
        return median(rates) if rates else self._sample_rate

    def update(self, time: float, n_samples: int) -> None:
        """Take the time in seconds at which the next samples have come."""
        self._n += n_samples
        point = _Point(time, self._n)
        if self._earliest is None:
            self._earliest = point
        elif time // _WINDOW != self._earliest.time // _WINDOW:
            self._points.append(self._earliest)
            self._earliest = point
        elif self._lead(point) > self._lead(self._earliest):
            self._earliest = point

    def messages(self) -> list[str]:
        """Say once that samples come at another rate, when that is certain; else, nothing."""
        limits = [limit for n, limit in _LIMITS.items() if len(self._points) >= n]
        if self._is_told or not limits:
            return []
        rate = self.measured_rate
        deviation = rate / self._sample_rate - 1
        if abs(deviation) < min(limits):
            return []
        self._is_told = True
        if abs(deviation) < _WRONG_RATE:
            how = "fast" if deviation > 0 else "slow"
            return [
                f"the clock of the input is {how} by {3600 * abs(deviation):.0f} s an hour, "
                "compared with that of the computer; times are by the input's"
            ]
        how = "low" if deviation > 0 else "high"
        return [
            f"about {round(rate, -2):.0f} samples come in a second, not {self._sample_rate}: "
            f"pitches are {abs(12 * math.log2(1 + deviation)):.1f} semitones too {how}; correct the"
            " sample rate or the number of channels"
        ]

    def _lead(self, point: _Point) -> float:
        """Seconds by which samples come early."""
        return point.n_samples / self._sample_rate - point.time
