"""Transcription of a stream of samples to events."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.decoder.causal_network import CausalNetwork
from harmnmf.decoder.network import NoteProbabilities
from harmnmf.decoder.network_stream import NetworkStream
from harmnmf.decoder.stream_analysis import StreamAnalysis
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import AudioError, ParameterError
from harmnmf.signal.audio import Audio
from harmnmf.signal.resampling import PromptResampler

from .calibration import LiveCalibration
from .decoding import EventDecoder
from .events import Event

__all__ = ["LiveTranscriber"]

# Beyond it, powers of the spectra overflow in single precision.
_TOO_LOUD = 1e6


class LiveTranscriber:
    """Transcribe piano music while it is played.

    The samples are analysed in steps of 40 ms by the same stages as those of a file, with what
    cannot wait replaced: windows end 40 ms after the time of their frame; the factorisation is one
    of the last 200 ms, and goes on from what it had before
    (:class:`harmnmf.nmf.solvers.sliding.SlidingActivations`); the network does not look ahead
    further than is asked for; level, tuning and response of the room are those heard so far.
    Events are the same to the bit in whatever blocks the samples arrive.

    Parameters
    ----------
    sample_rate : int
        Samples per second of the stream.
    look_ahead : float, default=0.2
        Seconds that are heard after an onset before its event: one of `look_aheads`.
    dictionary : TimbreDictionary, str or path-like, default="live"
        A dictionary learned for streams, the name of a shipped one, or a file.
    network : CausalNetwork, str or path-like, default="live"
        A network for streams, the name of a shipped one, or a file.
    onset_threshold, offset_threshold, latency : float, optional
        As in :class:`harmnmf.live.decoding.EventDecoder`; the defaults are its own.
    calibration : LiveCalibration, optional
        What is known of the piano and the room beforehand. Default: nothing.

    Raises
    ------
    HarmnmfError
        If there is no such dictionary or network, or (FormatError) its file is damaged.
    AudioError
        If the sample rate is invalid.
    ParameterError
        If the look-ahead is not one of those of the network, a threshold is out of range, or the
        dictionary or the calibration does not match the network.

    Examples
    --------
    >>> transcriber = LiveTranscriber(16000)
    >>> transcriber.push(np.zeros(16000)) + transcriber.finish()
    []
    >>> transcriber.look_aheads
    (0.06, 0.12, 0.2, 0.32, 0.5)
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        look_ahead: float = 0.2,
        dictionary: TimbreDictionary | str | PathLike[str] = "live",
        network: CausalNetwork | str | PathLike[str] = "live",
        onset_threshold: float | None = None,
        offset_threshold: float | None = None,
        latency: float | None = None,
        calibration: LiveCalibration | None = None,
    ) -> None:
        self.sample_rate = Audio(np.zeros(1), sample_rate).sample_rate
        if not isinstance(dictionary, TimbreDictionary):
            dictionary = TimbreDictionary.load(dictionary)
        if not isinstance(network, CausalNetwork):
            network = CausalNetwork.load(network)
        network.check_dictionary(dictionary)
        self.network = network
        front_end = network.settings.front_end
        self._rate, self._hop = front_end.sample_rate, front_end.hop_length
        self.look_aheads = network.look_aheads
        self.look_ahead = look_ahead
        known: dict[str, Any] = {}
        if calibration is not None:
            known = {
                "tuning": calibration.tuning,
                "level": calibration.level,
                "response": calibration.response,
            }
        self._analysis = StreamAnalysis(dictionary, network.settings, track_tuning=True, **known)
        self._stream = NetworkStream(network)
        options = {
            "onset_threshold": onset_threshold,
            "offset_threshold": offset_threshold,
            "latency": latency,
        }
        self._decoder = EventDecoder(
            dictionary.pitches,
            self._hop / self._rate,
            **{name: value for name, value in options.items() if value is not None},
        )
        self._n_decoded = 0  # frames
        self._resampler = (
            None
            if self.sample_rate == self._rate
            else PromptResampler(self.sample_rate, self._rate)
        )
        self._n_pushed = self._n_analysed = 0  # samples of the stream, and of the analysis

    @property
    def look_ahead(self) -> float:
        """Seconds that are heard after an onset before its event; it may be changed at any time."""
        return self.look_aheads[self._head]

    @look_ahead.setter
    def look_ahead(self, seconds: float) -> None:
        near = np.isclose(self.look_aheads, seconds)
        if not near.any():
            known = ", ".join(f"{x:g}" for x in self.look_aheads)
            raise ParameterError(f"look_ahead must be one of {known} s, not {seconds} s")
        self._head = int(near.argmax())

    @property
    def latency(self) -> float:
        """Seconds from an onset in the samples until its event can be returned, at the most.

        The look-ahead, the length of a step, and the delay of the resampler.
        """
        assert self.network.settings.sliding is not None
        step = self.network.settings.sliding.n_step * self._hop / self._rate
        return self.look_ahead + step + (0.0 if self._resampler is None else self._resampler.delay)

    @property
    def time(self) -> float:
        """Seconds of the stream that were pushed."""
        return self._n_pushed / self.sample_rate

    def push(self, samples: ArrayLike) -> list[Event]:
        """Take the next samples; return the events that are known now.

        Parameters
        ----------
        samples : array_like, shape (n_samples,) or (n_channels, n_samples)
            Any number of samples, full scale at ±1. Channels are averaged.

        Returns
        -------
        list of Event
            Notes and pedal in the order in which a MIDI instrument must get them.

        Raises
        ------
        AudioError
            If the samples have another shape, are integers, not finite, or far beyond full scale.
        """
        block = np.asarray(samples)
        if not block.size:
            return []
        mono = Audio(block, self.sample_rate).to_mono().samples
        if np.abs(mono).max() > _TOO_LOUD:
            raise AudioError(f"samples must be at most {_TOO_LOUD:g}, with full scale at 1")
        self._n_pushed += len(mono)
        return self._transcribe(mono if self._resampler is None else self._resampler.push(mono))

    def finish(self) -> list[Event]:
        """End the stream; return the last events. All notes end."""
        events = [] if self._resampler is None else self._transcribe(self._resampler.finish())
        # The stream has these frames; the heads need silence to look at the last of them.
        n_frames = 1 + self._n_analysed // self._hop if self._n_analysed else 0
        silence = np.zeros(round(self.look_ahead * self._rate) + self._hop, np.float32)
        for features in self._analysis.push(silence) + self._analysis.finish():
            self._stream.push(features)
        frames = self._stream.read(self._head, self._n_decoded)
        n_left = n_frames - self._n_decoded
        events += self._decoder.push(NoteProbabilities(*(x[..., :n_left] for x in frames)))
        return events + self._decoder.finish()

    def calibration(self) -> LiveCalibration:
        """Return what was heard of the piano and the room, to begin with another time."""
        analysis = self._analysis
        about = {"duration": self.time, "sample_rate": self.sample_rate}
        return LiveCalibration(analysis.tuning, analysis.level, analysis.response, about)

    def _transcribe(self, samples: NDArray[np.float32]) -> list[Event]:
        self._n_analysed += len(samples)
        events = []
        for features in self._analysis.push(samples):
            self._stream.push(features)
            frames = self._stream.read(self._head, self._n_decoded)
            events += self._decoder.push(frames)
            self._n_decoded += frames.pedal.shape[-1]
        return events
