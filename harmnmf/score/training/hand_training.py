"""Training of the network of hands on scores whose staves are the hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import TICKS
from harmnmf.score.hands import N_FEATURES, HandNetwork, chord_order, hand_features
from harmnmf.score.score import Score, ScoreNotes
from harmnmf.training.loop import Batch, train_network
from harmnmf.validation import check_integer

__all__ = ["has_hands", "play_score", "train_hand_network"]

_KIND = "hand-training"
_AVERAGING = 0.998
_FEWEST = 50  # notes of a score
# Seconds of a quarter note, of the notes as written and of those played at random.
_PLAIN, _FASTEST, _SLOWEST = 0.6, 0.27, 1.2
# Chances that a hand plays an octave further out, or in, in octaves, or not at all, for a while;
# and that pitches are mirrored and the hands exchanged.
_CHANGES, _MIRRORED = (0.2, 0.05, 0.15, 0.03), 0.15
_MIRROR = 124  # twice the D above middle C, of which the keyboard is symmetric
_TRANSPOSITION = 6  # semitones up or down
_KEYS = (21, 108)
_GRACE = TICKS // 8  # ticks of a grace note


def has_hands(score: Score) -> bool:
    """Tell whether a score is long enough to train on, and has notes for both hands."""
    staff = score.notes.staff
    return len(staff) >= _FEWEST and bool((staff == 1).any() and (staff == 2).any())


def play_score(
    notes: ScoreNotes, rng: np.random.Generator | None = None, *, n_notes: int | None = None
) -> tuple[NoteList, NDArray[np.int64]]:
    """Play a score, as written or varied at random.

    Variations are of tempo, timing, durations and key, notes that are missing, and hands that play
    in other octaves or in octaves for a while, as they do in music for piano alone.

    Parameters
    ----------
    notes : ScoreNotes
        Notes.
    rng : numpy.random.Generator, optional
        Source of randomness; without it the notes are played as written, with 0.6 s a quarter.
    n_notes : int, optional
        Length of an excerpt, chosen at random, before it is varied; the whole score by default.

    Returns
    -------
    notes : NoteList
        Notes played; there may be none.
    hands : ndarray of int, shape (n_notes,)
        1 for the right hand and 2 for the left.
    """
    is_grace = notes.duration == 0
    rows = np.stack(
        [
            notes.onset - _GRACE * is_grace,
            np.where(is_grace, _GRACE, notes.duration),
            notes.pitch,
            notes.staff,
        ]
    ).astype(np.float64)
    quarter = _PLAIN
    if rng is not None:
        first = int(rng.integers(max(1, rows.shape[1] - (n_notes or rows.shape[1]) + 1)))
        rows = _varied(rows[:, first : first + (n_notes or rows.shape[1])], rng)
        quarter = float(np.exp(rng.uniform(np.log(_FASTEST), np.log(_SLOWEST))))
    position, duration, pitch, staff = rows
    onset, duration = position * quarter / TICKS, duration * quarter / TICKS
    if rng is not None:
        onset = onset + rng.normal(0, rng.uniform(0, 0.02), onset.size)
        articulation = rng.normal(rng.uniform(-0.6, 0.3), rng.uniform(0.05, 0.4), onset.size)
        duration = duration * np.exp(articulation)
    onset = onset - onset.min(initial=np.inf)
    offset = onset + np.maximum(duration, 0.03)
    # In the order of NoteList, so that hands belong to the notes.
    order = np.lexsort((offset, pitch, onset))
    columns = (onset[order], offset[order], pitch[order])
    return NoteList(*columns, np.full(order.size, 64)), staff[order].astype(np.int64)


def _varied(rows: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Vary the pitches of an excerpt and drop notes; rows are onset, duration, pitch and staff."""
    rows = rows.copy()
    onset, _, pitch, staff = rows
    start, length = onset[0], onset[-1] - onset[0]
    kept, octaves = np.ones(onset.size, bool), []
    for hand, out in ((1, 12), (2, -12)):
        begin = start + rng.uniform(-0.5, 1) * length
        end = begin + rng.uniform(0.2, 1) * length
        chosen = (staff == hand) & (begin <= onset) & (onset < end)
        kind = int(np.searchsorted(np.cumsum(_CHANGES), rng.random(), side="right"))
        if kind < 2:
            pitch[chosen] += (out, -out)[kind]
        elif kind == 2:
            added = rows[:, chosen].copy()
            added[2] += out if rng.random() < 0.7 else -out
            octaves.append(added)
        elif kind == 3:
            kept &= ~chosen
    rows = np.concatenate([rows[:, kept], *octaves], axis=1)
    if rng.random() < _MIRRORED:
        rows[2] = _MIRROR - rows[2]
        rows[3] = 3 - rows[3]
    rows[2] += rng.integers(-_TRANSPOSITION, _TRANSPOSITION + 1)
    low, high = _KEYS
    kept = (low <= rows[2]) & (rows[2] <= high) & (rng.random(rows.shape[1]) > rng.uniform(0, 0.1))
    return rows[:, kept]


def train_hand_network(
    network: HandNetwork,
    scores: Sequence[ScoreNotes],
    run: str | Path,
    *,
    n_steps: int,
    learning_rate: float = 4e-3,
    batch_size: int = 16,
    n_notes: int = 256,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Train a network in place; resume an earlier call with the same folder.

    Parameters
    ----------
    network : HandNetwork
        The network.
    scores : sequence of ScoreNotes
        Training data; longer scores are drawn more often.
    run : path-like
        Folder of the checkpoint and the metrics, created if missing.
    n_steps : int
        Total number of steps.
    learning_rate : float, default=4e-3
        Peak learning rate.
    batch_size, n_notes : int
        Excerpts in a batch, and notes of each.
    seed : int, default=0
        Random seed. Each step has its own generator, so that a resumed training draws the same
        excerpts as an uninterrupted one.
    settings : mapping of str to JSON data, optional
        What the scores and the initial weights were made from. An earlier call is resumed only if
        these and all other parameters but `n_steps` are the same.
    validate, progress : callable, optional
        As in :func:`harmnmf.training.loop.train_network`.

    Returns
    -------
    int
        Number of steps of this call; 0 if the training was complete before.

    Raises
    ------
    ParameterError
        If there are no scores, a parameter is outside its domain, or the folder holds another
        training.
    """
    for name, count in (("batch_size", batch_size), ("n_notes", n_notes), ("n_steps", n_steps)):
        check_integer(name, count)
    check_integer("seed", seed, 0)
    if not scores:
        raise ParameterError("training needs at least one score")
    lengths = np.array([len(score) for score in scores], np.float64)

    def batches(first: int) -> Iterator[Batch]:
        for step in range(first, n_steps):
            rng = np.random.default_rng([seed, step])
            chosen = rng.choice(len(scores), batch_size, p=lengths / lengths.sum())
            yield _batch([play_score(scores[i], rng, n_notes=n_notes) for i in chosen])

    return train_network(
        network,
        batches,
        _loss,
        run,
        kind=_KIND,
        settings={
            **(settings or {}),
            "scores": f"{len(scores)} scores, {int(lengths.sum())} notes",
            "network": asdict(network.config),
            "batch_size": batch_size,
            "n_notes": n_notes,
            "seed": seed,
        },
        weights={"cross_entropy": 1.0},
        n_steps=n_steps,
        learning_rate=learning_rate,
        averaging=_AVERAGING,
        validate=validate,
        progress=progress,
    )


def _batch(played: Sequence[tuple[NoteList, NDArray[np.int64]]]) -> Batch:
    """Stack excerpts, padded to the longest; `valid` tells where there are notes."""
    longest = max(1, *(len(notes) for notes, _ in played))
    features = np.zeros((len(played), N_FEATURES, longest), np.float32)
    right, valid = np.zeros((2, len(played), longest), np.float32)
    for i, (notes, hands) in enumerate(played):
        if n := len(notes):
            chords = chord_order(notes)
            features[i, :, :n] = hand_features(notes, chords).T
            right[i, :n] = hands[chords.order] == 1
            valid[i, :n] = 1
    arrays = {"features": features, "right": right, "valid": valid}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _loss(network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    """Mean binary cross entropy over the notes."""
    total = functional.binary_cross_entropy_with_logits(
        network(batch["features"]), batch["right"], weight=batch["valid"], reduction="sum"
    )
    return {"cross_entropy": total / batch["valid"].sum().clamp(min=1)}
