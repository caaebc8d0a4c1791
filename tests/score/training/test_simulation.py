"""Performances made up from scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mini_scores import waltz

from harmnmf.score.bars import Bars
from harmnmf.score.beats.onset_features import group_onsets
from harmnmf.score.training.simulation import SimulatedPerformance, simulate_performance


def play(seed: int, **options: int) -> SimulatedPerformance:
    return simulate_performance(waltz(), np.random.default_rng(seed), **options)


@pytest.mark.parametrize("seed", range(8))
def test_beats_are_those_of_the_score(seed: int) -> None:
    performance = play(seed)
    assert len(performance.beat) == 120
    assert (np.diff(performance.beat) > 0).all()
    assert np.flatnonzero(performance.is_downbeat).tolist() == list(range(0, 120, 3))
    assert set(performance.n_beats) == {3}
    assert performance.notes.onset[0] == 0


def test_most_beats_have_an_onset_nearby() -> None:
    near = []
    for seed in range(20):
        performance = play(seed)
        distance = np.abs(performance.beat[:, None] - performance.notes.onset).min(axis=1)
        near.append((distance < 0.07).mean())
    assert np.mean(near) > 0.95


def test_tempo_and_rubato_vary() -> None:
    periods = [np.diff(play(seed).beat) for seed in range(30)]
    medians = [np.median(period) for period in periods]
    assert max(medians) > 2 * min(medians)
    spread = [np.std(np.log2(period)) for period in periods]
    assert min(spread) < 0.05 < 0.2 < max(spread)


def test_the_same_seed_gives_the_same_performance() -> None:
    assert play(3).notes == play(3).notes
    assert play(3).notes != play(4).notes


def test_a_part_begins_at_time_zero() -> None:
    performance = play(1, first_bar=10, n_bars=5)
    assert len(performance.beat) == 15
    assert performance.notes.onset[0] == 0


def test_beats_of_compound_time_are_three_units() -> None:
    score = waltz()
    notes = score.notes
    bars = Bars([[6, 8]] * len(score.bars))
    performance = simulate_performance(
        replace(score, notes=notes, bars=bars), np.random.default_rng(0)
    )
    assert set(performance.n_beats) == {2}


def test_grace_notes_and_trills_are_played_out() -> None:
    score = waltz()
    ornament = np.full(len(score.notes), "", "U8")
    ornament[score.notes.staff == 1] = "trill"
    trills = replace(score, notes=replace(score.notes, ornament=ornament))
    counts = [len(simulate_performance(x, np.random.default_rng(5)).notes) for x in (score, trills)]
    assert counts[1] > 1.3 * counts[0]


def test_chords_are_mostly_one_onset() -> None:
    performance = play(2)
    groups = group_onsets(performance.notes)
    assert groups[0] == 0
    assert (np.diff(groups) >= 0).all()
    assert 200 < groups[-1] + 1 < 600
