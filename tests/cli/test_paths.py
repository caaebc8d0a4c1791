"""Inputs and outputs of commands for many recordings, with a command that copies files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from commands import assert_error, contents, invoke
from works import Harmnmf, copy

from harmnmf.cli._support.paths import plan_outputs
from harmnmf.cli._support.recordings import MANIFEST


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
    assert files(name) == [MANIFEST, "song.mid"]


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
    plan = plan_outputs([str(song)], output, endings, [".mid", ".flac", ".wav"])
    assert [path.name for path in plan.outputs[song]] == names


def test_folders_are_searched_for_audio(takes):
    assert run("takes").exit_code == 0
    new = [name for name in files("takes") if name.endswith(".mid")]
    assert new == [os.path.join("more", "two.mid"), "one.mid"]


def test_folders_are_described(takes):
    Path("takes/memo.m4a").write_text("good")
    for name in "bcd":
        Path(f"takes/more/{name}.txt").write_text("text")
    result = run("takes")
    others = f"a.txt, {Path('more', 'b.txt')}, {Path('more', 'c.txt')} and 1 more"
    assert result.stderr == f"harmnmf: takes: 3 recordings; not audio: {others}\n"
    Path("takes/a.txt").unlink()
    shutil.rmtree("takes/more")
    second = run("takes").stderr.splitlines()
    assert second[0] == "harmnmf: takes: 2 recordings"  # outputs are not named
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("text")
    assert_error(COPY, ["copy", "notes"], "notes: no audio files in this folder, but a.txt")


@pytest.mark.skipif(os.name == "nt" or not os.geteuid(), reason="needs permissions of POSIX")
def test_folders_that_cannot_be_read(takes):
    Path("takes/more").chmod(0)
    result = run("takes")
    Path("takes/more").chmod(0o700)
    assert result.exit_code == 1
    assert "takes/more: this folder cannot be read (Permission denied)" in result.stderr
    assert Path("takes/one.mid").exists()


@pytest.mark.parametrize(
    ("pattern", "outputs"),
    [
        ("takes", ["one.mid", os.path.join("more", "two.mid")]),
        ("takes/**/*.[wf]*", ["one.mid", "two.mid"]),
    ],
)
def test_patterns_and_the_folders_of_their_outputs(takes, pattern, outputs):
    assert run(pattern, "-o", "midi").exit_code == 0
    assert files("midi") == sorted([MANIFEST, *outputs])
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


@pytest.mark.parametrize(
    "arguments", [["takes"], ["takes/[on]*.wav"], ["takes/one.wav", "takes/new.wav"]]
)
def test_recordings_with_outputs_are_skipped(takes, arguments):
    Path("takes/new.wav").write_text("good")
    Path("takes/one.mid").write_text("precious")
    first = run(*arguments)
    assert first.exit_code == 0
    assert "takes/one.mid exists already; use --overwrite" in first.stderr
    assert "takes/new.mid: " in first.stdout
    second = run(*arguments)
    assert (second.exit_code, second.stdout) == (0, "")
    assert "harmnmf: skipped" in second.stderr
    assert "and others exist already; use --overwrite" in second.stderr
    assert Path("takes/one.mid").read_text() == "precious"
    assert run(*arguments, "-q").output == ""
    assert run(*arguments, "--overwrite").exit_code == 0
    assert Path("takes/one.mid").read_text() == "takes/one.wav"


def test_a_recording_named_alone_is_skipped_on_request(song):
    Path("song.mid").write_text("precious")
    assert_error(COPY, ["copy", "song.wav"], "song.mid: exists already")
    result = run("song.wav", "--skip-existing")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "skipped 1 of 1 recordings: song.mid exists already" in result.stderr
    assert Path("song.mid").read_text() == "precious"


def test_missing_outputs_of_a_recording_are_not_left_out_silently(takes):
    Path("takes/one.mid").write_text("precious")
    result = run("takes", "--ending", ".mid", "--ending", ".csv")
    assert result.exit_code == 1
    assert "error: takes/one.mid: exists already" in result.stderr
    assert "1 of 2 recordings failed" in result.stderr
    assert Path("takes/more/two.csv").exists()
    assert not Path("takes/one.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "outputs"),
    [
        (["takes"], ["takes/song.flac.mid", "takes/song.wav.mid"]),
        (["takes", "-o", "out"], ["out/song.flac.mid", "out/song.wav.mid"]),
        (["a/x/song.wav", "b/x/song.wav", "-o", "out"], ["out/a/x/song.mid", "out/b/x/song.mid"]),
        (["a", "b", "-o", "out"], ["out/a/x/song.mid", "out/b/x/song.mid", "out/y/song.mid"]),
        (
            ["a/x", "takes", "-o", "out"],
            ["out/song.mid", "out/takes/song.mid", "out/x/song.mid"],
        ),
        (["a/x/song.wav", "takes/song.flac"], ["a/x/song.mid", "takes/song.mid"]),
    ],
)
def test_recordings_of_one_name_have_different_outputs(song, arguments, outputs):
    names = ["takes/song.wav", "takes/song.flac", "a/x/song.wav", "b/x/song.wav", "b/y/song.wav"]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    for _ in range(2):
        assert run(*arguments).exit_code == 0
        found = [name for name in files() if name.endswith(".mid")]
        assert found == sorted(os.path.normpath(name) for name in outputs)
    contents = sorted(Path(name).read_text() for name in found)
    assert len(set(contents)) == len(outputs)
    assert set(contents) <= set(names)


def test_names_that_differ_in_case(song):
    """On some disks, the outputs would be one file."""
    for name in ("a/Take.wav", "b/take.wav"):
        Path(name).parent.mkdir()
        Path(name).write_text(name)
    assert run("a", "b", "-o", "out").exit_code == 0
    assert files("out") == [os.path.join("a", "Take.mid"), os.path.join("b", "take.mid"), MANIFEST]


@pytest.mark.parametrize("place", [[], ["-o", "out"], ["-o", "takes"], ["-o", "takes/clean"]])
@pytest.mark.parametrize("arguments", [["takes"], ["takes/**/*.*"]])
def test_outputs_are_no_recordings(takes, arguments, place):
    """A second run does not take the outputs of the first for recordings."""
    Path("takes/a.txt").unlink()
    endings = ["--ending", "_clean.wav"]
    assert run(*arguments, *place, *endings).exit_code == 0
    for name in ("takes/b.wav", "takes/one.flac"):
        before = files()
        Path(name).write_text("good")
        result = run(*arguments, *place, *endings)
        assert result.exit_code == 0
        assert result.stdout.count(": ") == len(set(files()) - {*before, name}) > 0
    assert not [name for name in files() if "_clean_clean" in name]
    result = run(*arguments, *endings)  # now beside the recordings
    assert not [name for name in files() if "_clean_clean" in name]


def test_an_output_named_alone_is_a_recording(song):
    endings = ["--ending", "_clean.wav"]
    assert run("song.wav", *endings).exit_code == 0
    result = run("song.wav", "song_clean.wav", *endings)
    assert "left out song_clean.wav, which earlier runs have written;" in result.stderr
    assert run("song_clean.wav", *endings).exit_code == 0
    assert files() == ["song.wav", "song_clean.wav", "song_clean_clean.wav"]


def test_a_recording_is_not_replaced(song):
    song.rename("song.mid")
    args = ["copy", "song.mid", "-o", "./song.mid", "--overwrite"]
    assert_error(COPY, args, "song.mid: is one of the recordings")


def test_a_recording_is_found_once_behind_links(song):
    try:
        os.symlink(song.parent, "link")
    except OSError:
        pytest.skip("links are not allowed here")
    result = run("song.wav", "link/song.wav")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize("args", [[], ["-o", "Sonata Op.27"], ["-o", "out.mid/"]])
def test_dots_in_names(song, args):
    for name in ("Sonata Op.27 No.2.wav", "Sonata Op.27 No.2"):
        song.write_text(name)
        song.rename(name).write_text(name)
        song.write_text("good")
        assert run(name, *args).exit_code == 0
        folder = args[-1] if args else "."
        assert Path(folder, "Sonata Op.27 No.2.mid").read_text() == name
        Path(folder, "Sonata Op.27 No.2.mid").unlink()


def test_a_bad_argument_does_not_stop_the_rest(song):
    Path("empty").mkdir()
    Path("gone.wav").symlink_to("nowhere")
    Path("d.mid").mkdir()
    Path("d.wav").write_text("good")
    long = "x" * 255
    Path(long).write_text("good")
    bad = {
        "empty": "no audio files", "gone.wav": "No such file", "missing.wav": "No such file",
        "x*y.wav": "no file matches this pattern", "http://a.org/b.mp3": "is an address",
        "d.wav": "d.mid: is a folder", long: "File name too long",
        "-x\ny*.wav": "-x y*.wav: no file",
    }  # fmt: skip
    result = run("--", *bad, "song.wav")
    assert result.exit_code == 1
    errors = result.stderr.splitlines()
    assert errors.pop() == f"harmnmf: {len(bad)} of {len(bad) + 1} recordings failed"
    assert len(errors) == len(bad)
    for name, message in bad.items():
        assert any(message in error for error in errors), name
    assert Path("song.mid").read_text() == "good"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["no/such/folder/x.wav"], "no/such/folder/x.wav: No such file or directory"),
        (["x*.wav"], "x*.wav: no file matches this pattern"),
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
        (
            ["song.wav", "-o", "song.MusicXML"],
            "song.MusicXML: is neither a folder",
        ),
        (["song.wav", "a.wav", "-o", "x.txt"], "x.txt: is neither"),
        (["song.wav", "-o", "-"], "standard output is not written"),
        (["song.wav", "-o", ""], "name a file or a folder"),
        (["-"], "standard input is not read"),
        (["song.wav", ""], "a name is empty"),
    ],
)
def test_usage_errors(song, args, message):
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert files() == ["song.wav"]
