"""Account of samples that were not transcribed."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace

from .events import Event

__all__ = ["Losses", "SkippedTime"]

_BETWEEN_MESSAGES = 5.0  # seconds
_ROUNDING = 1e-6  # seconds: less than a sample


class SkippedTime:
    """Parts of a stream that a transcriber does not know of, to correct the times of its events.

    Examples
    --------
    >>> from harmnmf.live.events import NoteOff
    >>> skipped = SkippedTime()
    >>> skipped.add(10.0, 2.0)
    >>> [skipped.correct(NoteOff(time, 60)).time for time in (9.5, 10.5)]
    [9.5, 12.5]
    """

    def __init__(self) -> None:
        self._places: list[float] = []  # in seconds of the transcriber
        self._totals = [0.0]

    def add(self, time: float, duration: float) -> None:
        """Note that the next samples after `time` in seconds of the stream are skipped."""
        self._places.append(time - self._totals[-1] - _ROUNDING)
        self._totals.append(self._totals[-1] + duration)

    def correct(self, event: Event) -> Event:
        """Return an event of the transcriber with its time in the stream."""
        total = self._totals[bisect_right(self._places, event.time)]
        return replace(event, time=event.time + total)


class Losses:
    """Counts of lost samples, and messages about them, not too often.

    Parameters
    ----------
    sample_rate : int
        Samples per second.
    """

    def __init__(self, sample_rate: int) -> None:
        self.n_skipped = 0
        """Number of samples that the computer was too slow for."""
        self.n_missing = 0
        """Number of samples that the source lost."""
        self._sample_rate = sample_rate
        self._told = (0, 0)
        self._next_time = -math.inf

    def messages(self, time: float | None) -> list[str]:
        """Say what was lost since the last messages, if these were not in the last 5 s.

        Parameters
        ----------
        time : float or None
            Seconds by any clock. With None, all is said.

        Returns
        -------
        list of str
        """
        if time is not None and time < self._next_time:
            return []
        skipped, missing = (
            (count - told) / self._sample_rate
            for count, told in zip((self.n_skipped, self.n_missing), self._told, strict=True)
        )
        self._told = (self.n_skipped, self.n_missing)
        messages = []
        if skipped:
            messages.append(
                f"this computer is too slow: {skipped:.2f} s of sound were not transcribed"
            )
        if missing:
            messages.append(
                f"{missing:.2f} s of sound were lost by the input; silence stands in their place"
            )
        if messages and time is not None:
            self._next_time = time + _BETWEEN_MESSAGES
        return messages
