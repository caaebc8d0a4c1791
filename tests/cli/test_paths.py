"""Inputs and outputs of commands for many recordings, with a command that copies files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import assert_error, contents, invoke
from works import Harmnmf, copy

from harmnmf.cli._support.paths import plan_outputs


@pytest.fixture
def song(tmp_path, monkeypatch):
    """A file in an otherwise empty current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "song.wav"
    path.write_text("good")
    return path


@pytest.fixture
def takes(song):
    """A folder of recordings and other files."""
    for name in ("takes/one.wav", "takes/more/two.flac", "takes/more/.hidden.wav", "takes/a.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


COPY = Harmnmf(copy)


def run(*args):
    return invoke(COPY, "copy", *args)


def files(folder="."):
    return sorted(name for name, content in contents(folder).items() if content is not None)


def test_outputs_are_beside_the_recording(song):
    assert run(song).stdout.startswith(f"{song.with_suffix('.mid')}: ")
    assert files() == ["song.mid", "song.wav"]
    assert run("song.wav", "--overwrite").stdout.startswith("song.mid: ")


@pytest.mark.parametrize("name", ["OUT.MIDI", "new/folder/take.1.mid"])
def test_a_file(song, name):
    assert run(song, "-o", name).exit_code == 0
    assert files() == sorted([name, "song.wav"])


@pytest.mark.parametrize("name", ["new/deep.er", "takes.mid"])
def test_a_folder(song, name):
    Path("takes.mid").mkdir()  # a folder, whatever its name
    assert run(song, "-o", name).stdout.startswith(os.path.join(name, "song.mid"))
    assert files(name) == ["manifest.jsonl", "song.mid"]


@pytest.mark.parametrize(
    ("output", "endings", "names"),
    [
        (None, ["_voice.wav", "_rest.wav"], ["song_voice.wav", "song_rest.wav"]),
        ("a.MIDI", [".mid", ".csv", ".png"], ["a.MIDI", "a.csv", "a.png"]),
        ("a.flac", ["_enhanced.wav", "_enhanced.png"], ["a.flac", "a.png"]),
        ("a.flac", ["_voice.wav", "_rest.wav"], ["a.flac", "a_rest.flac"]),
        ("a_voice.wav", ["_voice.wav", "_rest.wav"], ["a_voice.wav", "a_rest.wav"]),
    ],
)
def test_names_of_several_outputs(song, output, endings, names):
    plan, _ = plan_outputs([str(song)], output and Path(output), endings, [".mid", ".flac", ".wav"])
    assert [path.name for path in plan[song]] == names


def test_folders_are_searched_for_audio(takes):
    assert run("takes").exit_code == 0
    new = [name for name in files("takes") if name.endswith(".mid")]
    assert new == [os.path.join("more", "two.mid"), "one.mid"]


@pytest.mark.parametrize(
    ("pattern", "outputs"),
    [
        ("takes", ["one.mid", os.path.join("more", "two.mid")]),
        ("takes/**/*.[wf]*", ["one.mid", "two.mid"]),
    ],
)
def test_patterns_and_the_folders_of_their_outputs(takes, pattern, outputs):
    assert run(pattern, "-o", "midi").exit_code == 0
    assert files("midi") == sorted(["manifest.jsonl", *outputs])
    assert not list(Path("takes").rglob("*.mid"))


def test_brackets_in_a_name_are_not_a_pattern(song):
    song.rename("take[1].wav")
    assert run("take[1].wav").exit_code == 0
    assert files() == ["take[1].mid", "take[1].wav"]


def test_a_recording_counts_once(song):
    result = run("song.wav", song, "./song.wav", song.parent, "s*.wav")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1


def test_existing_outputs_are_kept(song):
    Path("song.csv").write_text("precious")
    endings = ["--ending", ".mid", "--ending", ".csv"]
    assert_error(COPY, ["copy", song, *endings], "song.csv: exists already", "--overwrite")
    song.write_text("refuse")
    assert_error(COPY, ["copy", song, *endings, "--overwrite"], "song.wav: is bad")
    song.write_text("good")
    assert run(song, *endings, "--overwrite").exit_code == 0
    assert Path("song.csv").read_text() == "good"


def test_collisions(song):
    Path("song.flac").write_text("good")
    Path("other").mkdir()
    Path("other/song.wav").write_text("good")
    for args in (
        [song.parent],
        ["song.wav", "song.flac", "--overwrite"],
        ["song.wav", "other/song.wav", "-o", "midi"],
        ["song.wav", "other", "-o", "midi"],
    ):
        assert_error(COPY, ["copy", *args], "song.mid: would be written for both", "song.wav")


def test_collisions_behind_links(song):
    try:
        os.symlink(song.parent, "link")
    except OSError:
        pytest.skip("links are not allowed here")
    assert_error(COPY, ["copy", "song.wav", "link/song.wav"], "both")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["no/such/folder/x.wav"], "no/such/folder/x.wav: No such file or directory"),
        (["x*.wav"], "x*.wav: No such file or directory"),
        (["empty"], "empty: no audio files"),
        (["song.wav", "-o", "file/folder"], "file is not a folder"),
        (["song.wav", "-o", "file/song.mid"], "file is not a folder"),
    ],
)
def test_wrong_files_and_folders(song, args, message):
    Path("empty").mkdir()
    Path("file").write_text("text")
    assert_error(COPY, ["copy", *args], message)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="Linux's /proc")
def test_a_folder_that_cannot_be_written(song):
    for output in ("/proc/harmnmf", "/proc/harmnmf.mid"):
        assert_error(COPY, ["copy", "song.wav", "-o", output], "/proc")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["song.wav", "song.flac", "-o", "out.mid"], "one file, but there are 2 recordings"),
        (["song.wav", "-o", "out.png"], "out.png: is neither a folder nor a file named .mid, .csv"),
        (["song.mid", "-o", "song.flac"], "song.flac: is neither"),
    ],
)
def test_usage_errors(song, args, message):
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert files() == ["song.wav"]
