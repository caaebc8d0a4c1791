from __future__ import annotations

import numpy as np
import pytest

from harmnmf import HarmonicSeries, read_audio
from harmnmf.dictionary.pitch import hear_note, salience
from harmnmf.signal.harmonics import FrequencyAxis, piano_inharmonicity, pitch_to_hz

RATE = 16000


def string(pitch, *, stiffness=1.0, first=1, noise=1e-4, duration=1.5):
    """Synthesise a string whose partials below the `first` are missing."""
    rng = np.random.default_rng(0)
    t = np.arange(round(duration * RATE)) / RATE
    series = HarmonicSeries(20, stiffness * piano_inharmonicity(round(pitch)))
    tone = noise * rng.standard_normal(len(t))
    for h, hz in enumerate(series.frequencies(pitch_to_hz(pitch)), start=1):
        if h >= first and hz < 7500:
            tone += np.exp(-(1 + hz / 500) * t) * np.cos(2 * np.pi * hz * t + h**2) / h
    return tone


@pytest.mark.parametrize("pitch", [21, 23.2, 26, 33, 45.3, 60, 68.7, 76, 88, 96, 102.2, 108.4])
def test_the_pitch_of_strings_is_heard(pitch):
    note = hear_note(string(pitch), RATE)
    assert note.pitch == pytest.approx(pitch, abs=0.1)
    assert note.is_clear
    assert not note.differs_from(pitch)
    for other in (pitch - 12, pitch + 12, pitch + 7):
        assert note.differs_from(other)


@pytest.mark.parametrize("stiffness", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("pitch", [21, 24, 28, 32])
def test_low_keys_need_no_fundamental(pitch, stiffness):
    note = hear_note(string(pitch, stiffness=stiffness, first=4), RATE)
    assert note.pitch == pytest.approx(pitch, abs=0.5)
    assert note.is_clear


@pytest.mark.parametrize("rate", [8000, 44100])
def test_other_sample_rates(rate):
    t = np.arange(rate) / rate
    tone = np.exp(-3 * t) * sum(np.sin(2 * np.pi * h * 330 * t) / h for h in range(1, 8))
    assert hear_note(tone, rate).pitch == pytest.approx(64.02, abs=0.1)


def test_the_level_does_not_matter():
    tone = string(50)
    assert hear_note(1e-3 * tone, RATE).pitch == pytest.approx(hear_note(tone, RATE).pitch)


@pytest.mark.parametrize("name", ["steinway_iowa_C4", "steinway_splendid_C4"])
def test_recorded_notes(root, name):
    audio = read_audio(root / "tests" / "data" / f"{name}.flac", sample_rate=RATE)
    note = hear_note(audio.samples, RATE)
    assert note.pitch == pytest.approx(60, abs=0.2)
    assert note.is_clear


def test_noise_silence_and_clicks_have_no_clear_pitch():
    rng = np.random.default_rng(0)
    white = rng.standard_normal(RATE)
    for samples in (white, np.cumsum(white), np.zeros(RATE), np.r_[1.0, np.zeros(RATE)]):
        assert not hear_note(samples, RATE).is_clear


def test_salience_prefers_the_harmonics_of_the_pitch():
    axis = FrequencyAxis.linear(n_fft=16000, sample_rate=RATE)
    spectrum = np.zeros(axis.n_bins)
    spectrum[200:2200:200] = 1
    saliences = salience(spectrum, axis, 57 - 12 * np.log2(1.1) + np.array([0, 12, -12, 7]))
    assert saliences.argmax() == 0
    assert saliences[1:].max() < 0.8 * saliences[0]
