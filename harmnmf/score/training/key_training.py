"""Training of the conditional random field that finds keys, on printed scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.score.keys import BY_KEY, CHANGES, MODES, SHARPS, key_features
from harmnmf.score.score import Score, sharps_of_bars

__all__ = ["train_keys"]

_BATCH_SIZE = 64
_LEARNING_RATE = 0.05
_DECAY = 1e-3
_CHANGE = -8.0  # log-probability of a change at first
_IMPOSSIBLE = -1e4


class _Example(NamedTuple):
    features: NDArray[np.float32]  # (n_bars, 3, 3, 12)
    sharps: NDArray[np.int64]  # (n_bars,), modulo 12
    bass: tuple[int, int]  # pitch classes of the first and the last
    mode: int  # 1 for minor, -1 if unknown


def train_keys(
    scores: Sequence[Score],
    *,
    n_epochs: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Train the model of :func:`~harmnmf.score.keys.estimate_keys` by maximum likelihood.

    The signatures are known; the mode is where the last bass note is the tonic of a key with the
    signature, and is marginalized elsewhere.

    Parameters
    ----------
    scores : sequence of Score
        Scores with notes.
    n_epochs : int
        Number of passes over the scores.
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
    # Sorted by length, so that those of a batch are similar.
    examples = sorted(map(_example, scores), key=lambda x: len(x.sharps))
    starts = np.arange(0, len(examples), _BATCH_SIZE)
    batches = [_batch(examples[start : start + _BATCH_SIZE]) for start in starts]
    shapes = {
        **dict.fromkeys(("bar", "opening", "closing"), (2, 3, 12)),
        **dict.fromkeys(("first_bass", "last_bass"), (2, 12)),
        "change": (2, 2, 12),
    }
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    weights["change"] += _CHANGE
    for weight in weights.values():
        weight.requires_grad_()
    optimizer = torch.optim.Adam(weights.values(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1.0, 0.01, total_iters=n_epochs * len(batches)
    )
    for _ in range(n_epochs):
        for index in rng.permutation(len(batches)):
            penalty = sum(
                ((weight - (_CHANGE if name == "change" else 0)) ** 2).sum()
                for name, weight in weights.items()
            )
            loss = _loss(weights, *batches[index]) + _DECAY * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress:
            progress(1)
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def _loss(
    weights: dict[str, torch.Tensor],
    features: torch.Tensor,
    sharps: torch.Tensor,
    lengths: torch.Tensor,
    bass: torch.Tensor,
    mode: torch.Tensor,
) -> torch.Tensor:
    """Mean negative log-likelihood of the signatures and the last mode."""
    turned = {name: weight[BY_KEY] for name, weight in weights.items() if name != "change"}
    bar, opening, closing = (
        torch.einsum("bnkp,spk->bns", features[:, :, index], turned[name])
        for index, name in enumerate(("bar", "opening", "closing"))
    )
    first = turned["first_bass"].T[bass[:, 0]]
    last = turned["last_bass"].T[bass[:, 1]]
    change = weights["change"][MODES[:, None], MODES, CHANGES]
    change = change.masked_fill(torch.from_numpy(CHANGES == 0), _IMPOSSIBLE)
    wrong = (torch.from_numpy(SHARPS) != sharps[:, :, None]) & (sharps[:, :, None] >= 0)
    wrong_mode = (torch.from_numpy(MODES) != mode[:, None]) & (mode[:, None] >= 0)
    possible, true = (
        _log_partition(bars, opening, closing, change, lengths, first, end)
        for bars, end in (
            (bar, last),
            (bar.masked_fill(wrong, _IMPOSSIBLE), last.masked_fill(wrong_mode, _IMPOSSIBLE)),
        )
    )
    return (possible - true).mean()


def _log_partition(
    bar: torch.Tensor,
    opening: torch.Tensor,
    closing: torch.Tensor,
    change: torch.Tensor,
    lengths: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
) -> torch.Tensor:
    """Sum over all paths by the forward algorithm."""
    total = bar[:, 0] + opening[:, 0] + first
    for index in range(1, bar.shape[1]):
        left = (total + closing[:, index - 1])[:, :, None] + change
        changed = torch.logsumexp(left, 1) + opening[:, index]
        following = torch.logaddexp(total, changed) + bar[:, index]
        total = torch.where((index < lengths)[:, None], following, total)
    end = closing[torch.arange(len(lengths)), lengths - 1]
    return torch.logsumexp(total + end + last, 1)


def _example(score: Score) -> _Example:
    notes, bars = score.notes, score.bars
    sharps = sharps_of_bars(score.keys, np.arange(len(bars)))
    features = key_features(notes.onset, notes.duration, notes.pitch, bars)
    first, last = (
        int(notes.pitch[notes.onset == position].min()) % 12 for position in notes.onset[[0, -1]]
    )
    degree = int(last - 7 * sharps[-1]) % 12
    mode = {0: 0, 9: 1}.get(degree, -1)
    return _Example(features.astype(np.float32), sharps % 12, (first, last), mode)


def _batch(examples: Sequence[_Example]) -> tuple[torch.Tensor, ...]:
    """Stack examples, padded to the longest: features, sharps (-1 beyond the end), and so on."""
    longest = max(len(example.sharps) for example in examples)
    features = np.zeros((len(examples), longest, 3, 3, 12), np.float32)
    sharps = np.full((len(examples), longest), -1)
    for row, example in enumerate(examples):
        features[row, : len(example.sharps)] = example.features
        sharps[row, : len(example.sharps)] = example.sharps
    lengths = [len(example.sharps) for example in examples]
    columns = (lengths, [x.bass for x in examples], [x.mode for x in examples])
    return torch.from_numpy(features), torch.from_numpy(sharps), *map(torch.tensor, columns)
