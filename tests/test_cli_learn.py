from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from harmnmf import Audio, TimbreDictionary, write_audio
from harmnmf.cli import learn as learn_module
from harmnmf.cli.main import main
from harmnmf.spectrogram import STFT


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Learn with a front end that takes no time to make."""
    monkeypatch.setattr("harmnmf.learning.LogFrequency", lambda: STFT(n_fft=1024))


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


def learn(*args):
    return CliRunner().invoke(main, ["learn", *map(str, args)])


def test_each_folder_is_an_instrument(notes, tmp_path):
    output = tmp_path / "my-piano.npz"
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
    output = tmp_path / "one.npz"
    files = [notes / "upright" / "060.wav", notes / "grand" / "A4_pp.flac"]
    result = learn(*files, files[0], "-o", output)
    assert result.stdout.endswith("learned from 2 notes of 2 keys, 1 instrument\n")
    assert list(TimbreDictionary.load(output).metadata["instruments"]) == ["upright"]


def test_a_note_counts_once_and_names_do_not_clash(notes, tmp_path):
    write_note(tmp_path / "other" / "upright" / "C4.wav", 60)
    output = tmp_path / "both.npz"
    result = learn(notes / "upright", notes, tmp_path / "other", "-o", output)
    assert result.exit_code == 0
    sources = TimbreDictionary.load(output).metadata["instruments"]
    assert {name: source["notes"] for name, source in sources.items()} == {
        "upright": 2,
        "grand": 2,
        "upright (2)": 1,
    }


def test_an_existing_output_is_kept(notes, tmp_path):
    output = tmp_path / "mine.npz"
    output.write_text("precious")
    result = learn(notes, "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "mine.npz: exists already" in result.stderr
    assert output.read_text() == "precious"
    assert learn(notes, "-o", output, "--overwrite").exit_code == 0
    assert TimbreDictionary.load(output).metadata["name"] == "mine"


def test_a_failure_leaves_no_file(notes, tmp_path):
    (notes / "upright" / "061.wav").write_text("text")
    output = tmp_path / "mine.npz"
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
    result = learn(notes / "upright", tmp_path / name, "-o", tmp_path / "mine.npz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("harmnmf: error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_bad_outputs_are_found_before_the_work(notes, tmp_path, monkeypatch):
    monkeypatch.setattr("harmnmf.learning.read_audio", None)
    (tmp_path / "folder.npz").mkdir()
    for name, message in (
        ("missing/mine.npz", "there is no folder"),
        ("folder.npz", "is a folder"),
    ):
        result = learn(notes, "-o", tmp_path / name)
        assert result.exit_code == 1
        assert message in result.stderr


def test_wrong_use(notes, tmp_path):
    assert learn(notes).exit_code == 2
    assert learn("-o", tmp_path / "mine.npz").exit_code == 2
    result = learn(notes, "-o", tmp_path / "mine.wav")
    assert result.exit_code == 2
    assert "ends in .npz" in result.stderr


def test_progress_is_for_terminals(notes, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        with learn_module._progress(2) as progress:
            assert (progress is not None) == shown
            if progress is not None:
                progress(notes)
        assert ("Notes" in stream.getvalue()) == shown


def test_in_a_process(notes, tmp_path, python):
    output = tmp_path / "mine.npz"
    done = python("-W", "error", "-m", "harmnmf", "learn", str(notes / "grand"), "-o", str(output))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{output}: learned from 2 notes")


def test_help_loads_nothing_heavy(python):
    code = (
        "import sys, harmnmf.cli.learn, harmnmf.cli.dictionary; "
        "print([m for m in ('numpy', 'matplotlib', 'soundfile', 'torch') if m in sys.modules])"
    )
    assert python("-c", code).stdout == "[]\n"
