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


def slow_templates(axis, pitches, durations, n_templates, inharmonicities, spacing, width):
    """The definition, partial by partial."""
    kappa = math.sqrt(math.pi) * math.gamma(3.5) / math.gamma(4)
    lowest, highest = axis.frequencies[[0, -1]]
    templates = np.zeros((axis.n_bins, len(pitches), n_templates))
    for k, (pitch, b) in enumerate(zip(pitches, inharmonicities, strict=True)):
        f0 = 440 * 2 ** ((pitch - 69) / 12)
        for m in range(n_templates):
            centre = 9.26 * math.log(0.00437 * f0 + 1) + m * spacing
            if centre > 9.26 * math.log(0.00437 * highest + 1):
                continue
            for h in range(1, 1000):
                partial = h * f0 * math.sqrt(1 + b * h**2) / math.sqrt(1 + b)
                if not lowest <= partial <= highest:
                    continue
                r = (9.26 * math.log(0.00437 * partial + 1) - centre) / width
                x = (axis.frequencies - partial) * durations
                at_one = np.isclose(np.abs(x), 1)
                lobe = np.abs(np.sinc(x) / np.where(at_one, 1, 1 - x**2))
                lobe = np.where(at_one, 0.5, lobe) * (np.abs(x) < 2)
                templates[:, k, m] += (1 + (kappa * r) ** 2) ** -4 * lobe
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
@pytest.mark.parametrize("inharmonicity", [0.0, None])
def test_templates_follow_the_definition(axis, durations, inharmonicity):
    pitches = [40.0, 57.3, 81.0, 100.0]
    options = {"n_templates": 4, "inharmonicity": inharmonicity, "spacing_erb": 3, "width_erb": 5}
    templates = harmonic_templates(axis, pitches, window_durations=durations, **options)
    b = piano_inharmonicity(pitches) if inharmonicity is None else [inharmonicity] * 4
    expected = slow_templates(axis, pitches, durations, 4, b, 3, 5)
    np.testing.assert_allclose(templates, expected, atol=1e-9)
    np.testing.assert_array_equal(templates == 0, expected == 0)


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


@pytest.mark.parametrize("pitch", [45, 60, 72.4])
@pytest.mark.parametrize("n_fft", [4096, 8192], ids=["plain", "zero-padded"])
@pytest.mark.parametrize("inharmonicity", [0.0, 5e-4, 3e-3])
def test_templates_are_the_spectrum_of_a_tone(pitch, n_fft, inharmonicity):
    n_partials, window = 12, 4096
    partials = HarmonicSeries(n_partials, inharmonicity).frequencies(pitch_to_hz(pitch))
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, n_partials)
    time = np.arange(2 * window) / RATE
    tone = np.cos(2 * np.pi * np.outer(time, partials) + phases).sum(axis=1)
    _, _, spectrum = scipy.signal.stft(
        tone, RATE, "hann", window, nfft=n_fft, boundary=None, scaling="spectrum"
    )
    measured = 2 * np.abs(spectrum[:, 1])
    axis = FrequencyAxis.linear(n_fft, RATE)
    # One template of infinite width: all partials have the same height.
    comb = harmonic_templates(
        axis,
        [pitch],
        window_durations=window / RATE,
        n_templates=1,
        n_partials=n_partials,
        inharmonicity=inharmonicity,
        width_erb=1e9,
    )[:, 0, 0]
    np.testing.assert_allclose(comb, np.where(comb > 0, measured, 0), atol=0.02)
    reach = n_fft // window
    for nearest in np.rint(axis.to_bin(partials)).astype(int):
        around = slice(nearest - reach, nearest + reach + 1)
        # Two bins beside a partial half-way between them may differ by rounding alone.
        assert comb[around].max() == pytest.approx(comb[around][measured[around].argmax()], 0.01)


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


def test_tuning_moves_pitches():
    options = {"window_durations": N_FFT / RATE, "inharmonicity": 1e-4}
    pitches, tuning = np.array([40, 60, 80]), np.array([-0.1, 0.0, 0.2])
    tuned = harmonic_templates(STFT, pitches, tuning=tuning, **options)
    moved = harmonic_templates(STFT, pitches + tuning, **options)
    np.testing.assert_allclose(tuned, moved, atol=1e-9)


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
        ({"window_durations": 0}, "window_durations"),
        ({"window_durations": np.ones(7)}, "window_durations"),
        ({"window_durations": np.inf}, "window_durations"),
        ({"n_templates": 0}, "n_templates"),
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
