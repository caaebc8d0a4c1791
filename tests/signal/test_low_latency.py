"""Spectrograms whose windows end soon after the time of their frame."""

from __future__ import annotations

import cmath
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import FormatError, ParameterError
from harmnmf.signal.spectrogram import LogFrequency, LowLatency, front_end_from_dict

RATE = 8000
# Windows from 20 to 60 ms: half of the shortest is the longest delay.
SMALL = LowLatency(
    sample_rate=RATE,
    hop_length=100,
    n_fft=512,
    bins_per_octave=24,
    n_bins=100,
    fmin=200.0,
    n_cycles=30.0,
    min_window=0.02,
    max_window=0.06,
    max_delay=0.01,
)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).uniform(-1, 1, 3000).astype(np.float32)


def inner_product(samples, front_end, k, n):
    """Magnitude of one bin and frame, sample by sample, with both halves of the window."""
    rate = front_end.sample_rate
    f = front_end.fmin * 2 ** (k / front_end.bins_per_octave)
    length = min(max(front_end.n_cycles / f, front_end.min_window), front_end.max_window)
    after = min(length / 2, front_end.max_delay)
    before = length - after
    total, weight = 0j, 0.0
    for m in range(-front_end.n_fft, front_end.n_fft):
        t = m / rate
        if -before < t < after:
            hann = 0.5 + 0.5 * math.cos(math.pi * t / (before if t < 0 else after))
            weight += hann
            i = n * front_end.hop_length + m
            if 0 <= i < len(samples):
                total += float(samples[i]) * hann * cmath.exp(-2j * math.pi * f * t)
    return 2 * abs(total) / weight


@pytest.mark.parametrize("max_delay", [0.004, 0.01, 0.03])
def test_it_equals_its_definition(noise, max_delay):
    front_end = replace(SMALL, max_delay=max_delay)
    values = front_end.transform(noise).values
    assert values.shape == (100, 31)
    for n in (0, 3, 15, 30):
        exact = [inner_product(noise, front_end, k, n) for k in range(0, 100, 3)]
        # Kernels lack what lies 60 dB below their maxima.
        np.testing.assert_allclose(values[::3, n], exact, atol=2e-3)


def test_the_default_equals_its_definition(noise):
    front_end = LowLatency()
    values = front_end.transform(noise).values
    for n in (1, 7):
        exact = [inner_product(noise, front_end, k, n) for k in (0, 100, 250, 389)]
        np.testing.assert_allclose(values[[0, 100, 250, 389], n], exact, atol=2e-3)


def test_half_a_window_of_delay_is_the_symmetric_window(noise):
    parameters = asdict(SMALL)
    del parameters["max_delay"]
    symmetric = LogFrequency(**parameters).transform(noise).values
    late = LowLatency(**parameters, max_delay=0.03).transform(noise).values
    np.testing.assert_allclose(late, symmetric, atol=2e-3)


def test_nothing_later_than_the_delay_changes_a_frame(noise):
    before = SMALL.transform(noise).values
    for n in (0, 5, 12):
        end = n * SMALL.hop_length + SMALL.look_ahead
        assert SMALL.look_ahead == SMALL.max_delay * RATE
        changed = noise.copy()
        changed[end:] += 100.0
        np.testing.assert_array_equal(
            SMALL.transform(changed).values[:, : n + 1], before[:, : n + 1]
        )


def test_a_click_within_the_delay_is_seen():
    click = np.zeros(1600, np.float32)
    click[8 * 100 + SMALL.look_ahead // 2] = 1.0
    values = SMALL.transform(click).values
    assert (values[:, 8] > 1e-3).all()


def test_frames_are_returned_when_their_windows_have_ended(noise):
    stream = SMALL.stream()
    for n in range(5):
        first = 0 if n == 0 else SMALL.look_ahead + (n - 1) * SMALL.hop_length
        end = SMALL.look_ahead + n * SMALL.hop_length
        assert stream.push(noise[first : end - 1]).shape[1] == 0
        assert stream.push(noise[end - 1 : end]).shape[1] == 1


@given(st.integers(1, 1500), st.lists(st.integers(0, 1500), max_size=8))
@settings(max_examples=30, deadline=None)
def test_stream_equals_transform(n_samples, cuts):
    signal = np.random.default_rng(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    blocks = np.split(signal, sorted(min(cut, n_samples) for cut in cuts))
    stream = SMALL.stream()
    joined = np.concatenate([*map(stream.push, blocks), stream.finish()], axis=1)
    assert joined.shape[1] == 1 + n_samples // SMALL.hop_length
    np.testing.assert_allclose(joined, SMALL.transform(signal).values, atol=2e-6)


@pytest.mark.parametrize("tuning", [-0.3, 0.25])
def test_in_tune(tuning):
    t = np.arange(2000) / RATE
    tone, sharp = (np.cos(2 * np.pi * f * t) for f in (440.0, 440.0 * 2 ** (tuning / 12)))
    corrected = SMALL.in_tune(tuning)
    assert isinstance(corrected, LowLatency)
    assert (corrected.max_delay, corrected.look_ahead) == (SMALL.max_delay, SMALL.look_ahead)
    assert corrected.axis.frequencies[24] == pytest.approx(400 * 2 ** (tuning / 12))
    np.testing.assert_allclose(
        corrected.transform(sharp).values[:, 10], SMALL.transform(tone).values[:, 10], atol=0.05
    )


def test_round_trip():
    description = json.loads(json.dumps(SMALL.to_dict()))
    assert front_end_from_dict(description) == SMALL
    assert front_end_from_dict(LowLatency().to_dict()) == LowLatency() != LogFrequency()
    for wrong in ({"max_delay": 0.0}, {"max_delay": "soon"}, {"max_delay": None}, {"delay": 1}):
        with pytest.raises(FormatError):
            front_end_from_dict({**description, **wrong})


@pytest.mark.parametrize("max_delay", [0.0, -0.01, 0.033, math.nan, math.inf])
def test_delays_must_fit_in_a_frame(max_delay):
    with pytest.raises(ParameterError, match="max_delay"):
        replace(SMALL, max_delay=max_delay)
