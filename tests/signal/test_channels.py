from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import oaconvolve

from harmnmf import Audio, read_audio, write_audio
from harmnmf.signal.channels import choose_mix, measure_covariance

RATE = 16000


@pytest.fixture
def music(root):
    return read_audio(root / "examples" / "example.flac", duration=10.0).samples


def inverted_between(samples, low, high):
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(frequencies >= low) & (frequencies < high)] *= -1
    return np.fft.irfft(spectrum, len(samples))


def delayed(samples, seconds):
    return np.pad(samples, (round(seconds * RATE), 0))[: len(samples)]


def in_a_room(samples, rng):
    """As one microphone of several hears it: direct sound, and as much of other phases."""
    t = np.arange(RATE // 2) / RATE
    response = rng.standard_normal(len(t)) * 10 ** (-3 * t / 0.6)
    response *= 1 / np.linalg.norm(response)
    response[rng.integers(20)] += 1.0
    return oaconvolve(samples, response)[: len(samples)]


def mix_of(*channels):
    return choose_mix(measure_covariance(channels, RATE))


def test_ordinary_channels_are_averaged(music):
    rng = np.random.default_rng(0)
    assert mix_of(music) is None
    assert mix_of(music, 0.3 * music) is None
    assert mix_of(music, 0 * music) is None
    assert mix_of(0 * music, 0 * music) is None
    assert mix_of(music, rng.standard_normal(len(music))) is None
    assert mix_of(in_a_room(music, rng), in_a_room(music, rng)) is None
    assert mix_of(music[:1000], -music[:1000]) is None  # too short to judge


def test_inverted_channels_are_turned(music):
    np.testing.assert_array_equal(mix_of(music, -music), [0.5, -0.5])
    np.testing.assert_array_equal(mix_of(music, -0.9 * music), [0.5, -0.5])
    np.testing.assert_allclose(mix_of(music, music, -music, -music) * 4, [1, 1, -1, -1])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: inverted_between(x, 0, 150),
        lambda x: inverted_between(x, 400, 1600),
        lambda x: inverted_between(x, 2000, 8000),
        lambda x: delayed(x, 0.001),
        lambda x: delayed(x, 0.002),
    ],
    ids=["low", "middle", "high", "1 ms", "2 ms"],
)
def test_one_channel_where_no_sum_is_right(music, change):
    mix = mix_of(music, change(music))
    assert sorted(mix) == [0.0, 1.0]


def test_channels_that_may_not_be_used(music):
    noise = np.random.default_rng(0).standard_normal(len(music))
    covariance = measure_covariance([music, noise, -music, music], RATE)
    np.testing.assert_array_equal(
        choose_mix(covariance, [True, False, False, True]), [0.5, 0, 0, 0.5]
    )
    np.testing.assert_array_equal(
        choose_mix(covariance, [True, False, True, False]), [0.5, 0, -0.5, 0]
    )


def test_reading_opposite_channels(music, tmp_path):
    path = tmp_path / "opposite.wav"
    write_audio(path, Audio(np.stack([music, -music]), RATE))
    with pytest.warns(UserWarning, match=r"opposite\.wav: .*channel 2 is inverted"):
        read = read_audio(path)
    np.testing.assert_allclose(read.samples, music, atol=1e-6)
    with pytest.warns(UserWarning, match="the audio: .*channel 2 is inverted"):
        again = read_audio(Audio(np.stack([music, -music]), RATE), sample_rate=8000)
    assert np.abs(again.samples).max() > 0.5 * np.abs(music).max()
