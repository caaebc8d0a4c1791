"""Transcription of a source of samples while it plays, as fast as the computer can."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.validation import check_number

from .clock import Clock
from .events import Event
from .inputs import Source
from .look_ahead import LookAheadControl
from .losses import Losses, SkippedTime
from .reader import Arrival, Reader
from .sample_clock import SampleClock

__all__ = ["Following", "Report", "Transcriber", "follow"]

_POLL = 0.005  # seconds between looks at the queue
_LONGEST_BLOCK = 0.5  # seconds of samples that are pushed at once
_KEPT = 0.1  # seconds of samples that are pushed of a queue that is dropped
_LONGEST_SILENCE = 5.0  # seconds at the beginning
_LAST_WAIT = 0.25  # seconds, after `stop`, for samples that are being read


class Transcriber(Protocol):
    """What `follow` uses of :class:`harmnmf.live.transcriber.LiveTranscriber`."""

    look_ahead: float

    @property
    def look_aheads(self) -> tuple[float, ...]:
        """Values of the look-ahead to choose from, in seconds."""
        ...

    def push(self, samples: ArrayLike, /) -> list[Event]:
        """Take the next samples, (n_channels, n_samples); return new events."""
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
        Seconds of the stream that were transcribed or dropped by now.
    events : list of Event
        New events.
    samples : ndarray, shape (n_channels, n_samples)
        The next samples of the source, also those that were not transcribed. The last report has
        no samples.
    level : float
        Their peak, full scale at 1.
    delay : float
        Seconds of samples that wait to be transcribed.
    look_ahead : float
        Seconds that are heard after an onset before its event.
    n_lost : int
        Number of samples per channel so far that were not transcribed, since the source lost them
        or the computer was too slow.
    messages : list of str
        Lines for the user.
    """

    time: float
    events: list[Event]
    samples: NDArray[np.float32]
    level: float
    delay: float
    look_ahead: float
    n_lost: int
    messages: list[str]


def follow(
    source: Source, transcriber: Transcriber, *, max_delay: float = 2.0, clock: Clock = time
) -> Following:
    """Transcribe a source while it plays.

    Parameters
    ----------
    source : Source
        Samples: a `DeviceInput`, `PipeInput` or `FileInput`.
    transcriber : LiveTranscriber
        Made for the sample rate of the source.
    max_delay : float, default=2.0
        Seconds of samples that may wait before they are dropped, if the source is live.
    clock : Clock, optional
        Default: the module `time`.

    Returns
    -------
    Following
        Iterator over reports.

    Raises
    ------
    ParameterError
        If `max_delay` is not above 0.

    Examples
    --------
    >>> from harmnmf import Audio
    >>> from harmnmf.live.inputs import FileInput
    >>> from harmnmf.live.transcriber import LiveTranscriber
    >>> silence = Audio(np.zeros(16000), 16000)
    >>> with FileInput(silence, fast=True) as source:
    ...     for report in follow(source, LiveTranscriber(16000)):
    ...         time, events = report.time, report.events
    >>> time
    1.0
    """
    return Following(source, transcriber, max_delay, clock)


class Following:
    """Iterator over the reports of a transcription that goes on: see `follow`.

    A thread reads the source. All samples that have arrived, up to 0.5 s, are pushed at once. If a
    live source is faster than the computer, the look-ahead is shortened until the delays end, and
    extended again later. Only if more than `max_delay` waits, samples are dropped: all but the last
    0.1 s are skipped, and the times of later events corrected by that.

    The last report, after the end or an error of the source or `stop`, has the events of the
    transcriber's `finish`. An error is raised after it.

    Examples
    --------
    To end by Ctrl-C without losing what was played until then:

    >>> import signal
    >>> def end_by_interrupt(following):
    ...     signal.signal(signal.SIGINT, lambda *_: following.stop())
    """

    def __init__(
        self, source: Source, transcriber: Transcriber, max_delay: float, clock: Clock
    ) -> None:
        check_number("max_delay", max_delay, above=0)
        self._source = source
        self._transcriber = transcriber
        self._max_delay = max_delay
        self._clock = clock
        self._look_ahead = LookAheadControl(
            transcriber.look_aheads, transcriber.look_ahead, max_delay
        )
        self._sample_clock = SampleClock(source.sample_rate)
        self._losses = Losses(source.sample_rate)
        self._skipped = SkippedTime()
        self._n_reported = 0
        self._n_silent = 0.0  # zeros at the beginning; infinity once there was another sample
        self._end_of_wait: float | None = None
        self._is_over = False
        self._reader = Reader(source, clock)

    def stop(self) -> None:
        """End the stream; what has arrived is still transcribed, in the next reports.

        A signal handler may call it.
        """
        self._reader.stop()

    def __iter__(self) -> Iterator[Report]:
        return self

    def __next__(self) -> Report:
        if self._is_over:
            if self._reader.error is not None:
                raise self._reader.error
            raise StopIteration
        try:
            return self._next_report()
        except BaseException:
            self.stop()
            raise

    def _next_report(self) -> Report:
        reader, is_live = self._reader, self._source.is_live
        while True:
            is_stopped = reader.is_stopped
            is_over = reader.is_done or (is_stopped and self._has_waited())
            delay = reader.delay
            if is_live and delay > self._max_delay and not (is_over or is_stopped):
                self._look_ahead.minimize()
                return self._transcribe(reader.take(delay), _KEPT)
            if arrivals := reader.take(_LONGEST_BLOCK):
                return self._transcribe(arrivals)
            if is_over:
                return self._finish()
            self._clock.sleep(_POLL)

    def _has_waited(self) -> bool:
        """Whether the reader had its time to end after `stop`: a pipe may wait for ever."""
        now = self._clock.monotonic()
        if self._end_of_wait is None:
            self._end_of_wait = now + _LAST_WAIT
        return now >= self._end_of_wait

    def _transcribe(self, arrivals: list[Arrival], kept: float = math.inf) -> Report:
        """Push samples, of which only the last are `kept` in seconds."""
        rate = self._source.sample_rate
        samples = np.concatenate([arrival.samples for arrival in arrivals], axis=1)
        n_pushed = round(min(samples.shape[1], kept * rate))
        if n_skipped := samples.shape[1] - n_pushed:
            self._skipped.add(self._n_reported / rate, n_skipped / rate)
            self._losses.n_skipped += n_skipped
        begin = self._clock.monotonic()
        events = self._transcriber.push(samples[:, n_skipped:])
        end = self._clock.monotonic()
        messages = []
        if self._source.is_live:
            for arrival in arrivals:
                self._sample_clock.update(arrival.time, arrival.samples.shape[1])
            self._look_ahead.update(end, self._reader.delay, n_pushed / rate, end - begin)
            messages = [
                *self._set_look_ahead(),
                *self._sample_clock.messages(),
                *self._warn_of_silence(samples),
            ]
        self._losses.n_missing = self._source.n_lost
        return self._report(samples, events, [*messages, *self._losses.messages(end)])

    def _set_look_ahead(self) -> list[str]:
        before, now = self._transcriber.look_ahead, self._look_ahead.look_ahead
        if now == before:
            return []
        self._transcriber.look_ahead = now
        if now > before:
            reason = "this computer is fast enough again"
        else:
            reason = "this computer is too slow"
            # Less if the caller, not the transcriber, takes the time.
            if (load := self._look_ahead.load) >= 1:
                reason += f": it needs {load:.1f} s for 1 s of sound"
        return [f"{reason}; the look-ahead is now {1000 * now:.0f} ms"]

    def _warn_of_silence(self, samples: NDArray[np.float32]) -> list[str]:
        """Say that nothing but zeros came, as from microphones that are not permitted."""
        before = self._n_silent
        self._n_silent = math.inf if samples.any() else before + samples.shape[1]
        if before < _LONGEST_SILENCE * self._source.sample_rate <= self._n_silent < math.inf:
            return [
                f"nothing but zeros in the first {_LONGEST_SILENCE:.0f} s: is the input muted, or "
                "this program not permitted to use the microphone?"
            ]
        return []

    def _finish(self) -> Report:
        self._is_over = True
        events = self._transcriber.finish()
        none = np.zeros((self._source.n_channels, 0), np.float32)
        return self._report(none, events, self._losses.messages(None))

    def _report(
        self, samples: NDArray[np.float32], events: list[Event], messages: list[str]
    ) -> Report:
        self._n_reported += samples.shape[1]
        return Report(
            time=self._n_reported / self._source.sample_rate,
            events=[self._skipped.correct(event) for event in events],
            samples=samples,
            level=float(np.abs(samples).max(initial=0.0)),
            delay=self._reader.delay,
            look_ahead=self._transcriber.look_ahead,
            n_lost=self._losses.n_skipped + self._losses.n_missing,
            messages=messages,
        )
