"""Noises of keys and of the pedal."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf import NoteList
from harmnmf.synthesis.mechanics import mechanical_noise

RATE = 16000
SEEDS = range(20)


def noise(notes, n_samples=2 * RATE, seed=0):
    return mechanical_noise(notes, n_samples, np.random.default_rng(seed))


def one(pedal=()):
    return NoteList([0.1], [0.5], [60], [80], pedal)


def support(samples):
    """First and last time in seconds at which something sounds."""
    sounding = np.flatnonzero(np.abs(samples) > 1e-4 * np.abs(samples).max()) / RATE
    return sounding[0], sounding[-1]


def level_db(samples):
    return 20 * np.log10(np.abs(samples).max())


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_and_pedal(seed):
    released = noise(one(), seed=seed)
    begin, end = support(released)
    assert 0.5 <= begin < 0.502
    assert begin < end < 0.75
    # The weakest noise has 0.3 of the strength of the strongest, -10.5 dB.
    assert -85.5 < level_db(released) < -44.99

    pedal = noise(one([[0.8, 1.9]]), 4 * RATE, seed)
    pedal[: len(released)] -= released
    begin, end = support(pedal)
    assert 0.8 <= begin < 0.81
    assert 1.9 < end < 2.9
    assert -85.5 < level_db(pedal) < -39.99
    # It moves when it is pressed and when it is released.
    pressed, raised = pedal[round(0.8 * RATE) :], pedal[round(1.9 * RATE) :]
    assert level_db(raised[: RATE // 20]) > level_db(pressed[: RATE // 20]) - 12


def test_nothing_moves_and_nothing_sounds():
    silence = noise(NoteList([], [], [], []), 1000)
    assert silence.shape == (1000,)
    assert silence.dtype == np.float32
    assert not silence.any()


def test_length():
    notes = NoteList([0.1, 0.2, 0.3], [0.5, 1.0, 7.0], [60, 62, 64], [80] * 3, [[0.2, 5.0]])
    whole = noise(notes)
    for n_samples in (0, 1, 100, RATE):
        part = noise(notes, n_samples)
        assert part.shape == (n_samples,)
        np.testing.assert_allclose(part, whole[:n_samples], atol=1e-8)
    np.testing.assert_array_equal(whole, noise(notes))
    assert not np.array_equal(whole, noise(notes, seed=1))
