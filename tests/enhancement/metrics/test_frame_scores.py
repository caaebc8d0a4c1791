from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_toeplitz, toeplitz
from speech_signals import NOISY, RATE, SPEECH, noise_for, syllables

from harmnmf.enhancement import (
    log_likelihood_ratio,
    segmental_snr,
    weighted_spectral_slope,
)
from harmnmf.errors import ParameterError

FRAME_MEASURES = [segmental_snr, log_likelihood_ratio, weighted_spectral_slope]
CENTRES = (
    *(50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38),
    *(1148.3, 1288.72, 1442.54, 1610.7, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97),
    *(2978.04, 3276.17, 3597.63),
)


def frames(reference, estimate, sample_rate):
    size = round(0.03 * sample_rate)
    hop = size // 4
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, size + 1) / (size + 1))
    for i in range((len(reference) - size) // hop):
        part = slice(i * hop, i * hop + size)
        yield reference[part] * window, estimate[part] * window


def lowest(values):
    return np.mean(sorted(values)[: round(0.95 * len(values))])


def plain_segmental_snr(*signals):
    levels = [10 * np.log10(sum(ref**2) / sum((ref - est) ** 2)) for ref, est in frames(*signals)]
    return np.mean([min(max(level, -10), 35) for level in levels])


def plain_log_likelihood_ratio(reference, estimate, sample_rate):
    order = 16 if sample_rate >= 10000 else 10
    values = []
    for pair in frames(reference, estimate, sample_rate):
        lags, filters = [], []
        for x in pair:
            r = np.correlate(x, x, "full")[len(x) - 1 : len(x) + order]
            lags.append(r)
            filters.append(np.array([1, *-solve_toeplitz(r[:-1], r[1:])]))
        best, other = (a @ toeplitz(lags[0]) @ a for a in filters)
        values.append(math.log(other / best))
    return lowest(values)


def plain_band_levels(x, sample_rate):
    n_fft = 512 if sample_rate == 8000 else 1024
    hz_per_bin = sample_rate / n_fft
    power = np.abs(np.fft.fft(x, n_fft)[: n_fft // 2]) ** 2
    levels = []
    for centre, width in zip(CENTRES, [*np.diff(CENTRES), 346.136], strict=True):
        distance = (np.arange(n_fft // 2) - int(centre / hz_per_bin)) * hz_per_bin / width
        weight = 70 / width * np.exp(-11 * distance**2)
        heard = weight > math.exp(-30 / 4.606)
        levels.append(10 * math.log10(sum(power[heard] * weight[heard])))
    return levels


def plain_peak(levels, i):
    if levels[i + 1] > levels[i]:
        while i < 24 and levels[i + 1] > levels[i]:
            i += 1
        return levels[i - 1]
    while i > 0 and levels[i] <= levels[i - 1]:
        i -= 1
    return levels[i]


def plain_weighted_spectral_slope(reference, estimate, sample_rate):
    values = []
    for pair in frames(reference, estimate, sample_rate):
        sides = [plain_band_levels(x, sample_rate) for x in pair]
        above = below = 0
        for i in range(24):
            weight = sum(
                20 / (20 + max(x) - x[i]) * 1 / (1 + plain_peak(x, i) - x[i]) for x in sides
            )
            steps = [x[i + 1] - x[i] for x in sides]
            above += weight * (steps[0] - steps[1]) ** 2
            below += weight
        values.append(above / below)
    return lowest(values)


@pytest.mark.parametrize("sample_rate", [8000, 16000])
@pytest.mark.parametrize(
    ("measure", "plain"),
    [
        (segmental_snr, plain_segmental_snr),
        (log_likelihood_ratio, plain_log_likelihood_ratio),
        (weighted_spectral_slope, plain_weighted_spectral_slope),
    ],
)
def test_equals_the_definition(measure, plain, sample_rate):
    speech = syllables(0.15, sample_rate, seed=2)
    signals = speech, 0.9 * speech + noise_for(speech, 8), sample_rate
    assert measure(*signals) == pytest.approx(plain(*signals), rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(1e-6, 1e6), gain_of_estimate=st.floats(1e-6, 1e6))
def test_scores_do_not_depend_on_gains(gain, gain_of_estimate):
    ref, est = SPEECH[:2000], NOISY[:2000]
    louder = gain * ref, gain * est
    for measure in FRAME_MEASURES:
        assert measure(*louder, RATE) == pytest.approx(measure(ref, est, RATE), rel=1e-6)
    other = log_likelihood_ratio(ref, gain_of_estimate * est, RATE)
    assert other == pytest.approx(log_likelihood_ratio(ref, est, RATE), rel=1e-6)


def test_segmental_snr_is_clamped():
    assert segmental_snr(SPEECH, SPEECH + noise_for(SPEECH, 120), RATE) == 35
    assert segmental_snr(SPEECH, SPEECH + noise_for(SPEECH, -90), RATE) == -10
    assert segmental_snr(SPEECH, 1.5 * SPEECH, RATE) == pytest.approx(20 * math.log10(2))


def test_silence_before_the_signals_and_integers_have_no_effect():
    scaled = (np.round(2**30 * x).astype(np.int64) for x in (SPEECH, NOISY))
    padded = [np.pad(x, (40 * 120, 0)) for x in scaled]
    for measure in FRAME_MEASURES:
        expected = measure(SPEECH, NOISY, RATE)
        assert measure(*padded, RATE) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("gap", ["reference", "estimate", "both"])
@pytest.mark.parametrize("tone", [False, True])
def test_silence_and_tones_have_scores(gap, tone):
    ref = np.sin(0.3 * np.arange(8000)) if tone else SPEECH[:8000].copy()
    est = np.sin(0.1 * np.arange(8000)) if tone else NOISY[:8000].copy()
    for x, name in ((ref, "reference"), (est, "estimate")):
        if gap in (name, "both"):
            x[2000:6000] = 0
    scores = [measure(ref, est, RATE) for measure in FRAME_MEASURES]
    assert np.isfinite(scores).all()
    assert -10 <= scores[0] <= 35
    assert min(scores[1:]) >= 0


@pytest.mark.parametrize("measure", FRAME_MEASURES)
def test_signals_that_are_too_short(measure):
    assert np.isfinite(measure(SPEECH[:600], NOISY[:600], RATE))
    with pytest.raises(ParameterError, match="at least 600 samples are needed at 16000 Hz, not 5"):
        measure(SPEECH[:599], NOISY[:599], RATE)
    click = np.eye(1, 700, 699)[0]
    with pytest.raises(ParameterError, match="silent except for the last samples"):
        measure(click, click, RATE)
