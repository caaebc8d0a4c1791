from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.signal import correlate, hilbert

from harmnmf import ParameterError
from harmnmf.signal.acoustics import equalize, room_response
from harmnmf.synthesis.microphone import RecordingConditions, simulate_recording

RATE = 16000
CONDITIONS = [field.name for field in fields(RecordingConditions)]
PARTS = [name for name in CONDITIONS if name != "clean"]


def only(*parts):
    return RecordingConditions(**{name: float(name in parts) for name in CONDITIONS})


def record(samples, conditions=None, seed=0, background=None):
    rng = np.random.default_rng(seed)
    return simulate_recording(samples, rng, conditions, background=background)


def power(samples):
    return np.mean(np.square(samples, dtype=np.float64))


@pytest.fixture(scope="module")
def sound():
    """Two seconds of noise, the first 20 dB louder than the second."""
    rng = np.random.default_rng(1)
    level = np.repeat([0.1, 0.01], RATE)
    return (level * rng.standard_normal(2 * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def chatter():
    """Two seconds of other sounds."""
    return np.random.default_rng(2).standard_normal(2 * RATE).astype(np.float32)


@pytest.fixture(scope="module")
def click():
    return np.eye(1, RATE, dtype=np.float32)[0]


class TestProbabilities:
    def test_all_off_changes_nothing(self, sound):
        np.testing.assert_array_equal(record(sound, only()), sound)

    @pytest.mark.parametrize("part", PARTS)
    def test_each_changes_something(self, sound, chatter, part):
        changed = record(sound, only(part), background=chatter)
        again = record(sound, only(part), background=chatter)
        np.testing.assert_array_equal(changed, again)
        assert changed.shape == sound.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        assert np.abs(changed - sound).max() > 0

    def test_linear_parts_do_not_depend_on_the_others(self, click):
        parts = ("room", "equalizer")
        both = np.fft.rfft(record(click, only(*parts)), 2 * RATE)
        product = np.prod([np.fft.rfft(record(click, only(p)), 2 * RATE) for p in parts], 0)
        audible = np.abs(product) > 0.1 * np.median(np.abs(product))
        # Both are cut after a second.
        error = np.abs(both - product)[audible] / np.abs(product)[audible]
        assert np.median(error) < 0.02

    def test_noise_does_not_depend_on_the_other_parts(self, sound):
        noise = record(sound, only("noise")) - sound
        among = record(sound, only("noise", "room")) - record(sound, only("room"))
        assert np.corrcoef(noise, among)[0, 1] > 0.99

    def test_probability(self, sound):
        sometimes = replace(only(), level=0.3)
        changed = [np.any(record(sound[:99], sometimes, s) != sound[:99]) for s in range(200)]
        assert np.mean(changed) == pytest.approx(0.3, abs=0.1)

    def test_clean_recordings_differ_in_level_only(self, sound, chatter):
        everything = only(*PARTS)
        clean = record(sound, replace(everything, clean=1.0), background=chatter)
        peak = np.abs(sound).max()
        np.testing.assert_allclose(clean, sound * (np.abs(clean).max() / peak), rtol=1e-5)
        # What is drawn for a recording that is not clean does not depend on the share of others.
        noisy = replace(only("noise"), clean=0.3)
        recorded = [record(sound[:999], noisy, seed) for seed in range(200)]
        is_clean = [np.array_equal(each, sound[:999]) for each in recorded]
        assert np.mean(is_clean) == pytest.approx(0.3, abs=0.1)
        seed = is_clean.index(False)
        np.testing.assert_array_equal(recorded[seed], record(sound[:999], only("noise"), seed))


@pytest.mark.parametrize("n_samples", [0, 1, 100, 159, 161])
def test_short_sounds(n_samples):
    everything = only(*PARTS)
    for seed in range(4):
        background = np.full(n_samples, 0.1, np.float32)
        recorded = record(np.full(n_samples, 0.5), everything, seed, background)
        assert recorded.shape == (n_samples,)
        assert np.isfinite(recorded).all()
    assert not record(np.zeros(n_samples), everything).any()


def test_without_other_sounds_there_is_no_background(sound):
    for background in (None, np.zeros(len(sound), np.float32)):
        recorded = record(sound, only("background"), background=background)
        np.testing.assert_array_equal(recorded, sound)


def test_not_a_probability():
    for probability in (1.1, np.nan):
        with pytest.raises(ParameterError, match="hum must be a finite number"):
            RecordingConditions(hum=probability)


@pytest.mark.parametrize("seed", range(3))
class TestParts:
    def test_direct_sound_is_not_delayed(self, click, seed):
        for part in ("room", "microphones", "equalizer", "compression", "wow"):
            assert np.argmax(np.abs(record(click, only(part), seed))) == 0, part
        assert np.argmax(np.abs(record(click, only("band_limit"), seed))) < 0.0005 * RATE

    def test_room(self, seed):
        response = room_response(np.random.default_rng(seed))
        assert response[0] == 1
        reverberant = response[1:]
        assert -20.5 < 10 * np.log10(np.sum(reverberant**2)) < 3.5
        # Most of the energy has gone after half of the longest time.
        decay = np.cumsum(reverberant[::-1] ** 2)[::-1] / np.sum(reverberant**2)
        assert 0.1 * RATE < np.argmax(decay < 1e-4) < 1.8 * RATE
        # The treble decays faster.
        centroid = []
        for part in np.array_split(response[RATE // 20 : RATE // 4], 2):
            spectrum = np.abs(np.fft.rfft(part)) ** 2
            centroid.append(spectrum @ np.arange(len(spectrum)) / spectrum.sum())
        assert centroid[1] < centroid[0]

    def test_equalizer_is_smooth(self, click, seed):
        response = np.abs(np.fft.rfft(equalize(click, np.random.default_rng(seed)), 2**17))
        hz = 100 * 2 ** (np.arange(72) / 12)
        gain = 20 * np.log10(response[np.rint(hz * 2**17 / RATE).astype(int)])
        assert np.abs(gain).max() <= 6.1
        assert np.ptp(gain) > 1
        assert np.abs(np.diff(gain)).max() < 1.0

    def test_noise(self, sound, seed):
        noise = record(sound, only("noise"), seed) - sound
        assert -81 < 10 * np.log10(power(noise) / power(sound[:RATE])) < -44
        low, high = np.array_split(np.abs(np.fft.rfft(noise)) ** 2, 2)
        assert low.mean() > 0.8 * high.mean()

    def test_hum(self, sound, seed):
        hum = record(sound, only("hum"), seed) - sound
        assert -81 < 10 * np.log10(power(hum) / power(sound[:RATE])) < -39
        hz = np.fft.rfftfreq(len(hum), 1 / RATE)
        spectrum = np.abs(np.fft.rfft(hum * np.hanning(len(hum)))) ** 2
        assert spectrum[(hz > 45) & (hz < 500)].sum() > 0.99 * spectrum.sum()

    def test_second_microphone(self, click, seed):
        response = record(click, only("microphones"), seed)
        direct, second = np.flatnonzero(response)
        assert direct == 0
        assert response[0] == 1
        assert 0.0003 * RATE - 1 < second < 0.008 * RATE + 1
        assert -15 <= 20 * np.log10(response[second]) <= 0

    def test_background(self, sound, chatter, seed):
        heard = record(sound, only("background"), seed, chatter) - sound
        assert np.corrcoef(heard, chatter)[0, 1] > 0.999
        assert -56 < 10 * np.log10(power(heard) / power(sound[:RATE])) < -9

    def test_compression_narrows_the_dynamics(self, seed):
        level = np.repeat([0.1, 0.003], [RATE, 4 * RATE])
        played = level * np.random.default_rng(1).standard_normal(len(level))
        compressed = record(played, only("compression"), seed)
        loud, soft = power(compressed[RATE // 2 : RATE]), power(compressed[-RATE // 4 :])
        assert 5 < 10 * np.log10(loud / soft) < 29.5
        # Soft parts do not change, once the compressor has recovered.
        assert soft == pytest.approx(power(played[-RATE // 4 :]), rel=0.01)

    def test_wow(self, seed):
        time = np.arange(3 * RATE) / RATE
        recorded = record(np.cos(2 * np.pi * 1000 * time), only("wow"), seed)
        phase = np.unwrap(np.angle(hilbert(recorded)))[1000:-1000]
        speed = np.diff(phase[::400]) / (2 * np.pi * 1000 * 400 / RATE)
        assert 1e-4 < np.abs(speed - 1).max() < 0.0031
        # Nothing is heard later than it was played, nor more than 3 ms earlier.
        early = phase / (2 * np.pi * 1000) - time[1000:-1000]
        early -= np.round(early[0], 3)
        assert early.min() > -0.00002
        assert early.max() < 0.003

    def test_band_limit(self, sound, seed):
        before, after = (
            np.abs(np.fft.rfft(s)) ** 2 for s in (sound, record(sound, only("band_limit"), seed))
        )
        hz = np.fft.rfftfreq(len(sound), 1 / RATE)
        middle = (hz > 400) & (hz < 3000)
        assert after[middle].sum() == pytest.approx(before[middle].sum(), rel=0.15)
        for outside in (hz < 10, hz > 7800):
            assert after[outside].sum() < 0.1 * before[outside].sum()

    def test_level(self, sound, seed):
        peak_db = 20 * np.log10(np.abs(record(sound, only("level"), seed)).max())
        assert -25 <= peak_db <= -0.5 + 1e-4


def test_codecs_keep_length_and_alignment(sound):
    for seed in range(6):
        decoded = record(sound, only("codec"), seed)
        assert decoded.shape == sound.shape
        # Aligned to the sample, and most of the sound is kept.
        correlation = correlate(decoded, sound, "same")
        lag = int(np.argmax(correlation)) - int(np.argmax(correlate(sound, sound, "same")))
        assert abs(lag) <= 1
        assert correlation.max() > 0.5 * np.sum(sound**2)
