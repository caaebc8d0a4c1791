"""Spectrum Attention Fusion: speech enhancement by convolutions that act as attention.

Two encoders read a noisy spectrum: one its magnitude and phase, the other its real and imaginary
part. Blocks fuse what they find [1]_: a large convolution attends to all that is around a bin,
attention to the neighbouring bands, and dilated convolutions to what was before and what comes
later. Two decoders give a mask M and a bias B, and the estimate is::

    S = M X + B

The paper leaves open the transform, the widths, the depth, and where the parts stand in a block.
Those here are ours; they give as many parameters as it reports. Ours, too, is that it can go on
from what another network found, so that less is left to learn.

References
----------
.. [1] J. Long, J. Gu, B. Bai, Z. Yang, P. Wei and J. Li, "Efficient monaural speech enhancement
   using spectrum attention fusion", 2023, arXiv 2308.02263.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from harmnmf.enhancement.models.layers.depthwise import DilatedConv2d
from harmnmf.enhancement.models.layers.grouping import Grouping, Ungrouping, count_groups
from harmnmf.enhancement.models.layers.local_attention import (
    BandAttention,
    ConvolutionalAttention,
    Pointwise,
)
from harmnmf.enhancement.transform import ShortTimeFourier, compress
from harmnmf.errors import ParameterError

from .harmonic_light import HarmonicLight

__all__ = ["NORMALIZATIONS", "SpectrumAttentionFusion", "SpectrumAttentionFusionConfig"]

NORMALIZATIONS = ("layer", "batch", "instance", "none")

# Of the magnitudes that the network sees, and of those that it gives.
_POWER = 0.3
_QUIETEST = 1e-12
# Of `HarmonicLight`: n_fft and hop_length.
_FIRST_TRANSFORM = (512, 256)
# Sigmoids of these weight the noisy spectrum and the first estimate before anything is learned.
_FIRST_MASKS = (-3.0, 3.0)


@dataclass(frozen=True)
class SpectrumAttentionFusionConfig:
    """What a `SpectrumAttentionFusion` is made of.

    Parameters
    ----------
    n_fft, hop_length : int, default=400, 100
        Of the transform. Half as many frames cost half as much.
    n_channels : int, default=64
        Of every layer; a multiple of `n_heads`.
    n_blocks : int, default=5
        That fuse the spectra.
    n_heads : int, default=4
        Of the attention to neighbouring bands.
    band_window : int, default=3
        Bands that one attends to, itself in the middle; odd. With 1 it sees itself only.
    kernel_size : int, default=11
        Bands and frames that the convolutional attention sees; odd.
    time_dilations : tuple of int, default=(1, 2, 4, 8)
        Frames between the three taps of each convolution in time; () for none.
    normalization : {"layer", "batch", "instance", "none"}, default="layer"
        Of the channels of each band and frame, of each channel over a batch, or of each channel
        over a spectrum.
    phase_input : bool, default=True
        Whether the first encoder reads the phase beside the magnitude.
    bias_decoder : bool, default=True
        Whether there is a bias, or the mask alone.
    refines : bool, default=False
        Whether a `HarmonicLight` goes first, which stays as it is. The encoders then read its
        estimate beside the noisy spectrum, there is a mask for each of the two, and bands are the
        groups of bins of `HarmonicLight`: half as many. The transform must be its, too: `n_fft`
        512, `hop_length` 256.

    Raises
    ------
    ParameterError
        If a value is not as described.
    """

    n_fft: int = 400
    hop_length: int = 100
    n_channels: int = 64
    n_blocks: int = 5
    n_heads: int = 4
    band_window: int = 3
    kernel_size: int = 11
    time_dilations: tuple[int, ...] = (1, 2, 4, 8)
    normalization: str = "layer"
    phase_input: bool = True
    bias_decoder: bool = True
    refines: bool = False

    def __post_init__(self) -> None:
        ShortTimeFourier(self.n_fft, self.hop_length)
        if self.refines and (self.n_fft, self.hop_length) != _FIRST_TRANSFORM:
            raise ParameterError(
                "what refines needs n_fft {} and hop_length {}".format(*_FIRST_TRANSFORM)
            )
        # JSON gives lists.
        object.__setattr__(self, "time_dilations", tuple(self.time_dilations))
        for name in ("n_channels", "n_blocks", "n_heads", "band_window", "kernel_size"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("band_window", "kernel_size"):
            if getattr(self, name) % 2 == 0:
                raise ParameterError(f"{name} must be odd, not {getattr(self, name)}")
        if self.n_channels % self.n_heads:
            raise ParameterError(
                f"n_channels must be a multiple of n_heads, {self.n_heads}, not {self.n_channels}"
            )
        if min(self.time_dilations, default=1) < 1:
            raise ParameterError(f"time_dilations must be positive, not {self.time_dilations}")
        if self.normalization not in NORMALIZATIONS:
            raise ParameterError(
                f"normalization must be one of {', '.join(map(repr, NORMALIZATIONS))}, not"
                f" {self.normalization!r}"
            )


class SpectrumAttentionFusion(nn.Module):
    """Enhance speech with 0.58 million parameters, from what was before and what comes later.

    The level does not matter: a spectrum is divided by its root mean square over all bins and
    frames, and the result multiplied by it. In between, X and S have the magnitudes of spectra to
    the power of 0.3, and their phases. The encoders read the magnitude of X and the phase in units
    of π, and the real and imaginary part of X: all inputs are about one, and weak bins count.

    It is **not causal**: the level is that of the whole, and a frame sees 103 frames, 0.64 s, on
    both sides. It is for files, and not for streams.

    What `refines` gives S = M X + M₁ S₁ + B, where S₁ is the estimate of `HarmonicLight`, which
    knows all that was before. It is neither trained nor ever in training mode.

    Parameters
    ----------
    config : SpectrumAttentionFusionConfig, optional
        Sizes, and which ingredients there are.

    References
    ----------
    .. [1] J. Long et al., "Efficient monaural speech enhancement using spectrum attention fusion",
       2023, arXiv 2308.02263.

    Examples
    --------
    >>> model = SpectrumAttentionFusion()
    >>> sum(weights.numel() for weights in model.parameters())
    576447
    >>> spectrum = model.transform.analyze(torch.randn(1, 1600))
    >>> model(spectrum).shape
    torch.Size([1, 201, 17])
    """

    def __init__(self, config: SpectrumAttentionFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SpectrumAttentionFusionConfig()
        self.transform = ShortTimeFourier(config.n_fft, config.hop_length)
        self.light = HarmonicLight().eval().requires_grad_(False) if config.refines else None
        n_spectra = 2 if config.refines else 1
        self.polar_encoder = _encoder(n_spectra + (1 if config.phase_input else 0), config)
        self.cartesian_encoder = _encoder(2 * n_spectra, config)
        self.join = Pointwise(2 * config.n_channels, config.n_channels)
        self.blocks = nn.Sequential(*(_block(config) for _ in range(config.n_blocks)))
        self.mask_decoder = _decoder(1, _FIRST_MASKS, config)
        self.bias_decoder = _decoder(2, (0.0, 0.0), config) if config.bias_decoder else None
        self.place = None
        if config.refines:
            # Convolutions do not know where they are, and groups above 2 kHz are wider than below.
            n_groups = count_groups(self.transform.n_bins - 1)
            self.place = nn.Parameter(torch.zeros(config.n_channels, n_groups, 1))

    def train(self, mode: bool = True) -> SpectrumAttentionFusion:
        """Set the mode of all but the network that goes first, which would not stay as it is."""
        super().train(mode)
        if self.light is not None:
            self.light.eval()
        return self

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Enhance complex spectra, (batch, n_bins, n_frames)."""
        level = spectrum.abs().square().mean((1, 2), keepdim=True).sqrt()
        spectra = [spectrum] if self.light is None else [spectrum, self.light(spectrum)]
        X = torch.stack([compress(x / level.clamp_min(_QUIETEST), _POWER) for x in spectra], dim=1)
        M, B = self.decode(X)
        S = (M * X).sum(dim=1)
        return level * compress(S if B is None else S + B, 1 / _POWER)

    def decode(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Find masks and the bias.

        Parameters
        ----------
        X : Tensor, shape (batch, n_spectra, n_bins, n_frames)
            Complex: the noisy spectrum, with a mean square of one before the magnitudes were
            compressed, and after it the first estimate if there is one.

        Returns
        -------
        M : Tensor, shape (batch, n_spectra, n_bins, n_frames)
            Real, from 0 to 1.
        B : Tensor, shape (batch, n_bins, n_frames), or None
            Complex; None without a bias decoder.
        """
        # An estimate has hardly another phase, but where it is weak, any, and steep gradients.
        phase = [X[:, :1].angle() / math.pi] if self.config.phase_input else []
        inputs = torch.cat([X.abs(), *phase], dim=1), torch.cat([X.real, X.imag], dim=1)
        encoded = [self.polar_encoder(inputs[0]), self.cartesian_encoder(inputs[1])]
        joined = self.join(torch.cat(encoded, dim=1))
        fused = self.blocks(joined if self.place is None else joined + self.place)
        M = self.mask_decoder(fused, X.shape[2]).sigmoid()
        if self.bias_decoder is None:
            return M, None
        # There is no complex type of half precision.
        real, imaginary = self.bias_decoder(fused, X.shape[2]).float().unbind(1)
        return M, torch.complex(real, imaginary)


class _Decoder(nn.Module):
    """From bands back to bins: an encoder in reverse."""

    def __init__(self, n_outputs: int, config: SpectrumAttentionFusionConfig) -> None:
        super().__init__()
        n_channels = config.n_channels
        self.bands = _separable(config)
        self.fill = nn.Conv2d(n_channels, n_channels, (3, 1), padding=(1, 0), groups=n_channels)
        self.bins = nn.Sequential(
            Pointwise(n_channels, n_channels),
            _norm(config),
            nn.SiLU(),
            Pointwise(n_channels, n_outputs),
        )

    def forward(self, x: torch.Tensor, n_bins: int) -> torch.Tensor:
        """Turn (batch, n_channels, n_bands, n_frames) into (batch, n_outputs, n_bins, n_frames)."""
        # As a transposed convolution does it, which costs more: zeros between the bands are filled.
        bands = self.bands(x).permute(0, 2, 3, 1)
        spread = torch.stack([bands, torch.zeros_like(bands)], dim=2).flatten(1, 2)[:, :n_bins]
        output: torch.Tensor = self.bins(self.fill(spread.permute(0, 3, 1, 2)))
        return output


class _GroupEncoder(nn.Sequential):
    """From bins to groups."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Group (batch, n_inputs, n_bins, n_frames)."""
        # The bin at the Nyquist frequency is in no group.
        output: torch.Tensor = super().forward(input[:, :, :-1])
        return output


class _GroupDecoder(nn.Module):
    """From groups back to bins; before anything is learned, some constants."""

    def __init__(self, constants: tuple[float, ...], config: SpectrumAttentionFusionConfig) -> None:
        super().__init__()
        self.bands = _separable(config)
        self.bins = Ungrouping(config.n_channels, len(constants), len(constants))
        for layer in (self.bins.low, self.bins.high):
            nn.init.zeros_(layer.weight)
            layer.bias = nn.Parameter(torch.tensor(constants))

    def forward(self, x: torch.Tensor, n_bins: int) -> torch.Tensor:
        """Turn (batch, n_channels, n_groups, n_frames) into (batch, n_out, n_bins, n_frames)."""
        bins = torch.cat(self.bins(self.bands(x)), dim=2)
        return functional.pad(bins, (0, 0, 0, n_bins - bins.shape[2]))


class _Residual(nn.Module):
    """Normalize, do something with it, and add."""

    def __init__(self, layer: nn.Module, config: SpectrumAttentionFusionConfig) -> None:
        super().__init__()
        self.norm = _norm(config)
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = x + self.layer(self.norm(x))
        return output


class _ChannelNorm(nn.LayerNorm):
    """Normalize the channels of each band and frame."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _norm(config: SpectrumAttentionFusionConfig) -> nn.Module:
    if config.normalization == "layer":
        return _ChannelNorm(config.n_channels)
    if config.normalization == "batch":
        return nn.BatchNorm2d(config.n_channels)
    if config.normalization == "instance":
        return nn.InstanceNorm2d(config.n_channels, affine=True)
    return nn.Identity()


def _encoder(n_inputs: int, config: SpectrumAttentionFusionConfig) -> nn.Sequential:
    """Go from bins to bands: half as many, or groups."""
    if config.refines:
        return _GroupEncoder(
            Grouping(n_inputs, config.n_channels), _norm(config), nn.SiLU(), _separable(config)
        )
    return nn.Sequential(
        Pointwise(n_inputs, config.n_channels),
        _norm(config),
        nn.SiLU(),
        _separable(config),
        _separable(config, stride=2),
    )


def _decoder(
    n_outputs: int, constants: tuple[float, ...], config: SpectrumAttentionFusionConfig
) -> nn.Module:
    return _GroupDecoder(constants, config) if config.refines else _Decoder(n_outputs, config)


def _separable(config: SpectrumAttentionFusionConfig, stride: int = 1) -> nn.Sequential:
    """Convolve each channel by itself, then mix them."""
    n_channels = config.n_channels
    return nn.Sequential(
        nn.Conv2d(n_channels, n_channels, 3, (stride, 1), 1, groups=n_channels),
        Pointwise(n_channels, n_channels),
        _norm(config),
        nn.SiLU(),
    )


def _block(config: SpectrumAttentionFusionConfig) -> nn.Sequential:
    n_channels = config.n_channels
    layers = [
        ConvolutionalAttention(n_channels, config.kernel_size),
        nn.Sequential(
            Pointwise(n_channels, 4 * n_channels), nn.SiLU(), Pointwise(4 * n_channels, n_channels)
        ),
        BandAttention(n_channels, config.n_heads, config.band_window),
        *(_temporal(dilation, config) for dilation in config.time_dilations),
    ]
    return nn.Sequential(*(_Residual(layer, config) for layer in layers))


def _temporal(dilation: int, config: SpectrumAttentionFusionConfig) -> nn.Sequential:
    """Convolve along time."""
    n_channels = config.n_channels
    return nn.Sequential(
        Pointwise(n_channels, n_channels),
        nn.SiLU(),
        DilatedConv2d(n_channels, 3, dilation),
        _norm(config),
        nn.SiLU(),
        Pointwise(n_channels, n_channels),
    )
