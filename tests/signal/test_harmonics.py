from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmnmf import FrequencyAxis, HarmonicSeries, ParameterError
from harmnmf.signal.harmonics import piano_inharmonicity, pitch_to_hz

linear_axes = st.builds(
    FrequencyAxis.linear,
    n_fft=st.integers(2, 16384),
    sample_rate=st.integers(1000, 768_000),
)
logarithmic_axes = st.builds(
    FrequencyAxis.logarithmic,
    fmin=st.floats(1, 1000),
    bins_per_octave=st.floats(1, 480),
    n_bins=st.integers(1, 100),
)
axes = linear_axes | logarithmic_axes
fundamentals = st.floats(1, 20_000)
coefficients = st.floats(0, 0.1)
series = st.builds(HarmonicSeries, st.integers(1, 60), coefficients)


@given(axes)
def test_bins_and_hertz_are_inverse(axis):
    bins = np.linspace(-0.5, axis.n_bins, 7)
    np.testing.assert_allclose(axis.to_bin(axis.to_hz(bins)), bins, atol=1e-6)
    np.testing.assert_allclose(axis.frequencies, axis.to_hz(np.arange(axis.n_bins)))


@given(axes, series, fundamentals)
def test_positions_are_the_bins_of_the_frequencies(axis, harmonics, f0):
    positions, _ = harmonics.positions(f0, axis)
    np.testing.assert_allclose(axis.to_hz(positions), harmonics.frequencies(f0), rtol=1e-6)


def test_axes_equal_those_of_numpy_and_librosa():
    for n_fft, sample_rate in ((2048, 22050), (1023, 8000)):
        axis = FrequencyAxis.linear(n_fft, sample_rate)
        np.testing.assert_allclose(axis.frequencies, np.fft.rfftfreq(n_fft, 1 / sample_rate))
    axis = FrequencyAxis.logarithmic(27.5, 36, 288)
    expected = librosa.cqt_frequencies(288, fmin=27.5, bins_per_octave=36)
    np.testing.assert_allclose(axis.frequencies, expected)


def test_frequencies_not_positive_are_off_a_logarithmic_axis():
    axis = FrequencyAxis.logarithmic(50, 24, 100)
    assert (axis.to_bin([0, -1]) == -np.inf).all()
    assert not HarmonicSeries(3).positions(0, axis)[1].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrequencyAxis("mel", 3, 0, 1), "scale"),
        (lambda: FrequencyAxis("linear", 0, 0, 1), "n_bins"),
        (lambda: FrequencyAxis("linear", 2.5, 0, 1), "n_bins"),
        (lambda: FrequencyAxis("linear", True, 0, 1), "n_bins"),
        (lambda: FrequencyAxis("linear", 3, -1, 1), "fmin"),
        (lambda: FrequencyAxis("linear", 3, "1", 1), "fmin"),
        (lambda: FrequencyAxis("linear", 3, 0, np.nan), "resolution"),
        (lambda: FrequencyAxis.logarithmic(0, 12, 3), "fmin"),
        (lambda: FrequencyAxis.logarithmic(1, 0, 3), "resolution"),
        (lambda: FrequencyAxis.logarithmic(1, 1e-3, 3), "last"),
        (lambda: FrequencyAxis.linear(0, 8000), "n_fft"),
        (lambda: FrequencyAxis.linear(512, np.inf), "sample_rate"),
        (lambda: HarmonicSeries(0), "n_partials"),
        (lambda: HarmonicSeries(1, -1e-4), "inharmonicity"),
        (lambda: HarmonicSeries(1, [0, np.inf]), "inharmonicity"),
        (lambda: HarmonicSeries(1).frequencies([1, -1]), "fundamentals"),
        (lambda: HarmonicSeries(1).frequencies(np.nan), "fundamentals"),
    ],
)
def test_invalid_parameters(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


@given(series, logarithmic_axes, fundamentals, st.integers(-50, 50))
def test_transposition_is_a_shift_on_a_logarithmic_axis(harmonics, axis, f0, steps):
    transposed = f0 * 2 ** (steps / axis.resolution)
    np.testing.assert_allclose(
        harmonics.positions(transposed, axis)[0],
        harmonics.positions(f0, axis)[0] + steps,
        atol=1e-6,
    )


@given(series, fundamentals)
def test_inharmonicity_stretches_all_but_the_first_partial(harmonics, f0):
    partials = harmonics.frequencies(f0)
    b = float(harmonics.inharmonicity)
    assert partials[0] == f0
    assert (np.diff(partials) >= f0 * (1 - 1e-9)).all()
    # Fletcher's equation, with the fundamental of an ideal string.
    h = np.arange(1, harmonics.n_partials + 1)
    np.testing.assert_allclose(partials, h * (f0 / np.sqrt(1 + b)) * np.sqrt(1 + b * h**2))


def test_inharmonicity_broadcasts_with_fundamentals():
    pitches = np.arange(21, 109)
    f0, b = pitch_to_hz(pitches), piano_inharmonicity(pitches)
    together = HarmonicSeries(7, b).frequencies(f0)
    assert together.shape == (88, 7)
    np.testing.assert_array_equal(together[40], HarmonicSeries(7, b[40]).frequencies(f0[40]))
    assert HarmonicSeries(7, b).frequencies(f0[:3, None]).shape == (3, 88, 7)


@given(axes, st.integers(1, 50))
def test_partials_are_valid_up_to_the_last_bin(axis, h):
    f0 = axis.to_hz([axis.n_bins - 1, axis.n_bins]) / h
    _, valid = HarmonicSeries(h).positions(f0, axis)
    assert valid[0, -1]
    assert not valid[1, -1]


@pytest.mark.parametrize(
    "axis",
    [FrequencyAxis.linear(512, 16000), FrequencyAxis.logarithmic(32.7, 36, 200)],
    ids=["linear", "logarithmic"],
)
def test_energy_at_the_partials_equals_librosa(axis):
    spectrum = np.random.default_rng(0).random(axis.n_bins)
    harmonics = [1, 2, 3, 4, 5]
    expected = librosa.interp_harmonics(
        spectrum, freqs=axis.frequencies, harmonics=harmonics, axis=-1
    )
    positions, valid = HarmonicSeries(5).positions(axis.frequencies, axis)
    # librosa interpolates in hertz, on a logarithmic axis too.
    read = np.interp(axis.to_hz(positions), axis.frequencies, spectrum)
    energy = np.where(valid, read, 0.0)
    np.testing.assert_allclose(energy.T, expected, atol=1e-9)


def test_pitch_to_hz_equals_librosa():
    pitches = np.arange(128)
    np.testing.assert_allclose(pitch_to_hz(pitches), librosa.midi_to_hz(pitches))
    np.testing.assert_allclose(pitch_to_hz(pitches, tuning=-0.3), librosa.midi_to_hz(pitches - 0.3))
    assert pitch_to_hz(69, tuning=[0.0, 0.1]).shape == (2,)


def test_piano_inharmonicity_has_the_measured_range():
    b = piano_inharmonicity(np.arange(21, 109))
    assert 30 <= 21 + b.argmin() <= 50
    assert 1e-4 < b.min() < 2e-4
    assert 1e-2 < b[-1] < 5e-2
