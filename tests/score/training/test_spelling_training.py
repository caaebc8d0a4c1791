"""Training of the models of keys and of spelling."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf.score import spelling
from harmnmf.score.bars import TICKS, Bars
from harmnmf.score.score import Key, Score, ScoreNotes
from harmnmf.score.training.key_training import train_keys
from harmnmf.score.training.spelling_training import train_spelling


@pytest.fixture(scope="module")
def scores():
    """Scores of scales up and down, in each key signature."""
    degrees = np.array([0, 2, 4, -1, 1, 3, 5, 0])
    scores = []
    for fifths in range(-6, 7):
        place = np.tile(np.concatenate([degrees, degrees[::-1]]) + fifths, 4)
        n_notes = place.size
        ones = np.ones(n_notes, int)
        notes = ScoreNotes(
            TICKS * np.arange(n_notes), TICKS * ones, 60 + 7 * place % 12, ones, ones, place,
            np.full(n_notes, ""),
        )  # fmt: skip
        scores.append(Score(notes, Bars([[4, 4]] * (n_notes // 4)), (Key(0, fifths),)))
    return scores


def test_trained_keys_have_the_shapes_of_the_shipped(scores):
    calls = []
    trained = train_keys(scores, n_epochs=2, progress=calls.append)
    assert calls == [1, 1]
    assert {name: weight.shape for name, weight in trained.items()} == {
        "bar": (2, 3, 12), "opening": (2, 3, 12), "closing": (2, 3, 12),
        "first_bass": (2, 12), "last_bass": (2, 12), "change": (2, 2, 12),
    }  # fmt: skip
    assert all(np.isfinite(weight).all() for weight in trained.values())


def test_training_prefers_the_notes_of_the_scale(scores):
    weights = train_keys(scores, n_epochs=20)["bar"][0].sum(axis=0)
    assert weights[[0, 2, 4, 5, 7, 9, 11]].min() > weights[[1, 3, 6, 8, 10]].max()


def test_trainings_with_one_seed_are_equal(scores):
    first, second = (train_spelling(scores, n_epochs=1, seed=3) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_training_of_spelling_learns_the_scale(scores):
    weights = train_spelling(scores, n_epochs=60)
    score = scores[8]
    features = spelling.spelling_features(
        score.notes.onset, score.notes.pitch, np.full(len(score.notes), score.keys[0].fifths)
    )
    hidden = np.maximum(features @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    scored = hidden @ weights["output.weight"].T + weights["output.bias"]
    places = spelling.PLACES + score.keys[0].fifths
    scored[(7 * places - score.notes.pitch[:, None]) % 12 != 0] = -np.inf
    np.testing.assert_array_equal(places[scored.argmax(axis=1)], score.notes.fifths)
