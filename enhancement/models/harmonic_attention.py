"""Harmonic Attention: speech enhancement that looks for the pitch of each frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from harmnmf.enhancement.comb import CONSTRUCTIONS, VOICE
from harmnmf.enhancement.models.layers.axial import (
    DualPath,
    FrameNorm,
    FrequencyChannelRecombination,
    TimeAttention,
)
from harmnmf.enhancement.models.layers.integration import integrate_harmonics, pitch_combs
from harmnmf.enhancement.models.layers.masks import bounded_mask
from harmnmf.enhancement.transform import ShortTimeFourier, compress
from harmnmf.errors import ParameterError
from harmnmf.validation import as_counts, check_choice, check_flag

__all__ = ["HarmonicAttention", "HarmonicAttentionConfig", "HarmonicIntegration"]

_N_FFT, _HOP_LENGTH = 512, 128
_N_BINS = 256  # without the Nyquist bin
_EXPANSION = 4  # of the channels in harmonic integration


@dataclass(frozen=True)
class HarmonicAttentionConfig:
    """Configuration of a `HarmonicAttention`.

    Parameters
    ----------
    n_channels : tuple of int, default=(12, 24, 24)
        Output channels of each block; even.
    temporal : {"dprnn", "attention"}, default="dprnn"
        Temporal module: LSTMs along frequency and time, or attention over time.
    causal : bool, default=True
        Whether a frame of the output depends on no later frame of the input.
    comb : {"smooth", "published"}, default="smooth"
        Kind of comb, as in :func:`harmnmf.enhancement.comb_matrix`. Smooth combs have unit norm.
    """

    n_channels: tuple[int, ...] = (12, 24, 24)
    temporal: str = "dprnn"
    causal: bool = True
    comb: str = "smooth"

    def __post_init__(self) -> None:
        # JSON gives lists.
        object.__setattr__(self, "n_channels", as_counts("n_channels", self.n_channels))
        if not self.n_channels or any(n % 2 for n in self.n_channels):
            raise ParameterError(
                f"n_channels must be even and positive, one for each block, not {self.n_channels}"
            )
        check_choice("temporal", self.temporal, ("dprnn", "attention"))
        check_choice("comb", self.comb, CONSTRUCTIONS)
        check_flag("causal", self.causal)


class HarmonicAttention(nn.Module):
    """Harmonic Attention [1]_, with 1.02 million parameters, most in the channel attention.

    Each block has a convolution over neighbouring bins, harmonic integration, attention among the
    channels of a frame and then among its bins, and a temporal module. The paper does not state the
    number and width of the blocks, the input and output, and the details of the attention over
    time; those here are our choice.

    Parameters
    ----------
    config : HarmonicAttentionConfig, optional
        Sizes and temporal module.

    Attributes
    ----------
    transform : ShortTimeFourier
        Transform of samples at 16 kHz.

    References
    ----------
    .. [1] T. Wang, W. Zhu, Y. Gao, S. Zhang and J. Feng, "Harmonic attention for monaural speech
       enhancement", IEEE/ACM Trans. Audio, Speech, Lang. Process. 31, 2023,
       doi 10.1109/TASLP.2023.3284522.

    Examples
    --------
    >>> model = HarmonicAttention(HarmonicAttentionConfig(n_channels=(4, 8))).eval()
    >>> noisy = model.transform.analyze(torch.randn(1, 1000))
    >>> noisy.shape, model(noisy).shape
    (torch.Size([1, 257, 9]), torch.Size([1, 257, 9]))
    """

    def __init__(self, config: HarmonicAttentionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HarmonicAttentionConfig()
        self.transform = ShortTimeFourier(_N_FFT, _HOP_LENGTH)
        U = pitch_combs(VOICE, _N_FFT, config.comb)
        self.blocks = nn.Sequential(
            *(_block(n_in, n_out, U, config) for n_in, n_out in pairwise((2, *config.n_channels)))
        )
        self.mask = nn.Conv2d(config.n_channels[-1], 2, 1)

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Enhance complex spectra, (batch, n_bins, n_frames); the Nyquist bin becomes zero."""
        mask = bounded_mask(self.mask(self.blocks(_features(spectrum))))
        return spectrum * functional.pad(torch.complex(*mask.unbind(1)), (0, 0, 0, 1))


class HarmonicIntegration(nn.Module):
    """Harmonic integration as a layer.

    With LN a layer normalisation over the bins of each channel and frame::

        V = conv(LN(X)),  K = conv(LN(X²)),  H = softmax(K Uᵀ) U,  output = X + conv(conv(H) ⊙ V)
    """

    U: torch.Tensor

    def __init__(self, n_channels: int, U: torch.Tensor) -> None:
        super().__init__()
        n_bins, n_inner = U.shape[1], _EXPANSION * n_channels

        def conv(n_in: int, n_out: int) -> nn.Conv2d:
            return nn.Conv2d(n_in, n_out, (3, 1), padding=(1, 0))

        self.register_buffer("U", U, persistent=False)
        self.value = nn.Sequential(FrameNorm(n_bins), conv(n_channels, n_inner))
        self.key = nn.Sequential(FrameNorm(n_bins), conv(n_channels, n_inner))
        self.harmonics = conv(n_inner, n_inner)
        self.output = conv(n_inner, n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Integrate (batch, n_channels, n_bins, n_frames)."""
        H = integrate_harmonics(self.key(x.square()), self.U).harmonics
        return x + self.output(self.harmonics(H) * self.value(x))


class _Convolution(nn.Module):
    """Convolution over 5 bins and 2 frames, 3 if not causal; residual if the channels allow."""

    def __init__(self, n_in: int, n_out: int, causal: bool) -> None:
        super().__init__()
        self.padding = (1, 0) if causal else (1, 1)
        self.is_residual = n_in == n_out
        self.norm = FrameNorm((n_in, _N_BINS))
        self.layers = nn.Sequential(
            nn.Conv2d(n_in, n_out, (5, 1 + sum(self.padding)), padding=(2, 0), bias=False),
            nn.BatchNorm2d(n_out),
            nn.PReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        output: torch.Tensor = self.layers(functional.pad(x, self.padding))
        return x + output if self.is_residual else output


def _block(n_in: int, n_out: int, U: torch.Tensor, config: HarmonicAttentionConfig) -> nn.Module:
    temporal: nn.Module
    if config.temporal == "dprnn":
        temporal = DualPath(n_out, _N_BINS, config.causal)
    else:
        temporal = TimeAttention(n_out, config.causal)
    return nn.Sequential(
        _Convolution(n_in, n_out, config.causal),
        HarmonicIntegration(n_out, U),
        FrequencyChannelRecombination(n_out, _N_BINS),
        temporal,
    )


def _features(spectrum: torch.Tensor) -> torch.Tensor:
    """Real and imaginary part, (batch, 2, 256, n_frames), with compressed magnitudes."""
    return torch.view_as_real(compress(spectrum[:, :_N_BINS])).movedim(-1, 1)
