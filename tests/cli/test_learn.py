from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from harmnmf import Audio, NoteList, TimbreDictionary, read_notes, write_audio, write_midi
from harmnmf.cli import learn as learn_module
from harmnmf.cli.main import main
from harmnmf.signal.spectrogram import STFT


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Learn with a front end that takes no time to make."""
    monkeypatch.setattr("harmnmf.dictionary.from_notes.LogFrequency", lambda: STFT(n_fft=1024))


def write_note(path, pitch):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(8000) / 16000
    tone = np.exp(-3 * t) * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * t)
    write_audio(path, Audio(0.3 * tone, 16000))


@pytest.fixture
def notes(tmp_path):
    """Two instruments in folders inside one, with what does not belong beside the notes."""
    folder = tmp_path / "notes"
    for name, pitch in (("upright/060.wav", 60), ("upright/072.wav", 72), ("grand/A4_pp.flac", 69)):
        write_note(folder / name, pitch)
    shutil.copy(folder / "upright" / "060.wav", folder / "grand" / "A4_ff.wav")
    (folder / "upright" / "README.txt").write_text("C4")
    (folder / "upright" / "._060.wav").write_bytes(b"resource fork")
    return folder


@pytest.fixture
def music(tmp_path):
    """A short recording beside its notes."""
    notes = NoteList([0.5, 1.5, 2.5], [1.4, 2.4, 3.4], [60, 67, 72], [70, 70, 70])
    samples = np.zeros(16000 * 4)
    t = np.arange(14400) / 16000
    for onset, hz in zip(notes.onset, notes.hz, strict=True):
        tone = np.exp(-3 * t) * sum(np.sin(2 * np.pi * h * hz * t) / h for h in (1, 2, 3, 4))
        samples[round(onset * 16000) :][: len(t)] += 0.2 * tone
    write_audio(tmp_path / "take.wav", Audio(samples, 16000))
    write_midi(tmp_path / "take.mid", notes)
    return tmp_path / "take.wav", tmp_path / "take.mid"


def learn(*args):
    return CliRunner().invoke(main, ["learn", *map(str, args)])


def test_each_folder_is_an_instrument(notes, tmp_path):
    output = tmp_path / "my-piano.safetensors"
    result = learn(notes, "-o", output, "--about", "Mine. CC0.")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{output}: learned from 4 notes of 3 keys, 2 instruments\n"
    about = TimbreDictionary.load(output).metadata
    assert (about["name"], about["about"]) == ("my-piano", "Mine. CC0.")
    assert about["instruments"] == {
        "grand": {"notes": 2, "keys": [69]},
        "upright": {"notes": 2, "keys": [60, 72]},
    }


def test_files_by_themselves_are_one_instrument(notes, tmp_path):
    output = tmp_path / "one.safetensors"
    files = [notes / "upright" / "060.wav", notes / "grand" / "A4_pp.flac"]
    result = learn(*files, files[0], "-o", output)
    assert result.stdout.endswith("learned from 2 notes of 2 keys, 1 instrument\n")
    assert list(TimbreDictionary.load(output).metadata["instruments"]) == ["upright"]


def test_a_note_counts_once_and_names_do_not_clash(notes, tmp_path):
    write_note(tmp_path / "other" / "upright" / "C4.wav", 60)
    output = tmp_path / "both.safetensors"
    result = learn(notes / "upright", notes, tmp_path / "other", "-o", output)
    assert result.exit_code == 0
    sources = TimbreDictionary.load(output).metadata["instruments"]
    assert {name: source["notes"] for name, source in sources.items()} == {
        "upright": 2,
        "grand": 2,
        "upright (2)": 1,
    }


def test_an_existing_output_is_kept(notes, tmp_path):
    output = tmp_path / "mine.safetensors"
    output.write_text("precious")
    result = learn(notes, "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "mine.safetensors: exists already" in result.stderr
    assert output.read_text() == "precious"
    assert learn(notes, "-o", output, "--overwrite").exit_code == 0
    assert TimbreDictionary.load(output).metadata["name"] == "mine"


def test_a_failure_leaves_no_file(notes, tmp_path):
    (notes / "upright" / "061.wav").write_text("text")
    output = tmp_path / "mine.safetensors"
    result = learn(notes, "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "061.wav: is not audio" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "missing: no such file or folder"),
        ("notes/empty", "empty: no audio files in this folder"),
        ("notes/noise.wav", "noise.wav: its name tells no pitch"),
    ],
)
def test_bad_inputs(notes, tmp_path, name, message):
    (notes / "empty").mkdir()
    (notes / "noise.wav").write_bytes(b"RIFF")
    result = learn(notes / "upright", tmp_path / name, "-o", tmp_path / "mine.safetensors")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("harmnmf: error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_bad_outputs_are_found_before_the_work(notes, tmp_path, monkeypatch):
    monkeypatch.setattr("harmnmf.dictionary.from_notes.read_audio", None)
    (tmp_path / "folder.safetensors").mkdir()
    for name, message in (
        ("missing/mine.safetensors", "there is no folder"),
        ("folder.safetensors", "is a folder"),
    ):
        result = learn(notes, "-o", tmp_path / name)
        assert result.exit_code == 1
        assert message in result.stderr


def test_wrong_use(notes, tmp_path):
    assert learn(notes).exit_code == 2
    assert learn("-o", tmp_path / "mine.safetensors").exit_code == 2
    result = learn(notes, "-o", tmp_path / "mine.wav")
    assert result.exit_code == 2
    assert "ends in .safetensors" in result.stderr


def test_music_and_its_notes(music, tmp_path):
    audio, midi = music
    output = tmp_path / "mine.safetensors"
    result = learn(audio, "--midi", midi, "-o", output, "--solver", "decibel", "--about", "Mine.")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "take.wav: +0 ms against its notes\n"
        f"{output}: learned from 3 notes of 3 keys, 1 recording\n"
    )
    shown = CliRunner().invoke(main, ["dictionary", "show", str(output)])
    assert shown.exit_code == 0
    rows = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    for row in (
        ["keys", "88, A0 to C8"],
        ["timbres", "12: attack -20 ms to +160 ms, sustain, decay"],
        ["name", "mine"],
        ["about", "Mine."],
        ["take.wav", "3 notes, keys: 3, C4 to C5"],
        ["solver", "decibel"],
    ):
        assert row in rows
    transcribed = CliRunner().invoke(
        main, ["transcribe", str(audio), "--dictionary", str(output), "--overwrite"]
    )
    assert transcribed.exit_code == 0
    assert {60, 67, 72} <= set(read_notes(midi).pitch.tolist())


def test_several_recordings_go_with_their_notes_in_order(music, tmp_path):
    audio, midi = music
    again = shutil.copy(audio, tmp_path / "again.wav")
    output = tmp_path / "mine.safetensors"
    result = learn(audio, again, "--midi", midi, "--midi", midi, "-o", output)
    assert result.stdout.endswith("learned from 6 notes of 3 keys, 2 recordings\n")
    assert list(TimbreDictionary.load(output).metadata["recordings"]) == ["take.wav", "again.wav"]
    # A dictionary that has been learned is as good to begin with as any.
    result = learn(audio, "--midi", midi, "--dictionary", output, "-o", tmp_path / "b.safetensors")
    assert result.exit_code == 0
    about = TimbreDictionary.load(tmp_path / "b.safetensors").metadata
    assert about["began with"] == {"name": "mine"}


@pytest.mark.parametrize(
    ("onsets", "message"),
    [
        ([], "other.mid: has no notes"),
        ([1.0, 300.0], "other.mid: a note begins at 300.0 s, but"),
        ([0.1, 1.1, 2.1], "other.mid: the notes do not fit"),
    ],
)
def test_notes_of_something_else(music, tmp_path, onsets, message):
    onsets = np.array(onsets)
    other = tmp_path / "other.mid"
    write_midi(
        other, NoteList(onsets, onsets + 0.3, np.full(len(onsets), 63), np.full(len(onsets), 70))
    )
    files = sorted(tmp_path.iterdir())
    result = learn(music[0], "--midi", other, "-o", tmp_path / "mine.safetensors")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert sorted(tmp_path.iterdir()) == files


def test_a_silent_recording_and_files_that_are_missing(music, tmp_path):
    audio, midi = music
    write_audio(audio, Audio(np.zeros(64000), 16000))
    missing = tmp_path / "missing"
    for recording, score, message in (
        (audio, midi, "take.wav: the recording is silent"),
        (missing, midi, "missing: no such file"),
        (tmp_path, midi, "no such file"),
        (audio, missing, "missing: no such file"),
        (audio, audio, "take.wav: not a note file"),
    ):
        result = learn(recording, "--midi", score, "-o", tmp_path / "mine.safetensors")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.count("\n") == 1
        assert message in result.stderr
        assert not (tmp_path / "mine.safetensors").exists()


def test_wrong_use_of_music(music, notes, tmp_path):
    audio, midi = music
    output = tmp_path / "mine.safetensors"
    for args, message in (
        ([audio, "--midi", midi, "--midi", midi], "1 recording needs as many, not 2"),
        ([audio, audio, "--midi", midi], "2 recordings need as many, not 1"),
        ([audio, "--midi", midi, "--solver", "magic"], "'magic' is not one of"),
        ([notes, "--solver", "decibel"], "--solver is for music"),
        ([notes, "--dictionary", "default"], "--dictionary is for music"),
    ):
        result = learn(*args, "-o", output)
        assert result.exit_code == 2
        assert message in result.stderr
        assert not output.exists()


def test_progress_is_for_terminals(notes, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        with learn_module._progress("Notes", 2) as progress:
            assert (progress is not None) == shown
            if progress is not None:
                progress(notes)
        assert ("Notes" in stream.getvalue()) == shown


def test_in_a_process(notes, tmp_path, python):
    output = tmp_path / "mine.safetensors"
    done = python("-W", "error", "-m", "harmnmf", "learn", str(notes / "grand"), "-o", str(output))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{output}: learned from 2 notes")


def test_help_loads_nothing_heavy(python):
    code = (
        "import sys, harmnmf.cli.learn, harmnmf.cli.dictionary; "
        "print([m for m in ('numpy', 'matplotlib', 'soundfile', 'torch') if m in sys.modules])"
    )
    assert python("-c", code).stdout == "[]\n"
