"""Random sounds and frequency responses. Rooms are in tests/synthesis/test_microphone.py."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf.signal.acoustics import applause, equalize, frame_power

RATE = 16000


def clap(n_samples, seed):
    return applause(n_samples, np.random.default_rng(seed))


def test_applause():
    claps = [clap(2 * RATE, seed) for seed in range(12)]
    for sound in claps:
        assert sound.shape == (2 * RATE,)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        # It goes on from the beginning to the end.
        quarters = sound.reshape(4, -1)
        assert (np.mean(quarters**2, axis=1) > 0.02 * np.mean(sound**2)).all()
    # From a few hands, with pauses between claps, to a roar.
    power = np.array([frame_power(sound) for sound in claps])
    heard = np.mean(power > 1e-3 * power.max(axis=1, keepdims=True), axis=1)
    assert heard.min() < 0.6
    assert heard.max() == 1


def test_applause_depends_on_the_seed_only():
    np.testing.assert_array_equal(clap(RATE, 0), clap(RATE, 0))
    assert not np.array_equal(clap(RATE, 0), clap(RATE, 1))
    for n_samples in (0, 1, 100):
        assert clap(n_samples, 0).shape == (n_samples,)


@pytest.mark.parametrize("seed", range(3))
def test_equalizer_of_a_smaller_range(seed):
    click = np.eye(1, RATE, dtype=np.float32)[0]

    def gain_db(max_gain_db):
        filtered = equalize(click, np.random.default_rng(seed), max_gain_db=max_gain_db)
        assert np.argmax(np.abs(filtered)) == 0
        return 20 * np.log10(np.abs(np.fft.rfft(filtered)))[100:7500]

    assert np.abs(gain_db(2.0)).max() < 2.05
    np.testing.assert_allclose(gain_db(2.0), gain_db(6.0) / 3, atol=0.05)
    np.testing.assert_allclose(gain_db(0.0), 0, atol=1e-4)
