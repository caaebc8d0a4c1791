"""A small network that detects onsets, sustained notes, offsets, velocities and the pedal.

Its inputs are the activations of each key and the spectra at the key's partials. All keys share
the same weights; layers along the keys compare those that share partials, an octave or a twelfth
apart, and neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.signal.harmonics import (
    FrequencyAxis,
    HarmonicSeries,
    piano_inharmonicity,
    pitch_to_hz,
)
from harmnmf.storage.shipped import find_file, shipped_files
from harmnmf.validation import as_counts, check_flag, check_integer

from .features import FeatureSettings, NoteFeatures
from .network_file import load_network, save_network

__all__ = [
    "PRIORS", "HarmonicStack", "NoteLogits", "NoteNetwork", "NoteNetworkConfig",
    "NoteProbabilities", "harmonic_inputs", "join_frames", "shipped_networks",
]  # fmt: skip

_KIND = "note-network"
# Frames in a batch. More take more memory and are no faster.
_FRAMES_AT_ONCE = 512
# Initial biases of onset, sounding, offset and velocity: the first three are rare.
PRIORS = (-4.0, -3.0, -4.0, 0.0)


@dataclass(frozen=True)
class NoteNetworkConfig:
    """Architecture of a network.

    Parameters
    ----------
    n_channels : int, default=64
        Channels of every layer.
    n_partials : int, default=12
        Partials of a key at which the spectra are read.
    time_dilations, key_dilations : tuple of int
        Dilations of each block's convolutions along time and along the keys, of the same length.
    activations : bool, default=True
        Whether the activations are an input.
    """

    n_channels: int = 64
    n_partials: int = 12
    time_dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8)
    key_dilations: tuple[int, ...] = (12, 1, 19, 24, 7, 12, 1, 28, 12, 1)
    activations: bool = True

    def __post_init__(self) -> None:
        check_integer("n_channels", self.n_channels)
        check_integer("n_partials", self.n_partials)
        check_flag("activations", self.activations)
        # JSON gives lists.
        for name in ("time_dilations", "key_dilations"):
            object.__setattr__(self, name, as_counts(name, getattr(self, name)))
        if len(self.time_dilations) != len(self.key_dilations):
            raise ParameterError("a network needs as many dilations in time as along the keys")


class NoteLogits(NamedTuple):
    """Output of a network before the logistic function.

    Logits of a note that begins, sounds or ends in a frame, and of its velocity as a fraction of
    127 if it begins there, shape (..., n_pitches, n_frames); logits of the sustain pedal, shape
    (..., n_frames).
    """

    onset: torch.Tensor
    sounding: torch.Tensor
    offset: torch.Tensor
    velocity: torch.Tensor
    pedal: torch.Tensor


class NoteProbabilities(NamedTuple):
    """Output of a network, or its target: the logistic function of :class:`NoteLogits`."""

    onset: NDArray[np.float32]
    sounding: NDArray[np.float32]
    offset: NDArray[np.float32]
    velocity: NDArray[np.float32]
    pedal: NDArray[np.float32]


class HarmonicStack(nn.Module):
    """Read a spectrum at the first partials of each pitch (MIDI number).

    Examples
    --------
    >>> from harmnmf.signal.spectrogram import LogFrequency
    >>> axis = LogFrequency().axis
    >>> stack = HarmonicStack(axis, [69], n_partials=3)
    >>> spectrum = torch.arange(390.0)[:, None]
    >>> axis.to_hz(stack(spectrum)[:, 0, 0].numpy()).round()
    array([ 440.,  881., 1324.])
    """

    lower: torch.Tensor
    weight: torch.Tensor
    valid: torch.Tensor

    def __init__(self, axis: FrequencyAxis, pitches: ArrayLike, n_partials: int) -> None:
        super().__init__()
        series = HarmonicSeries(n_partials, piano_inharmonicity(pitches))
        positions, valid = series.positions(pitch_to_hz(pitches), axis)
        lower = np.floor(positions.T).clip(0, axis.n_bins - 2)
        for name, values in (
            ("lower", lower.astype(np.int64)),
            ("weight", (positions.T - lower).clip(0, 1).astype(np.float32)[..., None]),
            ("valid", valid.T.astype(np.float32)[..., None]),
        ):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self.last = axis.n_bins - 2

    def forward(self, spectrum: torch.Tensor, shift: int = 0) -> torch.Tensor:
        """Interpolate levels, (..., n_bins, n_frames), linearly, `shift` bins beside the partials.

        Returns (..., n_partials, n_pitches, n_frames), 0 where a partial lies beyond the last bin.
        """
        lower = (self.lower + shift).clamp(0, self.last)
        below, above = spectrum[..., lower, :], spectrum[..., lower + 1, :]
        return (below + (above - below) * self.weight) * self.valid


class _Block(nn.Module):
    """A residual block: a convolution along time, then one along the keys."""

    def __init__(self, n_channels: int, time_dilation: int, key_dilation: int) -> None:
        super().__init__()
        self.time = nn.Conv2d(
            n_channels, n_channels, (1, 3), dilation=(1, time_dilation),
            padding=(0, time_dilation), bias=False,
        )  # fmt: skip
        self.time_norm = nn.BatchNorm2d(n_channels)
        self.keys = nn.Conv2d(
            n_channels, n_channels, (3, 1), dilation=(key_dilation, 1),
            padding=(key_dilation, 0), bias=False,
        )  # fmt: skip
        self.keys_norm = nn.BatchNorm2d(n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu_(self.time_norm(self.time(x)))
        return torch.relu_(x + self.keys_norm(self.keys(hidden)))


class NoteNetwork(nn.Module):
    """Network of the learned decoder.

    Parameters
    ----------
    config : NoteNetworkConfig, optional
        Architecture.
    metadata : mapping, optional
        Metadata kept in the file: training data, licence, scores.
    settings : FeatureSettings, optional
        How its input is measured.

    Attributes
    ----------
    config, metadata, settings
        The parameters.
    context : int
        Frames on either side that the output of a frame depends on.

    Examples
    --------
    >>> network = NoteNetwork().eval()
    >>> spectrum = torch.zeros(1, 390, 50)
    >>> logits = network(spectrum, spectrum, torch.zeros(1, 88, 3, 50))
    >>> logits.onset.shape, logits.pedal.shape
    (torch.Size([1, 88, 50]), torch.Size([1, 50]))
    """

    height: torch.Tensor

    def __init__(
        self,
        config: NoteNetworkConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        settings: FeatureSettings | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or NoteNetworkConfig()
        self.settings = settings = settings or FeatureSettings()
        self.metadata = dict(metadata or {})
        n_pitches = len(settings.pitches)
        self.stack = HarmonicStack(settings.front_end.axis, settings.pitches, config.n_partials)
        self.register_buffer("height", torch.linspace(-1, 1, n_pitches)[:, None], False)
        n_inputs = 2 + 4 * config.n_partials + settings.n_inputs * config.activations
        n_channels = config.n_channels
        self.stem = nn.Conv2d(n_inputs, n_channels, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(n_channels)
        self.blocks = nn.ModuleList(
            _Block(n_channels, *dilations)
            for dilations in zip(config.time_dilations, config.key_dilations, strict=True)
        )
        self.head = nn.Conv2d(n_channels, len(PRIORS), 1)
        self.pedal = nn.Conv1d(2 * n_channels, 1, 9, padding=4)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias.copy_(torch.tensor(PRIORS))

    @property
    def context(self) -> int:
        """Frames on either side that the output of a frame depends on."""
        return sum(self.config.time_dilations) + 4

    def forward(
        self, spectrum: torch.Tensor, onset_spectrum: torch.Tensor, activations: torch.Tensor
    ) -> NoteLogits:
        """Compute logits from levels by :meth:`harmnmf.decoder.features.FeatureSettings.tensors`.

        Parameters
        ----------
        spectrum, onset_spectrum : Tensor, shape (n_batch, n_bins, n_frames)
            Levels of the spectra.
        activations : Tensor, shape (n_batch, n_pitches, n_rows, n_frames)
            Levels of the activations.

        Returns
        -------
        NoteLogits
            Logits of each key and frame.
        """
        x = harmonic_inputs(
            self.stack,
            self.height,
            spectrum,
            onset_spectrum,
            activations if self.config.activations else None,
        )
        x = torch.relu_(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        pooled = torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1)
        onset, sounding, offset, velocity = self.head(x).unbind(dim=1)
        return NoteLogits(onset, sounding, offset, velocity, self.pedal(pooled)[:, 0])

    @torch.inference_mode()
    def probabilities(self, features: NoteFeatures) -> NoteProbabilities:
        """Compute probabilities for consecutive frames; the network must be in evaluation mode.

        Parameters
        ----------
        features : NoteFeatures
            Features, measured with `settings`.

        Returns
        -------
        NoteProbabilities
            Probabilities of each key and frame, (n_pitches, n_frames), and of the pedal.
        """
        n_frames = features.n_frames
        parts = []
        for start in range(0, n_frames, _FRAMES_AT_ONCE):
            end = min(start + _FRAMES_AT_ONCE, n_frames)
            first = max(0, start - self.context)
            levels = self.settings.tensors(features[first : end + self.context])
            logits = self(*(x[None].to(self.height.device) for x in levels))
            inner = slice(start - first, end - first)
            parts.append(
                NoteProbabilities(*(torch.sigmoid(x)[0, ..., inner].cpu().numpy() for x in logits))
            )
        return join_frames(parts)

    def check_dictionary(self, dictionary: TimbreDictionary) -> None:
        """Raise ParameterError if a dictionary does not match those of the training."""
        self.settings.check_dictionary(dictionary, alternative='decoder="nmf"')

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file."""
        save_network(path, _KIND, self, self.config, self.settings, self.metadata)

    @classmethod
    def load(cls, source: str | PathLike[str]) -> NoteNetwork:
        """Read a network in evaluation mode.

        Parameters
        ----------
        source : str or path-like
            A name of :func:`shipped_networks`, or the path of a file.

        Raises
        ------
        FormatError
            If the file is not a network, or damaged.
        HarmnmfError
            If there is no such file.

        Examples
        --------
        >>> NoteNetwork.load("learned").settings.n_iter
        10
        """
        path = find_file(source, shipped_networks(), "network")
        return load_network(
            path,
            _KIND,
            lambda config, about, settings: cls(NoteNetworkConfig(**config), about, settings),
        )


def harmonic_inputs(
    stack: HarmonicStack,
    height: torch.Tensor,
    spectrum: torch.Tensor,
    onset_spectrum: torch.Tensor,
    activations: torch.Tensor | None,
) -> torch.Tensor:
    """Gather what a network sees of each key, shape (n_batch, n_inputs, n_pitches, n_frames).

    `height`, (n_pitches, 1), says where the keys lie; the levels are those that
    :meth:`NoteNetwork.forward` takes.
    """
    n_batch, _, n_frames = spectrum.shape
    shape = (n_batch, 1, len(height), n_frames)
    inputs = [
        height.expand(shape),
        spectrum.mean(dim=1)[:, None, None].expand(shape),
        *(stack(spectrum, shift) for shift in (-1, 0, 1)),
        stack(onset_spectrum),
    ]
    if activations is not None:
        inputs.append(activations.transpose(1, 2))
    # Matrix products over channels are faster where these lie together.
    return torch.cat(inputs, dim=1).contiguous(memory_format=torch.channels_last)


def join_frames(parts: Sequence[NoteProbabilities]) -> NoteProbabilities:
    """Concatenate probabilities of consecutive frames."""
    return NoteProbabilities(*(np.concatenate(same, axis=-1) for same in zip(*parts, strict=True)))


def shipped_networks() -> dict[str, Path]:
    """List the networks that come with the package: paths by name."""
    return shipped_files("harmnmf", "data/networks")
