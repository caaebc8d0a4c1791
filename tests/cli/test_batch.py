"""Batches of recordings: failures, progress, resumption, processes, interruption, clusters."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import assert_error, invoke
from works import Cluster, Harmnmf, copy

from harmnmf import Audio, write_audio
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.cli._support.recordings import MANIFEST
from harmnmf.cli.main import main

posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Files whose first words select how their copy ends."""
    monkeypatch.chdir(tmp_path)
    for word in ("good", "fine", "refuse", "warn"):
        Path(word).write_text(f"{word} 1")


def run(*args):
    return invoke(Harmnmf(copy), "copy", "-o", "out", *args)


@pytest.fixture
def written(texts):
    """Names of the outputs that were written since the last call."""
    seen = {}

    def names():
        now = {path.stem: path.stat().st_mtime_ns for path in Path("out").glob("*.mid")}
        new = [name for name in sorted(now) if now[name] != seen.get(name)]
        seen.update(now)
        return new

    return names


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "shown"),
    [(Terminal(), False, True), (Terminal(), True, False), (io.StringIO(), False, False)],
)
def test_progress_bars_are_for_terminals(monkeypatch, capsys, stream, quiet, shown):
    monkeypatch.setattr("sys.stderr", stream)
    with ProgressBar("Steps", 3, quiet=quiet) as bar:
        bar.update(1.6)
        bar.advance()
        bar.echo("a line")
    assert ("Steps" in stream.getvalue()) == ("3/3" in stream.getvalue()) == shown
    assert capsys.readouterr().out == "a line\n"


def test_progress_is_in_seconds_of_audio(tmp_path, monkeypatch):
    """Copies report two seconds, of which the first recording has only one."""
    monkeypatch.chdir(tmp_path)
    write_audio("song.wav", Audio(np.zeros(8000), 8000))
    Path("text.wav").write_text("good")
    stream = Terminal()
    for names, label in ((["song.wav"], "song.wav"), (["song.wav", "text.wav"], "2 recordings")):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            copy([*names, "--overwrite"], standalone_mode=False)
        assert f"{label} (seconds)" in stream.getvalue()
        assert "1/1" in stream.getvalue()


def test_a_failure_does_not_stop_the_rest(written):
    result = run("refuse", "good", "warn")
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert re.fullmatch(rf"{Path('out', 'good.mid')}: .* in \d+\.\d s", first)
    assert second.startswith(f"{Path('out', 'warn.mid')}: ")
    messages = [
        "harmnmf: warning: warn: is doubtful",
        "harmnmf: error: refuse: is bad",
        "harmnmf: 1 of 3 recordings failed",
    ]
    assert result.stderr.splitlines() == messages
    assert written() == ["good", "warn"]
    result = run("refuse", "good", "warn", "--quiet", "--overwrite")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == messages


def test_a_second_run_does_what_is_missing_or_changed(written):
    assert run("good", "fine", "refuse").exit_code == 1
    assert written() == ["fine", "good"]
    result = run("good", "fine", "refuse", "warn")
    assert result.stderr.splitlines()[0] == (
        f"harmnmf: 2 of 4 recordings are done already, according to {Path('out', MANIFEST)}"
    )
    assert written() == ["warn"]
    Path("out/good.mid").unlink()
    Path("fine").write_text("fine 2")
    Path("refuse").write_text("well now")
    assert run("good", "fine", "refuse", "warn").exit_code == 0
    assert written() == ["fine", "good", "refuse"]
    assert Path("out/fine.mid").read_text() == "fine 2"
    assert run("good", "fine", "refuse", "warn").stdout == ""
    assert run("good", "-q").output == ""
    for options in (("--level", 1), ("--level", 1, "--overwrite")):
        assert run("good", *options).exit_code == 0
        assert written() == ["good"]


def test_other_files_are_not_replaced(texts):
    Path("out").mkdir()
    Path("out/good.mid").write_text("precious")
    for _ in range(2):
        assert_error(Harmnmf(copy), ["copy", "-o", "out", "good"], "exists already")
        result = run("good", "fine")  # makes a manifest
        assert (result.exit_code, "exists already" in result.stderr) == (0, True)
    assert Path("out/good.mid").read_text() == "precious"


def test_outputs_of_other_recordings_are_not_replaced(texts):
    Path("more").mkdir()
    Path("more/good").write_text("good 2")
    assert run("good").exit_code == 0
    assert "exists already" in run("more/good").stderr
    assert Path("out/good.mid").read_text() == "good 1"
    assert run("good", "more/good").exit_code == 0
    assert Path("out/more/good.mid").read_text() == "good 2"


def test_wrong_parameters_leave_nothing(texts):
    assert "negative" in run("good", "--level", -1).stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-j", "2", "--scheduler", "tcp://127.0.0.1:9"], "--jobs and --scheduler exclude"),
        (["--send"], "--send needs --scheduler"),
    ],
)
def test_usage_errors(texts, options, message):
    result = run("good", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_leftovers_of_killed_processes_are_removed(texts):
    Path("out").mkdir()
    Path("out/.harmnmf-0123456789abcdef.copy").write_text("half")
    assert run("good").exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["good.mid", MANIFEST]


# A shell may have told background processes to ignore Ctrl-C, which they pass on.
SCRIPT = """
import signal
from works import Harmnmf, copy
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    Harmnmf(copy)(prog_name="harmnmf")
"""


@posix
@pytest.mark.parametrize(
    ("jobs", "kill"),
    [pytest.param([], os.kill, id="serial"), pytest.param(["-j", "2"], os.killpg, id="processes")],
)
def test_ctrl_c(texts, root, jobs, kill):
    Path("hang").write_text("hang")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "copy", "good", "hang", "fine", "-o", "out", *jobs],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as in a shell
    )
    process.stdout.readline()  # one is done
    while not Path("hang.busy").exists():
        time.sleep(0.05)
    kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "harmnmf: interrupted\n"
    assert Path("out/good.mid").read_text() == "good 1"
    assert {path.name for path in Path("out").iterdir()} <= {"good.mid", "fine.mid", MANIFEST}


@pytest.fixture
def recordings(tmp_path, monkeypatch, pytestconfig):
    """A folder of two recordings and a text."""
    monkeypatch.chdir(tmp_path)
    example = pytestconfig.rootpath / "examples" / "example.flac"
    Path("in").mkdir()
    for i in range(2):
        samples, rate = soundfile.read(example, start=i * 16000, frames=16000)
        soundfile.write(f"in/{i}.wav", samples, rate)
    Path("in/text.wav").write_text("text")


@pytest.mark.parametrize("place", ["process", pytest.param("cluster", marks=pytest.mark.slow)])
def test_results_do_not_depend_on_the_place(recordings, place):
    with contextlib.ExitStack() as stack:
        options = ["-j", "1"]
        if place == "cluster":
            pytest.importorskip("distributed")
            cluster = stack.enter_context(Cluster(Path()))
            cluster.add_worker()
            options = ["--scheduler", cluster.address]
        one = invoke(main, "transcribe", "in", "-o", "one")
        two = invoke(main, "transcribe", "in", "-o", "two", *options)
    assert one.exit_code == two.exit_code == 1
    assert one.stderr == two.stderr
    assert len(one.stdout.splitlines()) == len(two.stdout.splitlines()) == 2
    for i in range(2):
        assert Path(f"one/{i}.mid").read_bytes() == Path(f"two/{i}.mid").read_bytes()
