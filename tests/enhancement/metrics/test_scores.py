from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from speech_signals import NOISY, RATE, SPEECH, noise_for, syllables

from harmnmf.enhancement import (
    composite,
    evaluate_enhancement,
    evaluate_singing,
    log_likelihood_ratio,
    segmental_snr,
    si_sdr,
    stoi,
    wb_pesq,
    weighted_spectral_slope,
)
from harmnmf.errors import HarmnmfError, ParameterError

FRAME_MEASURES = [segmental_snr, log_likelihood_ratio, weighted_spectral_slope]
SOURCES = np.random.default_rng(5).normal(size=(2, 2000))
SPEECH_MEASURES = [*FRAME_MEASURES, wb_pesq, stoi, composite, evaluate_enhancement]


@pytest.mark.parametrize("snr", [-20, 0, 13.5, 60])
@pytest.mark.parametrize("gain", [1, -3, 1e-200])
def test_si_sdr_is_the_snr_of_orthogonal_noise(snr, gain):
    assert si_sdr(3 * SPEECH, gain * (SPEECH + noise_for(SPEECH, snr))) == pytest.approx(snr)


def test_extremes_of_si_sdr():
    assert si_sdr([1, 2, 0], [2, 4, 0]) == math.inf
    assert si_sdr([1, 0], [0, 1]) == -math.inf
    # Means are not removed.
    assert si_sdr([1, -1], [2, 0]) == pytest.approx(0)


def test_enhancement():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    scores = evaluate_enhancement(SPEECH, NOISY, RATE)
    assert list(scores) == ["WB-PESQ", "STOI", "SI-SDR", "SSNR", "CSIG", "CBAK", "COVL"]
    assert all(type(score) is float for score in scores.values())
    pesq, ssnr = wb_pesq(SPEECH, NOISY, RATE), segmental_snr(SPEECH, NOISY, RATE)
    llr = log_likelihood_ratio(SPEECH, NOISY, RATE)
    wss = weighted_spectral_slope(SPEECH, NOISY, RATE)
    expected = {
        "WB-PESQ": pesq,
        "STOI": stoi(SPEECH, NOISY, RATE),
        "SI-SDR": 10,
        "SSNR": ssnr,
        "CSIG": 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss,
        "CBAK": 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * ssnr,
        "COVL": 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss,
    }
    expected = {key: max(value, 1) if key[0] == "C" else value for key, value in expected.items()}
    assert scores == pytest.approx(expected)
    assert composite(SPEECH, NOISY, RATE) == (scores["CSIG"], scores["CBAK"], scores["COVL"])
    assert composite(SPEECH, noise_for(SPEECH, 0), RATE)[0] == 1


def test_noise_lowers_all_scores():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    signals = [SPEECH + noise_for(SPEECH, snr) for snr in (40, 25, 10)]
    scores = [evaluate_enhancement(SPEECH, x, RATE) for x in signals]
    for key in scores[0]:
        values = [each[key] for each in scores]
        assert values == sorted(values, reverse=True), key


def test_stoi_resamples():
    pytest.importorskip("pystoi")
    speech = syllables(1.5, 44100)
    assert stoi(speech, speech, 44100) == pytest.approx(1)
    assert 0 < stoi(speech, speech + noise_for(speech, 0), 44100) < 1


@pytest.mark.parametrize("seconds", [0.4, 1])
def test_stoi_needs_speech(seconds):
    pytest.importorskip("pystoi")
    x = np.pad(SPEECH[:4000], (0, int(seconds * RATE) - 4000))
    with pytest.raises(ParameterError, match=r"STOI needs 0\.41 s"):
        stoi(x, x, RATE)


@pytest.mark.parametrize("seconds", [0.24, 20.1])
def test_the_lengths_that_pesq_allows(seconds):
    x = np.resize(SPEECH, int(seconds * RATE))
    with pytest.raises(ParameterError, match=rf"0\.25 to 20 s, not {seconds:g} s"):
        wb_pesq(x, x, RATE)


def test_pesq_needs_speech():
    pytest.importorskip("pesq")
    click = np.zeros(RATE)
    click[100] = 1
    with pytest.raises(ParameterError, match="no speech"):
        wb_pesq(np.resize([*SPEECH[:1600], *np.zeros(4000)], RATE), click, RATE)


@pytest.mark.parametrize(
    ("evaluate", "package"),
    [
        (lambda: wb_pesq(SPEECH, NOISY, RATE), "pesq"),
        (lambda: stoi(SPEECH, NOISY, RATE), "pystoi"),
        (lambda: evaluate_singing(SOURCES, SOURCES), "mir_eval.separation"),
    ],
)
def test_missing_packages(evaluate, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HarmnmfError, match=f"pip install '{package.partition('.')[0]}"):
        evaluate()


@pytest.mark.parametrize("measure", [si_sdr, *SPEECH_MEASURES])
@pytest.mark.parametrize(
    ("reference", "estimate", "message"),
    [
        (SPEECH, NOISY[1:], "equal lengths, not 24000 and 23999 samples"),
        (SPEECH[None], NOISY, r"reference must be .* \(n_samples,\), not float64 of shape \(1, "),
        (SPEECH, NOISY + 0j, "estimate must be real samples .* not complex128"),
        (SPEECH, np.where(NOISY > 0, NOISY, math.inf), "estimate has .* NaN or infinite"),
        (0 * SPEECH, NOISY, "reference is silent"),
        ([], [], "reference .*"),
    ],
)
def test_invalid_signals(measure, reference, estimate, message):
    rate = () if measure is si_sdr else (RATE,)
    with pytest.raises(ParameterError, match=message):
        measure(reference, estimate, *rate)


@pytest.mark.parametrize("measure", SPEECH_MEASURES)
@pytest.mark.parametrize("sample_rate", [-16000, 7999, 16000.5, math.nan, math.inf])
def test_invalid_rates(measure, sample_rate):
    with pytest.raises(ParameterError, match=r"sample_rate must be|needs 16000 Hz"):
        measure(SPEECH, NOISY, sample_rate)


def test_singing():
    voice, piano = syllables(0.25, seed=3), np.random.default_rng(4).normal(size=4000)
    piano *= np.sqrt((voice @ voice) / (piano @ piano))
    mixture = voice + piano
    estimates = np.stack([voice + 0.1 * piano, piano + 0.1 * voice])
    scores = evaluate_singing([voice, piano], estimates, mixture)
    assert {key: value.shape for key, value in scores.items()} == dict.fromkeys(
        ("SDR", "SIR", "SAR", "NSDR"), (2,)
    )
    np.testing.assert_allclose(scores["SIR"], 20, atol=1)
    np.testing.assert_allclose(scores["NSDR"], 20, atol=1)
    assert (scores["SAR"] > 80).all()
    late = evaluate_singing([voice, piano], np.pad(estimates, ((0, 0), (9, 0)))[:, :-9])
    assert "NSDR" not in late
    np.testing.assert_allclose(late["SDR"], scores["SDR"], atol=0.5)


@pytest.mark.parametrize(
    ("references", "estimates", "mixture", "message"),
    [
        (SOURCES[:1], SOURCES[:1], None, "at least two sources"),
        (SOURCES, SOURCES[:, 1:], None, r"not \(2, 2000\) and \(2, 1999\)"),
        (SOURCES[:, :1024], SOURCES[:, :1024], None, "more than 1024 samples"),
        (SOURCES, SOURCES, SOURCES[0, 1:], "reference and mixture must have equal lengths"),
        (SOURCES, SOURCES * [[1], [0]], None, "estimate is silent"),
    ],
)
def test_invalid_sources(references, estimates, mixture, message):
    with pytest.raises(ParameterError, match=message):
        evaluate_singing(references, estimates, mixture)
