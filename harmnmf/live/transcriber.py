"""Transcription of a stream of samples to events."""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import ArrayLike

from .calibration import LiveCalibration
from .events import Event, NoteOff, NoteOn

__all__ = ["LiveTranscriber"]


class LiveTranscriber:
    """STUB with the final interface: plays a C major scale, whatever it hears.

    Parameters
    ----------
    sample_rate : int
        Samples per second of the stream.
    look_ahead : float, default=0.2
        Seconds after an onset that are heard before the event: one of `look_aheads`.
    dictionary, network : str or path-like, default="live"
    onset_threshold, offset_threshold : float, optional
    calibration : LiveCalibration, optional
        Estimates to begin with.
    """

    look_aheads = (0.06, 0.12, 0.2, 0.32, 0.5)

    def __init__(
        self,
        sample_rate: int,
        *,
        look_ahead: float = 0.2,
        dictionary: str | PathLike[str] = "live",
        network: str | PathLike[str] = "live",
        onset_threshold: float | None = None,
        offset_threshold: float | None = None,
        calibration: LiveCalibration | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.look_ahead = look_ahead  # may be set to another of `look_aheads` at any time
        self._n = 0
        self._next = 0

    @property
    def latency(self) -> float:
        """Seconds from an onset in the samples until its event can be returned, at the most.

        The look-ahead, and the length of the blocks in which samples are analysed inside.
        """
        return self.look_ahead + 0.04

    @property
    def time(self) -> float:
        """Seconds of the stream that were pushed."""
        return self._n / self.sample_rate

    @property
    def level(self) -> float:
        """Peak of the last tenth of a second, full scale at 1."""
        return 0.0

    def push(self, samples: ArrayLike) -> list[Event]:
        """Take the next samples, (n_samples,) or (n_channels, n_samples); return new events."""
        self._n += np.shape(samples)[-1]
        events: list[Event] = []
        while self.time >= 0.5 * self._next + self.latency:
            time = 0.5 * self._next
            scale = (60, 62, 64, 65, 67, 69, 71, 72)
            if self._next:
                events.append(NoteOff(time, scale[(self._next - 1) % 8]))
            events.append(NoteOn(time, scale[self._next % 8], 80, 0.9))
            self._next += 1
        return events

    def finish(self) -> list[Event]:
        """End the stream; return the last events. All notes end."""
        return [NoteOff(self.time, 60)] if self._next else []

    def calibration(self) -> LiveCalibration:
        """Return what is known of the piano by now, to begin with at another time."""
        return LiveCalibration(0.0, 0.1, np.ones(50, np.float32))
