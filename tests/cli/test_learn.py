from __future__ import annotations

import shutil

import numpy as np
import pytest
from commands import assert_error, invoke

from harmnmf import (
    Audio,
    NoteList,
    TimbreDictionary,
    pitch_name,
    read_notes,
    write_audio,
    write_midi,
)
from harmnmf.cli.main import main
from harmnmf.signal.harmonics import pitch_to_hz

# Names and pitches of the notes of two pianos.
UPRIGHT = {f"upright/{pitch:03}.wav": pitch for pitch in (36, 48, 60, 72, 84)}
GRAND = {"grand/A2.wav": 45, "grand/A4_pp.flac": 69, "grand/A4_ff.wav": 69, "grand/A6.wav": 93}
NOTES = {**UPRIGHT, **GRAND}


def write_note(path, pitch, tuning=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(8000) / 16000
    hz = 440 * 2 ** ((pitch + tuning - 69) / 12)
    tone = np.exp(-3 * t) * sum(np.sin(2 * np.pi * h * hz * t) / h**2 for h in range(1, 5))
    write_audio(path, Audio(0.3 * tone, 16000))


@pytest.fixture
def notes(tmp_path):
    """A folder of two instruments, with other files beside the notes."""
    folder = tmp_path / "notes"
    for name, pitch in NOTES.items():
        write_note(folder / name, pitch)
    (folder / "upright" / "README.txt").write_text("C4")
    (folder / "upright" / "._060.wav").write_bytes(b"resource fork")
    return folder


def write_music(path, notes):
    """Write a recording of notes, which last 1.2 s, and its notes beside it."""
    t = np.arange(19200) / 16000
    samples = np.zeros(16000 * 5)
    for onset, hz in zip(notes.onset, notes.hz, strict=True):
        tone = np.exp(-3 * t) * sum(np.sin(2 * np.pi * h * hz * t) / h for h in (1, 2, 3, 4))
        samples[round(onset * 16000) :][: len(t)] += 0.1 * tone
    write_audio(path, Audio(samples, 16000))
    write_midi(path.with_suffix(".mid"), notes)


@pytest.fixture
def music(tmp_path):
    """A short recording beside its notes."""
    notes = NoteList([0.5, 1.8, 3.1], [1.7, 3.0, 4.3], [60, 67, 72], [70, 70, 70])
    write_music(tmp_path / "take.wav", notes)
    return tmp_path / "take.wav", tmp_path / "take.mid"


def learn(*args):
    return invoke(main, "learn", *args)


@pytest.mark.filterwarnings("error")
def test_each_folder_is_an_instrument(notes, tmp_path):
    output = tmp_path / "my-piano.safetensors"
    result = learn(notes, "-o", output, "--about", "Mine. CC0.")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{output}: learned from 9 notes of 8 keys, 2 instruments\n"
    about = TimbreDictionary.load(output).metadata
    assert (about["name"], about["about"]) == ("my-piano", "Mine. CC0.")
    instruments = about["instruments"]
    assert {name: (part["notes"], part["keys"]) for name, part in instruments.items()} == {
        "grand": (4, [45, 69, 93]),
        "upright": (5, [36, 48, 60, 72, 84]),
    }


def test_files_given_by_name_are_one_instrument(notes, tmp_path):
    output = tmp_path / "one.safetensors"
    files = [notes / name for name in (*UPRIGHT, "grand/A4_pp.flac")]
    result = learn(*files, files[0], "-o", output, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    sources = TimbreDictionary.load(output).metadata["instruments"]
    assert list(sources) == ["upright"]
    assert (sources["upright"]["notes"], sources["upright"]["keys"]) == (
        6,
        [36, 48, 60, 69, 72, 84],
    )


def test_a_note_counts_once_and_names_do_not_clash(notes, tmp_path):
    write_note(tmp_path / "other" / "upright" / "C4.wav", 60)
    output = tmp_path / "both.safetensors"
    result = learn(notes / "upright", notes, tmp_path / "other", "-o", output)
    assert result.exit_code == 0
    sources = TimbreDictionary.load(output).metadata["instruments"]
    assert {name: source["notes"] for name, source in sources.items()} == {
        "upright": 5,
        "grand": 4,
        "upright (2)": 1,
    }


def test_notes_named_an_octave_off(tmp_path):
    folder, output = tmp_path / "grand", tmp_path / "a.safetensors"
    for pitch in (48, 60, 72):
        write_note(folder / f"{pitch_name(pitch - 12)}.wav", pitch)
    message = "grand: the names of 3 of 3 notes are 12 semitones below the sound"
    assert_error(main, ["learn", folder, "-o", output], message, "--fix-names", folder=tmp_path)
    result = learn(folder, "-o", output, "--fix-names")
    assert result.exit_code == 0
    assert f"harmnmf: warning: {folder}: the names of 3 of 3 notes" in result.stderr
    assert TimbreDictionary.load(output).metadata["instruments"]["grand"]["keys"] == [48, 60, 72]
    result = learn(folder, "-o", output, "--keep-names", "--overwrite")
    assert (result.exit_code, result.stderr) == (0, "")
    assert TimbreDictionary.load(output).metadata["instruments"]["grand"]["keys"] == [36, 48, 60]


def test_a_piano_out_of_tune(tmp_path):
    for pitch in (36, 48, 60, 72, 84):
        write_note(tmp_path / "grand" / f"{pitch:03}.wav", pitch, tuning=0.4)
    result = learn(tmp_path / "grand", "-o", tmp_path / "a.safetensors")
    assert result.exit_code == 0
    cents, *_ = result.stdout.splitlines()[0].removeprefix("grand: ").split()
    assert int(cents) == pytest.approx(40, abs=3)
    assert "from A4 = 440 Hz" in result.stdout


def test_wrong_notes_and_outputs(notes, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.safetensors").write_text("precious")
    (tmp_path / "060.wav").write_text("text")  # found when it is read
    (tmp_path / "noise.wav").write_text("text")
    for name, output, message in (
        ("missing", "a.safetensors", "missing: no such file or folder"),
        ("060.wav", "mine.safetensors", "mine.safetensors: exists already"),
        ("empty", "a.safetensors", "empty: no audio files in this folder"),
        ("noise.wav", "a.safetensors", "noise.wav: its name has no pitch"),
        ("060.wav", "a.safetensors", "060.wav: is not audio"),
        ("060.wav", "missing/a.safetensors", "there is no folder"),
    ):
        args = [notes / "upright", tmp_path / name, "-o", tmp_path / output]
        assert_error(main, ["learn", *args], message, folder=tmp_path)


@pytest.mark.filterwarnings("error")
def test_music_and_its_notes(music, tmp_path):
    audio, midi = music
    output = tmp_path / "mine.safetensors"
    result = learn(audio, "--midi", midi, "-o", output, "--solver", "decibel", "--about", "Mine.")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "take.wav: delayed by +0 ms relative to its notes\n"
        f"{output}: learned from 3 notes of 3 keys, 1 recording\n"
    )
    about = TimbreDictionary.load(output).metadata
    assert (about["name"], about["about"], about["solver"]) == ("mine", "Mine.", "decibel")
    assert about["recordings"]["take.wav"]["keys"] == [60, 67, 72]
    transcribed = invoke(main, "transcribe", audio, "--dictionary", output, "--overwrite")
    assert transcribed.exit_code == 0
    assert {60, 67, 72} <= set(read_notes(midi).pitch.tolist())


def test_several_recordings_go_with_their_notes_in_order(music, tmp_path):
    audio, midi = music
    again = shutil.copy(audio, tmp_path / "again.wav")
    output = tmp_path / "mine.safetensors"
    result = learn(audio, again, "--midi", midi, "--midi", midi, "-o", output)
    assert result.stdout.endswith("learned from 6 notes of 3 keys, 2 recordings\n")
    assert list(TimbreDictionary.load(output).metadata["recordings"]) == ["take.wav", "again.wav"]
    # A learned dictionary can be the initial one.
    result = learn(audio, "--midi", midi, "--dictionary", output, "-o", tmp_path / "b.safetensors")
    assert result.exit_code == 0
    about = TimbreDictionary.load(tmp_path / "b.safetensors").metadata
    assert about["initial dictionary"] == {"name": "mine"}


@pytest.mark.filterwarnings("error")
def test_notes_that_were_separated_from_music(tmp_path):
    """Of chords, whose notes overlap in time and in their partials."""
    times, keys = np.repeat([0.5, 1.8, 3.1], 3), [48, 55, 64, 60, 67, 72, 55, 64, 79]
    notes = NoteList(times, times + 1.2, keys, [70] * 9)
    song = tmp_path / "song.wav"
    write_music(song, notes)
    separated = invoke(main, "separate", song, "--notes", song.with_suffix(".mid"), "--by", "note")
    assert separated.exit_code == 0, separated.output
    output = tmp_path / "piano.safetensors"
    result = learn(tmp_path / "song_notes", "-o", output)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{output}: learned from 9 notes of 7 keys, 1 instrument\n"
    dictionary = TimbreDictionary.load(output)
    played = np.isin(dictionary.pitches, keys)
    strongest = dictionary.axis.to_hz(dictionary.W[:, played, -2].argmax(axis=0))
    np.testing.assert_allclose(strongest, pitch_to_hz(np.unique(keys)), rtol=0.03)


@pytest.mark.filterwarnings("error")
def test_a_dictionary_for_streams(notes, music, tmp_path):
    front_end = TimbreDictionary.load("live").front_end
    learned = tmp_path / "notes.safetensors"
    result = learn(notes, "--live", "-o", learned)
    assert (result.exit_code, result.stderr) == (0, "")
    audio, midi = music
    by_default = tmp_path / "music.safetensors"
    result = learn(audio, "--midi", midi, "--live", "-o", by_default)
    assert (result.exit_code, result.stderr) == (0, "")
    again = tmp_path / "both.safetensors"
    result = learn(audio, "--midi", midi, "--live", "--dictionary", learned, "-o", again)
    assert (result.exit_code, result.stderr) == (0, "")
    for path, initial in ((learned, None), (by_default, "live"), (again, "notes")):
        dictionary = TimbreDictionary.load(path)
        assert dictionary.front_end == front_end
        assert dictionary.metadata.get("initial dictionary", {}).get("name") == initial
    result = invoke(main, "listen", "--play", audio, "--fast", "--dictionary", learned)
    assert result.exit_code == 0
    transcribe = ["transcribe", audio, "-o", tmp_path / "x.mid"]
    for args, message in (
        ([*transcribe, "--dictionary", learned], "is for streams, and the network for recordings"),
        (
            ["listen", "--play", audio, "--fast", "--dictionary", "default"],
            "is for recordings, and the network for streams",
        ),
        (
            ["learn", audio, "--midi", midi, "--live", "--dictionary", "default", "-o", again],
            "default: is not a dictionary for streams",
        ),
    ):
        result = invoke(main, *args, *(["--overwrite"] if args[0] == "learn" else []))
        assert (result.exit_code, result.stdout) == (1, "")
        assert message in result.stderr


def test_silent_and_missing_recordings(music, tmp_path):
    audio, midi = music
    write_audio(audio, Audio(np.zeros(64000), 16000))
    missing = tmp_path / "missing"
    for recording, score, message in (
        (audio, midi, "take.wav: the recording is silent"),
        (audio, missing, "missing: no such file"),
        (audio, audio, "take.wav: not a note file"),
    ):
        args = [recording, "--midi", score, "-o", tmp_path / "mine.safetensors"]
        assert_error(main, ["learn", *args], message, folder=tmp_path)


def test_usage_errors(music, notes, tmp_path):
    audio, midi = music
    output = ["-o", tmp_path / "mine.safetensors"]
    for args, message in (
        ([notes, "-o", tmp_path / "mine.wav"], "ends in .safetensors"),
        ([audio, "--midi", midi, "--midi", midi, *output], "1 expected, not 2"),
        ([notes, "--solver", "decibel", *output], "--solver needs --midi"),
        ([audio, "--midi", midi, "--fix-names", *output], "are for notes, without --midi"),
    ):
        result = learn(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr
