"""A network that detects notes while they are played.

It is the network of :mod:`harmnmf.decoder.network` with convolutions along time that see the past
only. Its trunk computes each frame once; from the trunk's last frames, small heads estimate what
happened some frames ago. The more a head has heard after a frame, the better it knows it: the
look-ahead is chosen by choosing the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.signal.spectrogram import LowLatency
from harmnmf.storage.shipped import find_file, shipped_files
from harmnmf.validation import as_counts, check_integer

from .features import FeatureSettings, SlidingWindow
from .network import (
    PRIORS,
    HarmonicStack,
    NoteLogits,
    harmonic_inputs,
)
from .network_file import load_network, save_network

__all__ = [
    "CausalNetwork",
    "CausalNetworkConfig",
    "shipped_live_networks",
    "stream_settings",
]

_KIND = "causal-note-network"


@dataclass(frozen=True)
class CausalNetworkConfig:
    """Architecture of a causal network.

    Parameters
    ----------
    n_channels : int, default=64
        Channels of every layer.
    n_partials : int, default=12
        Partials of a key at which the spectra are read.
    time_dilations, key_dilations : tuple of int
        Dilations of each block's convolutions along time and along the keys, of the same length.
    centred_up_to : int, default=2
        Blocks with a dilation in time up to this one wait for the frames around theirs.
    delays : tuple of int, default=(0, 3, 7, 13, 22)
        Frames that each head has heard after the frame that it estimates, ascending.
    """

    n_channels: int = 64
    n_partials: int = 12
    time_dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8)
    key_dilations: tuple[int, ...] = (12, 1, 19, 24, 7, 12, 1, 28, 12, 1)
    centred_up_to: int = 2
    delays: tuple[int, ...] = (0, 3, 7, 13, 22)

    def __post_init__(self) -> None:
        check_integer("n_channels", self.n_channels)
        check_integer("n_partials", self.n_partials)
        check_integer("centred_up_to", self.centred_up_to, 0)
        # JSON gives lists.
        for name, minimum in (("time_dilations", 1), ("key_dilations", 1), ("delays", 0)):
            object.__setattr__(self, name, as_counts(name, getattr(self, name), minimum))
        if len(self.time_dilations) != len(self.key_dilations):
            raise ParameterError("a network needs as many dilations in time as along the keys")
        if not self.delays or sorted(set(self.delays)) != list(self.delays):
            raise ParameterError("delays must be ascending numbers of frames, at least one")

    @property
    def trunk_delay(self) -> int:
        """Frames by which the trunk lags behind its input."""
        return sum(dilation for dilation in self.time_dilations if dilation <= self.centred_up_to)


def stream_settings() -> FeatureSettings:
    """Make the default settings of features for transcription while the music is played."""
    return FeatureSettings(
        front_end=LowLatency(),
        onset_front_end=LowLatency(n_fft=2048, n_cycles=25.0, min_window=0.03, max_window=0.12),
        n_iter=2,
        sliding=SlidingWindow(),
    )


class _CausalBlock(nn.Module):
    """A residual block: a convolution along the past, then one along the keys.

    If it is centred, its output is one of the frame in the middle, `time_dilation` frames ago.
    """

    def __init__(
        self, n_channels: int, time_dilation: int, key_dilation: int, is_centred: bool
    ) -> None:
        super().__init__()
        self.n_past = 2 * time_dilation
        self.middle = time_dilation if is_centred else self.n_past
        self.time = nn.Conv2d(
            n_channels, n_channels, (1, 3), dilation=(1, time_dilation), bias=False
        )
        self.time_norm = nn.BatchNorm2d(n_channels)
        self.keys = nn.Conv2d(
            n_channels, n_channels, (3, 1), dilation=(key_dilation, 1),
            padding=(key_dilation, 0), bias=False,
        )  # fmt: skip
        self.keys_norm = nn.BatchNorm2d(n_channels)

    def forward(self, x: torch.Tensor, past: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the output for x, and the frames that the next call needs as its past."""
        longer = torch.cat([past, x], dim=-1)
        hidden = torch.relu_(self.time_norm(self.time(longer)))
        own = longer[..., self.middle : self.middle + x.shape[-1]]
        y = torch.relu_(own + self.keys_norm(self.keys(hidden)))
        return y, longer[..., longer.shape[-1] - self.n_past :]


class _Head(nn.Module):
    """Estimate a frame from the trunk where it is centred on it, later, and at the end."""

    def __init__(self, n_channels: int, delay: int, trunk_delay: int) -> None:
        super().__init__()
        self.delay = delay
        age = max(0, delay - trunk_delay)
        self.ages = sorted({0, age // 2, age}, reverse=True)
        self.hidden = nn.Conv2d(len(self.ages) * n_channels, n_channels, 1)
        self.notes = nn.Conv2d(n_channels, len(PRIORS), 1)
        self.pedal = nn.Conv1d(2 * n_channels, 1, 1)
        with torch.no_grad():
            assert self.notes.bias is not None
            self.notes.bias.copy_(torch.tensor(PRIORS))

    def forward(self, trunk: torch.Tensor) -> NoteLogits:
        """Estimate all frames but the last `delay` ones."""
        n_frames = trunk.shape[-1] - self.delay
        starts = [self.delay - age for age in self.ages]
        x = torch.cat([trunk[..., start : start + n_frames] for start in starts], dim=1)
        x = torch.relu_(self.hidden(x))
        pooled = torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1)
        onset, sounding, offset, velocity = self.notes(x).unbind(dim=1)
        return NoteLogits(onset, sounding, offset, velocity, self.pedal(pooled)[:, 0])


class CausalNetwork(nn.Module):
    """Network of the transcription of streams.

    Parameters
    ----------
    config : CausalNetworkConfig, optional
        Architecture.
    metadata : mapping, optional
        Metadata kept in the file: training data, licence, scores.
    settings : FeatureSettings, optional
        How its input is measured. Default: :func:`stream_settings`.

    Examples
    --------
    >>> network = CausalNetwork().eval()
    >>> spectrum = torch.zeros(1, 390, 50)
    >>> heads = network(spectrum, spectrum, torch.zeros(1, 88, 9, 50))
    >>> [logits.onset.shape[-1] for logits in heads]
    [50, 47, 43, 37, 28]
    """

    height: torch.Tensor

    def __init__(
        self,
        config: CausalNetworkConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        settings: FeatureSettings | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or CausalNetworkConfig()
        self.settings = settings = settings or stream_settings()
        self.metadata = dict(metadata or {})
        n_pitches = len(settings.pitches)
        self.stack = HarmonicStack(settings.front_end.axis, settings.pitches, config.n_partials)
        self.register_buffer("height", torch.linspace(-1, 1, n_pitches)[:, None], False)
        n_channels = config.n_channels
        n_inputs = 2 + 4 * config.n_partials + settings.n_inputs
        self.stem = nn.Conv2d(n_inputs, n_channels, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(n_channels)
        self.blocks = nn.ModuleList(
            _CausalBlock(n_channels, *dilations, dilations[0] <= config.centred_up_to)
            for dilations in zip(config.time_dilations, config.key_dilations, strict=True)
        )
        self.heads = nn.ModuleList(
            _Head(n_channels, delay, config.trunk_delay) for delay in config.delays
        )

    @property
    def look_aheads(self) -> tuple[float, ...]:
        """Seconds that are heard after an onset before each head can tell of it.

        A frame is known when its window is, and decided when the head's frames and one more are.
        """
        front_end = self.settings.front_end
        return tuple(
            (front_end.look_ahead + (delay + 1) * front_end.hop_length) / front_end.sample_rate
            for delay in self.config.delays
        )

    def forward(
        self, spectrum: torch.Tensor, onset_spectrum: torch.Tensor, activations: torch.Tensor
    ) -> list[NoteLogits]:
        """Compute the logits of each head from the levels of whole excerpts.

        Parameters
        ----------
        spectrum, onset_spectrum : Tensor, shape (n_batch, n_bins, n_frames)
            Levels of the spectra.
        activations : Tensor, shape (n_batch, n_pitches, n_rows, n_frames)
            Levels of the activations.

        Returns
        -------
        list of NoteLogits
            Logits of each key, from the first frame to the last that the head knows.
        """
        past = self.empty_past(len(spectrum))
        trunk, _ = self.trunk(spectrum, onset_spectrum, activations, past)
        return [head(trunk) for head in self.heads]

    def empty_past(self, n_batch: int = 1) -> list[torch.Tensor]:
        """Make the past of each block before the first frame."""
        shape = n_batch, self.config.n_channels, len(self.height)
        lengths = [2 * dilation for dilation in self.config.time_dilations]
        return [self.height.new_zeros(*shape, n_frames) for n_frames in lengths]

    def trunk(
        self,
        spectrum: torch.Tensor,
        onset_spectrum: torch.Tensor,
        activations: torch.Tensor,
        past: list[torch.Tensor],
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Compute the trunk, (n_batch, n_channels, n_pitches, n_frames), and the past for more."""
        x = harmonic_inputs(self.stack, self.height, spectrum, onset_spectrum, activations)
        x = torch.relu_(self.stem_norm(self.stem(x)))
        later = []
        for block, frames in zip(self.blocks, past, strict=True):
            x, kept = block(x, frames.to(x.dtype))
            later.append(kept)
        return x, later

    def check_dictionary(self, dictionary: TimbreDictionary) -> None:
        """Raise ParameterError if a dictionary does not match those of the training."""
        self.settings.check_dictionary(dictionary, alternative="another network")

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file."""
        save_network(path, _KIND, self, self.config, self.settings, self.metadata)

    @classmethod
    def load(cls, source: str | PathLike[str]) -> CausalNetwork:
        """Read a network in evaluation mode.

        Parameters
        ----------
        source : str or path-like
            A name of :func:`shipped_live_networks`, or the path of a file.

        Raises
        ------
        FormatError
            If the file is not a causal network, or damaged.
        HarmnmfError
            If there is no such file.
        """
        path = find_file(source, shipped_live_networks(), "network")
        return load_network(
            path,
            _KIND,
            lambda config, about, settings: cls(CausalNetworkConfig(**config), about, settings),
        )


def shipped_live_networks() -> dict[str, Path]:
    """List the causal networks that come with the package: paths by name."""
    return shipped_files("harmnmf", "data/live_networks")
