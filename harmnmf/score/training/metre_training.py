"""Training of the ranking of hypotheses of beats and bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mir_eval
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import log_softmax, relu

from harmnmf.score.beats.hypotheses import Hypothesis, bar_hypotheses, metre_of, track_in_ranges
from harmnmf.score.beats.network import BeatNetwork
from harmnmf.score.beats.ranking import LIMIT, MetreRanking
from harmnmf.score.score import Score

from .simulation import simulate_performance

__all__ = ["RankedPiece", "draw_piece", "fit_ranking"]

_BARS = (16, 64)
_FROM_THE_START = 0.5
# Least notes, beats and downbeats of a piece.
_LEAST = (40, 8, 3)
# Worth of beats, of downbeats, of the number of beats in a bar, and of their being dotted or not.
_WORTH = np.array([1.0, 0.6, 0.15, 0.1])
_SHARPNESS = 12.0  # of the preference for hypotheses of greater worth
_N_HIDDEN, _BATCH = 32, 64
_LEARNING_RATE, _WEIGHT_DECAY, _DROPOUT = 2e-3, 1.0, 0.3


class RankedPiece(NamedTuple):
    """Hypotheses of a piece, and how good they are.

    Attributes
    ----------
    statistics : ndarray, shape (n_hypotheses, n_statistics)
        Statistics of each hypothesis.
    scores : ndarray, shape (n_hypotheses, 4)
        F-measures of beats and downbeats, and whether the number of beats a bar and their being
        dotted are right.
    """

    statistics: NDArray[np.float32]
    scores: NDArray[np.float32]


def draw_piece(score: Score, network: BeatNetwork, rng: np.random.Generator) -> RankedPiece | None:
    """Play a part of a score and find hypotheses of its beats; None if there are few notes.

    Parameters
    ----------
    score : Score
        Score.
    network : BeatNetwork
        Network of beats, in evaluation mode.
    rng : numpy.random.Generator
        Source of randomness.
    """
    n_bars = int(rng.integers(*_BARS))
    latest = max(len(score.bars) - n_bars // 2, 1)
    first_bar = 0 if rng.random() < _FROM_THE_START else int(rng.integers(latest))
    played = simulate_performance(score, rng, first_bar=first_bar, n_bars=n_bars)
    notes = played.notes
    if len(notes) < _LEAST[0]:
        return None
    inside = (played.beat >= notes.onset[0] - 0.1) & (played.beat <= notes.onset[-1] + 0.1)
    beats, is_downbeat = played.beat[inside], played.is_downbeat[inside]
    if beats.size < _LEAST[1] or is_downbeat.sum() < _LEAST[2]:
        return None
    signatures = score.bars.time_signatures[first_bar : first_bar + n_bars]
    kinds, counts = np.unique(signatures, axis=0, return_counts=True)
    metre = metre_of(tuple(kinds[counts.argmax()].tolist()))
    probabilities = network.probabilities(notes)
    hypotheses = bar_hypotheses(track_in_ranges(notes, probabilities), notes, probabilities)
    rated = [_rated(each, beats, beats[is_downbeat], metre) for each in hypotheses]
    statistics = np.array([each.statistics for each in hypotheses], np.float32)
    return RankedPiece(statistics, np.array(rated, np.float32))


def _rated(
    hypothesis: Hypothesis,
    beats: NDArray[np.float64],
    downbeats: NDArray[np.float64],
    metre: tuple[int, bool],
) -> list[float]:
    found = hypothesis.time
    return [
        mir_eval.beat.f_measure(beats, found),
        mir_eval.beat.f_measure(downbeats, found[hypothesis.downbeats]),
        float(hypothesis.metre[0] == metre[0]),
        float(hypothesis.metre[1] == metre[1]),
    ]


def fit_ranking(
    pieces: Sequence[RankedPiece],
    *,
    n_steps: int = 2000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> MetreRanking:
    """Train a ranking to prefer the best hypotheses.

    The cross-entropy is minimized between its probabilities of the hypotheses of a piece and a
    softmax of their worth.

    Parameters
    ----------
    pieces : sequence of RankedPiece
        Pieces, with the same number of hypotheses.
    n_steps : int, default=2000
        Training steps of 64 pieces.
    seed : int, default=0
        Random seed.
    progress : callable, optional
        Called with the number of steps that are done.

    Returns
    -------
    MetreRanking
        The ranking.
    """
    generator = torch.Generator().manual_seed(seed)
    statistics = np.stack([piece.statistics for piece in pieces])
    worth = torch.from_numpy(np.stack([piece.scores for piece in pieces]) @ _WORTH).float()
    flat = statistics.reshape(-1, statistics.shape[2])
    mean, scale = flat.mean(axis=0), flat.std(axis=0) + 1e-3
    values = torch.from_numpy(np.clip((statistics - mean) / scale, -LIMIT, LIMIT))
    values = torch.cat([values, values - values.mean(dim=1, keepdim=True)], dim=2)
    n_inputs = values.shape[2]
    hidden = torch.randn(_N_HIDDEN, n_inputs + 1, generator=generator) / n_inputs**0.5
    output = torch.randn(_N_HIDDEN, generator=generator) / _N_HIDDEN**0.5
    parameters = [hidden.requires_grad_(), output.requires_grad_()]
    optimizer = torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for step in range(n_steps):
        chosen = torch.randint(len(pieces), (_BATCH,), generator=generator)
        kept = torch.rand(n_inputs, generator=generator) >= _DROPOUT
        inputs = values[chosen] * kept / (1 - _DROPOUT)
        scores = relu(inputs @ hidden[:, :-1].T + hidden[:, -1]) @ output
        target = torch.softmax(_SHARPNESS * worth[chosen], dim=1)
        loss = -(target * log_softmax(scores, dim=1)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1)
    arrays = (mean, scale, hidden.detach().numpy(), output.detach().numpy())
    return MetreRanking(*(np.asarray(array, np.float32) for array in arrays))
