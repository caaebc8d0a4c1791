from __future__ import annotations

import numpy as np
import pytest

from benchmarks.data import (
    INPUTS,
    aligned,
    detuned,
    echo,
    hall,
    noisy,
    on_sound,
    phone,
    room_response,
)
from harmnmf import Audio, NoteList

RATE = 16000
NOTES = NoteList([0.5, 1.0], [1.0, 1.5], [69, 81], [60, 70])


def tone(frequency, duration=2.0):
    return np.sin(2 * np.pi * frequency * np.arange(round(duration * RATE)) / RATE)


def power_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=float)))


def peak_hz(audio):
    spectrum = np.abs(np.fft.rfft(audio.samples * np.hanning(len(audio.samples)), 2**20))
    return spectrum.argmax() * audio.sample_rate / 2**20


@pytest.mark.parametrize("change", INPUTS.values(), ids=INPUTS)
def test_inputs_are_the_same_in_every_run(change):
    audio = Audio(tone(440.0) * (tone(1.0) > 0), RATE)
    (first, notes), (second, _) = change(audio, NOTES), change(audio, NOTES)
    assert (first.samples == second.samples).all()
    assert len(notes) == 2
    assert first.duration == pytest.approx(audio.duration, rel=0.03)


def test_annotations_move_later_whole():
    moved = on_sound(NoteList([0.0, 1.0], [0.5, 2.0], [60, 62], [70, 80], pedal=[[0.2, 0.4]]))
    np.testing.assert_allclose(moved.onset, [0.02, 1.02])
    np.testing.assert_allclose(moved.offset, [0.52, 2.02])
    np.testing.assert_allclose(moved.pedal, [[0.22, 0.42]])


@pytest.mark.parametrize("seconds", [0.6, 1.6, 2.5])
def test_the_room_decays_by_60_db_in_its_reverberation_time(seconds):
    response = room_response(RATE, seconds, np.random.default_rng(1))
    assert response[0] == 1.0
    assert np.square(response[1:]).sum() == pytest.approx(1.0)
    assert not response[1 : round(0.005 * RATE)].any()
    early, late = (
        power_db(response[round(start * RATE) : round((start + 0.1) * RATE)])
        for start in (0.05, 0.05 + seconds)
    )
    assert early - late == pytest.approx(60.0, abs=1.0)


def test_a_hall_adds_its_reverberation_to_the_direct_sound():
    click = np.zeros(4 * RATE)
    click[RATE] = 0.5
    heard = hall(2.5)(Audio(click, RATE), NOTES)[0].samples
    assert len(heard) == len(click)
    first = RATE + round(0.005 * RATE)
    np.testing.assert_allclose(heard[:first], click[:first], atol=1e-6)
    assert np.square(heard[first:]).sum() == pytest.approx(0.25, rel=0.01)


def test_an_echo_is_one_repetition():
    samples = np.zeros(RATE)
    samples[100] = 0.5
    heard = echo(Audio(samples, RATE), NOTES)[0].samples
    assert np.flatnonzero(heard).tolist() == [100, 100 + RATE // 4]
    assert 20 * np.log10(heard[100 + RATE // 4] / heard[100]) == pytest.approx(-8.0, abs=1e-3)


@pytest.mark.parametrize("snr", [20.0, 5.0])
def test_noise_has_its_level(snr):
    audio = Audio(tone(440.0), RATE)
    added = noisy(snr)(audio, NOTES)[0].samples - audio.samples
    assert power_db(audio.samples) - power_db(added) == pytest.approx(snr, abs=0.01)


def test_the_phone_passes_its_band_and_adds_noise():
    rng = np.random.default_rng(1)
    audio = Audio(rng.standard_normal(4 * RATE) * (np.arange(4 * RATE) < 2 * RATE), RATE)
    recorded = phone(audio, NOTES)[0].samples
    # Half of the time there is sound, and 25 dB below the mean power is noise.
    sound, silence = recorded[: 2 * RATE], recorded[-RATE:]
    assert power_db(sound) - 3 - power_db(silence) == pytest.approx(25.0, abs=0.3)
    density = np.square(np.abs(np.fft.rfft(sound)))
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    low, middle, high = (
        10 * np.log10(density[(a < hz) & (hz < b)].mean())
        for a, b in ((60, 75), (300, 5000), (7500, 8000))
    )
    assert middle - low > 20
    assert middle - high > 20


def test_a_flat_piano_plays_lower_and_slower():
    audio, notes = detuned(Audio(tone(440.0), RATE), NOTES)
    assert 1200 * np.log2(peak_hz(audio) / 440) == pytest.approx(-35.0, abs=0.2)
    assert notes.onset / NOTES.onset == pytest.approx(440 / peak_hz(audio), abs=1e-4)
    assert (notes.pitch == NOTES.pitch).all()


@pytest.mark.parametrize("delay", [0, 1105])
def test_delays_are_removed(delay):
    original = np.random.default_rng(0).standard_normal(44100).astype(np.float32)
    delayed = np.pad(original, (delay, 100))
    assert (aligned(delayed, original) == original).all()
    assert (aligned(delayed[:-200], original)[:-200] == original[:-200]).all()
