"""The command group, which turns errors into messages and exit codes."""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import warnings
from typing import Any, TextIO

import click

import harmnmf
from harmnmf.errors import HarmnmfError

# Set before PyTorch is imported: waiting threads sleep instead of spinning, which is faster as soon
# as anything else runs on the processor.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Commands and their one-line help, which is here so that `harmnmf --help` imports no command.
COMMANDS = {
    "transcribe": "Transcribe piano recordings to MIDI.",
    "listen": "Transcribe the piano while it is played.",
    "score": "Make sheet music for piano from notes.",
    "render": "Play notes on a sampled piano, into an audio file.",
    "separate": "Separate piano recordings into hands, pitches or single notes.",
    "learn": "Learn a timbre dictionary from recordings of a piano.",
    "train": "Train the neural networks.",
    "enhance": "Remove noise from recordings of speech.",
    "deep-prior": "Remove noise from recordings of any sound, without a trained network.",
    "export": "Export an enhancement network to ONNX.",
    "evaluate": "Evaluate transcriptions against reference notes.",
    "dictionary": "List, show and plot timbre dictionaries.",
    "convert": "Convert notes to MIDI, or a file of an older harmnmf.",
    "info": "Show versions, devices and shipped models.",
}


class LazyGroup(click.Group):
    """Command group that imports the module of a command, ``harmnmf.cli.NAME``, when it is run.

    Exit codes: 0 success, 1 error, 2 wrong usage, 130 interrupted.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if it does not exist."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name.replace('-', '_')}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in the help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error becomes one line on stderr and an exit code."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click exits quietly when the reader of a pipe has gone
        except (HarmnmfError, OSError) as error:
            click.echo(f"harmnmf: error: {' '.join(str(error).split())}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("harmnmf: interrupted", err=True)
            ctx.exit(130)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line, without its place in the code."""
    click.echo(f"harmnmf: warning: {message}", err=True)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(harmnmf.__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Piano transcription by harmonic non-negative matrix factorisation, and speech enhancement."""


def run() -> None:
    """Run the command line in a process of its own."""
    _open_standard_streams()
    _separate_standard_error()
    main(prog_name="harmnmf")


def _open_standard_streams() -> None:
    """Replace closed streams by the null device, and print characters that they lack as escapes."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number: otherwise, a file to write would get it, and messages.
            os.open(os.devnull, os.O_RDWR)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed, or a program without a console on Windows
            stream = open(os.devnull, mode, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, stream)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _separate_standard_error() -> None:
    """Leave standard error to Python: mpg123 comments there on damaged MP3 files, without names."""
    kept = os.dup(2)
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    sys.stderr = open(kept, "w", buffering=1, encoding=encoding, errors=errors)  # noqa: SIM115
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    # Crashes of native code would go unseen.
    faulthandler.enable(sys.stderr)
