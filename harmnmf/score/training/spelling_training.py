"""Training of the network that spells pitches, on printed scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from harmnmf.score.score import Score, sharps_of_bars
from harmnmf.score.spelling import PLACES, spelling_features

__all__ = ["train_spelling"]

_N_HIDDEN = 64
_BATCH_SIZE = 512
_LEARNING_RATE = 5e-3
_WEIGHT_DECAY = 1e-2
# Share of the scores that are shown with another key signature, as an estimated one may be wrong,
# and how many fifths it is off.
_SHARE_WRONG = 0.25
_WRONG = (-5, -4, -3, -2, -1, -1, 1, 1, 2, 3, 4, 5)


def train_spelling(
    scores: Sequence[Score],
    *,
    n_epochs: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Train the network of :func:`~harmnmf.score.spelling.spell`.

    Parameters
    ----------
    scores : sequence of Score
        Scores with notes.
    n_epochs : int
        Number of passes over all notes.
    seed : int, default=0
        Random seed.
    progress : callable, optional
        Called with 1 after each pass.

    Returns
    -------
    dict of ndarray
        Weights by name.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    parts = [_examples(score, rng) for score in scores]
    features = torch.from_numpy(np.concatenate([part[0] for part in parts]))
    places = torch.from_numpy(np.concatenate([part[1] for part in parts]))
    n_notes, n_features = features.shape
    network = nn.ModuleDict(
        {
            "hidden": nn.Linear(n_features, _N_HIDDEN),
            "output": nn.Linear(_N_HIDDEN, PLACES.size),
        }
    )
    n_steps = n_epochs * -(-n_notes // _BATCH_SIZE)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=n_steps)
    # A pitch class, relative to the key, has few places.
    possible = torch.from_numpy((7 * PLACES - np.arange(12)[:, None]) % 12 == 0)
    for _ in range(n_epochs):
        for batch in torch.randperm(n_notes).split(_BATCH_SIZE):
            x = features[batch].float()
            scores_of_places = network["output"](functional.relu(network["hidden"](x)))
            masked = scores_of_places.masked_fill(~possible[x[:, :12].argmax(1)], -torch.inf)
            loss = functional.cross_entropy(masked, places[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress:
            progress(1)
    return {name: weight.detach().numpy() for name, weight in network.state_dict().items()}


def _examples(
    score: Score, rng: np.random.Generator
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Compute features and indices of places."""
    notes = score.notes
    sharps = sharps_of_bars(score.keys, score.bars.bar_at(notes.onset))
    if rng.random() < _SHARE_WRONG:
        sharps = sharps + rng.choice(_WRONG)
    place = notes.fifths - sharps - PLACES[0]
    known = (place >= 0) & (place < PLACES.size)
    features = spelling_features(notes.onset, notes.pitch, sharps)
    return features[known].astype(np.float16), place[known]
