"""Training of the network of hands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harmnmf.errors import ParameterError
from harmnmf.score.bars import TICKS, Bars
from harmnmf.score.hands import HandNetwork, HandNetworkConfig
from harmnmf.score.score import Key, Score, ScoreNotes
from harmnmf.score.training.hand_training import has_hands, play_score, train_hand_network


def score_notes(n: int = 64) -> ScoreNotes:
    """Two hands in quarters, far apart."""
    place, staff = np.divmod(np.arange(2 * n), 2)
    pitch = np.where(staff == 0, 84, 36) + place % 5
    return ScoreNotes(
        onset=place * TICKS,
        duration=np.full(2 * n, TICKS),
        pitch=pitch,
        staff=staff + 1,
        voice=np.ones(2 * n, np.int64),
        fifths=7 * pitch % 12,
        ornament=np.full(2 * n, ""),
    )


def network() -> HandNetwork:
    torch.manual_seed(0)
    return HandNetwork(HandNetworkConfig(n_channels=8, dilations=(1, 2)))


def test_a_score_is_played_as_written():
    notes, hands = play_score(score_notes())
    assert (hands == np.where(notes.pitch > 60, 1, 2)).all()
    assert np.allclose(np.unique(notes.onset), 0.6 * np.arange(64))
    assert np.allclose(notes.offset - notes.onset, 0.6)


def test_hands_belong_to_notes_in_all_variations():
    lengths = set()
    for seed in range(60):
        notes, hands = play_score(score_notes(), np.random.default_rng(seed), n_notes=40)
        lengths.add(len(notes))
        # Hands an octave inwards, octaves inwards and a transposition leave an octave between them.
        assert (hands == np.where(notes.pitch > 62, 1, 2)).all()
    assert len(lengths) > 10


def test_a_score_needs_both_hands():
    notes = score_notes()
    bars, keys = Bars([[4, 4]] * 16), (Key(0, 0),)
    assert has_hands(Score(notes, bars, keys))
    one = ScoreNotes(**{name: column[::2] for name, column in vars(notes).items()})
    assert not has_hands(Score(one, bars, keys))
    assert not has_hands(Score(score_notes(8), bars, keys))


def test_training_learns_and_resumes(tmp_path: Path):
    trained = network()
    assert train_hand_network(trained, [score_notes()], tmp_path / "a", n_steps=120) == 120
    notes, hands = play_score(score_notes())
    assert ((trained.logits(notes) > 0) == (hands == 1)).all()
    assert train_hand_network(network(), [score_notes()], tmp_path / "a", n_steps=120) == 0
    with pytest.raises(ParameterError, match="seed"):
        train_hand_network(network(), [score_notes()], tmp_path / "a", n_steps=120, seed=1)


def test_training_needs_scores(tmp_path: Path):
    with pytest.raises(ParameterError, match="at least one score"):
        train_hand_network(network(), [], tmp_path, n_steps=1)
