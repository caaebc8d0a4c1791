from __future__ import annotations

import numpy as np
import pytest

from harmnmf import Audio, read_audio
from harmnmf.decoder.calibration import calibrate

RATE = 16000
LATE = 30  # seconds until the music begins


@pytest.fixture
def music(root):
    return read_audio(root / "examples" / "example.flac", duration=20.0).samples


def hum(t, rng):
    return sum(0.1 / h * np.sin(2 * np.pi * 50 * h * t) for h in (1, 2, 3, 5, 7))


def voice(t, rng):
    """Vowels of a gliding pitch, three in a second, with the formants of a."""
    pitch = 130 * 2 ** (np.interp(t, t[::2667], rng.uniform(-0.5, 0.5, len(t[::2667]))))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    vowels = sum(np.sin(h * phase) / (1 + ((h * pitch - 700) / 300) ** 2) for h in range(1, 25))
    return 0.2 * vowels * np.maximum(0, np.sin(2 * np.pi * 3 * t))


def applause(t, rng):
    return 0.3 * rng.standard_normal(len(t)) * np.abs(rng.standard_normal(len(t))) ** 3 / 4


INTROS = {
    "zeros": lambda t, rng: np.zeros(len(t)),
    "a room": lambda t, rng: 1e-3 * rng.standard_normal(len(t)),
    "hum": hum,
    "voice": voice,
    "applause": applause,
    "a constant": lambda t, rng: np.full(len(t), 0.3),
}


@pytest.mark.parametrize("name", INTROS)
def test_what_holds_no_notes_is_passed_over(music, name):
    intro = INTROS[name](np.arange(LATE * RATE) / RATE, np.random.default_rng(0))
    late = calibrate(Audio(np.concatenate([intro, music]), RATE), RATE, 10.0)
    assert late.has_notes
    assert late.whole is None
    assert late.audio.duration == 10.0
    [(start, end)] = late.intervals
    assert LATE <= start <= LATE + 5
    assert end - start == 10.0
    np.testing.assert_array_equal(
        late.audio.samples, music[round((start - LATE) * RATE) :][: 10 * RATE]
    )


def test_music_from_the_start_is_taken_as_it_is(music):
    whole = calibrate(Audio(music, RATE), RATE, 180.0)
    assert whole.intervals == ((0.0, 20.0),)
    np.testing.assert_array_equal(whole.audio.samples, music)
    np.testing.assert_array_equal(whole.whole.samples, music)
    start = calibrate(Audio(music, RATE), RATE, 7.5)
    assert (start.intervals, start.whole) == (((0.0, 7.5),), None)
    np.testing.assert_array_equal(start.audio.samples, music[: round(7.5 * RATE)])


def test_music_around_a_talk(music):
    t = np.arange(LATE * RATE) / RATE
    parts = [music[: 10 * RATE], voice(t, np.random.default_rng(1)), music[10 * RATE :]]
    found = calibrate(Audio(np.concatenate(parts), RATE), RATE, 15.0)
    assert found.intervals == ((0.0, 10.0), (40.0, 45.0))
    fade = round(0.02 * RATE)
    before, after = np.split(found.audio.samples, [10 * RATE])
    np.testing.assert_array_equal(before[:-fade], music[: 10 * RATE - fade])
    np.testing.assert_array_equal(after[fade:], music[10 * RATE + fade : 15 * RATE])


def test_faint_notes_are_passed_over(music):
    faint = Audio(np.concatenate([1e-3 * music, music]), RATE)
    assert calibrate(faint, RATE, 10.0).intervals == ((20.0, 30.0),)
    assert calibrate(faint, RATE, 180.0).intervals == ((20.0, 40.0),)
    assert calibrate(Audio(1e-3 * music, RATE), RATE, 180.0).has_notes


def test_without_notes_the_loudest_part_is_taken():
    noise = np.random.default_rng(0).standard_normal(40 * RATE)
    noise[: 25 * RATE] *= 0.1
    found = calibrate(Audio(0.1 * noise, RATE), RATE, 15.0)
    assert not found.has_notes
    assert found.intervals == ((25.0, 40.0),)


@pytest.mark.parametrize("level", [0.02, 0.5])
def test_a_channel_of_noise_is_left_out(music, level):
    noise = level * np.random.default_rng(0).standard_normal(len(music))
    found = calibrate(Audio(np.stack([noise, music]), RATE), RATE, 180.0)
    np.testing.assert_array_equal(found.mix, [0, 1])
    np.testing.assert_array_equal(found.whole.samples, music)


def test_ordinary_channels_are_averaged(music):
    faint = music + 1e-4 * np.random.default_rng(0).standard_normal(len(music))
    for other in (0 * music, 0.3 * music, faint, 1e-5 * faint):
        stereo = Audio(np.stack([music, other]), RATE)
        found = calibrate(stereo, RATE, 180.0)
        assert found.mix is None
        np.testing.assert_array_equal(found.whole.samples, stereo.to_mono().samples)
    many = Audio(np.stack([music] * 12), RATE)
    np.testing.assert_allclose(calibrate(many, RATE, 180.0).whole.samples, music, atol=1e-6)
