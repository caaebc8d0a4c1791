from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import FrequencyAxis, HarmonicSeries, ParameterError, harmonic_templates
from harmnmf.nmf.templates import erb_number, initial_weights
from harmnmf.signal.harmonics import piano_inharmonicity, pitch_to_hz

N_FFT, RATE = 4096, 22050
STFT = FrequencyAxis.linear(N_FFT, RATE)
CONSTANT_Q = FrequencyAxis.logarithmic(27.0, 36, 300)
CONSTANT_Q_DURATIONS = 60 / CONSTANT_Q.frequencies
FRONT_ENDS = [
    pytest.param(STFT, N_FFT / RATE, id="fourier"),
    pytest.param(CONSTANT_Q, CONSTANT_Q_DURATIONS, id="constant-q"),
]


def dense_templates(axis, pitches, durations, n_templates, inharmonicity, spacing, width):
    """The definition, one number at a time."""
    kappa = math.sqrt(math.pi) * math.gamma(3.5) / math.gamma(4)
    frequencies = [float(f) for f in axis.frequencies]
    templates = np.zeros((axis.n_bins, len(pitches), n_templates))
    for k, pitch in enumerate(pitches):
        f0 = 440 * 2 ** ((pitch - 69) / 12)
        for m in range(n_templates):
            centre = 9.26 * math.log(0.00437 * f0 + 1) + m * spacing
            if centre > 9.26 * math.log(0.00437 * frequencies[-1] + 1):
                continue
            for h in range(1, 1000):
                partial = (
                    h * f0 * math.sqrt(1 + inharmonicity * h**2) / math.sqrt(1 + inharmonicity)
                )
                if partial > frequencies[-1]:
                    break
                if partial < frequencies[0]:
                    continue
                r = (9.26 * math.log(0.00437 * partial + 1) - centre) / width
                for i, frequency in enumerate(frequencies):
                    x = (frequency - partial) * durations[i]
                    if abs(x) < 2:
                        lobe = abs(np.sinc(x) / (1 - x**2)) if abs(abs(x) - 1) > 1e-6 else 0.5
                        templates[i, k, m] += (1 + (kappa * r) ** 2) ** -4 * lobe
    return templates


@pytest.mark.parametrize(
    ("axis", "durations"),
    [
        (FrequencyAxis.linear(256, 8000), np.full(129, 256 / 8000)),
        (FrequencyAxis.linear(512, 44100), np.full(257, 300 / 44100)),
        (FrequencyAxis.logarithmic(60, 12, 80), 25 / np.geomspace(60, 60 * 2 ** (79 / 12), 80)),
    ],
    ids=["fourier", "zero-padded", "constant-q"],
)
@pytest.mark.parametrize("inharmonicity", [0.0, 1e-3])
def test_templates_follow_the_definition(axis, durations, inharmonicity):
    pitches = [40.0, 57.3, 81.0, 100.0]
    options = {"n_templates": 4, "inharmonicity": inharmonicity, "spacing_erb": 3, "width_erb": 5}
    np.testing.assert_allclose(
        harmonic_templates(axis, pitches, window_durations=durations, **options),
        dense_templates(axis, pitches, durations, *options.values()),
        atol=1e-9,
    )


@pytest.mark.parametrize(("axis", "durations"), FRONT_ENDS)
@pytest.mark.parametrize("inharmonicity", [0.0, None])
def test_templates_are_zero_exactly_where_no_partial_is(axis, durations, inharmonicity):
    pitches = np.arange(21, 109)
    templates = harmonic_templates(
        axis, pitches, window_durations=durations, inharmonicity=inharmonicity
    )
    b = piano_inharmonicity(pitches) if inharmonicity is None else inharmonicity
    series = HarmonicSeries(500, b)
    f0 = pitch_to_hz(pitches)
    _, valid = series.positions(f0, axis)
    partials = np.where(valid, series.frequencies(f0), np.inf)
    for k in range(len(pitches)):
        distance = np.abs(axis.frequencies[:, None] - partials[k]).min(axis=1) * durations
        assert (templates[distance >= 2, k] == 0).all()
        assert (templates[distance < 1.999, k, 0] > 0).all()
    assert (templates >= 0).all()


@pytest.mark.parametrize("pitch", [33, 45, 57])
def test_templates_sum_to_a_flat_comb(pitch):
    # Bins of 1 Hz, so that every partial lies on one, and lobes that do not reach each other.
    axis = FrequencyAxis.linear(16000, 16000)
    f0 = round(float(pitch_to_hz(pitch)))
    templates = harmonic_templates(
        axis, [pitch], window_durations=0.1, n_templates=6, inharmonicity=0
    )
    total = templates[:, 0].sum(axis=1)
    teeth = total[f0::f0]
    # The outermost templates have neighbours on one side only.
    above = erb_number(f0 * np.arange(1, len(teeth) + 1)) - erb_number(f0)
    inside = teeth[(above > 22 / 6) & (above < 4 * 22 / 6)]
    assert len(inside) > 3
    assert inside.max() / inside.min() < 1.1
    lobes = np.array([total[f - 21 : f + 22] for f in f0 * np.arange(1, 20)])
    lobes /= lobes.max(axis=1, keepdims=True)
    np.testing.assert_allclose(lobes, np.broadcast_to(lobes[0], lobes.shape))


def stiff_tone(f0, inharmonicity, n_partials, n_samples):
    rng = np.random.default_rng(0)
    partials = HarmonicSeries(n_partials, inharmonicity).frequencies(f0)
    phases = rng.uniform(0, 2 * np.pi, n_partials)
    time_axis = np.arange(n_samples) / RATE
    return partials, np.cos(2 * np.pi * partials[:, None] * time_axis + phases[:, None]).sum(axis=0)


def unit_comb(axis, pitch, durations, inharmonicity, n_partials):
    """One template of infinite width: all partials have the same height."""
    return harmonic_templates(
        axis,
        [pitch],
        window_durations=durations,
        n_templates=1,
        n_partials=n_partials,
        inharmonicity=inharmonicity,
        width_erb=1e9,
    )[:, 0, 0]


@pytest.mark.parametrize("pitch", [45, 60, 72.4])
@pytest.mark.parametrize("n_fft", [4096, 8192], ids=["plain", "zero-padded"])
@pytest.mark.parametrize("inharmonicity", [0.0, 5e-4, 3e-3])
def test_templates_are_the_spectrum_of_a_tone(pitch, n_fft, inharmonicity):
    n_partials, window = 12, 4096
    partials, tone = stiff_tone(pitch_to_hz(pitch), inharmonicity, n_partials, 2 * window)
    _, _, spectrum = scipy.signal.stft(
        tone, RATE, "hann", window, nfft=n_fft, boundary=None, scaling="spectrum"
    )
    measured = 2 * np.abs(spectrum[:, 1])
    axis = FrequencyAxis.linear(n_fft, RATE)
    comb = unit_comb(axis, pitch, window / RATE, inharmonicity, n_partials)
    np.testing.assert_allclose(comb, np.where(comb > 0, measured, 0), atol=0.02)
    reach = n_fft // window
    for nearest in np.rint(axis.to_bin(partials)).astype(int):
        around = slice(nearest - reach, nearest + reach + 1)
        # Two bins beside a partial half-way between them may differ by rounding alone.
        assert comb[around].max() == pytest.approx(comb[around][measured[around].argmax()], 0.01)


def test_templates_are_the_constant_q_spectrum_of_a_tone():
    partials, tone = stiff_tone(pitch_to_hz(50), 5e-4, 10, 2 * RATE)
    time_axis = np.arange(len(tone)) / RATE - 1
    measured = np.zeros(CONSTANT_Q.n_bins)
    for i, frequency in enumerate(CONSTANT_Q.frequencies):
        inside = np.abs(time_axis) < CONSTANT_Q_DURATIONS[i] / 2
        t = time_axis[inside]
        window = 1 + np.cos(2 * np.pi * t / CONSTANT_Q_DURATIONS[i])
        analysed = (tone[inside] * window) @ np.exp(-2j * np.pi * frequency * t)
        measured[i] = 2 * np.abs(analysed) / window.sum()
    comb = unit_comb(CONSTANT_Q, 50, CONSTANT_Q_DURATIONS, 5e-4, 10)
    assert (partials[1:] / partials[:-1]).min() > 1 + 4 / 60, "partials must not share bins"
    np.testing.assert_allclose(comb, np.where(comb > 0, measured, 0), atol=0.03)


@settings(deadline=None, max_examples=20)
@given(
    sample_rate=st.integers(1000, 192_000),
    n_fft=st.sampled_from([64, 1000, 1024]),
    pitches=st.lists(st.floats(12, 127), min_size=1, max_size=5),
    n_templates=st.integers(1, 10),
    tuning=st.floats(-1, 1),
)
def test_any_pitches_at_any_sample_rate(sample_rate, n_fft, pitches, n_templates, tuning):
    axis = FrequencyAxis.linear(n_fft, sample_rate)
    options = {"window_durations": n_fft / sample_rate, "n_templates": n_templates}
    templates = harmonic_templates(axis, pitches, tuning=tuning, **options)
    assert templates.shape == (axis.n_bins, len(pitches), n_templates)
    assert np.isfinite(templates).all()
    assert (templates >= 0).all()
    weights = initial_weights(pitches, n_templates=n_templates, tuning=tuning)
    f0 = pitch_to_hz(pitches, tuning)
    above = f0 / weights > sample_rate / 2 * (1 + 1e-9)
    below = f0 / weights < sample_rate / 2 * (1 - 1e-9)
    assert not templates.any(axis=0).T[above].any()
    assert templates.any(axis=0).T[below].all()


def test_pitches_do_not_depend_on_each_other():
    options = {"window_durations": CONSTANT_Q_DURATIONS}
    together = harmonic_templates(CONSTANT_Q, **options)
    for pitch in (21, 60, 108):
        alone = harmonic_templates(CONSTANT_Q, [pitch], **options)
        np.testing.assert_allclose(alone[:, 0], together[:, pitch - 21], atol=1e-12)


def test_tuning_moves_pitches():
    options = {"window_durations": N_FFT / RATE, "inharmonicity": 1e-4}
    pitches = np.array([40, 60, 80])
    for tuning in (0.3, np.array([-0.1, 0.0, 0.2])):
        np.testing.assert_allclose(
            harmonic_templates(STFT, pitches, tuning=tuning, **options),
            harmonic_templates(STFT, pitches + tuning, **options),
            atol=1e-9,
        )


@given(st.lists(st.floats(0, 127), min_size=1, max_size=9), st.integers(1, 12), st.floats(0.5, 8))
def test_weights_fall_by_6_db_per_octave_above_the_fundamental(pitches, n_templates, spacing):
    weights = initial_weights(pitches, n_templates=n_templates, spacing_erb=spacing)
    assert weights.shape == (n_templates, len(pitches))
    f0 = pitch_to_hz(pitches)
    centres = f0 / weights  # half the magnitude, 6 dB less, an octave higher
    steps = spacing * np.arange(n_templates)
    np.testing.assert_allclose(erb_number(centres), erb_number(f0) + steps[:, None], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pitches": []}, "pitches"),
        ({"pitches": 60}, "pitches"),
        ({"pitches": [60, 128]}, "pitches"),
        ({"pitches": [np.nan]}, "pitches"),
        ({"window_durations": 0}, "window_durations"),
        ({"window_durations": np.ones(7)}, "window_durations"),
        ({"window_durations": np.inf}, "window_durations"),
        ({"n_templates": 0}, "n_templates"),
        ({"n_templates": 1.5}, "n_templates"),
        ({"n_partials": 0}, "n_partials"),
        ({"inharmonicity": -1}, "inharmonicity"),
        ({"inharmonicity": [0, 0]}, "inharmonicity"),
        ({"tuning": [0, 0]}, "tuning"),
        ({"tuning": np.nan}, "tuning"),
        ({"spacing_erb": 0}, "spacing_erb"),
        ({"width_erb": np.nan}, "width_erb"),
    ],
)
def test_invalid_parameters_are_errors(options, message):
    with pytest.raises(ParameterError, match=message):
        harmonic_templates(STFT, **{"window_durations": 0.1, **options})
