"""Spectra of keys on linear frequency axes."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.separation.framing import Framing
from harmnmf.separation.spectra import N_TIMBRES, key_spectra
from harmnmf.signal.harmonics import HarmonicSeries, piano_inharmonicity, pitch_to_hz

KEYS = np.arange(21, 109)


@pytest.fixture(scope="module")
def dictionary():
    return TimbreDictionary.load("default")


def spectra(dictionary, pitches=KEYS, rate=16000, **options):
    framing = Framing(rate)
    return key_spectra(
        dictionary, np.asarray(pitches), framing.axis, framing.window_duration, **options
    ).astype(float)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_columns_add_up_to_one(dictionary, rate):
    W = spectra(dictionary, rate=rate)
    assert W.shape == (Framing(rate).axis.n_bins, len(KEYS), N_TIMBRES)
    assert (W >= 0).all()
    is_on_axis = pitch_to_hz(KEYS) < 0.49 * rate
    np.testing.assert_allclose(W.sum(axis=0)[is_on_axis], 1, rtol=1e-5)


@pytest.mark.parametrize("rate", [1000, 8000])
def test_keys_above_the_axis_are_silent(dictionary, rate):
    W = spectra(dictionary, rate=rate)
    is_above = pitch_to_hz(KEYS) > 0.51 * rate
    assert is_above.any()
    assert (W[:, is_above] == 0).all()
    is_below = pitch_to_hz(KEYS) < 0.48 * rate
    np.testing.assert_allclose(W[:, is_below].sum(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("pitch", [21, 40, 60, 84, 108])
@pytest.mark.parametrize("tuning", [0.0, 0.4, -0.4])
def test_partials_lie_where_the_harmonic_series_says(dictionary, pitch, tuning):
    framing = Framing(16000)
    W = spectra(dictionary, [pitch], tuning=tuning)[:, 0]
    deviation = dictionary.tuning[pitch - 21] - dictionary.overall_tuning
    f0 = pitch_to_hz([pitch], [deviation + tuning])
    partials = HarmonicSeries(100, piano_inharmonicity([pitch])).frequencies(f0)[0]
    hz = framing.axis.frequencies
    distance = np.abs(hz[:, None] - partials).min(axis=1)
    # The lobes are twice as wide as those of the window, 4 / T.
    beyond = distance > 4 / framing.window_duration + framing.axis.resolution**-1
    nearest = np.abs(hz[:, None] - partials[partials < 8000]).argmin(axis=0)
    for timbre in (1, 2):
        assert (W[beyond & (hz < 7900), timbre] == 0).all()
        assert (W[nearest, timbre] > 0).all()
    if pitch >= 60:
        # The strongest bin is that nearest to a partial.
        loudest = hz[W[:, 1].argmax()]
        assert np.abs(partials - loudest).min() <= 0.5 / framing.axis.resolution + 1e-6


def test_tuning_moves_the_partials(dictionary):
    """The centre of the lobe of the fundamental is as much sharper as the tuning."""
    hz = Framing(16000).axis.frequencies
    near = (hz > 350) & (hz < 530)

    def centre(tuning):
        W = spectra(dictionary, [69], tuning=tuning)[near, 0, 1]
        return (hz[near] * W).sum() / W.sum()

    for tuning in (-0.5, 0.35, 1.0):
        assert centre(tuning) / centre(0.0) == pytest.approx(2 ** (tuning / 12), rel=2e-3)


def test_only_the_attack_has_noise_between_the_partials(dictionary):
    W = spectra(dictionary, [72])[:, 0]
    is_audible = Framing(16000).axis.frequencies >= 20
    assert (W[~is_audible] == 0).all()
    W = W[is_audible]
    assert (W[:, 0] > 0).all()
    assert W[:, 0].min() * len(W) == pytest.approx(0.1 / 1.1, rel=5e-3)
    assert (W[:, 1:] == 0).any(axis=0).all()


def test_other_rates_have_the_same_spectrum(dictionary):
    """Up to the highest frequency of both, the magnitudes at 44.1 kHz are those at 16 kHz."""
    low, high = Framing(16000), Framing(44100)
    narrow, wide = (spectra(dictionary, [60], rate)[:, 0, 1] for rate in (16000, 44100))
    bands = np.arange(0, 7000, 500)

    def powers(framing, W):
        inside = np.digitize(framing.axis.frequencies, bands)
        return np.array([W[inside == i].sum() for i in range(1, len(bands))])

    a, b = powers(low, narrow), powers(high, wide)
    np.testing.assert_allclose(a / a.sum(), b / b.sum(), atol=0.02)


def test_keys_are_independent(dictionary):
    together = spectra(dictionary)
    for pitch in (21, 60, 108):
        np.testing.assert_array_equal(spectra(dictionary, [pitch])[:, 0], together[:, pitch - 21])
