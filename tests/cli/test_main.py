"""The command group: exit codes, messages and the commands it lists."""

from __future__ import annotations

import subprocess
import sys
import types
import warnings

import click
import pytest
from click.testing import CliRunner

from harmnmf import AudioError
from harmnmf.cli import main as main_module

main = main_module.main


@pytest.fixture
def run_failing(monkeypatch):
    """Run a command that raises, or does whatever else, when it is invoked."""

    def run(action):
        module = types.ModuleType("harmnmf.cli.fail")
        module.command = click.Command("fail", callback=action)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(main_module.COMMANDS, "fail", "Fail.")
        return CliRunner().invoke(main, ["fail"])

    return run


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (AudioError("a.wav: no such\nfile"), 1, "harmnmf: error: a.wav: no such file\n"),
        (OSError(28, "No space left", "x"), 1, "harmnmf: error: [Errno 28] No space left: 'x'\n"),
        (KeyboardInterrupt(), 130, "harmnmf: interrupted\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_errors_are_one_line_and_an_exit_code(run_failing, error, exit_code, message):
    result = run_failing(raising(error))
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr == message


def test_faults_keep_their_traceback(run_failing):
    assert isinstance(run_failing(raising(ZeroDivisionError())).exception, ZeroDivisionError)


def test_warnings_are_one_line(run_failing):
    result = run_failing(lambda: warnings.warn("a.wav: is truncated", stacklevel=1))
    assert (result.exit_code, result.stderr) == (0, "harmnmf: warning: a.wav: is truncated\n")


@pytest.mark.parametrize("name", main_module.COMMANDS)
def test_every_command_has_help(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {name}")


def test_an_unknown_command_is_a_wrong_use():
    result = CliRunner().invoke(main, ["transpose"])
    assert result.exit_code == 2
    assert "No such command 'transpose'" in result.stderr


def test_info_names_versions_and_devices():
    result = CliRunner().invoke(main, ["info"])
    assert result.exit_code == 0
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert {"harmnmf", "python", "torch", "threads", "device", "dictionary"} <= shown.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_closed_pipe_is_quiet(root):
    process = subprocess.Popen(
        [sys.executable, "-m", "harmnmf", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=root,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 1
