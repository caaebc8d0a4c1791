"""Work on many recordings: what fails is named, what is done is said, what was done is left."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from works import Cluster, Copy

from harmnmf import Audio, AudioError, HarmnmfError, write_audio
from harmnmf.batch.task import Task
from harmnmf.cli._support.batch import MANIFEST, batch_options, process_each
from harmnmf.cli._support.display import Display
from harmnmf.cli.main import main


@dataclass(frozen=True)
class PreparedCopy(Copy):
    """With a parameter."""

    level: int = 0

    def prepare(self) -> None:
        if self.level < 0:
            raise AudioError("level must not be negative")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--level", default=0)
@batch_options
@click.pass_context
def copy(ctx, names, level, batch):
    folder = Path("out")
    plan = {Path(name): [folder / f"{name}.copy"] for name in names}
    process_each(ctx, plan, PreparedCopy(level), batch, folder)


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Files whose first words say what happens to them."""
    monkeypatch.chdir(tmp_path)
    for word in ("good", "fine", "refuse", "warn"):
        Path(word).write_text(f"{word} 1")
    return tmp_path


def run(*args):
    result = CliRunner().invoke(copy, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, (SystemExit, HarmnmfError)):
        raise result.exception
    return result


@pytest.fixture
def made(texts):
    """Names the outputs that are new since the last call: each is another file, of that name."""
    seen = {}

    def names():
        now = {path.stem: path.stat().st_mtime_ns for path in Path("out").glob("*.copy")}
        new = [name for name in sorted(now) if now[name] != seen.get(name)]
        seen.update(now)
        return new

    return names


def test_progress_is_for_terminals(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    songs = [Task(tmp_path / f"{i}.wav", ()) for i in range(2)]
    write_audio(songs[0].source, Audio(np.zeros(16000), 8000))
    songs[1].source.write_text("no audio")
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        for tasks, label in ((songs[:1], "0.wav (seconds)"), (songs, "2 recordings (seconds)")):
            stream.truncate(0)
            monkeypatch.setattr("sys.stderr", stream)
            with Display(tasks) as display:
                display.report(songs[0], 1.0)
                display.report(songs[0], 2.02)  # the last frame ends after the last sample
                display.say("done")
            assert (label in stream.getvalue()) == shown
            assert ("2/2" in stream.getvalue()) == shown


def test_one_that_fails_does_not_stop_the_rest(made):
    result = run("refuse", "good", "warn")
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{Path('out', 'good.copy')}: ")
    assert first.endswith(" in 0.0 s")
    assert second.startswith(f"{Path('out', 'warn.copy')}: ")
    assert result.stderr.splitlines() == [
        "harmnmf: warning: warn: is doubtful",
        "harmnmf: error: refuse: is bad",
        "harmnmf: 1 of 3 recordings failed",
    ]
    assert made() == ["good", "warn"]


def test_a_second_run_does_what_is_missing_or_changed(made):
    assert run("good", "fine", "refuse").exit_code == 1
    assert made() == ["fine", "good"]
    result = run("good", "fine", "refuse", "warn")
    assert result.stderr.splitlines()[0] == (
        f"harmnmf: 2 of 4 recordings are done already, says {Path('out', MANIFEST)}"
    )
    assert made() == ["warn"]
    Path("out/good.copy").unlink()
    Path("fine").write_text("fine 2")
    Path("refuse").write_text("well now")
    assert run("good", "fine", "refuse", "warn").exit_code == 0
    assert made() == ["fine", "good", "refuse"]
    assert Path("out/fine.copy").read_text() == "fine 2"
    assert run("good", "fine", "refuse", "warn").stdout == ""
    assert run("good", "fine", "--level", 1).exit_code == 0
    assert made() == ["fine", "good"]
    assert run("good", "--level", 1, "--overwrite").exit_code == 0
    assert made() == ["good"]
    last = {}
    for line in Path("out", MANIFEST).read_text().splitlines():
        record = json.loads(line)
        last[Path(record["input"]).name] = record
    assert {name: record["status"] for name, record in last.items()} == dict.fromkeys(
        ("good", "fine", "refuse", "warn"), "done"
    )
    Path("out/good.copy").write_text("better")
    assert "exists already" in str(run("good", "--level", 2).exception)
    assert Path("out/good.copy").read_text() == "better"
    assert last["good"]["settings"] == {"command": "copy", "level": 1}


def test_files_of_others_are_not_replaced(texts):
    Path("out").mkdir()
    Path("out/good.copy").write_text("precious")
    result = run("good", "fine")
    assert "exists already" in str(result.exception)
    assert [path.name for path in Path("out").iterdir()] == ["good.copy"]
    assert Path("out/good.copy").read_text() == "precious"
    assert run("fine").exit_code == 0
    assert "exists already" in str(run("good", "fine").exception)


def test_wrong_parameters_leave_nothing(texts):
    assert "negative" in str(run("good", "--level", -1).exception)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-j", "0"], "0 is not in the range x>=1"),
        (["-j", "2", "--scheduler", "tcp://127.0.0.1:9"], "--jobs is of this machine"),
        (["--send"], "--send belongs to --scheduler"),
    ],
)
def test_wrong_use(texts, options, message):
    result = run("good", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_leftovers_of_the_killed_are_removed(texts):
    Path("out").mkdir()
    Path("out/.harmnmf-0123456789abcdef.copy").write_text("half")
    assert run("good").exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["good.copy", MANIFEST]


@pytest.fixture
def recordings(tmp_path, monkeypatch, pytestconfig):
    """Three recordings and one that is none."""
    monkeypatch.chdir(tmp_path)
    example = pytestconfig.rootpath / "examples" / "example.flac"
    (tmp_path / "in").mkdir()
    for i in range(3):
        samples, rate = soundfile.read(example, start=i * 16000, frames=32000)
        soundfile.write(f"in/{i}.wav", samples, rate)
    Path("in/text.wav").write_text("text")
    return tmp_path


def test_processes_make_what_one_makes(recordings):
    one, two = (
        CliRunner().invoke(main, ["transcribe", "in", "-o", output, *options])
        for output, options in (("one", []), ("two", ["-j", "2"]))
    )
    assert one.exit_code == two.exit_code == 1
    assert one.stderr == two.stderr
    assert len(one.stdout.splitlines()) == len(two.stdout.splitlines()) == 3
    for i in range(3):
        assert Path(f"one/{i}.mid").read_bytes() == Path(f"two/{i}.mid").read_bytes()


def copy_recordings(n_all):
    """Have more of them, so that none of the runs ends before it is disturbed."""
    for i in range(3, n_all):
        shutil.copy(f"in/{i % 3}.wav", f"in/{i}.wav")


# What runs in the background may have been told to ignore Ctrl-C, and passes that on.
COMMAND = """
import signal
from harmnmf.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main(prog_name="harmnmf")
"""


def start(root, *args):
    """Start the command in a group of processes of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *args],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def hidden_or_corrupt(folder):
    """Files that should not be there."""
    return [
        path
        for path in Path(folder).iterdir()
        if path.name != MANIFEST and (path.name[0] == "." or path.stat().st_size == 0)
    ]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    "everyone",
    [
        pytest.param(True, id="from the terminal"),
        pytest.param(False, id="to one process", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c(recordings, root, everyone):
    copy_recordings(30)
    process = start(root, "transcribe", "in", "-o", "out", "-j", "2")
    process.stdout.readline()  # one is done
    (os.killpg if everyone else os.kill)(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "harmnmf: interrupted\n"
    assert hidden_or_corrupt("out") == []


def test_a_cluster_makes_what_one_makes_also_when_all_are_killed(recordings, root):
    """First the command is killed, and then, in its second run, a worker."""
    pytest.importorskip("distributed")
    CliRunner().invoke(main, ["transcribe", "in", "-o", "one"])
    copy_recordings(9)
    cluster = Cluster(recordings)
    try:
        workers = [cluster.add_worker() for _ in range(2)]
        command = ("transcribe", "in", "-o", "out", "--scheduler", cluster.address)
        first = start(root, *command)
        first.stdout.readline()
        first.kill()
        first.communicate()
        assert len(list(Path("out").glob("*.mid"))) < 9
        second = start(root, *command)
        workers[0].kill()
        stdout, stderr = second.communicate(timeout=100)
    finally:
        cluster.stop()
    assert second.returncode == 1
    assert "text.wav: is not audio" in stderr
    assert stdout.count(".mid: ") >= 1
    assert hidden_or_corrupt("out") == []
    for i in range(9):
        assert Path(f"one/{i % 3}.mid").read_bytes() == Path(f"out/{i}.mid").read_bytes()
    done = [json.loads(line) for line in Path("out", MANIFEST).read_text().splitlines()]
    names = [Path(record["input"]).name for record in done if record["status"] == "done"]
    assert sorted(names) == [f"{i}.wav" for i in range(9)]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killed_at_any_time_it_goes_on(recordings, root):
    CliRunner().invoke(main, ["transcribe", "in", "-o", "whole"])
    rng = np.random.default_rng(0)
    command = ("transcribe", "in", "-o", "out", "-j", "2", "--format", "mid,csv,npz")
    for _ in range(5):
        process = start(root, *command)
        time.sleep(rng.uniform(2, 8))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    _, stderr = start(root, *command).communicate()
    assert stderr.endswith("harmnmf: 1 of 1 recordings failed\n") or "text.wav" in stderr
    assert hidden_or_corrupt("out") == []
    for i in range(3):
        assert Path(f"out/{i}.mid").read_bytes() == Path(f"whole/{i}.mid").read_bytes()
