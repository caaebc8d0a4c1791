from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from harmnmf import ParameterError
from harmnmf.enhancement.mixtures.mixing import MixtureConditions, active_power, mix_speech
from harmnmf.signal.audio import SAMPLE_RATE as RATE

PARTS = [field.name for field in fields(MixtureConditions) if field.type == "float"]
NOTHING = MixtureConditions(**dict.fromkeys(PARTS, 0.0))
EVERYTHING = MixtureConditions(
    **{**dict.fromkeys(PARTS, 1.0), "clean_only": 0.0, "noise_only": 0.0}
)


def only(*parts, **ranges):
    return replace(NOTHING, **dict.fromkeys(parts, 1.0), **ranges)


def energy(samples):
    return np.sum(np.square(samples, dtype=np.float64))


@pytest.fixture(scope="module")
def speech():
    """One second of a gliding buzz between pauses."""
    t = np.arange(2 * RATE) / RATE
    phase = 2 * np.pi * (120 * t + 20 * np.sin(3 * t))
    buzz = sum(np.sin(k * phase) / k for k in range(1, 30))
    return (0.1 * buzz * ((t > 0.5) & (t < 1.5))).astype(np.float32)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)


@pytest.fixture(scope="module")
def mix(speech, noise):
    def mix(conditions, seed=0):
        return mix_speech(speech, [noise], np.random.default_rng(seed), conditions)

    return mix


@pytest.mark.parametrize("part", sorted({*PARTS} - {"speed", "second_noise"}))
def test_each_condition_changes_something(mix, speech, part):
    noisy, clean = mix(only(part))
    assert noisy.dtype == clean.dtype == np.float32
    assert np.isfinite([noisy, clean]).all()
    assert np.abs(noisy - mix(NOTHING).noisy).max() > 1e-3
    is_target_equal = part in ("clipping", "codec", "clean_only", "stationary_noise")
    assert np.array_equal(clean, speech) == is_target_equal


@pytest.mark.parametrize("n_samples", [1600, 4001])
def test_all_conditions_at_once(noise, n_samples):
    rng = np.random.default_rng(0)
    speech, noise = rng.standard_normal(n_samples, np.float32), noise[:n_samples]
    before = speech.copy(), noise.copy()
    noisy, clean = mix_speech(speech, [noise, noise[::-1]], rng, EVERYTHING)
    assert noisy.shape == clean.shape == speech.shape
    assert np.isfinite(noisy).all()
    assert 0.01 - 1e-6 <= np.abs(noisy).max() <= 10 ** (-6 / 20) + 1e-6
    assert clean.any()
    np.testing.assert_array_equal(speech, before[0])
    np.testing.assert_array_equal(noise, before[1])


def test_snr_is_that_of_active_speech(mix, speech, noise):
    voiced = slice(RATE // 2, 3 * RATE // 2)
    for snr_db in (-5, 20):
        noisy, clean = mix(only(snr_db=(snr_db, snr_db)))
        np.testing.assert_array_equal(clean, speech)
        rest = noisy - clean
        measured = 10 * np.log10(energy(clean[voiced]) / energy(rest[voiced]))
        assert measured == pytest.approx(snr_db, abs=0.2)
        np.testing.assert_allclose(rest, rest @ noise / energy(noise) * noise, atol=1e-6)


def test_snr_is_uniform(mix):
    ratios = []
    for seed in range(200):
        noisy, clean = mix(only(snr_db=(-5.0, 20.0)), seed)
        ratios.append(10 * np.log10(active_power(clean) / np.mean((noisy - clean) ** 2)))
    assert -5.1 < min(ratios) < -4
    assert 19 < max(ratios) < 20.1
    assert np.mean(ratios) == pytest.approx(7.5, abs=1.5)


def test_several_noises_are_balanced(speech, noise):
    noises = np.stack([noise, noise[::-1]], 1)
    noisy, clean = mix_speech(speech, list(noises.T), np.random.default_rng(0), NOTHING)
    gains, *_ = np.linalg.lstsq(noises, noisy - clean, rcond=None)
    assert -10 < 20 * np.log10(gains[0] / gains[1]) < 10
    np.testing.assert_allclose(noises @ gains, noisy - clean, atol=1e-5)


def test_probabilities_of_speech_and_noise_alone(mix, noise):
    conditions = replace(NOTHING, clean_only=0.3, noise_only=0.2)
    mixtures = [mix(conditions, seed) for seed in range(300)]
    clean_only = np.mean([(x.noisy == x.clean).all() for x in mixtures])
    noise_only = [x.noisy for x in mixtures if not x.clean.any()]
    assert (clean_only, len(noise_only) / 300) == pytest.approx((0.3, 0.2), abs=0.1)
    assert np.corrcoef(noise_only[0], noise)[0, 1] > 0.999


@pytest.mark.parametrize("seed", range(3))
def test_the_target_has_the_early_reflections_of_the_room(noise, seed):
    click = np.eye(1, 2 * RATE, dtype=np.float32)[0]
    noisy, clean = mix_speech(click, [noise], np.random.default_rng(seed),
                              only("room", "clean_only"))  # fmt: skip
    assert np.argmax(np.abs(noisy)) == np.argmax(np.abs(clean)) == 0
    np.testing.assert_allclose(clean[:800], noisy[:800], atol=1e-6)
    np.testing.assert_allclose(clean[800:], 0, atol=1e-6)
    late = energy(noisy[800:])
    assert 0 < late < energy(noisy[1:]) <= 1.01
    assert energy(noisy[RATE:]) < 1e-3 * late


@pytest.mark.parametrize("part", ["equalizer", "band_limit"])
def test_the_microphone_is_the_same_for_mixture_and_target(mix, part):
    noisy, clean = mix(only(part, "clean_only"))
    np.testing.assert_array_equal(noisy, clean)


@pytest.mark.parametrize("seed", range(3))
def test_equalizers_of_speech_and_noise_differ(mix, speech, noise, seed):
    noisy, clean = mix(only("equalizer", snr_db=(0.0, 0.0)), seed)
    response_of_speech, response_of_noise = (
        np.abs(np.fft.rfft(after) / np.fft.rfft(before))
        for after, before in ((clean, speech), (noisy - clean, noise))
    )
    # Bins with enough power to divide by.
    bins = np.abs(np.fft.rfft(speech)) > 30
    ratio_db = 20 * np.log10(response_of_speech[bins] / response_of_noise[bins])
    assert np.percentile(ratio_db, 90) - np.percentile(ratio_db, 10) > 1


@pytest.mark.parametrize("seed", range(3))
def test_clipping(mix, speech, seed):
    noisy, clean = mix(only("clipping", "clean_only"), seed)
    limit = np.abs(noisy).max()
    assert 3 <= 20 * np.log10(np.abs(speech).max() / limit) <= 15
    np.testing.assert_array_equal(noisy, np.clip(clean, -limit, limit))


@pytest.mark.parametrize("seed", range(5))
def test_codecs_neither_delay_nor_scale(mix, seed):
    noisy, clean = mix(only("codec", "clean_only"), seed)
    assert np.abs(noisy - clean).max() > 1e-4
    # A delay of one sample alone would give an error of 0.02.
    assert energy(noisy - clean) < 0.015 * energy(clean)
    # The end is not lost.
    assert np.corrcoef(clean[23000:24000], noisy[23000:24000])[0, 1] > 0.9


def test_level(mix):
    plain, scaled = mix(NOTHING), mix(only("level", level_db=(-30.0, -20.0)))
    assert -30 <= 20 * np.log10(np.abs(scaled.noisy).max()) <= -20
    gain = np.abs(scaled.noisy).max() / np.abs(plain.noisy).max()
    np.testing.assert_allclose(scaled.noisy, gain * plain.noisy, rtol=1e-5)
    np.testing.assert_allclose(scaled.clean, gain * plain.clean, rtol=1e-5)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        *(({part: 1.1}, f"{part} must be a finite number from 0 to 1") for part in PARTS),
        ({"room": float("nan")}, "room must be a finite number from 0 to 1, not nan"),
        ({"snr_db": (5.0, -5.0)}, "snr_db must be two finite numbers in order"),
        ({"level_db": (-np.inf, 0.0)}, "level_db must be two finite numbers in order"),
        ({"clean_only": 0.6, "noise_only": 0.5}, "add up"),
    ],
)
def test_invalid_conditions_raise(conditions, message):
    with pytest.raises(ParameterError, match=message):
        MixtureConditions(**conditions)


def test_silence_raises(speech):
    for sounds in ((speech, []), (speech, [0 * speech]), (0 * speech, [speech])):
        with pytest.raises(ParameterError, match="not silent"):
            mix_speech(*sounds, np.random.default_rng(0), NOTHING)
