from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmnmf import FrequencyAxis, ParameterError
from harmnmf.enhancement import comb_matrix, comb_pitch
from harmnmf.signal.spectrogram import STFT

AXIS = FrequencyAxis.linear(512, 16000)
CONSTRUCTIONS = ["smooth", "published"]


def dense_comb(f0, n_fft, rate, construction):
    """The definition of a comb."""
    n_bins = n_fft // 2 + 1
    if construction == "smooth":
        h = np.arange(n_bins) * rate / n_fft / f0
        return np.where(h >= 0.5 - 1e-9, np.cos(2 * np.pi * h) / np.sqrt(h + 1), 0)
    row = np.zeros(n_bins)
    peaks, heights, k = [], [], 1
    while k * f0 * n_fft / rate <= n_bins - 1 + 1e-9:
        peaks.append(math.floor(k * f0 * n_fft / rate + 1e-9))
        heights.append(1 / math.sqrt(k + 1))
        row[peaks[-1]] = heights[-1]
        k += 1
    for i in range(len(peaks) - 1):
        low, high = peaks[i], peaks[i + 1]
        for j in range(low + 1, high):
            part = (j - low) / (high - low)
            height = heights[i] + part * (heights[i + 1] - heights[i])
            row[j] = height * math.cos(2 * math.pi * part)
        if high == low + 1:
            row[low] -= (heights[i] + heights[i + 1]) / 4
            row[high] -= (heights[i] + heights[i + 1]) / 4
    return row


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize(
    ("n_fft", "rate", "candidates"),
    [
        (512, 16000, range(60, 420)),
        (512, 16000, [31.25, 62.5, 125, 8000]),
        (4096, 8000, [2, 60.5, 3999]),
        (401, 16000, [40, 100]),
    ],
)
def test_rows_are_their_definition(construction, n_fft, rate, candidates):
    axis = FrequencyAxis.linear(n_fft, rate)
    combs, normalized = (
        comb_matrix(axis, candidates, construction=construction, normalize=normalize)
        for normalize in (False, True)
    )
    expected = np.array([dense_comb(f0, n_fft, rate, construction) for f0 in candidates])
    np.testing.assert_allclose(combs[1:], expected, atol=1e-8)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(normalized[1:], expected, atol=1e-8)
    assert not combs[0].any()
    assert not normalized[0].any()


def tone(f0, rate, falling):
    t = np.arange(rate // 2) / rate
    numbers = np.arange(1, int(min(4000, rate / 2) / f0))
    return sum(np.cos(2 * np.pi * k * f0 * t + k**2) / k**falling for k in numbers)


@settings(deadline=None, max_examples=12)
@given(
    f0=st.floats(100, 400),
    rate=st.sampled_from([8000, 16000, 22050]),
    falling=st.floats(0, 0.5),
    comb=st.sampled_from([("smooth", True), ("smooth", False), ("published", False)]),
)
@example(f0=180.0, rate=8000, falling=0.0, comb=("smooth", True))
def test_the_pitch_of_tones_is_found(f0, rate, falling, comb):
    spectrogram = STFT(rate, hop_length=1024, n_fft=2048).transform(tone(f0, rate, falling))
    values, axis = spectrogram.values[:, 1:-2], spectrogram.axis
    # Spaced so closely that one of them fits up to the 40th partial: no exact subharmonic wins.
    candidates = 60 * 1.005 ** np.arange(393)
    options = {"construction": comb[0], "normalize": comb[1]}
    pitch = comb_pitch(values, axis, candidates, **options)
    # The partials of the published comb are up to one bin too low.
    moved = axis.to_hz(1) if comb[0] == "published" else 0
    assert (np.abs(pitch - f0) <= 0.02 * f0 + moved).all()
    np.testing.assert_array_equal(comb_pitch(1024 * values, axis, candidates, **options), pitch)


def test_silence_and_valleys_have_no_pitch():
    valleys = np.maximum(-comb_matrix(AXIS, [200])[1], 0)
    harmonics = np.zeros(257)
    harmonics[4::4] = 1
    assert comb_pitch(harmonics[:, None], AXIS)[0] == pytest.approx(125, abs=1)
    assert np.isnan(comb_pitch(np.stack([0 * valleys, valleys], 1), AXIS, [200])).all()
    assert comb_pitch(np.zeros((257, 0)), AXIS).shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": FrequencyAxis.logarithmic(50, 36, 257)}, "a comb needs a linear"),
        ({"axis": FrequencyAxis("linear", 257, 100.0, 0.032)}, "from 100 Hz"),
        ({"candidates": []}, "candidates"),
        ({"candidates": [100, 0]}, "candidates"),
        ({"candidates": [np.nan]}, "candidates"),
        ({"candidates": [100, 8001]}, "8000 Hz, the last bin"),
        ({"candidates": [31, 100]}, r"31\.25 Hz, the width of a bin"),
        ({"construction": "rounded"}, "construction must be one of smooth, published"),
        ({"spectrogram": -np.ones((257, 2))}, "spectrogram must be finite and not negative"),
        ({"spectrogram": np.ones((256, 2))}, r"shape \(257, n_frames\), not \(256, 2\)"),
    ],
)
def test_invalid_parameters_raise(options, message):
    with pytest.raises(ParameterError, match=message):
        comb_pitch(**{"spectrogram": np.ones((257, 2)), "axis": AXIS, **options})
