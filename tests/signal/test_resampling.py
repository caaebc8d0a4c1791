"""Resampling of streams with a short delay."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.signal.resampling import PromptResampler

RATES = [(44100, 16000), (48000, 16000), (22050, 16000), (8000, 16000), (11025, 16000),
         (192000, 16000), (16000, 44100)]  # fmt: skip
COPRIME = (44101, 16000)


def resample(samples, rate, sample_rate):
    resampler = PromptResampler(rate, sample_rate)
    return np.concatenate([resampler.push(samples), resampler.finish()])


def band_limited_noise(n_samples, fraction):
    """Noise up to a part of the Nyquist frequency, which fades in and out."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=n_samples))
    spectrum[int(fraction * len(spectrum)) :] = 0
    return (np.fft.irfft(spectrum, n_samples) * np.hanning(n_samples)).astype(np.float32)


@pytest.mark.parametrize(("rate", "sample_rate"), [*RATES, COPRIME, (15991, 16000)])
def test_it_equals_soxr_at_the_same_times(rate, sample_rate):
    noise = band_limited_noise(rate // 5, 0.8 * min(1, sample_rate / rate))
    own, other = resample(noise, rate, sample_rate), soxr.resample(noise, rate, sample_rate, "VHQ")
    assert abs(len(own) - len(other)) <= 1
    n = min(len(own), len(other))
    error = np.sqrt(np.mean((own[:n] - other[:n]) ** 2) / np.mean(other**2))
    assert 20 * np.log10(error) < -65


@pytest.mark.parametrize(("rate", "sample_rate"), RATES)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.8])
def test_tones_keep_phase_and_amplitude(rate, sample_rate, part):
    f = part * min(rate, sample_rate) / 2
    tone = np.cos(2 * np.pi * f * np.arange(rate // 5) / rate).astype(np.float32)
    output = resample(tone, rate, sample_rate)
    expected = np.cos(2 * np.pi * f * np.arange(len(output)) / sample_rate)
    inner = slice(len(output) // 4, -len(output) // 4)
    np.testing.assert_allclose(output[inner], expected[inner], atol=2e-3)


@pytest.mark.parametrize(("rate", "sample_rate"), RATES[:2])
@pytest.mark.parametrize("f", [8500.0, 10000.0, 15900.0, 21000.0])
def test_what_lies_above_the_nyquist_frequency_is_suppressed(rate, sample_rate, f):
    tone = np.sin(2 * np.pi * f * np.arange(rate // 5) / rate).astype(np.float32)
    output = resample(tone, rate, sample_rate)
    inner = output[len(output) // 4 : -len(output) // 4]
    assert 20 * np.log10(np.sqrt(2 * np.mean(inner**2))) < -70


def test_images_are_suppressed():
    tone = np.sin(2 * np.pi * 2900 * np.arange(1600) / 8000).astype(np.float32)
    output = resample(tone, 8000, 16000)[800:-800] * np.hanning(1600)
    level = np.abs(np.fft.rfft(output)) / np.abs(np.fft.rfft(output)).max()
    assert 20 * np.log10(level[450:].max()) < -70  # above 4.5 kHz


def test_constants_stay():
    output = resample(np.ones(3000, np.float32), 44100, 16000)
    np.testing.assert_allclose(output[100:-100], 1.0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    rates=st.sampled_from([*RATES, (16000, 16000), (7, 5), (5, 7), (441, 199), (1000, 1)]),
    n_samples=st.integers(0, 3000),
    cuts=st.lists(st.integers(0, 3000), max_size=10),
    singles=st.integers(0, 50),
)
def test_any_blocks_give_the_same_bits(rates, n_samples, cuts, singles):
    samples = np.random.default_rng(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    cuts = [min(cut, n_samples) for cut in (*cuts, *range(singles))]
    resampler = PromptResampler(*rates)
    parts = [resampler.push(block) for block in np.split(samples, sorted(cuts))]
    output = np.concatenate([*parts, resampler.finish()])
    np.testing.assert_array_equal(output, resample(samples, *rates))
    assert output.dtype == np.float32
    # Those that lie before the end of the signal.
    assert len(output) == math.ceil(n_samples * rates[1] / rates[0])


@pytest.mark.parametrize(("rate", "sample_rate"), RATES)
def test_output_is_complete_after_the_delay(rate, sample_rate):
    resampler = PromptResampler(rate, sample_rate)
    assert 0.001 < resampler.delay < 0.005
    n_output = n_pushed = 0
    for n_block in (1, 100, 7, 1000, 1, 1, 500):
        n_output += len(resampler.push(np.zeros(n_block, np.float32)))
        n_pushed += n_block
        complete = n_pushed / rate - resampler.delay
        assert n_output == max(0, math.ceil(round(complete * rate) * sample_rate / rate))


@pytest.mark.parametrize(("rate", "sample_rate"), [(48000, 16000), (44100, 16000), (8000, 16000)])
def test_later_samples_change_nothing(rate, sample_rate):
    noise = np.random.default_rng(0).uniform(-1, 1, 2000).astype(np.float32)
    changed = noise.copy()
    changed[1000:] = 100.0
    before, after = (resample(x, rate, sample_rate) for x in (noise, changed))
    delay = PromptResampler(rate, sample_rate).delay
    known = np.arange(len(before)) / sample_rate + delay < 1000 / rate - 1e-9
    np.testing.assert_array_equal(after[known], before[known])
    assert not np.array_equal(after[: known.sum() + 1], before[: known.sum() + 1])


def test_nothing_at_all():
    resampler = PromptResampler(44100, 16000)
    assert len(resampler.push(np.zeros(0, np.float32))) == 0
    assert len(resampler.finish()) == 0


def test_a_long_block_is_the_same_as_short_ones():
    samples = np.random.default_rng(0).uniform(-1, 1, 60_000).astype(np.float32)
    resampler = PromptResampler(48000, 16000)
    parts = [resampler.push(block) for block in np.array_split(samples, 7)]
    np.testing.assert_array_equal(
        np.concatenate([*parts, resampler.finish()]), resample(samples, 48000, 16000)
    )
