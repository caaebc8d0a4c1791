from __future__ import annotations

import numpy as np
import pytest

from harmnmf import TimbreDictionary, harmonic_templates
from harmnmf.dictionary.tuning import (
    measure_tuning,
    overall_tuning,
    partial_deviation,
    shift_spectra,
)
from harmnmf.signal.spectrogram import STFT, LogFrequency

PITCHES = np.arange(21, 109)
FRONT_ENDS = {"logarithmic": LogFrequency(), "linear": STFT(n_fft=4096)}


def spectra(front_end, tuning):
    P = harmonic_templates(
        front_end.axis, PITCHES, window_durations=front_end.window_durations, tuning=tuning
    )
    return P.sum(axis=2)


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("overall", [-0.45, -0.1, 0.0, 0.4])
def test_known_tunings_of_keys(name, overall):
    front_end = FRONT_ENDS[name]
    tuning = overall + np.random.default_rng(0).uniform(-0.15, 0.15, len(PITCHES))
    measured = measure_tuning(spectra(front_end, tuning), PITCHES, front_end.axis)
    # Windows do not resolve the partials of the lowest keys, nor have the highest many.
    middle = slice(15, 75)
    np.testing.assert_allclose(measured[middle], tuning[middle], atol=0.08)
    assert overall_tuning(measured, PITCHES) == pytest.approx(
        overall_tuning(tuning, PITCHES), abs=0.02
    )


def test_stretched_octaves_are_followed():
    front_end = FRONT_ENDS["logarithmic"]
    tuning = 0.6 * ((PITCHES - 64) / 44) ** 3
    measured = measure_tuning(spectra(front_end, tuning), PITCHES, front_end.axis)
    np.testing.assert_allclose(measured[10:85], tuning[10:85], atol=0.08)


@pytest.mark.parametrize("front_end", [LogFrequency(), STFT(hop_length=128, n_fft=256)])
def test_spectra_without_partials_have_no_tuning(front_end):
    axis = front_end.axis
    W = np.random.default_rng(0).random((axis.n_bins, 3))
    for values in (W, np.zeros_like(W), np.ones_like(W)):
        assert measure_tuning(values, [60, 64, 67], axis) is None


def test_overall_tuning_is_that_of_the_middle():
    assert overall_tuning(np.where(PITCHES > 81, 0.5, 0.1), PITCHES) == pytest.approx(0.1)
    assert overall_tuning([0.5, 0.5], [100, 101]) == 0.5


def test_a_shift_of_the_spectra_is_a_shift_of_the_tuning():
    default = TimbreDictionary.load("default")
    W, axis = default.W[:, :, default.n_attack], default.axis
    before = measure_tuning(W, default.pitches, axis)
    for semitones in (-0.5, 0.13, 0.4):
        shifted = shift_spectra(W, axis, semitones)
        after = measure_tuning(shifted, default.pitches, axis)
        np.testing.assert_allclose(after[:80], before[:80] + semitones, atol=0.06)
        back = shift_spectra(shifted, axis, -semitones)
        assert np.abs(back - W)[5:380].sum() < 0.25 * W.sum()


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_no_shift_changes_nothing_and_zeros_stay(name):
    axis = FRONT_ENDS[name].axis
    W = spectra(FRONT_ENDS[name], 0.0)
    np.testing.assert_allclose(shift_spectra(W, axis, 0.0), W, rtol=1e-6, atol=1e-5 * W.max())
    assert (shift_spectra(W, axis, 0.3) >= 0).all()
    assert (shift_spectra(np.zeros((axis.n_bins, 2)), axis, 0.3) == 0).all()


def test_the_deviation_of_a_key_without_peaks_is_unknown():
    axis = FRONT_ENDS["logarithmic"].axis
    assert np.isnan(partial_deviation(np.ones(axis.n_bins), axis, 60))
