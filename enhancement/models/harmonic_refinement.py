"""Harmonic Refinement: a second network that refines the estimate of Harmonic Light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from harmnmf.enhancement.models.layers.fusion_block import (
    ChannelNorm,
    fusion_block,
    separable_convolution,
)
from harmnmf.enhancement.models.layers.grouping import N_GROUPS, Grouping, Ungrouping
from harmnmf.enhancement.models.layers.local_attention import Pointwise
from harmnmf.enhancement.transform import compress
from harmnmf.errors import ParameterError

from .config import check_positive
from .harmonic_light import HarmonicLight

__all__ = ["HarmonicRefinement", "HarmonicRefinementConfig"]

_N_HEADS = 4
_POWER = 0.3  # of compressed magnitudes
_SILENCE = 1e-12
# Before training, the sigmoids of these weight the noisy spectrum and the first estimate.
_FIRST_MASKS = (-3.0, 3.0)


@dataclass(frozen=True)
class HarmonicRefinementConfig:
    """Configuration of a `HarmonicRefinement`.

    Parameters
    ----------
    n_channels : int, default=48
        Channels of every layer, a multiple of four.
    n_blocks : int, default=5
        Number of fusion blocks.
    """

    n_channels: int = 48
    n_blocks: int = 5

    def __post_init__(self) -> None:
        check_positive(self, "n_channels", "n_blocks")
        if self.n_channels % _N_HEADS:
            raise ParameterError(
                f"n_channels must be a multiple of {_N_HEADS}, not {self.n_channels}"
            )


class HarmonicRefinement(nn.Module):
    """Harmonic Light and fusion blocks [1]_, with 338 thousand trainable parameters.

    `HarmonicLight`, with fixed weights, gives a first estimate X₁ from the noisy spectrum X. The
    blocks of Spectrum Attention Fusion read both and give a mask for each and a bias:
    S = M X + M₁ X₁ + B. Before training S is nearly X₁, so that less is left to learn than from the
    noisy spectrum alone.

    X, X₁ and S have magnitudes to the power of 0.3, relative to the root mean square of the noisy
    spectrum. Frequency bins are grouped as in Harmonic Light: two bins below 2 kHz, eight above.
    The network is not causal: the level is that of the whole recording, and a frame depends on the
    102 frames, 1.6 s, after it.

    Parameters
    ----------
    config : HarmonicRefinementConfig, optional
        Sizes.

    Attributes
    ----------
    light : HarmonicLight
        Gives the first estimate. Its weights are not trained, and it is always in evaluation mode.
    transform : ShortTimeFourier
        Transform of samples at 16 kHz, that of `light`.

    References
    ----------
    .. [1] J. Long, J. Gu, B. Bai, Z. Yang, P. Wei and J. Li, "Efficient monaural speech enhancement
       using spectrum attention fusion", 2023, arXiv 2308.02263.

    Examples
    --------
    >>> model = HarmonicRefinement()
    >>> sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
    338228
    >>> spectrum = model.transform.analyze(torch.randn(1, 1600))
    >>> model(spectrum).shape
    torch.Size([1, 257, 8])
    """

    def __init__(self, config: HarmonicRefinementConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HarmonicRefinementConfig()
        self.light = HarmonicLight().eval().requires_grad_(False)
        self.transform = self.light.transform
        n_channels = config.n_channels
        self.polar_encoder = _encoder(3, n_channels)
        self.cartesian_encoder = _encoder(4, n_channels)
        self.join = Pointwise(2 * n_channels, n_channels)
        # Position along frequency: convolutions do not depend on it, but groups have two widths.
        self.place = nn.Parameter(torch.zeros(n_channels, N_GROUPS, 1))
        self.blocks = nn.Sequential(
            *(fusion_block(n_channels, n_heads=_N_HEADS) for _ in range(config.n_blocks))
        )
        self.mask_decoder = _Decoder(_FIRST_MASKS, n_channels)
        self.bias_decoder = _Decoder((0.0, 0.0), n_channels)

    def train(self, mode: bool = True) -> HarmonicRefinement:
        """Set the training mode of all but `light`, whose batch statistics must not change."""
        super().train(mode)
        self.light.eval()
        return self

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Enhance complex spectra, (batch, n_bins, n_frames)."""
        level = spectrum.abs().square().mean((1, 2), keepdim=True).sqrt()
        X, X_1 = (
            compress(x / level.clamp_min(_SILENCE), _POWER)
            for x in (spectrum, self.light(spectrum))
        )
        M, M_1, B = self.decode(X, X_1)
        return level * compress(M * X + M_1 * X_1 + B, 1 / _POWER)

    def decode(
        self, X: torch.Tensor, X_1: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Estimate the masks and the complex bias, all of shape (batch, n_bins, n_frames)."""
        # Where the first estimate is weak, its phase is arbitrary and has steep gradients.
        polar = torch.stack([X.abs(), X_1.abs(), X.angle() / math.pi], dim=1)
        cartesian = torch.stack([X.real, X_1.real, X.imag, X_1.imag], dim=1)
        # Without the Nyquist bin, which is in no group.
        encoded = [
            self.polar_encoder(polar[:, :, :-1]),
            self.cartesian_encoder(cartesian[:, :, :-1]),
        ]
        fused = self.blocks(self.join(torch.cat(encoded, dim=1)) + self.place)
        M, M_1 = self.mask_decoder(fused).sigmoid().unbind(1)
        # PyTorch has no complex numbers of lower precision.
        B = torch.complex(*self.bias_decoder(fused).float().unbind(1))
        return M, M_1, B


class _Decoder(nn.Module):
    """From groups to bins; its outputs are `constants` before training, and 0 at Nyquist."""

    def __init__(self, constants: tuple[float, float], n_channels: int) -> None:
        super().__init__()
        self.bands = separable_convolution(n_channels)
        self.bins = Ungrouping(n_channels, len(constants), len(constants))
        for layer in (self.bins.low, self.bins.high):
            nn.init.zeros_(layer.weight)
            layer.bias = nn.Parameter(torch.tensor(constants))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (batch, n_channels, n_groups, n_frames) into (batch, 2, n_bins, n_frames)."""
        return functional.pad(torch.cat(self.bins(self.bands(x)), dim=2), (0, 0, 0, 1))


def _encoder(n_inputs: int, n_channels: int) -> nn.Sequential:
    """Make an encoder from bins to groups."""
    return nn.Sequential(
        Grouping(n_inputs, n_channels),
        ChannelNorm(n_channels),
        nn.SiLU(),
        separable_convolution(n_channels),
    )
