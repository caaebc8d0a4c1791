"""Harmonic Light: a small causal network with harmonic integration, fast on one thread of a CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harmnmf.enhancement.comb import CONSTRUCTIONS, VOICE
from harmnmf.enhancement.models.layers.grouping import N_GROUPS, SPLIT, Grouping, Ungrouping
from harmnmf.enhancement.models.layers.integration import (
    Integration,
    integrate_harmonics,
    pitch_combs,
)
from harmnmf.enhancement.models.layers.masks import bounded_mask
from harmnmf.enhancement.models.layers.recurrent import BandGRU
from harmnmf.enhancement.transform import ShortTimeFourier, compress_parts
from harmnmf.validation import check_choice, check_integer

from .config import check_multiple, check_positive

__all__ = ["HarmonicLight", "HarmonicLightConfig"]

_PAST = 2  # earlier frames that the first convolution and the filter see


@dataclass(frozen=True)
class HarmonicLightConfig:
    """Configuration of a `HarmonicLight`.

    Parameters
    ----------
    n_channels : int, default=24
        Channels of the convolutions on groups of bins.
    n_bands : int, default=20
        Bands of the recurrent layers and the attention, a multiple of `n_cells`.
    n_features : int, default=32
        Features of each band, a multiple of `n_heads`.
    n_heads : int, default=4
        Heads of the attention along frequency.
    n_blocks : int, default=3
        Number of blocks of a recurrent layer and an attention.
    n_cells : int, default=5
        Cells of each recurrent layer; each serves n_bands / n_cells bands.
    n_candidates : int, default=120
        Pitches from 60 to 420 Hz, geometrically spaced; 0 for no harmonic integration.
    comb : {"smooth", "published"}, default="smooth"
        Kind of comb, as in `harmnmf.enhancement.comb_matrix`. Smooth combs have unit norm.
    """

    n_channels: int = 24
    n_bands: int = 20
    n_features: int = 32
    n_heads: int = 4
    n_blocks: int = 3
    n_cells: int = 5
    n_candidates: int = 120
    comb: str = "smooth"

    def __post_init__(self) -> None:
        check_positive(
            self, "n_channels", "n_bands", "n_features", "n_heads", "n_blocks", "n_cells"
        )
        check_multiple(self, "n_features", "n_heads")
        check_multiple(self, "n_bands", "n_cells")
        check_integer("n_candidates", self.n_candidates, 0)
        check_choice("comb", self.comb, CONSTRUCTIONS)


class HarmonicLight(nn.Module):
    """Causal speech enhancement with 134 thousand parameters.

    Harmonic integration [1]_ works at full frequency resolution; recurrent layers along time and
    attention along frequency on few bands, as in other fast networks [2]_. The output is a mask,
    and below 2 kHz a filter over three frames [3]_, which separates harmonics that one frame cannot
    resolve. Frames are 32 ms long, every 16 ms; the latency is one frame.

    Parameters
    ----------
    config : HarmonicLightConfig, optional
        Sizes.

    Attributes
    ----------
    transform : ShortTimeFourier
        Transform of samples at 16 kHz.
    candidates : ndarray
        Candidate pitches in Hz.

    References
    ----------
    .. [1] T. Wang et al., "Harmonic attention for monaural speech enhancement", IEEE/ACM Trans.
       Audio, Speech, Lang. Process. 31, 2023, doi 10.1109/TASLP.2023.3284522.
    .. [2] S. Ahn et al., "FastEnhancer: speed-optimized streaming neural speech enhancement", 2025,
       arXiv 2509.21867.
    .. [3] H. Schröter, A. N. Escalante-B., T. Rosenkranz and A. Maier, "DeepFilterNet: a low
       complexity speech enhancement framework for full-band audio based on deep filtering", ICASSP
       2022.

    Examples
    --------
    >>> model = HarmonicLight()
    >>> spectrum = model.transform.analyze(torch.randn(1, 16000))
    >>> model(spectrum).shape
    torch.Size([1, 257, 64])
    """

    U: torch.Tensor

    def __init__(self, config: HarmonicLightConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HarmonicLightConfig()
        self.transform = ShortTimeFourier(512, 256)
        channels = config.n_channels
        self.first = nn.Sequential(
            Grouping(3, channels, 1 + _PAST), nn.BatchNorm2d(channels), nn.SiLU()
        )
        # Position along frequency: convolutions do not depend on it, but groups have two widths.
        self.place = nn.Parameter(torch.zeros(channels, N_GROUPS, 1))
        self.candidates = np.geomspace(VOICE.start, VOICE.stop, config.n_candidates)
        if config.n_candidates:
            U = pitch_combs(self.candidates, self.transform.n_fft, config.comb)
            self.register_buffer("U", U, persistent=False)
            self.key = nn.Conv2d(1, 1, (3, 1), padding=(1, 0))
            # Begin as a pitch detector: from random weights it may learn to select combs that do
            # not match.
            nn.init.dirac_(self.key.weight)
            self.value = nn.Conv2d(channels, channels, 1)
            self.harmonics = Grouping(1, channels)
        self.encoder = nn.Sequential(_Residual(channels), _Residual(channels))
        self.to_bands = nn.Linear(N_GROUPS, config.n_bands)
        self.to_features = nn.Conv2d(channels, config.n_features, 1)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.n_blocks))
        self.to_channels = nn.Conv2d(config.n_features, channels, 1)
        self.to_groups = nn.Linear(config.n_bands, N_GROUPS)
        self._state_sizes = [config.n_bands * config.n_features] * config.n_blocks
        self.join = nn.Conv2d(2 * channels, channels, 1)
        self.decoder = nn.Sequential(_Residual(channels), _Residual(channels))
        self.last = _Filter(channels)

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Enhance complex spectra, (batch, n_bins, n_frames)."""
        return self.step(spectrum, None)[0]

    def step(
        self, spectrum: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Enhance the next frames of a stream, (batch, n_bins, n_frames).

        `state` is None for the first frames, then the second value that the previous call returned.
        """
        parts, state = self.step_parts(_parts(spectrum), state)
        return torch.complex(*parts.unbind(1)), state

    def step_parts(
        self, parts: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute `step` without complex numbers, which ONNX lacks: (batch, 2, n_bins, n_frames).

        The state, (batch, n_values), holds the last two frames and the states of the recurrent
        layers; it is zero at the beginning.
        """
        n_batch, _, n_bins, n_frames = parts.shape
        sizes = (2 * n_bins * _PAST, *self._state_sizes)
        if state is None:
            state = parts.new_zeros(n_batch, sum(sizes))
        past, *memories = state.split(sizes, dim=1)
        # (batch, 2, n_bins, _PAST + n_frames)
        frames = torch.cat([past.reshape(n_batch, 2, n_bins, _PAST), parts], dim=-1)
        bins = _compressed(frames)
        level = _magnitude(bins)
        x = self.first(torch.cat([bins, level], dim=1)) + self.place
        if self.config.n_candidates:
            x = x + self.harmonics(self._integrate(level[..., _PAST:]).harmonics) * self.value(x)
        x = self.encoder(x)
        skipped = x
        x = self.to_features(_along_frequency(self.to_bands, x))
        for i, block in enumerate(self.blocks):
            x, memories[i] = block(x, memories[i])
        x = _along_frequency(self.to_groups, self.to_channels(x))
        x = self.decoder(self.join(torch.cat([x, skipped], dim=1)))
        estimate = self.last(x, frames)
        return estimate, torch.cat([frames[..., n_frames:].flatten(1), *memories], dim=1)

    def integrate(self, spectrum: torch.Tensor) -> Integration:
        """Harmonic integration of complex spectra, (batch, n_bins, n_frames).

        The significance of the result has shape (batch, 1, 1 + n_candidates, n_frames), and the
        harmonics have shape (batch, 1, n_bins - 1, n_frames).
        """
        return self._integrate(_magnitude(_compressed(_parts(spectrum))))

    def _integrate(self, level: torch.Tensor) -> Integration:
        """Compare normalised magnitudes, (batch, 1, n_bins, n_frames), with the combs."""
        deviation, mean = torch.std_mean(level, dim=2, keepdim=True, correction=0)
        return integrate_harmonics(self.key((level - mean) / (deviation + 1e-5)), self.U)


class _Residual(nn.Module):
    """Convolution along frequency with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), bias=False),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.layers(x)
        return result


class _Block(nn.Module):
    """A recurrent layer along time in each band, then attention along frequency."""

    def __init__(self, config: HarmonicLightConfig) -> None:
        super().__init__()
        size = config.n_features
        self.n_heads = config.n_heads
        self.along_time = BandGRU(size, config.n_cells)
        self.after_time = nn.Linear(size, size)
        self.time_norm = nn.LayerNorm(size)
        self.place = nn.Parameter(0.02 * torch.randn(config.n_bands, size))
        self.attention = nn.Linear(size, 3 * size)
        self.after_attention = nn.Linear(size, size)
        self.frequency_norm = nn.LayerNorm(size)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n_batch, size, n_bands, _ = x.shape
        sequences = x.permute(0, 2, 3, 1)
        output, memory = self.along_time(
            self.time_norm(sequences), memory.reshape(n_batch, n_bands, size)
        )
        bands = (sequences + self.after_time(output)).transpose(1, 2)
        heads = self.attention(self.frequency_norm(bands) + self.place)
        # (batch, n_frames, 3 n_heads, n_bands, size of a head)
        heads = heads.unflatten(-1, (3 * self.n_heads, -1)).transpose(2, 3)
        Q, K, V = heads.chunk(3, dim=2)
        mixed = (Q @ K.transpose(-2, -1) / math.sqrt(Q.shape[-1])).softmax(dim=-1) @ V
        bands = bands + self.after_attention(mixed.transpose(2, 3).flatten(3))
        return bands.permute(0, 3, 2, 1), memory.flatten(1)


def _parts(spectrum: torch.Tensor) -> torch.Tensor:
    return torch.stack([spectrum.real, spectrum.imag], dim=1)


def _compressed(parts: torch.Tensor) -> torch.Tensor:
    # Without the Nyquist frequency, the number of bins can be divided.
    return compress_parts(parts[:, :, :-1])


def _magnitude(parts: torch.Tensor) -> torch.Tensor:
    square = parts[:, :1].square() + parts[:, 1:].square()
    # The gradient of a root at zero is infinite.
    return square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()


def _along_frequency(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layer(x.transpose(2, 3)).transpose(2, 3)
    return result


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Product of complex numbers given by their parts, (batch, 2, n_bins, n_frames)."""
    (a_real, a_imaginary), (b_real, b_imaginary) = a.unbind(1), b.unbind(1)
    return torch.stack(
        [a_real * b_real - a_imaginary * b_imaginary, a_real * b_imaginary + a_imaginary * b_real],
        dim=1,
    )


class _Filter(nn.Module):
    """A filter over three frames below `SPLIT`, and a mask above."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spread = Ungrouping(channels, 2 * (1 + _PAST), 2)
        # Before training, most of the noisy spectrum passes.
        for layer in (self.spread.low, self.spread.high):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            nn.init.ones_(layer.bias[-2])

    def forward(self, x: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Filter (batch, 2, n_bins, _PAST + n_frames) by the features of groups."""
        n_frames = x.shape[-1]
        taps, mask = self.spread(x)
        low = sum(
            _product(frames[:, :, :SPLIT, i : i + n_frames], bounded_mask(tap))
            for i, tap in enumerate(taps.split(2, dim=1))
        )
        present = frames[..., _PAST:]
        high = _product(present[:, :, SPLIT:-1], bounded_mask(mask))
        nyquist = 0 * present[:, :, -1:]
        return torch.cat([low, high, nyquist], dim=2)  # type: ignore[list-item]
