from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import Audio, TimbreDictionary, read_audio
from harmnmf.signal.spectrogram import STFT, LogFrequency
from harmnmf.signal.tuning import estimate_tuning, relative_tuning

FRONT_ENDS = {"logarithmic": LogFrequency(), "linear": STFT(n_fft=8192)}


def chord(tuning, pitches=(45, 57, 60, 64, 69), n_partials=4):
    t = np.arange(16000) / 16000
    return sum(
        np.sin(2 * np.pi * h * 440 * 2 ** ((pitch - 69 + tuning) / 12) * t) / h**2
        for pitch in pitches
        for h in range(1, n_partials + 1)
    )


@pytest.mark.parametrize("name", FRONT_ENDS)
@given(tuning=st.floats(-0.4, 0.4))
@settings(max_examples=15, deadline=None)
def test_known_tunings(name, tuning):
    front_end = FRONT_ENDS[name]
    estimate = [
        estimate_tuning(front_end.transform(chord(t)).values, front_end.axis) for t in (tuning, 0.0)
    ]
    # Third partials lie 2 cents off the equal temperament; the difference of two estimates not.
    assert estimate[0] - estimate[1] == pytest.approx(tuning, abs=0.03)


def test_level_does_not_matter():
    front_end = FRONT_ENDS["logarithmic"]
    values = front_end.transform(chord(0.3)).values
    louder = estimate_tuning(1e3 * values, front_end.axis)
    assert louder == pytest.approx(estimate_tuning(values, front_end.axis), abs=1e-5)


@pytest.mark.parametrize("n_frames", [0, 1, 5])
def test_silence_is_in_tune(n_frames):
    axis = FRONT_ENDS["logarithmic"].axis
    assert estimate_tuning(np.zeros((axis.n_bins, n_frames)), axis) is None


def note(pitch, B, rng):
    """A piano note of one second, with the knock of its hammer."""
    t = np.arange(16000) / 16000
    h = np.arange(1, 80)[:, None]
    f = 440 * 2 ** ((pitch - 69) / 12) * h * np.sqrt(1 + B * h**2)
    partials = np.sin(2 * np.pi * f * t) * np.exp(-2 * t) * 10 ** (-f / 4000) * (f < 7500)
    return partials.sum(axis=0) + 0.3 * rng.standard_normal(t.shape) * np.exp(-t / 0.05)


@pytest.mark.parametrize(
    ("pitches", "B"), [([21], 3e-4), ([21, 22, 23], 3e-4), ([108], 1e-2), ([106, 107, 108], 1e-2)]
)
def test_extreme_notes_tell_no_tuning(pitches, B):
    rng = np.random.default_rng(0)
    samples = np.concatenate([note(pitch, B, rng) for pitch in pitches])
    front_end = FRONT_ENDS["logarithmic"]
    assert estimate_tuning(front_end.transform(samples).values, front_end.axis) is None


def test_noise_tells_no_tuning():
    front_end = FRONT_ENDS["logarithmic"]
    noise = np.random.default_rng(0).standard_normal(80000)
    assert estimate_tuning(front_end.transform(noise).values, front_end.axis) is None


@pytest.mark.parametrize("cents", [-35.0, 20.0])
def test_a_detuned_recording(root, cents):
    dictionary = TimbreDictionary.load("default")
    recorded = read_audio(root / "examples" / "example.flac", duration=5.0)
    ratio = 2 ** (cents / 1200)
    detuned = Audio(soxr.resample(recorded.samples, 16000, 16000 / ratio), 16000)
    before, after = (
        relative_tuning(audio, dictionary.front_end, dictionary.W) for audio in (recorded, detuned)
    )
    assert after - before == pytest.approx(cents / 100, abs=0.03)
