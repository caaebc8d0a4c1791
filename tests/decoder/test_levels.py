"""Level of a stream, from what was heard so far."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.decoder.levels import RunningLevel, reference_level


def decibels(ratio):
    return 20 * np.log10(ratio)


def dynamics(n_frames, deviation=10.0, seed=0):
    """Frames of two bins whose levels in dB are normally distributed around -20 dB."""
    rng = np.random.default_rng(seed)
    loudest = 10 ** (rng.normal(-20, deviation, n_frames) / 20)
    return np.stack([loudest, 0.1 * loudest]).astype(np.float32)


def push_in_steps(level, V, n_step=2):
    for n in range(0, V.shape[1], n_step):
        level.push(V[:, n : n + n_step])
    return level.level


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(1, 8), st.integers(200, 800))
def test_it_is_a_high_quantile_of_what_was_heard(seed, deviation, n_frames):
    V = dynamics(n_frames, deviation, seed)
    running = push_in_steps(RunningLevel(), V)
    # The counts are of steps of half a decibel, and late frames count a little more.
    lower, upper = np.quantile(V.max(axis=0), [0.98, 1.0])
    assert decibels(lower) - 0.5 <= decibels(running) <= decibels(upper) + 0.5


def test_it_is_within_half_a_decibel_of_the_reference_level():
    V = dynamics(2000, deviation=6.0)
    assert abs(decibels(push_in_steps(RunningLevel(), V) / reference_level(V))) < 0.5


def test_silence_does_not_lower_it():
    V = dynamics(400)
    level = RunningLevel()
    before = push_in_steps(level, V)
    after = push_in_steps(level, np.zeros((2, 2000), np.float32))
    assert after == pytest.approx(before, rel=0.1)


def test_steps_of_any_length_count_the_same():
    V = dynamics(3000)
    levels = [push_in_steps(RunningLevel(), V, n_step) for n_step in (1, 2, 10)]
    assert decibels(max(levels) / min(levels)) <= 0.5
    # What came before a long time counts for nothing.
    level = RunningLevel()
    level.push(np.ones((2, 100), np.float32))
    assert level.push(np.full((2, 50_000), 0.01, np.float32)) == pytest.approx(0.01, rel=0.06)


def test_loud_music_is_forgotten():
    level = RunningLevel()
    push_in_steps(level, np.full((1, 500), 1.0, np.float32))
    quiet = np.full((1, 3000), 0.03, np.float32)
    assert push_in_steps(level, quiet) == pytest.approx(1.0, rel=0.06)  # after a minute
    for _ in range(5):
        last = push_in_steps(level, quiet)
    assert last == pytest.approx(0.03, rel=0.06)


def test_louder_music_counts_soon():
    level = RunningLevel()
    push_in_steps(level, np.full((1, 3000), 0.03, np.float32))
    assert push_in_steps(level, np.full((1, 50), 0.5, np.float32)) == pytest.approx(0.5, rel=0.06)


def test_a_level_to_begin_with():
    level = RunningLevel(0.3)
    assert level.level == pytest.approx(0.3, rel=0.03)
    # Ten quiet seconds do not change it, as in the middle of a piece.
    assert push_in_steps(level, np.full((1, 500), 0.03, np.float32)) == pytest.approx(0.3, rel=0.03)
    assert push_in_steps(level, np.full((1, 100), 1.0, np.float32)) == pytest.approx(1.0, rel=0.06)


@pytest.mark.parametrize("value", [0.0, 1e-6])
def test_silence_has_the_level_of_silence(value):
    V = np.full((3, 50), value, np.float32)
    assert RunningLevel().level == reference_level(np.zeros((3, 0), np.float32))
    assert RunningLevel().push(V) == reference_level(V) == pytest.approx(10 ** (-70 / 20))


@pytest.mark.parametrize("gain", [1e-2, 1e2])
def test_gain(gain):
    V = dynamics(300, deviation=3.0)
    levels = [push_in_steps(RunningLevel(), x.astype(np.float32)) for x in (V, gain * V)]
    assert abs(decibels(levels[1] / levels[0] / gain)) <= 0.51
