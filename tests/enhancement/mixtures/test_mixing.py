from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from harmnmf import ParameterError
from harmnmf.enhancement.mixtures.mixing import (
    MixtureConditions,
    active_frames,
    active_power,
    mix_speech,
)
from harmnmf.signal.audio import SAMPLE_RATE as RATE

PARTS = [field.name for field in fields(MixtureConditions) if field.type == "float"]
NOTHING = MixtureConditions(**dict.fromkeys(PARTS, 0.0))
EVERYTHING = MixtureConditions(
    **{**dict.fromkeys(PARTS, 1.0), "clean_only": 0.0, "noise_only": 0.0}
)


def only(*parts, **ranges):
    return replace(NOTHING, **dict.fromkeys(parts, 1.0), **ranges)


def power(samples):
    return np.mean(np.square(samples, dtype=np.float64))


def energy(samples):
    return np.sum(np.square(samples, dtype=np.float64))


def delay(a, b):
    """Delay of b after a in samples, by parabolic interpolation of the correlation."""
    n = 2 * len(a)
    correlation = np.fft.irfft(np.conj(np.fft.rfft(a, n)) * np.fft.rfft(b, n), n)
    peak = int(np.argmax(correlation))
    left, middle, right = correlation[[peak - 1, peak, (peak + 1) % n]]
    return (peak + n // 2) % n - n // 2 + 0.5 * (left - right) / (left - 2 * middle + right)


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


class TestSwitches:
    def test_all_off_only_adds_noise(self, mix, speech, noise):
        noisy, clean = mix(NOTHING)
        assert noisy.dtype == clean.dtype == np.float32
        np.testing.assert_array_equal(clean, speech)
        rest = noisy - clean
        gain = rest @ noise / energy(noise)
        np.testing.assert_allclose(rest, gain * noise, atol=1e-6)
        assert gain > 0

    @pytest.mark.parametrize("part", sorted({*PARTS} - {"speed", "second_noise"}))
    def test_each_changes_something(self, mix, speech, part):
        noisy, clean = mix(only(part))
        assert noisy.dtype == clean.dtype == np.float32
        assert np.isfinite(noisy).all()
        assert np.isfinite(clean).all()
        assert np.abs(noisy - mix(NOTHING).noisy).max() > 1e-3
        is_target_equal = part in ("clipping", "codec", "clean_only", "stationary_noise")
        assert np.array_equal(clean, speech) == is_target_equal

    @pytest.mark.parametrize("n_samples", [1600, 4001, 2 * RATE])
    @pytest.mark.parametrize("seed", range(5))
    def test_everything_at_once(self, noise, seed, n_samples):
        rng = np.random.default_rng(seed)
        speech, noise = rng.standard_normal(n_samples, np.float32), noise[:n_samples]
        before = speech.copy(), noise.copy()
        noisy, clean = mix_speech(speech, [noise, noise[::-1]], rng, EVERYTHING)
        assert noisy.shape == clean.shape == speech.shape
        assert np.isfinite(noisy).all()
        assert 0.01 - 1e-6 <= np.abs(noisy).max() <= 10 ** (-6 / 20) + 1e-6
        assert clean.any()
        np.testing.assert_array_equal(speech, before[0])
        np.testing.assert_array_equal(noise, before[1])


@pytest.mark.parametrize("parts", [(), ("stationary_noise",), ("room",), ("equalizer",)])
@pytest.mark.parametrize("snr_db", [-5, 7, 20])
def test_snr(speech, noise, parts, snr_db):
    conditions = only(*parts, snr_db=(snr_db, snr_db))
    noisy, clean = mix_speech(speech, [noise], np.random.default_rng(0), conditions)
    voiced = slice(RATE // 2, 3 * RATE // 2)
    measured = 10 * np.log10(power(clean[voiced]) / power((noisy - clean)[voiced]))
    # The noise's power in one of two seconds; reverberation of the speech, and the microphone.
    tolerance = {(): 0.2, ("stationary_noise",): 0.6}.get(parts, 7.0)
    assert measured == pytest.approx(snr_db, abs=tolerance)


def test_snr_is_uniform(mix):
    conditions = replace(NOTHING, snr_db=(-5.0, 20.0))
    ratios = []
    for seed in range(200):
        noisy, clean = mix(conditions, seed)
        ratios.append(10 * np.log10(active_power(clean) / power(noisy - clean)))
    assert -5.1 < min(ratios) < -4
    assert 19 < max(ratios) < 20.1
    assert np.mean(ratios) == pytest.approx(7.5, abs=1.5)


def test_several_noises(speech, noise):
    other = noise[::-1]
    noisy, clean = mix_speech(speech, [noise, other], np.random.default_rng(0), NOTHING)
    gains, *_ = np.linalg.lstsq(np.stack([noise, other], 1), noisy - clean, rcond=None)
    assert -10 < 20 * np.log10(gains[0] / gains[1]) < 10
    np.testing.assert_allclose(np.stack([noise, other], 1) @ gains, noisy - clean, atol=1e-5)


class TestKinds:
    def test_noise_only(self, mix, noise):
        noisy, clean = mix(only("noise_only"))
        assert not clean.any()
        assert np.corrcoef(noisy, noise)[0, 1] > 0.999

    def test_probabilities(self, mix):
        conditions = replace(NOTHING, clean_only=0.3, noise_only=0.2)
        mixtures = [mix(conditions, seed) for seed in range(300)]
        clean_only = np.mean([(x.noisy == x.clean).all() for x in mixtures])
        noise_only = np.mean([not x.clean.any() for x in mixtures])
        assert (clean_only, noise_only) == pytest.approx((0.3, 0.2), abs=0.1)


@pytest.mark.parametrize("seed", range(5))
class TestParts:
    def test_room(self, noise, seed):
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
    def test_the_microphone_is_the_same_for_mixture_and_target(self, mix, seed, part):
        noisy, clean = mix(only(part, "clean_only"), seed)
        np.testing.assert_array_equal(noisy, clean)

    def test_equalizers_of_speech_and_noise_differ(self, mix, speech, noise, seed):
        conditions = only("equalizer", snr_db=(0.0, 0.0))
        noisy, clean = mix(conditions, seed)
        of_speech, of_noise = (
            np.abs(np.fft.rfft(after) / np.fft.rfft(before))
            for after, before in ((clean, speech), (noisy - clean, noise))
        )
        # Bins with enough power to divide by.
        bins = np.abs(np.fft.rfft(speech)) > 30
        ratio_db = 20 * np.log10(of_speech[bins] / of_noise[bins])
        assert np.percentile(ratio_db, 90) - np.percentile(ratio_db, 10) > 1

    def test_clipping(self, mix, speech, seed):
        noisy, clean = mix(only("clipping", "clean_only"), seed)
        limit = np.abs(noisy).max()
        assert 3 <= 20 * np.log10(np.abs(speech).max() / limit) <= 15
        np.testing.assert_array_equal(noisy, np.clip(clean, -limit, limit))

    def test_codecs_neither_delay_nor_scale(self, mix, speech, seed):
        noisy, clean = mix(only("codec", "clean_only"), seed)
        assert np.abs(noisy - clean).max() > 1e-4
        assert delay(clean, noisy) == pytest.approx(0, abs=0.1)
        assert energy(noisy - clean) < 0.1 * energy(clean)
        # The end is not lost.
        assert np.corrcoef(clean[23000:24000], noisy[23000:24000])[0, 1] > 0.9

    def test_level(self, mix, seed):
        plain, scaled = mix(NOTHING, seed), mix(only("level", level_db=(-30.0, -20.0)), seed)
        assert -30 <= 20 * np.log10(np.abs(scaled.noisy).max()) <= -20
        gain = np.abs(scaled.noisy).max() / np.abs(plain.noisy).max()
        np.testing.assert_allclose(scaled.noisy, gain * plain.noisy, rtol=1e-5)
        np.testing.assert_allclose(scaled.clean, gain * plain.clean, rtol=1e-5)


def test_active_frames_are_within_30_db_of_the_loudest():
    level_db = np.array([-5.0, -34.0, -36.0, -200.0, -5.0, -20.0])
    samples = np.repeat(10 ** (level_db / 20), 160).astype(np.float32)
    np.testing.assert_array_equal(active_frames(samples), level_db > -35)
    expected = np.mean(10 ** (level_db[level_db > -35] / 10))
    assert active_power(samples) == pytest.approx(expected, rel=1e-5)


class TestErrors:
    @pytest.mark.parametrize("part", PARTS)
    def test_not_a_probability(self, part):
        for probability in (-0.1, 1.1, float("nan")):
            with pytest.raises(ParameterError, match=f"{part} must be a probability"):
                MixtureConditions(**{part: probability})

    @pytest.mark.parametrize("values", [(5.0, -5.0), (0.0, float("nan")), (-np.inf, 0.0)])
    @pytest.mark.parametrize("name", ["snr_db", "level_db"])
    def test_not_a_range(self, name, values):
        with pytest.raises(ParameterError, match=f"{name} must be two finite numbers in order"):
            MixtureConditions(**{name: values})

    def test_sum_of_probabilities(self):
        with pytest.raises(ParameterError, match="add up"):
            MixtureConditions(clean_only=0.6, noise_only=0.5)

    def test_silence(self, speech):
        rng = np.random.default_rng(0)
        for sounds in ((speech, []), (speech, [0 * speech]), (0 * speech, [speech])):
            with pytest.raises(ParameterError, match="not silent"):
                mix_speech(*sounds, rng, NOTHING)
