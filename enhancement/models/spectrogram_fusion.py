"""Spectrogram fusion: a weighted sum of two estimates of a voice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from harmnmf.enhancement.transform import ShortTimeFourier
from harmnmf.errors import ParameterError
from harmnmf.validation import check_choice, check_number

from .config import check_multiple, check_positive

__all__ = ["ATTENTIONS", "FusionOutputs", "SpectrogramFusion", "SpectrogramFusionConfig"]

_Names = tuple[str, ...]
_MIXTURE, _SPECTROGRAMS = ("mixture",), ("mapped", "masked")
_ALL = _MIXTURE + _SPECTROGRAMS
# -160 dB relative to full scale.
_SILENCE = 1e-8

# For each branch of the second stage, the inputs of its queries and of its keys and values.
ATTENTIONS: Mapping[str, tuple[tuple[_Names, _Names], ...]] = {
    "all-info": ((_ALL, _ALL),),
    "separate-info": ((_MIXTURE, _SPECTROGRAMS),),
    "no-encoder-info": (
        (("mixture", "mapped"), ("mixture", "mapped")),
        (("mixture", "masked"), ("mixture", "masked")),
    ),
    "dual": ((_MIXTURE, _MIXTURE), (_SPECTROGRAMS, _SPECTROGRAMS)),
}


@dataclass(frozen=True)
class SpectrogramFusionConfig:
    """Configuration of a `SpectrogramFusion`.

    Parameters
    ----------
    attention : {"all-info", "separate-info", "no-encoder-info", "dual"}, default="all-info"
        Inputs of the attention: mixture and both estimates together; queries from the mixture,
        keys and values from the estimates; the mixture with one estimate in each of two branches;
        or the mixture in one branch and both estimates in the other.
    lstm_size : int, default=256
        Units of each layer and direction of the first stage. The published network has 1024,
        which is too slow to train on few cores.
    n_lstm_layers : int, default=2
        Bidirectional layers of the first stage.
    hidden_size : int, default=256
        Size of each branch of the second stage, a multiple of `n_heads`.
    n_heads : int, default=4
        Heads of the attention.
    power : float, default=0.5
        Exponent that compresses magnitudes, above 0 and at most 1.
    """

    attention: str = "all-info"
    lstm_size: int = 256
    n_lstm_layers: int = 2
    hidden_size: int = 256
    n_heads: int = 4
    power: float = 0.5

    def __post_init__(self) -> None:
        check_choice("attention", self.attention, ATTENTIONS)
        check_positive(self, "lstm_size", "n_lstm_layers", "hidden_size", "n_heads")
        check_multiple(self, "hidden_size", "n_heads")
        check_number("power", self.power, above=0, maximum=1)


class FusionOutputs(NamedTuple):
    """Outputs of both stages, (batch, n_bins, n_frames), in compressed magnitudes.

    They are spc_map and spc_mask, the estimates of the first stage; their minimum-difference masks,
    whose sum is 1; and two estimates of the second stage, which only help to learn the masks. All
    are relative to `level`, the root mean square of the mixture's magnitudes, (batch, 1, 1).
    """

    mapped: torch.Tensor
    masked: torch.Tensor
    mask_mapped: torch.Tensor
    mask_masked: torch.Tensor
    mapped_again: torch.Tensor
    masked_again: torch.Tensor
    level: torch.Tensor

    @property
    def fused(self) -> torch.Tensor:
        """spc_f = Σ MDM_i ⊙ spc_i; its gradient reaches the masks only."""
        return self.mask_mapped * self.mapped.detach() + self.mask_masked * self.masked.detach()


class SpectrogramFusion(nn.Module):
    """Separation of a singing voice, or speech [1]_, by minimum-difference masks [2]_.

    The first stage, a bidirectional LSTM, estimates the magnitudes of the voice twice, by mapping
    and by masking those of the mixture; the two err in different bins. The second, attention over
    the frames of mixture and estimates, gives for each bin the probability that an estimate is the
    nearer one: the minimum-difference masks, which weight the estimates. It also makes two more
    estimates, which only help to learn. No gradient flows from the second stage to the first, so
    that training them together equals training one after the other.

    Magnitudes are divided by their root mean square over the mixture and compressed. The papers do
    not state how positions are encoded, nor the layers around the attention. Here the distance
    between frames, times a slope that differs from head to head, is subtracted from the scores
    [3]_, and the queries are added to the result, which is then normalised. Memory grows with the
    square of the number of frames: use it for a minute at most.

    Parameters
    ----------
    config : SpectrogramFusionConfig, optional
        Sizes and arrangement of the attention.

    References
    ----------
    .. [1] H. Shi, L. Wang, S. Li, C. Ding, M. Ge, N. Li, J. Dang and H. Seki, "Singing voice
       extraction with attention-based spectrograms fusion", Interspeech 2020.
    .. [2] H. Shi, L. Wang, M. Ge, S. Li and J. Dang, "Spectrograms fusion with minimum difference
       masks estimation for monaural speech dereverberation", ICASSP 2020.
    .. [3] O. Press, N. A. Smith and M. Lewis, "Train short, test long: attention with linear
       biases enables input length extrapolation", ICLR 2022.

    Examples
    --------
    >>> model = SpectrogramFusion(SpectrogramFusionConfig(lstm_size=8, hidden_size=8))
    >>> spectrum = model.transform.analyze(torch.randn(1, 16000))
    >>> model(spectrum).shape
    torch.Size([1, 257, 64])
    >>> outputs = model.estimate(spectrum)
    >>> torch.allclose(outputs.mask_mapped + outputs.mask_masked, torch.ones(1, 257, 64))
    True
    """

    def __init__(self, config: SpectrogramFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SpectrogramFusionConfig()
        self.transform = ShortTimeFourier(512, 256)
        self.first = _FirstStage(self.transform.n_bins, config)
        self.second = _SecondStage(self.transform.n_bins, config)

    def forward(self, spectrum: torch.Tensor, output: str = "fusion") -> torch.Tensor:
        """Estimate the spectrum of the voice.

        The fusion has the phase of the linear fusion's waveform, analysed again; a single estimate
        has that of the mixture. No gradient flows through phases.

        Parameters
        ----------
        spectrum : Tensor, shape (batch, n_bins, n_frames)
            Complex spectrum of the mixture.
        output : {"fusion", "mapping", "masking"}, default="fusion"
            The fusion, or one estimate of the first stage.

        Returns
        -------
        Tensor, shape (batch, n_bins, n_frames)
            Complex spectrum of the voice.
        """
        outputs = self.estimate(spectrum)
        estimates = {
            "fusion": outputs.fused, "mapping": outputs.mapped, "masking": outputs.masked
        }  # fmt: skip
        if output not in estimates:
            raise ParameterError(f"output must be {' or '.join(estimates)}, not {output!r}")
        phase = spectrum.sgn()
        if output == "fusion":
            with torch.no_grad():
                linear = (outputs.mapped + outputs.masked) / 2
                n_samples = (spectrum.shape[-1] - 1) * self.transform.hop_length
                samples = self.transform.synthesize(
                    self.expand(linear, outputs.level) * phase, n_samples
                )
                phase = self.transform.analyze(samples).sgn()
        return self.expand(estimates[output], outputs.level) * phase

    def estimate(self, spectrum: torch.Tensor) -> FusionOutputs:
        """Compute the outputs of both stages from the magnitudes of (batch, n_bins, n_frames)."""
        level = spectrum.abs().square().mean(dim=(1, 2), keepdim=True).sqrt()
        mixture = self.compress(spectrum, level).mT
        mapped, masked = self.first(mixture)
        fusion = self.second(mixture, mapped.detach(), masked.detach())
        return FusionOutputs._make([*(x.mT for x in (mapped, masked, *fusion)), level])

    def compress(self, spectrum: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Compressed magnitudes (|spectrum| / level)^power, with level (batch, 1, 1)."""
        relative: torch.Tensor = spectrum.abs() / level.clamp_min(_SILENCE)
        return relative**self.config.power

    def expand(self, compressed: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Magnitudes from compressed ones, the inverse of `compress`."""
        return level * compressed ** (1 / self.config.power)


class _Heads(nn.Module):
    """Two estimates from features: a mapping, and a mask on the mixture."""

    def __init__(self, n_features: int, n_bins: int) -> None:
        super().__init__()
        self.mapping = nn.Linear(n_features, n_bins)
        self.masking = nn.Linear(n_features, n_bins)

    def forward(
        self, features: torch.Tensor, mixture: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mask = self.masking(features).sigmoid()
        return functional.softplus(self.mapping(features)), mask * mixture


class _FirstStage(nn.Module):
    """Two estimates from the mixture, all (batch, n_frames, n_bins)."""

    def __init__(self, n_bins: int, config: SpectrogramFusionConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            n_bins, config.lstm_size, config.n_lstm_layers, batch_first=True, bidirectional=True
        )
        self.heads = _Heads(2 * config.lstm_size, n_bins)

    def forward(self, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, _ = self.lstm(mixture)
        estimates: tuple[torch.Tensor, torch.Tensor] = self.heads(features, mixture)
        return estimates


class _SecondStage(nn.Module):
    """Two masks and two more estimates from the mixture and both estimates."""

    def __init__(self, n_bins: int, config: SpectrogramFusionConfig) -> None:
        super().__init__()
        branches = ATTENTIONS[config.attention]
        self.branches = nn.ModuleList(_Branch(*names, n_bins, config) for names in branches)
        n_features = len(branches) * config.hidden_size
        self.masks = nn.Linear(n_features, 2 * n_bins)
        self.heads = _Heads(n_features, n_bins)

    def forward(
        self, mixture: torch.Tensor, mapped: torch.Tensor, masked: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        inputs = {"mixture": mixture, "mapped": mapped, "masked": masked}
        features = torch.cat([branch(inputs) for branch in self.branches], dim=-1)
        masks = self.masks(features).unflatten(-1, (2, -1)).softmax(dim=-2)
        return *masks.unbind(dim=-2), *self.heads(features, mixture)


class _Branch(nn.Module):
    """Hidden layers for queries and, if their inputs differ, for keys and values; attention."""

    def __init__(
        self, queries: _Names, sources: _Names, n_bins: int, config: SpectrogramFusionConfig
    ) -> None:
        super().__init__()
        self.queries, self.sources = queries, sources
        size = config.hidden_size
        self.query_layer = nn.Linear(len(queries) * n_bins, size)
        self.source_layer = None
        if sources != queries:
            self.source_layer = nn.Linear(len(sources) * n_bins, size)
        self.attention = _Attention(size, config.n_heads)
        self.norm = nn.LayerNorm(size)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        def join(names: _Names) -> torch.Tensor:
            return torch.cat([inputs[name] for name in names], dim=-1)

        query = source = self.query_layer(join(self.queries)).relu()
        if self.source_layer is not None:
            source = self.source_layer(join(self.sources)).relu()
        result: torch.Tensor = self.norm(query + self.attention(query, source))
        return result


class _Attention(nn.Module):
    """Multi-head attention over frames, with head h: softmax(Q Kᵀ / √d - m_h |t - s|) V."""

    slopes: torch.Tensor

    def __init__(self, size: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)
        slopes = 2 ** (-8 * torch.arange(1, n_heads + 1) / n_heads)
        self.register_buffer("slopes", slopes[:, None, None], persistent=False)

    def forward(self, query: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, source), (self.value, source))
        )
        frames = torch.arange(query.shape[1], device=query.device)
        bias = -self.slopes * (frames - frames[:, None]).abs()
        mixed = functional.scaled_dot_product_attention(q, k, v, bias.to(q.dtype))
        result: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return result
