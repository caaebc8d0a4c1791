"""Deep audio prior: enhancement by fitting an untrained network to the recording.

The network is fitted to one noisy spectrogram, from noise. A network of harmonic convolutions
reproduces sustained harmonic sounds before it reproduces noise, so that stopping early removes
noise [1]_ [2]_. benchmarks/deep_prior.py measures for which sounds this holds.

References
----------
.. [1] Z. Zhang, Y. Wang, C. Gan, J. Wu, J. B. Tenenbaum, A. Torralba and W. T. Freeman, "Deep
   audio priors emerge from harmonic convolutional networks", ICLR 2020.
.. [2] D. Ulyanov, A. Vedaldi and V. Lempitsky, "Deep image prior", CVPR 2018.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from harmnmf.device import resolve_device
from harmnmf.enhancement.harmonic_conv.layers import HarmonicConv2d
from harmnmf.errors import FormatError, ParameterError
from harmnmf.signal.audio import Audio
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.training.checkpoint import load_checkpoint, save_checkpoint
from harmnmf.validation import as_counts, check_choice, check_integer, check_number

from .audio_enhancer import AudioEnhancer, find_offset
from .overlap import crossfade, split_overlapping
from .transform import ShortTimeFourier

__all__ = ["CONVOLUTIONS", "DeepPrior", "PriorFit", "PriorNetwork"]

CONVOLUTIONS = ("harmonic", "dilated", "plain")

_WINDOW = 0.064  # seconds
_HOPS_PER_WINDOW = 4
# Seconds of the longest segment, and of the overlap of two segments.
_LONGEST, _OVERLAP = 4.0, 0.5
_CHECKPOINT_SECONDS = 180.0
_KIND = "deep-prior"


class PriorNetwork(nn.Module):
    """A U-Net from noise to the real and imaginary part of a spectrogram.

    Each level halves the number of bins and frames. Bin f of a level is bin 2f of the finer one, so
    that 0 Hz stays in bin 0 and harmonics have the same ratios at all levels. The 3 × 3 kernels
    read neighbouring harmonics and frames ("harmonic"), every second bin and frame ("dilated"), or
    neighbouring bins and frames ("plain"); the number of weights is the same.
    """

    def __init__(
        self,
        convolution: str = "harmonic",
        n_channels: Sequence[int] = (16, 32, 32),
        anchor: int = 3,
    ) -> None:
        super().__init__()
        if not n_channels:
            raise ParameterError("n_channels must not be empty")

        def layer(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
            conv: nn.Module
            if convolution == "harmonic":
                conv = HarmonicConv2d(n_in, n_out, 3, stride, (0, 1), anchor=anchor)
            else:
                dilation = 2 if convolution == "dilated" else 1
                conv = nn.Conv2d(n_in, n_out, 3, stride, dilation, dilation)
            return nn.Sequential(conv, nn.InstanceNorm2d(n_out, affine=True), nn.LeakyReLU(0.2))

        first = n_channels[0]
        levels = list(pairwise(n_channels))
        self.first = nn.Sequential(layer(first, first), layer(first, first))
        self.down = nn.ModuleList(
            nn.Sequential(layer(fine, coarse, 2), layer(coarse, coarse)) for fine, coarse in levels
        )
        self.up = nn.ModuleList(layer(fine + coarse, fine) for fine, coarse in reversed(levels))
        self.last = nn.Conv2d(first, 2, 1)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Map (1, n_channels[0], n_bins, n_frames) to (1, 2, n_bins, n_frames)."""
        x = self.first(noise)
        finer = []
        for down in self.down:
            finer.append(x)
            x = down(x)
        for up in self.up:
            skipped = finer.pop()
            # Aligned corners: bin f becomes bin 2f.
            x = functional.interpolate(
                x, size=skipped.shape[-2:], mode="bilinear", align_corners=True
            )
            x = up(torch.cat([x, skipped], dim=1))
        output: torch.Tensor = self.last(x)
        return output


@dataclass(frozen=True)
class DeepPrior(AudioEnhancer):
    """Enhance a recording by fitting an untrained network to it, and stopping early [1]_.

    Parameters
    ----------
    convolution : {"harmonic", "dilated", "plain"}, default="harmonic"
        Kind of the network's convolutions.
    n_steps : int, default=500
        Optimisation steps. More steps keep more of the sound, and of the noise.
    n_channels : tuple of int, default=(16, 32, 32)
        Channels per level of the network.
    anchor : int, default=3
        Anchor of harmonic convolutions.
    learning_rate : float, default=5e-3
        Learning rate of Adam.
    seed : int, default=0
        Random seed of the initial weights and of the input noise.
    device : str, default="auto"
        Device of the computation.

    Raises
    ------
    ParameterError
        If a parameter is invalid.

    References
    ----------
    .. [1] Z. Zhang et al., "Deep audio priors emerge from harmonic convolutional networks", ICLR
       2020.

    Examples
    --------
    >>> noisy = Audio(np.random.default_rng(0).normal(0, 0.1, 4000), 8000)
    >>> enhance = DeepPrior(n_steps=2, n_channels=(4,), device="cpu")
    >>> enhance(noisy).duration, enhance(noisy.samples, sample_rate=8000).shape
    (0.5, (4000,))
    """

    convolution: str = "harmonic"
    n_steps: int = 500
    n_channels: tuple[int, ...] = (16, 32, 32)
    anchor: int = 3
    learning_rate: float = 5e-3
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_integer("n_steps", self.n_steps)
        check_integer("anchor", self.anchor)
        check_integer("seed", self.seed, 0)
        check_number("learning_rate", self.learning_rate, above=0)
        check_choice("convolution", self.convolution, CONVOLUTIONS)
        object.__setattr__(self, "n_channels", as_counts("n_channels", self.n_channels))
        object.__setattr__(self, "device", str(resolve_device(self.device)))
        with torch.device("meta"):  # checks the network's parameters without any computation
            PriorNetwork(self.convolution, self.n_channels, self.anchor)

    def enhance(
        self,
        audio: Audio,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Audio:
        """Enhance a recording, each channel separately, in segments of at most four seconds.

        A constant offset (DC) of a channel is removed.

        Parameters
        ----------
        audio : Audio
            Noisy recording.
        checkpoint : path-like, optional
            File that is written every three minutes, on KeyboardInterrupt and at the end. If it
            exists, the fit is resumed from it. The caller removes it.
        progress : callable, optional
            Called with the seconds of the recording that are done.

        Returns
        -------
        Audio
            Enhanced recording.

        Raises
        ------
        FormatError
            If the checkpoint belongs to another recording or other parameters, or is damaged.
        HarmnmfError
            If the checkpoint cannot be written.
        """
        channels = [
            channel - find_offset(channel, audio.sample_rate)
            for channel in np.atleast_2d(audio.samples)
        ]
        n_step, n_overlap = _segment_sizes(audio.samples.shape[-1], audio.sample_rate)
        parts = [part for x in channels for part in split_overlapping([x], n_step, n_overlap)]
        done = self._fit_parts(parts, audio, checkpoint, progress)
        n_parts = len(parts) // len(channels)
        enhanced = [
            np.concatenate(list(crossfade(done[first : first + n_parts], n_step, n_overlap)))
            for first in range(0, len(parts), n_parts)
        ]
        return Audio(np.stack(enhanced).reshape(audio.samples.shape), audio.sample_rate)

    def _fit_parts(
        self,
        parts: Sequence[NDArray[np.float32]],
        audio: Audio,
        checkpoint: str | os.PathLike[str] | None,
        progress: Callable[[float], None] | None,
    ) -> list[NDArray[np.float32]]:
        """Fit a network to each part, with checkpoints."""
        work = _identify(self, audio)
        done: list[NDArray[np.float32]] = []
        fit: PriorFit | None = None
        if checkpoint is not None and Path(checkpoint).exists():
            done, fit = _resume(Path(checkpoint), work, self, parts, audio.sample_rate)
        saved = time.monotonic()
        try:
            while len(done) < len(parts):
                part = parts[len(done)]
                fit = fit or PriorFit(self, part, audio.sample_rate)
                # Silence needs no fit.
                while part.any() and fit.n_done < self.n_steps:
                    fit.step()
                    if progress is not None:
                        share = (len(done) + fit.n_done / self.n_steps) / len(parts)
                        progress(share * audio.duration)
                    if checkpoint is not None and time.monotonic() - saved > _CHECKPOINT_SECONDS:
                        _save(checkpoint, work, done, fit)
                        saved = time.monotonic()
                done, fit = [*done, fit.estimate()], None
        except KeyboardInterrupt:
            if checkpoint is not None:
                _save(checkpoint, work, done, fit)
            raise
        if checkpoint is not None:
            _save(checkpoint, work, done, None)
        return done


class PriorFit:
    """Fit of a network to a short recording, step by step; `n_done` counts the steps done."""

    def __init__(self, prior: DeepPrior, samples: NDArray[np.floating], sample_rate: int) -> None:
        self.prior = prior
        self.n_samples = len(samples)
        self.n_done = 0
        n_fft = 2 ** round(math.log2(_WINDOW * sample_rate))
        self._transform = ShortTimeFourier(n_fft, n_fft // _HOPS_PER_WINDOW, "hann")
        x = torch.as_tensor(samples, dtype=torch.float32, device=prior.device)
        # Without the frame that is centred after the last sample.
        n_frames = 1 + len(samples) // self._transform.hop_length
        spectrum = self._transform.analyze(x)[:, :n_frames]
        parts = torch.view_as_real(spectrum).permute(2, 0, 1)[None]
        self._level = parts.square().mean().sqrt()
        self._target = parts / torch.where(self._level > 0, self._level, 1.0)
        # The generator of the CPU, so that all devices start from the same network.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(prior.seed)
            network = PriorNetwork(prior.convolution, prior.n_channels, prior.anchor)
            self._noise = torch.randn(1, prior.n_channels[0], *spectrum.shape).to(prior.device)
        self.network = network.to(prior.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), prior.learning_rate)

    def step(self) -> None:
        """Do a gradient step on the squared error of the spectrogram."""
        loss = functional.mse_loss(self.network(self._noise), self._target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.n_done += 1

    def estimate(self) -> NDArray[np.float32]:
        """Compute the enhanced samples after the steps done so far, shape (n_samples,)."""
        with torch.no_grad():
            parts = self._level * self.network(self._noise)[0]
        spectrum = torch.view_as_complex(parts.permute(1, 2, 0).contiguous())
        samples: NDArray[np.float32] = (
            self._transform.synthesize(spectrum, self.n_samples).cpu().numpy()
        )
        return samples


def _segment_sizes(n_samples: int, sample_rate: int) -> tuple[int, int]:
    """Step and overlap, in samples, of as few segments as possible, of equal length."""
    n_longest, n_overlap = round(_LONGEST * sample_rate), round(_OVERLAP * sample_rate)
    n_parts = max(1, math.ceil((n_samples - n_overlap) / (n_longest - n_overlap)))
    return max(1, math.ceil((n_samples - n_overlap) / n_parts)), n_overlap


def _identify(prior: DeepPrior, audio: Audio) -> str:
    """Hash the parameters and the recording that a checkpoint belongs to."""
    parameters = {name: value for name, value in asdict(prior).items() if name != "device"}
    digest = hashlib.sha256(repr((parameters, audio.sample_rate, audio.samples.shape)).encode())
    digest.update(audio.samples.tobytes())
    return digest.hexdigest()


def _save(
    path: str | os.PathLike[str],
    work: str,
    done: Sequence[NDArray[np.float32]],
    fit: PriorFit | None,
) -> None:
    arrays = {f"done_{i}": part for i, part in enumerate(done)}
    metadata = {"kind": _KIND, "work": work, "n_done": fit.n_done if fit else 0}
    if fit is None:
        save_arrays(path, arrays, metadata)
    else:
        save_checkpoint(path, fit.network, fit.optimizer, metadata, arrays=arrays)


def _resume(
    path: Path,
    work: str,
    prior: DeepPrior,
    parts: Sequence[NDArray[np.float32]],
    sample_rate: int,
) -> tuple[list[NDArray[np.float32]], PriorFit | None]:
    """Read the parts that are done and the unfinished fit."""
    arrays, metadata = load_arrays(path, kind=_KIND)
    if metadata.get("work") != work:
        raise FormatError(
            f"{path}: a checkpoint of another recording, or of other parameters; remove it"
        )
    done = [arrays[f"done_{i}"] for i in range(len(parts)) if f"done_{i}" in arrays]
    if metadata["n_done"] == 0:
        return done, None
    fit = PriorFit(prior, parts[len(done)], sample_rate)
    load_checkpoint(path, fit.network, fit.optimizer, kind=_KIND)
    fit.n_done = metadata["n_done"]
    return done, fit
