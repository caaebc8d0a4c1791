"""Tuning of a stream, from what was heard so far."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf.decoder.running_tuning import RunningTuning
from harmnmf.signal.spectrogram import LowLatency
from harmnmf.signal.tuning import estimate_tuning

FRONT_END = LowLatency()
PITCHES = (45, 50, 52, 57, 60, 64, 69, 71, 76)


def spectra(tuning, n_frames=300, n_partials=4):
    """Frames of harmonic chords that change every 20 frames, sharp by some semitones."""
    rng = np.random.default_rng(0)
    t = np.arange(n_frames * 320) / 16000
    tones = [
        sum(
            np.cos(2 * np.pi * h * 440 * 2 ** ((p - 69 + tuning) / 12) * t) / h**2
            for h in range(1, n_partials + 1)
        )
        for p in PITCHES
    ]
    on = rng.random((len(PITCHES), -(-n_frames // 20))) < 0.4
    envelope = np.repeat(on, 20 * 320, axis=1)[:, : len(t)]
    return FRONT_END.transform(0.05 * (envelope * tones).sum(axis=0)).values


@pytest.fixture(scope="module")
def in_tune():
    return spectra(0.0)


@pytest.fixture(scope="module")
def expected(in_tune):
    return estimate_tuning(in_tune, FRONT_END.axis)


def changes(tracker, V, level=1.0, n_step=2):
    found = [tracker.push(V[:, n : n + n_step], level) for n in range(0, V.shape[1], n_step)]
    return [change for change in found if change]


@pytest.mark.parametrize("tuning", [-0.4, -0.15, 0.1, 0.35])
def test_a_detuned_piano_is_found(tuning, expected):
    found = changes(RunningTuning(FRONT_END.axis, expected), spectra(tuning))
    assert len(found) == 1
    assert found[0] == pytest.approx(tuning, abs=0.03)


def test_when_it_is_corrected_nothing_changes(in_tune, expected):
    tracker = RunningTuning(FRONT_END.axis, expected)
    (change,) = changes(tracker, spectra(-0.2))
    later = FRONT_END.in_tune(change).axis
    assert later.frequencies[0] == pytest.approx(FRONT_END.axis.frequencies[0] * 2 ** (change / 12))
    for _ in range(3):
        assert changes(tracker, in_tune) == []  # as the corrected front end would see it


def test_a_piano_in_tune_is_not_corrected(in_tune, expected):
    assert changes(RunningTuning(FRONT_END.axis, expected), in_tune) == []


def test_a_change_is_followed(in_tune, expected):
    tracker = RunningTuning(FRONT_END.axis, expected)
    for _ in range(3):
        assert changes(tracker, in_tune) == []
    corrected, V = 0.0, spectra(0.2)
    for _ in range(40):
        if found := changes(tracker, V):
            corrected += sum(found)
            V = spectra(0.2 - corrected)
    assert corrected == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("n_step", [1, 2, 3, 7])
def test_the_length_of_the_steps_does_not_matter(n_step, expected):
    found = changes(RunningTuning(FRONT_END.axis, expected), spectra(0.3), n_step=n_step)
    assert found[0] == pytest.approx(0.3, abs=0.03)


def test_noise_has_no_tuning(expected):
    noise = np.random.default_rng(0).normal(0, 0.1, 300 * 320)
    V = FRONT_END.transform(noise).values
    assert changes(RunningTuning(FRONT_END.axis, expected), V) == []


def test_what_is_far_below_the_level_is_not_heard(expected):
    V = 1e-3 * spectra(0.3)
    assert changes(RunningTuning(FRONT_END.axis, expected), V, level=1.0) == []
    assert len(changes(RunningTuning(FRONT_END.axis, expected), V, level=1e-3)) == 1


def test_a_dictionary_without_a_tuning():
    assert changes(RunningTuning(FRONT_END.axis, None), spectra(0.3)) == []
