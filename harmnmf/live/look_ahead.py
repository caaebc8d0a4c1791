"""Choice of the look-ahead that a computer has time for."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["LookAheadControl"]

# Seconds: a delay that lasts for an interval means that the computer is too slow.
_LONG_DELAY = 0.2
_INTERVAL = 1.0
# A longer look-ahead is tried when delays were short for some time, and time is left.
_SHORT_DELAY = 0.1
_FIRST_HOLD = 10.0
_LONGEST_HOLD = 600.0
_MAX_LOAD = 0.7
_LOAD_MEMORY = 5.0  # seconds of samples over which the load is averaged


class LookAheadControl:
    """Shortens the look-ahead while a computer is too slow, and extends it when it is not.

    As in CoDel, a delay counts only if it lasts: a queue that a hiccup has filled empties by
    itself. The look-ahead becomes longer again when delays have been short for 10 s, or twice as
    long each time that this turns out to be too early.

    Parameters
    ----------
    look_aheads : sequence of float
        Seconds to choose from.
    wanted : float
        Longest look-ahead in seconds, and the first.
    max_delay : float
        Delay in seconds that must not be reached: half of it chooses the shortest look-ahead.

    References
    ----------
    K. Nichols and V. Jacobson, "Controlling Queue Delay", ACM Queue 10 (5), 2012.

    Examples
    --------
    >>> control = LookAheadControl((0.06, 0.2, 0.5), 0.2, max_delay=2.0)
    >>> for second in range(3):
    ...     control.update(second, delay=0.3, duration=1.0, spent=1.2)
    >>> control.look_ahead
    0.06
    """

    def __init__(self, look_aheads: Sequence[float], wanted: float, max_delay: float) -> None:
        self._choices = sorted({wanted, *(value for value in look_aheads if value < wanted)})
        self._place = len(self._choices) - 1
        self._max_delay = max_delay
        self._long_delay = min(_LONG_DELAY, max_delay / 4)
        self._late_since: float | None = None
        self._punctual_since: float | None = None
        self._hold = _FIRST_HOLD
        self._is_trial = False
        self._duration = self._spent = 0.0

    @property
    def look_ahead(self) -> float:
        """Look-ahead in seconds."""
        return self._choices[self._place]

    @property
    def load(self) -> float:
        """Seconds of work for a second of samples, over about the last 5 s of them."""
        return self._spent / self._duration

    def update(self, time: float, delay: float, duration: float, spent: float) -> None:
        """Take the measurements of a block of samples.

        Parameters
        ----------
        time : float
            Seconds by any clock.
        delay : float
            Seconds of samples that wait now.
        duration, spent : float
            Seconds of samples in the block, and of work for it.
        """
        memory = math.exp(-duration / _LOAD_MEMORY)
        self._duration = memory * self._duration + duration
        self._spent = memory * self._spent + spent
        if delay < self._long_delay:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = time
        if delay > min(_SHORT_DELAY, self._long_delay) or self._punctual_since is None:
            self._punctual_since = time
        if self._late_since is not None and time - self._late_since >= _INTERVAL:
            self._late_since = time
            self._shorten(0 if delay > self._max_delay / 2 else self._place - 1)
        elif time - self._punctual_since >= self._hold and self.load < _MAX_LOAD:
            self._punctual_since = time
            self._is_trial = self._place < len(self._choices) - 1
            self._place += self._is_trial

    def minimize(self) -> None:
        """Choose the shortest look-ahead."""
        self._shorten(0)

    def _shorten(self, place: int) -> None:
        if self._is_trial:
            self._hold = min(2 * self._hold, _LONGEST_HOLD)
            self._is_trial = False
        self._place = max(place, 0)
