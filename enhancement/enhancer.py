"""Speech enhancement by trained networks, for any length, sample rate and number of channels.

Networks work at 16 kHz. At other sample rates, the highest band (above about 7.5 kHz, or the last
tenth if the sample rate is lower) is the difference of the recording and its version resampled to
16 kHz and back. It is added to the output of the network with the gain of each frame from 4 to
8 kHz, or in the upper half of the band: noise mostly has the same level below and above 8 kHz, and
speech that reaches 8 kHz extends beyond it.

A constant offset (DC) of a channel is removed first.

Long recordings are enhanced in overlapping segments that are crossfaded. The overlap gives the
network context, and memory does not grow with the length of the recording.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import nn

from harmnmf.device import resolve_device
from harmnmf.enhancement.models.registry import load_model
from harmnmf.errors import FormatError, ParameterError
from harmnmf.signal.audio import SAMPLE_RATE, Audio, check_rate
from harmnmf.signal.reading import stream_audio

from .attenuation import Attenuation
from .audio_enhancer import AudioEnhancer, find_offset
from .overlap import crossfade, split_overlapping
from .shipped import find_model
from .streaming import EnhancementStream, StreamingModel
from .transform import ShortTimeFourier

__all__ = ["Enhancer"]

# Seconds from one segment to the next, and of their overlap. Whole seconds, so that the frames of
# all segments coincide at any sample rate.
_STEP, _OVERLAP = 20, 4
_HIGH_BAND = 4_000  # Hz


class Enhancer(AudioEnhancer):
    """Remove noise from recordings with a trained network.

    Parameters
    ----------
    model : torch.nn.Module
        A network of :mod:`harmnmf.enhancement.models`. It is set to evaluation mode and moved to
        the device.
    dry : float, default=0
        Proportion of the noisy signal in the output, from 0 to 1.
    attenuation_limit : float, optional
        Maximum attenuation of a time-frequency bin in dB.
    device : str, default="auto"
        Device of the computation.

    Raises
    ------
    ParameterError
        If a parameter is out of range, or the model has no transform.

    Examples
    --------
    >>> from harmnmf.enhancement.models.registry import build_model
    >>> enhance = Enhancer(build_model("harmonic-light"), device="cpu")
    >>> stereo = np.random.default_rng(0).normal(0, 0.1, (2, 22050))
    >>> enhance(stereo, sample_rate=44100).shape
    (2, 22050)
    >>> enhance(Audio(stereo, 44100)).duration
    0.5
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        dry: float = 0.0,
        attenuation_limit: float | None = None,
        device: str = "auto",
    ) -> None:
        transform: ShortTimeFourier | None = getattr(model, "transform", None)
        if transform is None:
            raise ParameterError("model must be a network of harmnmf.enhancement.models")
        self.attenuation = Attenuation(dry, attenuation_limit)
        self.device = resolve_device(device)
        self.model = model.eval().to(self.device)
        self.transform = transform

    @classmethod
    def load(cls, source: str | os.PathLike[str], **options: Any) -> Enhancer:
        """Load a shipped network by name, or one from a file.

        Parameters
        ----------
        source : str or path-like
            Name in :func:`harmnmf.enhancement.shipped_models`, or path of a file.
        **options
            Parameters of the class. `attenuation_limit` defaults to the one stored in the file.

        Returns
        -------
        Enhancer
            Enhancer with the loaded network.

        Raises
        ------
        HarmnmfError
            If there is no such network, or (FormatError) its file is invalid.
        """
        path = find_model(source)
        model, metadata = load_model(path)
        recommended = metadata.get("attenuation_limit")
        if not isinstance(recommended, int | float | None):
            raise FormatError(f"{path}: attenuation_limit must be decibels, not {recommended!r}")
        return cls(model, **{"attenuation_limit": recommended, **options})

    def enhance(self, audio: Audio) -> Audio:
        """Enhance a recording, each channel separately."""
        blocks = self.enhance_blocks(stream_audio(audio, mono=False), audio.sample_rate)
        enhanced = np.concatenate(list(blocks), axis=-1).reshape(audio.samples.shape)
        return Audio(enhanced, audio.sample_rate)

    def stream(self) -> EnhancementStream:
        """Start enhancing a mono signal at 16 kHz in real time; the network must be causal."""
        return EnhancementStream(cast(StreamingModel, self.model), self.attenuation, self.device)

    def enhance_blocks(
        self, blocks: Iterable[NDArray], sample_rate: int
    ) -> Iterator[NDArray[np.float32]]:
        """Enhance a recording block by block, in constant memory.

        Parameters
        ----------
        blocks : iterable of ndarray, shape (n_samples,) or (n_channels, n_samples)
            Consecutive blocks of any length; at least one.
        sample_rate : int
            Sample rate in Hz.

        Yields
        ------
        ndarray
            Consecutive blocks of the enhanced recording, of other lengths.

        Raises
        ------
        ParameterError
            If the sample rate is invalid.
        AudioError
            If a block is not valid as `Audio`.
        """
        sample_rate = check_rate(sample_rate)
        n_step, n_overlap = _STEP * sample_rate, _OVERLAP * sample_rate
        segments = split_overlapping(blocks, n_step, n_overlap)
        enhanced = (self._enhance_segment(Audio(segment, sample_rate)) for segment in segments)
        return crossfade(enhanced, n_step, n_overlap)

    def _enhance_segment(self, audio: Audio) -> NDArray[np.float32]:
        channels = np.atleast_2d(audio.samples)
        enhanced = [self._enhance_channel(channel, audio.sample_rate) for channel in channels]
        return np.stack(enhanced).reshape(audio.samples.shape)

    @torch.inference_mode()
    def _enhance_channel(
        self, samples: NDArray[np.float32], sample_rate: int
    ) -> NDArray[np.float32]:
        noisy = samples
        if self.attenuation.limit != 0:
            samples = samples - find_offset(samples, sample_rate)
        # Resampling twice must not lose a sample at the end.
        n_padding = 0 if sample_rate == SAMPLE_RATE else 2 * -(-sample_rate // SAMPLE_RATE)
        low_band = _resample(np.pad(samples, (0, n_padding)), sample_rate, SAMPLE_RATE)
        spectrum = self.transform.analyze(torch.from_numpy(low_band).to(self.device))
        estimate = self.attenuation.limit_bins(self.model(spectrum[None])[0], spectrum)
        speech = self.transform.synthesize(estimate, len(low_band)).cpu().numpy()
        enhanced = _resample(speech, SAMPLE_RATE, sample_rate)[: len(samples)]
        if sample_rate != SAMPLE_RATE:
            high_band = samples - _resample(low_band, SAMPLE_RATE, sample_rate)[: len(samples)]
            gain = self._high_band_gain(estimate, spectrum, min(_HIGH_BAND, sample_rate // 4))
            frame_rate = SAMPLE_RATE / sample_rate / self.transform.hop_length  # per sample
            time = np.arange(len(samples)) * frame_rate
            enhanced += high_band * np.interp(time, np.arange(len(gain)), gain)
        return self.attenuation.mix(enhanced, noisy)

    def _high_band_gain(
        self, estimate: torch.Tensor, spectrum: torch.Tensor, lowest: int
    ) -> NDArray[np.float32]:
        """Gain above a frequency in Hz, shape (n_frames,); at most 1."""
        first = lowest * self.transform.n_fft // SAMPLE_RATE
        after, before = (x[first:].abs().square().sum(dim=0) for x in (estimate, spectrum))
        tiny = torch.finfo(torch.float32).tiny
        gain: NDArray[np.float32] = ((after + tiny) / (before + tiny)).sqrt().cpu().numpy()
        return gain.clip(max=1)


def _resample(samples: NDArray[np.float32], sample_rate: int, new_rate: int) -> NDArray[np.float32]:
    """Resample; unlike :meth:`harmnmf.Audio.resample`, the result may be empty."""
    if sample_rate == new_rate:
        return samples
    resampled: NDArray[np.float32] = soxr.resample(samples, sample_rate, new_rate, quality="HQ")
    return resampled
