"""A network that finds the beats and bars of a performance from its notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harmnmf.errors import FormatError, ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.storage.shipped import find_file, shipped_files
from harmnmf.training.checkpoint import rebuild_network, state_arrays
from harmnmf.validation import as_counts, check_integer, check_number

from .onset_features import N_FEATURES, ONES, group_onsets, onset_features

__all__ = [
    "BEATS_A_BAR", "PERIODS", "PERIODS_AN_OCTAVE", "BeatLogits", "BeatNetwork", "BeatNetworkConfig",
    "BeatProbabilities", "shipped_beat_networks",
]  # fmt: skip

_KIND = "beat-network"
FRAME_RATE = 50.0
# Periods of a beat in seconds, and how many of them are in an octave.
PERIODS_AN_OCTAVE = 8
PERIODS = 0.2 * 2 ** (np.arange(33) / PERIODS_AN_OCTAVE)
# Beats of a bar; others are taken for none of them.
BEATS_A_BAR = (2, 3, 4)
# Onsets in a window, and in its margins that are not kept.
_WINDOW, _MARGIN = 1024, 192
# Onsets without notes at either end of a performance.
_PADDING = 4


class BeatProbabilities(NamedTuple):
    """Probabilities of beats in each frame of a performance.

    Attributes
    ----------
    frame_rate : float
        Frames a second; frame 0 is at time 0.
    beat, downbeat : ndarray, shape (n_frames,)
        Probabilities that a frame has a beat, and that this begins a bar. Beats are found where
        notes begin; where none does, the expected number of beats is spread over the frames.
    period : ndarray, shape (len(PERIODS), n_frames)
        Probabilities of the duration of a beat, :data:`PERIODS` in seconds.
    beats_a_bar : ndarray, shape (len(BEATS_A_BAR), n_frames)
        Probabilities of the number of beats of the bar.
    onset : ndarray, shape (n_onsets,)
        Times of the onsets, those of chords joined, in seconds.
    onset_beat, onset_downbeat : ndarray, shape (n_onsets,)
        Probabilities that there is a beat, or a downbeat, at each onset.
    between : ndarray, shape (n_onsets,)
        Expected number of beats between each onset and the next.
    """

    frame_rate: float
    beat: NDArray[np.float32]
    downbeat: NDArray[np.float32]
    period: NDArray[np.float32]
    beats_a_bar: NDArray[np.float32]
    onset: NDArray[np.float64]
    onset_beat: NDArray[np.float32]
    onset_downbeat: NDArray[np.float32]
    between: NDArray[np.float32]


class BeatLogits(NamedTuple):
    """Output of the network, (n_batch, ..., n_onsets).

    Logits of a beat and of a downbeat at each onset, the logarithm of the expected number of beats
    before the next, and logits of the classes :data:`PERIODS` and :data:`BEATS_A_BAR`.
    """

    beat: torch.Tensor
    downbeat: torch.Tensor
    between: torch.Tensor
    period: torch.Tensor
    beats_a_bar: torch.Tensor


@dataclass(frozen=True)
class BeatNetworkConfig:
    """Architecture of a network.

    Parameters
    ----------
    n_channels : int, default=80
        Channels of every layer, an even number.
    dilations : tuple of int
        Dilations of the convolutions along the onsets, before and after the recurrent layer.
    dropout : float, default=0.1
        Share of channels that are left out in training.
    """

    n_channels: int = 80
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_integer("n_channels", self.n_channels, 2)
        if self.n_channels % 2:
            raise ParameterError(f"n_channels must be even, not {self.n_channels}")
        check_number("dropout", self.dropout, 0, below=1)
        # JSON gives lists.
        object.__setattr__(self, "dilations", as_counts("dilations", self.dilations))


class _Block(nn.Module):
    """A residual block: a dilated convolution along the onsets."""

    def __init__(self, n_channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_channels)
        self.convolution = nn.Conv1d(n_channels, n_channels, 3, dilation=dilation, padding=dilation)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.dropout(self.convolution(torch.relu(self.norm(x))))


class BeatNetwork(nn.Module):
    """Network that finds beats at the onsets of a performance.

    Convolutions along the onsets, with a recurrent layer of both directions between them.

    Parameters
    ----------
    config : BeatNetworkConfig, optional
        Architecture.
    metadata : mapping, optional
        Metadata kept in the file: training data, licence, scores.

    Examples
    --------
    >>> network = BeatNetwork().eval()
    >>> notes = NoteList([0, 0.5, 1], [0.4, 0.9, 2], [60, 62, 64], [70, 70, 70])
    >>> network.probabilities(notes).beat.shape
    (52,)
    """

    def __init__(
        self, config: BeatNetworkConfig | None = None, metadata: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.config = config = config or BeatNetworkConfig()
        self.metadata = dict(metadata or {})
        n_channels = config.n_channels
        self.stem = nn.Conv1d(N_FEATURES, n_channels, 1)
        self.first, self.second = (
            nn.Sequential(*(_Block(n_channels, d, config.dropout) for d in config.dilations))
            for _ in range(2)
        )
        self.recurrent = nn.GRU(n_channels, n_channels // 2, bidirectional=True, batch_first=True)
        self.whole = nn.Linear(n_channels, n_channels)
        nn.init.zeros_(self.whole.weight)
        self.norm = nn.BatchNorm1d(n_channels)
        self.head = nn.Conv1d(n_channels, 3 + len(PERIODS) + len(BEATS_A_BAR), 1)

    def forward(self, features: torch.Tensor) -> BeatLogits:
        """Compute logits from features, shape (n_batch, N_FEATURES, n_onsets)."""
        x = self.first(self.stem(features))
        hidden = self.recurrent(x.transpose(1, 2))[0].transpose(1, 2)
        # The mean over all onsets tells of the whole piece, as its tempo and its metre.
        is_onset = features[:, ONES : ONES + 1]
        mean = (hidden * is_onset).sum(dim=2) / is_onset.sum(dim=2).clamp(min=1)
        x = x + hidden + self.whole(mean)[:, :, None]
        y = self.head(torch.relu(self.norm(self.second(x))))
        end = 3 + len(PERIODS)
        return BeatLogits(y[:, 0], y[:, 1], y[:, 2], y[:, 3:end], y[:, end:])

    @torch.inference_mode()
    def probabilities(self, notes: NoteList) -> BeatProbabilities:
        """Find the beats of a performance; the network must be in evaluation mode.

        Parameters
        ----------
        notes : NoteList
            Notes, one or more; `offset` is the release of keys, or the end of the sound.

        Returns
        -------
        BeatProbabilities
            Probabilities up to the last onset.

        Raises
        ------
        ParameterError
            If there are no notes.
        """
        if not len(notes):
            raise ParameterError("there are no notes to find beats in")
        time, features = onset_features(notes, group_onsets(notes))
        beat, downbeat, between, period, beats_a_bar = self._windows(features)
        downbeat = np.minimum(downbeat, beat)
        frames = np.round(time * FRAME_RATE).astype(np.int64)
        n_frames = int(frames[-1]) + 2
        # Each onset's classes last until the next begins.
        index = np.clip(np.searchsorted(frames, np.arange(n_frames), side="right") - 1, 0, None)
        n_inside = np.bincount(index, minlength=len(time))
        rate = np.minimum(between / np.maximum(n_inside, 1), 0.5)[index].astype(np.float32)
        rate[: frames[0]] = 0
        share = downbeat / np.maximum(beat, 1e-6)
        return BeatProbabilities(
            frame_rate=FRAME_RATE,
            beat=_at_frames(beat, frames, rate),
            downbeat=_at_frames(downbeat, frames, np.asarray(rate * share[index], np.float32)),
            period=period[:, index],
            beats_a_bar=beats_a_bar[:, index],
            onset=time,
            onset_beat=beat,
            onset_downbeat=downbeat,
            between=between,
        )

    def _windows(self, features: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Compute probabilities of all onsets in windows that overlap."""
        n = features.shape[1]
        padded = np.pad(features, [(0, 0), (_PADDING, _PADDING)])
        total = n + 2 * _PADDING
        if total <= _WINDOW:
            starts = [0]
        else:
            starts = [*range(0, total - _WINDOW, _WINDOW - 2 * _MARGIN), total - _WINDOW]
        device = self.head.weight.device
        batch = np.stack([padded[:, start : start + _WINDOW] for start in starts])
        logits = self(torch.from_numpy(batch).to(device))
        outputs = (
            torch.sigmoid(logits.beat), torch.sigmoid(logits.downbeat), torch.exp(logits.between),
            torch.softmax(logits.period, 1), torch.softmax(logits.beats_a_bar, 1),
        )  # fmt: skip
        joined = []
        for output in outputs:
            values = output.cpu().numpy()
            whole = np.zeros((*values.shape[1:-1], total), np.float32)
            # Later windows replace the margin of those before.
            for start, window in zip(starts, values, strict=True):
                skipped = _MARGIN if start else 0
                whole[..., start + skipped : start + _WINDOW] = window[..., skipped:]
            joined.append(whole[..., _PADDING : _PADDING + n])
        return joined

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file."""
        metadata = {"kind": _KIND, "config": asdict(self.config), "about": self.metadata}
        save_arrays(path, state_arrays(self), metadata)

    @classmethod
    def load(cls, source: str | PathLike[str] = "beats") -> BeatNetwork:
        """Read a network in evaluation mode.

        Parameters
        ----------
        source : str or path-like, default="beats"
            A name of :func:`shipped_beat_networks`, or the path of a file.

        Raises
        ------
        FormatError
            If the file is not a network of beats, or damaged.
        HarmnmfError
            If there is no such file.
        """
        path = find_file(source, shipped_beat_networks(), "network of beats")
        arrays, metadata = load_arrays(path, kind=_KIND)
        try:

            def build(**config: Any) -> BeatNetwork:
                return cls(BeatNetworkConfig(**config), metadata["about"])

            return rebuild_network(build, metadata["config"], arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: damaged network of beats ({error})") from error


def _at_frames(
    values: NDArray[np.float32], frames: NDArray[np.int64], base: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Put probabilities of onsets at their frames; `base` is the least."""
    curve = base.copy()
    np.maximum.at(curve, frames, values)
    return curve


def shipped_beat_networks() -> dict[str, Path]:
    """List the networks of beats that come with the package: paths by name."""
    return shipped_files("harmnmf", "data/beat_networks")
