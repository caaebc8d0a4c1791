"""Transcription of a source of samples while it plays, as fast as the computer can."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clock import Clock
from .events import Event
from .inputs import Source

__all__ = ["Following", "Report", "follow"]


class Transcriber(Protocol):
    """What :func:`follow` uses of a :class:`harmnmf.live.transcriber.LiveTranscriber`."""

    look_ahead: float

    @property
    def look_aheads(self) -> tuple[float, ...]:
        """Seconds that may be chosen."""
        ...

    def push(self, samples: ArrayLike) -> list[Event]:
        """Take the next samples and return new events."""
        ...

    def finish(self) -> list[Event]:
        """Return the last events."""
        ...


@dataclass(frozen=True, eq=False)
class Report:
    """What has happened since the last report.

    Parameters
    ----------
    time : float
        Seconds of the stream by now.
    events : list of Event
        New events.
    samples : ndarray, shape (n_channels, n_samples)
        New samples of the source, all of them; none in the last report.
    level : float
        Peak of these samples, full scale at 1.
    delay : float
        Seconds of samples that wait to be transcribed.
    look_ahead : float
        Seconds after an onset that are heard before its event.
    n_lost : int
        Number of samples so far that were not transcribed, by the source or by a slow computer.
    messages : list of str
        What the user should know, a line each.
    """

    time: float
    events: list[Event]
    samples: NDArray[np.float32]
    level: float
    delay: float
    look_ahead: float
    n_lost: int
    messages: list[str]


def follow(source: Source, transcriber: Transcriber, *, max_delay: float = 2.0) -> Following:
    """Transcribe a source while it plays: see `Following`."""
    return Following(source, transcriber, max_delay=max_delay)


class Following:
    """FIRST VERSION with the final interface: iterator over reports."""

    def __init__(
        self,
        source: Source,
        transcriber: Transcriber,
        *,
        max_delay: float = 2.0,
        clock: Clock = time,
    ) -> None:
        self._source = source
        self._transcriber = transcriber
        self._clock = clock
        self._waiting: deque[NDArray[np.float32]] = deque()
        self._error: Exception | None = None
        self._is_stopped = self._is_finished = False
        self._n = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the stream: what waits is still transcribed. May be called by a signal handler."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[Report]:
        return self

    def __next__(self) -> Report:
        if self._is_finished:
            if self._error is not None:
                raise self._error
            raise StopIteration
        while True:
            is_over = not self._thread.is_alive() or self._is_stopped
            if self._waiting:
                samples = self._waiting.popleft()
                return self._report(samples, self._transcriber.push(samples))
            if is_over:
                self._is_finished = True
                empty = np.zeros((self._source.n_channels, 0), np.float32)
                return self._report(empty, self._transcriber.finish())
            self._clock.sleep(0.005)

    def _report(self, samples: NDArray[np.float32], events: list[Event]) -> Report:
        self._n += samples.shape[1]
        return Report(
            self._n / self._source.sample_rate,
            events,
            samples,
            float(np.abs(samples).max(initial=0.0)),
            0.0,
            self._transcriber.look_ahead,
            self._source.n_lost,
            [],
        )

    def _read(self) -> None:
        try:
            while not self._is_stopped and (block := self._source.read()) is not None:
                self._waiting.append(block)
        except Exception as error:
            self._error = error
