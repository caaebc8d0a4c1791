"""A thread that reads a source, so that samples arrive while others are transcribed."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .clock import Clock
from .inputs import Source

__all__ = ["Arrival", "Reader"]

# Seconds of samples that wait at the most; no less than a pipe's trial.
_MAX_WAITING = 10.0
_POLL = 0.01


class Arrival(NamedTuple):
    """Samples, (n_channels, n_samples), and the time of the clock at which they came."""

    time: float
    samples: NDArray[np.float32]


class Reader:
    """Queue of the samples that have arrived from a source.

    It has no locks, so that a signal handler may stop it.

    Parameters
    ----------
    source : Source
        It is read in a thread until its end, an error or `stop`; not while 10 s of samples wait.
    clock : Clock
    """

    def __init__(self, source: Source, clock: Clock) -> None:
        self.error: Exception | None = None
        self.is_stopped = False
        self.is_done = False
        self._source = source
        self._clock = clock
        self._arrivals: deque[Arrival] = deque()
        self._n_read = self._n_taken = 0  # each is changed by one thread only
        # A pipe may wait for ever, which must not keep Python from ending.
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def delay(self) -> float:
        """Seconds of samples that wait."""
        n_waiting = self._n_read - self._n_taken  # below 0 if a block is taken before it counts
        return max(0, n_waiting) / self._source.sample_rate

    def take(self, duration: float) -> list[Arrival]:
        """Return what waits, in order, until it is `duration` in seconds or more."""
        taken: list[Arrival] = []
        n = 0
        while self._arrivals and n < duration * self._source.sample_rate:
            taken.append(self._arrivals.popleft())
            n += taken[-1].samples.shape[1]
        self._n_taken += n
        return taken

    def stop(self) -> None:
        """Read no more than the samples that are being waited for."""
        self.is_stopped = True

    def _read(self) -> None:
        try:
            while not self.is_stopped and (samples := self._source.read()) is not None:
                self._arrivals.append(Arrival(self._clock.monotonic(), samples))
                # Afterwards: what counts as waiting can be taken.
                self._n_read += samples.shape[1]
                while self.delay > _MAX_WAITING and not self.is_stopped:
                    self._clock.sleep(_POLL)
        except Exception as error:
            self.error = error
        finally:
            self.is_done = True
