from __future__ import annotations

import pytest

from harmnmf import AudioError, ParameterError, parse_pitch, pitch_from_name, pitch_name


def test_names_and_numbers_are_inverse():
    for pitch in range(128):
        assert parse_pitch(pitch_name(pitch)) == pitch
        assert parse_pitch(str(pitch)) == pitch


@pytest.mark.parametrize(
    ("text", "pitch"),
    [("Bb3", 58), ("b♭3", 58), (" Fs5", 78), ("f♯5 ", 78), ("C-1", 0), ("Cb4", 59)],
)
def test_spellings(text, pitch):
    assert parse_pitch(text) == pitch


@pytest.mark.parametrize("text", ["", "H4", "C", "C44", "-1", "128", "G#9", "60.0", "C4 E4"])
def test_invalid_pitches(text):
    with pytest.raises(ParameterError, match="not a pitch"):
        parse_pitch(text)


@pytest.mark.parametrize(
    ("name", "pitch"),
    [
        ("060_loud.wav", 60),
        ("21.flac", 21),
        ("folder_C1/108_v3.ogg", 108),
        ("Piano.ff.Bb3.aiff", 58),
        ("piano-c4-take2.wav", 60),
        ("D#1v12.wav", 27),
        ("YamahaC7_A3.wav", 57),
        ("Yamaha C7 A3.wav", 57),
        ("060_C4.wav", 60),
        ("2024_C4.wav", 60),
    ],
)
def test_pitches_of_files(name, pitch):
    assert pitch_from_name(name) == pitch


@pytest.mark.parametrize("name", ["piano.wav", "take_128.wav", "200_x.wav", "C44.wav", "hub4.wav"])
def test_files_without_a_pitch(name):
    with pytest.raises(AudioError, match=rf"{name}: its name has no pitch; .* \(C4.wav\)"):
        pitch_from_name(name)


def test_ambiguous_file_name():
    with pytest.raises(AudioError, match=r"has two pitches \(1 and 60\)"):
        pitch_from_name("01_C4.wav")
