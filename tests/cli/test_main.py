"""The command group: exit codes, messages, help and the commands it lists."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import click
import pytest
from click.testing import CliRunner
from works import Harmnmf

from harmnmf import AudioError
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.cli.main import COMMANDS, main


def run(callback):
    """Run a command that calls a function."""
    return CliRunner().invoke(Harmnmf(click.Command("test", callback=callback)), ["test"])


def raising(error):
    def callback():
        raise error

    return callback


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (AudioError("a.wav: no such\nfile"), 1, "harmnmf: error: a.wav: no such file\n"),
        (OSError(28, "No space left", "x"), 1, "harmnmf: error: [Errno 28] No space left: 'x'\n"),
        (KeyboardInterrupt(), 130, "harmnmf: interrupted\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_errors_give_one_line_and_an_exit_code(error, exit_code, message):
    result = run(raising(error))
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr == message


def test_bugs_keep_their_traceback():
    assert isinstance(run(raising(ZeroDivisionError())).exception, ZeroDivisionError)


def test_warnings_are_one_line():
    result = run(lambda: warnings.warn("a.wav: is truncated", stacklevel=1))
    assert (result.exit_code, result.stderr) == (0, "harmnmf: warning: a.wav: is truncated\n")


def test_every_command_has_help_that_loads_nothing_heavy(python):
    code = """
import sys
from harmnmf.cli.main import COMMANDS, main
for name in ([], *([name] for name in COMMANDS)):
    main([*name, "--help"], "harmnmf", standalone_mode=False)
print({"numpy", "scipy", "matplotlib", "soundfile", "mir_eval", "torch"} & set(sys.modules))
"""
    result = python("-c", code)
    assert (result.returncode, result.stderr) == (0, "")
    usages = [line.split()[2] for line in result.stdout.splitlines() if line.startswith("Usage:")]
    assert usages == ["[OPTIONS]", *COMMANDS]
    assert result.stdout.endswith("\nset()\n")


def test_an_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(main, ["transpose"])
    assert result.exit_code == 2
    assert "No such command 'transpose'" in result.stderr


def test_info_names_versions_and_devices():
    result = CliRunner().invoke(main, ["info"])
    assert result.exit_code == 0
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert {"harmnmf", "python", "torch", "threads", "device", "dictionary"} <= shown.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shell")
@pytest.mark.parametrize(
    ("args", "closed", "exit_code"),
    [
        ("--help", "2>&-", 0),
        ("--help", ">&-", 0),
        ("transpose", "2>&-", 2),
        ("transcribe missing.wav", "<&- >&- 2>&-", 1),
    ],
)
def test_streams_may_be_closed(root, tmp_path, args, closed, exit_code):
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m harmnmf {args} {closed}', sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code
    assert "Traceback" not in done.stdout + done.stderr
    assert ("Usage" in done.stdout) == ((args, closed) == ("--help", "2>&-"))


def test_without_standard_error(monkeypatch):
    """As in a program without a console on Windows."""
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar("Steps", 3) as bar:
        bar.advance()
    with pytest.raises(SystemExit) as stopped:
        main(["transcribe", "missing.wav"], "harmnmf")
    assert stopped.value.code == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_closed_pipe_is_quiet(root):
    process = subprocess.Popen(
        [sys.executable, "-m", "harmnmf", "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=root,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 1
