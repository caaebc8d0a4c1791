"""Enhancement by trained networks: of any length, at any sample rate, with any channels.

Networks hear 16 kHz. Of a recording with a higher rate, what they do not hear is the difference to
its version at 16 kHz and back: what is above about 7.5 kHz. It is added to what they make of the
rest, frame by frame as much weaker as their estimate is between 4 and 8 kHz: noise is that loud on
both sides of 8 kHz more often than not, and speech that reaches 8 kHz goes on above it.

Long recordings are enhanced in parts of 24 s, 20 s apart. Each fades into the next while both are
there, so that a network has heard something before its word counts, and nothing grows with the
length of the recording.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import soxr
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from harmnmf.device import resolve_device
from harmnmf.enhancement.models.registry import load_model
from harmnmf.errors import FormatError, ParameterError
from harmnmf.signal.audio import SAMPLE_RATE, Audio
from harmnmf.storage.shipped import find_file, shipped_files

from .attenuation import Remainder
from .streaming import EnhancementStream, StreamingModel
from .transform import ShortTimeFourier

__all__ = ["Enhancer", "find_model", "shipped_models"]


# Seconds from part to part, and that they have in common: frames begin at all multiples of these,
# at any sample rate and with any hop that divides 64,000.
_STEP, _COMMON = 20, 4
_HIGH = 4_000  # Hz


class Enhancer:
    """Take noise out of recordings with a trained network.

    Parameters
    ----------
    model : torch.nn.Module
        A network of :mod:`harmnmf.enhancement.models`. It is set to evaluation, and moved to the
        device.
    dry, attenuation_limit
        What is kept of the noise, as of :class:`harmnmf.enhancement.attenuation.Remainder`.
    device : str, default="auto"
        Where to compute.

    Raises
    ------
    ParameterError
        If a parameter is not as described.

    Examples
    --------
    >>> from harmnmf.enhancement.models.registry import build_model
    >>> enhance = Enhancer(build_model("harmonic-light"), device="cpu")
    >>> stereo = np.random.default_rng(0).normal(0, 0.1, (2, 22050))
    >>> enhance(stereo, sample_rate=44100).shape
    (2, 22050)
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
        self.remainder = Remainder(dry, attenuation_limit)
        self.device = resolve_device(device)
        self.model = model.eval().to(self.device)
        self.transform = transform

    @classmethod
    def load(cls, source: str | os.PathLike[str], **options: Any) -> Enhancer:
        """Read a network from a file, or a shipped one by name.

        Parameters
        ----------
        source : str or path-like
            A name of :func:`shipped_models`, or the path of a file.
        **options
            As of the class; but by default, `attenuation_limit` is what the file recommends, if
            it does.

        Returns
        -------
        Enhancer
            With that network.

        Raises
        ------
        HarmnmfError
            If there is no such network.
        FormatError
            If the file is not one, or damaged.
        ParameterError
            If an option is not as described.
        """
        path = find_model(source)
        model, metadata = load_model(path)
        recommended = metadata.get("attenuation_limit")
        if not isinstance(recommended, int | float | None):
            raise FormatError(f"{path}: attenuation_limit must be decibels, not {recommended!r}")
        return cls(model, **{"attenuation_limit": recommended, **options})

    def __call__(self, samples: ArrayLike, sample_rate: int) -> NDArray[np.float32]:
        """Enhance a recording, each channel by itself.

        Parameters
        ----------
        samples : array_like, shape (n_samples,) or (n_channels, n_samples)
            Real, finite, with full scale at ±1.
        sample_rate : int
            In Hz.

        Returns
        -------
        ndarray
            Enhanced samples of the same shape.

        Raises
        ------
        AudioError
            If the samples or the rate are not as described.
        """
        noisy = Audio(np.asarray(samples), sample_rate).samples
        n_block = _STEP * sample_rate
        blocks = (noisy[..., i : i + n_block] for i in range(0, noisy.shape[-1], n_block))
        return np.concatenate(list(self.enhance_blocks(blocks, sample_rate)), axis=-1)

    def stream(self) -> EnhancementStream:
        """Begin to enhance a mono signal of 16 kHz while it is being recorded.

        Returns
        -------
        EnhancementStream
            With the options of this.

        Raises
        ------
        ParameterError
            If the network needs what comes later.
        """
        return EnhancementStream(cast(StreamingModel, self.model), self.remainder, self.device)

    def enhance_blocks(
        self, blocks: Iterable[NDArray], sample_rate: int
    ) -> Iterator[NDArray[np.float32]]:
        """Enhance a recording block by block, in memory that does not grow with its length.

        Parameters
        ----------
        blocks : iterable of ndarray, shape (n_samples,) or (n_channels, n_samples)
            The recording from its beginning, in blocks of any length; at least one.
        sample_rate : int
            In Hz.

        Yields
        ------
        ndarray
            Enhanced samples, in other blocks. Joined together, they are as many as came in.

        Raises
        ------
        AudioError
            If the samples or the rate are not as described.
        """
        n_step, n_common = _STEP * sample_rate, _COMMON * sample_rate
        rising = (np.arange(n_common, dtype=np.float32) + 0.5) / n_common
        before: NDArray[np.float32] | None = None
        for part in _overlapping(blocks, n_step, n_common):
            enhanced = self._enhance(Audio(part, sample_rate))
            if before is not None:
                start = enhanced[..., :n_common]
                start += (1 - rising) * (before - start)
            before = enhanced[..., n_step:]
            yield enhanced[..., :n_step]
        # The last part has nothing to fade into.
        if before is not None and before.shape[-1]:
            yield before

    def _enhance(self, audio: Audio) -> NDArray[np.float32]:
        channels = np.atleast_2d(audio.samples)
        enhanced = [self._enhance_channel(channel, audio.sample_rate) for channel in channels]
        return np.stack(enhanced).reshape(audio.samples.shape)

    @torch.inference_mode()
    def _enhance_channel(
        self, samples: NDArray[np.float32], sample_rate: int
    ) -> NDArray[np.float32]:
        # Neither of the two conversions may come out a sample too short.
        n_more = 0 if sample_rate == SAMPLE_RATE else 2 * -(-sample_rate // SAMPLE_RATE)
        heard = _resample(np.pad(samples, (0, n_more)), sample_rate, SAMPLE_RATE)
        spectrum = self.transform.analyze(torch.from_numpy(heard).to(self.device))
        estimate = self.remainder.keep_in_spectrum(self.model(spectrum[None])[0], spectrum)
        speech = self.transform.synthesize(estimate, len(heard)).cpu().numpy()
        enhanced = _resample(speech, SAMPLE_RATE, sample_rate)[: len(samples)]
        if sample_rate > SAMPLE_RATE:
            unheard = samples - _resample(heard, SAMPLE_RATE, sample_rate)[: len(samples)]
            time = np.arange(len(samples)) * (SAMPLE_RATE / sample_rate / self.transform.hop_length)
            gain = self._high_gain(estimate, spectrum)
            enhanced += unheard * np.interp(time, np.arange(len(gain)), gain)
        return self.remainder.keep_in_samples(enhanced, samples)

    def _high_gain(self, estimate: torch.Tensor, spectrum: torch.Tensor) -> NDArray[np.float32]:
        """Tell for each frame how much weaker what is above 4 kHz becomes."""
        first = _HIGH * self.transform.n_fft // SAMPLE_RATE
        after, before = (x[first:].abs().square().sum(dim=0) for x in (estimate, spectrum))
        least = torch.finfo(torch.float32).tiny
        gain: NDArray[np.float32] = ((after + least) / (before + least)).sqrt().cpu().numpy()
        return gain.clip(max=1)


def find_model(source: str | os.PathLike[str]) -> Path:
    """Find the weights of a trained network.

    Parameters
    ----------
    source : str or path-like
        A name of :func:`shipped_models`, or the path of a file.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    HarmnmfError
        If there is no such network.

    Examples
    --------
    >>> all(find_model(name) == path for name, path in shipped_models().items())
    True
    """
    return find_file(source, shipped_models(), "model")


def shipped_models() -> dict[str, Path]:
    """List the trained networks that come with the package.

    Returns
    -------
    dict of str to Path
        Paths of their weights by name.

    Examples
    --------
    >>> sorted(shipped_models())
    ['harmonic-light', 'spectrum-attention-fusion']
    """
    return shipped_files("harmnmf.enhancement", "weights")


def _overlapping(
    blocks: Iterable[NDArray], n_step: int, n_common: int
) -> Iterator[NDArray[np.floating]]:
    """Cut samples into parts that have some in common; only the last is shorter or longer."""
    waiting: list[NDArray] = []
    for block in blocks:
        waiting.append(block)
        while sum(part.shape[-1] for part in waiting) > n_step + n_common:
            joined = np.concatenate(waiting, axis=-1)
            yield joined[..., : n_step + n_common]
            waiting = [joined[..., n_step:]]
    yield np.concatenate(waiting, axis=-1)


def _resample(samples: NDArray[np.float32], sample_rate: int, new_rate: int) -> NDArray[np.float32]:
    """Resample, unlike :meth:`harmnmf.Audio.resample` also to nothing."""
    if sample_rate == new_rate:
        return samples
    resampled: NDArray[np.float32] = soxr.resample(samples, sample_rate, new_rate, quality="HQ")
    return resampled
