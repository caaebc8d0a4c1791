"""Hands of notes, by a network and the spans that hands can reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harmnmf.errors import FormatError
from harmnmf.notes.note_list import NoteList
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.storage.shipped import find_file, shipped_files
from harmnmf.training.checkpoint import rebuild_network, state_arrays
from harmnmf.validation import as_counts, check_integer

__all__ = [
    "ChordOrder", "HandNetwork", "HandNetworkConfig", "assign_hands", "chord_order",
    "hand_features",
]  # fmt: skip

_KIND = "hand-network"
_CHORD = 0.035  # seconds from the first note of a chord to the last, at most
# Windows around a chord in seconds, in which the pitches near each note are counted.
_WINDOWS = ((-0.25, 0.25), (-1.0, -0.01), (0.01, 1.0), (-4.0, 4.0))
# Bounds of the counts in semitones above a note: nine ranges from the lowest to the highest.
_BOUNDS = np.array([-128, -12, -7, -3, 0, 1, 4, 8, 13, 128])
_N_PITCHES = 128
N_FEATURES = 7 + (len(_WINDOWS) + 2) * (1 + len(_BOUNDS))
# Costs of a hand that reaches further than an octave, in logits a semitone: within a chord, and
# from one chord to the next, where it reaches further the more time it has.
_SPAN, _SPAN_COST = 12.0, 1.0
_NEXT_SPAN, _NEXT_COST, _SPEED = 7.0, 0.25, 40.0


class ChordOrder(NamedTuple):
    """Notes in order of their chords, and of pitch in each.

    `order` are indices of the notes, and `start` the first note in this order of each chord, and
    their number at last.
    """

    order: NDArray[np.int64]
    start: NDArray[np.int64]


def chord_order(notes: NoteList) -> ChordOrder:
    """Join notes that begin within 35 ms to chords, and sort them by chord and pitch."""
    chord = np.zeros(len(notes), np.int64)
    first, index = -np.inf, -1
    for i, onset in enumerate(notes.onset.tolist()):
        if onset > first + _CHORD:
            first, index = onset, index + 1
        chord[i] = index
    order = np.lexsort((notes.pitch, chord))
    return ChordOrder(order, np.searchsorted(chord, np.arange(index + 2)))


def hand_features(notes: NoteList, chords: ChordOrder) -> NDArray[np.float32]:
    """Features of each note, in the order of the chords.

    The pitch; the time to the last and to the next chord, and of the note; and for each of some
    windows around the note's chord, the chord itself, and the keys that are held then: the
    intervals to the lowest and the highest pitch, and the numbers of notes in nine ranges of
    intervals.

    Parameters
    ----------
    notes : NoteList
        Notes, one or more.
    chords : ChordOrder
        As by :func:`chord_order`.

    Returns
    -------
    ndarray of float32, shape (n_notes, n_features)
        Features.
    """
    order, start = chords
    onset, offset, pitch = notes.onset[order], notes.offset[order], notes.pitch[order]
    n_chords = len(start) - 1
    chord = np.repeat(np.arange(n_chords), np.diff(start))
    time = notes.onset[start[:-1]]
    gap = np.log(np.clip(np.diff(time, prepend=time[0] - 2, append=time[-1] + 2), 0.02, 3))
    columns = [
        (pitch - 60) / 12,
        gap[chord],
        gap[chord + 1],
        np.log(np.clip(offset - onset, 0.03, 5)),
        np.log(np.diff(start))[chord],
        (pitch - pitch[start[chord]]) / 12,
        (pitch - pitch[start[chord + 1] - 1]) / 12,
    ]
    played = np.zeros((n_chords + 1, _N_PITCHES), np.int32)
    np.add.at(played, (chord + 1, pitch), 1)
    until = np.cumsum(played, axis=0)
    held = np.zeros((n_chords + 1, _N_PITCHES), np.int32)
    np.add.at(held, (chord + 1, pitch), 1)
    released = np.searchsorted(time, offset - _CHORD)
    np.add.at(held, (np.maximum(released, chord + 1), pitch), -1)
    windows = [played[1:], np.cumsum(held, axis=0)[:-1]]
    for before, after in _WINDOWS:
        last = np.searchsorted(time, time + after, side="right")
        windows.append(until[last] - until[np.searchsorted(time, time + before)])
    bounds = np.clip(pitch[:, None] + _BOUNDS, 0, _N_PITCHES)
    for counts in windows:
        present = counts > 0
        lowest = np.where(present.any(axis=1), present.argmax(axis=1), -1)
        highest = _N_PITCHES - 1 - present[:, ::-1].argmax(axis=1)
        # Relative to the note itself where there is none.
        columns += [
            np.where(lowest[chord] < 0, 0, pitch - end[chord]) / 12 for end in (lowest, highest)
        ]
        below = np.zeros((n_chords, _N_PITCHES + 1), np.int64)
        np.cumsum(counts, axis=1, out=below[:, 1:])
        columns += list(np.log1p(np.diff(below[chord[:, None], bounds], axis=1)).T)
    return np.stack(columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class HandNetworkConfig:
    """Architecture of a network of hands.

    Parameters
    ----------
    n_channels : int, default=48
        Channels of every layer.
    dilations : tuple of int
        Dilations of each layer's convolution along the notes.
    """

    n_channels: int = 48
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1, 2, 4, 1)

    def __post_init__(self) -> None:
        check_integer("n_channels", self.n_channels)
        # JSON gives a list.
        object.__setattr__(self, "dilations", as_counts("dilations", self.dilations))


class HandNetwork(nn.Module):
    """Network that estimates for each note whether the right hand plays it.

    Parameters
    ----------
    config : HandNetworkConfig, optional
        Architecture.
    metadata : mapping, optional
        Metadata kept in the file: training data, licence, scores.

    Examples
    --------
    >>> notes = NoteList([0, 0, 0.5], [0.4, 1, 1], [48, 76, 74], [70, 70, 70])
    >>> HandNetwork.load("hands").logits(notes) > 0
    array([False,  True,  True])
    """

    def __init__(
        self, config: HandNetworkConfig | None = None, metadata: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.config = config = config or HandNetworkConfig()
        self.metadata = dict(metadata or {})
        n_channels = config.n_channels
        self.stem = nn.Conv1d(N_FEATURES, n_channels, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(n_channels, n_channels, 3, dilation=d, padding=d, bias=False)
            for d in config.dilations
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(n_channels) for _ in config.dilations)
        self.head = nn.Conv1d(n_channels, 1, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Compute logits of the right hand, (n_batch, n_notes).

        `features` have the shape (n_batch, n_features, n_notes), in the order of the chords.
        """
        x = torch.relu(self.stem(features))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + torch.relu(norm(layer(x)))
        return torch.squeeze(self.head(x), 1)

    def logits(self, notes: NoteList) -> NDArray[np.float64]:
        """Compute the logits that the right hand plays each note.

        Parameters
        ----------
        notes : NoteList
            Notes, one or more; velocities do not matter.

        Returns
        -------
        ndarray, shape (n_notes,)
            Logits in the order of the notes; the network must be in evaluation mode.
        """
        chords = chord_order(notes)
        features = torch.from_numpy(hand_features(notes, chords).T.copy())
        logits = np.empty(len(notes))
        with torch.inference_mode():
            logits[chords.order] = self(features[None])[0].numpy()
        return logits

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file."""
        metadata = {"kind": _KIND, "config": asdict(self.config), "about": self.metadata}
        save_arrays(path, state_arrays(self), metadata)

    @classmethod
    def load(cls, source: str | PathLike[str]) -> HandNetwork:
        """Read a network in evaluation mode.

        Parameters
        ----------
        source : str or path-like
            "hands" for the network that comes with the package, or the path of a file.

        Raises
        ------
        FormatError
            If the file is not a network of hands, or damaged.
        HarmnmfError
            If there is no such file.
        """
        shipped = shipped_files("harmnmf", "data/score")
        path = find_file(source, {"hands": shipped["hands"]}, "network of hands")
        arrays, metadata = load_arrays(path, kind=_KIND)
        try:

            def build(**config: Any) -> HandNetwork:
                return cls(HandNetworkConfig(**config), metadata["about"])

            return rebuild_network(build, metadata["config"], arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: damaged network of hands ({error})") from error


def assign_hands(notes: NoteList, *, split_pitch: int | None = None) -> NDArray[np.int64]:
    """Assign each note to a hand.

    A network gives each note a probability from its context of some 80 notes. A Viterbi search
    over chords then finds the most probable hands of the whole piece, in which the left hand plays
    the lower notes of each chord, and hands reach further than an octave at a cost only.

    Parameters
    ----------
    notes : NoteList
        Notes; velocities do not matter.
    split_pitch : int, optional
        MIDI number, 0 to 127, of the lowest pitch of the right hand, for the whole piece.

    Returns
    -------
    ndarray of int, shape (n_notes,)
        1 for the right hand, on the upper staff, and 2 for the left.

    Raises
    ------
    ParameterError
        If `split_pitch` is not a MIDI number.

    Examples
    --------
    >>> notes = NoteList([0, 0, 0.5], [0.4, 1, 1], [48, 76, 74], [70, 70, 70])
    >>> assign_hands(notes)
    array([2, 1, 1])
    >>> assign_hands(notes, split_pitch=75)
    array([2, 1, 2])
    """
    if split_pitch is not None:
        check_integer("split_pitch", split_pitch, 0, 127)
        return np.where(notes.pitch >= split_pitch, 1, 2)
    if not len(notes):
        return np.zeros(0, np.int64)
    return _most_probable(notes, _default_network().logits(notes))


@cache
def _default_network() -> HandNetwork:
    return HandNetwork.load("hands")


class _Reach(NamedTuple):
    """Lowest and highest pitch of both hands, (2, n_splits); NaN where a hand does not play."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def _most_probable(notes: NoteList, logits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the hands with the greatest sum of logits less the costs of their spans.

    The states of a chord of n pitches are its n + 1 splits: the left hand plays the k lowest.
    """
    order, start = chord_order(notes)
    bounds = list(zip(start[:-1].tolist(), start[1:].tolist(), strict=True))
    onset = notes.onset[start[:-1]]
    pitch, logits = notes.pitch[order].astype(np.float64), logits[order]
    total, before, steps = np.zeros(1), _Reach(*np.full((2, 2, 1), np.nan)), []
    for index, (first, last) in enumerate(bounds):
        distinct, edges = np.unique(pitch[first:last], return_index=True)
        edges, reach = np.append(edges, last - first), _reach(distinct)
        below = np.concatenate([[0.0], np.cumsum(logits[first:last])])[edges]
        own = below[-1] - 2 * below - _SPAN_COST * _excess(reach.low, reach.high, _SPAN)
        free = _NEXT_SPAN + _SPEED * (onset[index] - onset[index - 1] if index else 0.0)
        low = np.minimum(before.low[:, :, None], reach.low[:, None])
        high = np.maximum(before.high[:, :, None], reach.high[:, None])
        scores = total[:, None] - _NEXT_COST * _excess(low, high, free)
        steps.append((first + edges, scores.argmax(axis=0)))
        total, before = scores.max(axis=0) + own, reach
    hands = np.ones(len(notes), np.int64)
    split = int(total.argmax())
    for edges, step in reversed(steps):
        hands[order[edges[0] : edges[split]]] = 2
        split = int(step[split])
    return hands


def _reach(pitch: NDArray[np.float64]) -> _Reach:
    """Reach of the left and the right hand for all splits of a chord, ascending in pitch."""
    n = len(pitch)
    low, high = np.full((2, n + 1), np.nan), np.full((2, n + 1), np.nan)
    low[0, 1:], high[0, 1:] = pitch[0], pitch
    low[1, :-1], high[1, :-1] = pitch, pitch[-1]
    return _Reach(low, high)


def _excess(
    low: NDArray[np.float64], high: NDArray[np.float64], span: float
) -> NDArray[np.float64]:
    """Semitones beyond a span, summed over hands; 0 for a hand that does not play."""
    return np.asarray(np.nan_to_num(np.maximum(high - low - span, 0)).sum(axis=0))
