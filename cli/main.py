"""The group of commands, and the one place where errors become messages and exit codes."""

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

# Before PyTorch is imported: its threads shall sleep while they wait, or they burn the processor
# as soon as anything else runs on it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Module and one line of help of each command. The help stands here, and not in the modules,
# so that `harmnmf --help` imports none of them.
COMMANDS = {
    "transcribe": "Transcribe recordings to MIDI.",
    "learn": "Learn a dictionary from notes, or from music and its score.",
    "train": "Train the networks.",
    "enhance": "Take noise out of recordings.",
    "export": "Write a network that enhances as ONNX.",
    "evaluate": "Score transcriptions against references.",
    "dictionary": "List, show and plot dictionaries.",
    "convert": "Convert a file of an older harmnmf to safetensors.",
    "info": "Show versions, devices and what is shipped.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is run.

    The module ``harmnmf.cli.NAME`` offers its click command as ``command``. Exit codes: 0 all
    done, 1 an error, 2 a wrong use of the command line, 130 interrupted.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into the help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and turn its errors into one line and an exit code."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe has gone
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
    """Say a warning in one line: where in the code it arose means nothing to a user."""
    click.echo(f"harmnmf: warning: {message}", err=True)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(harmnmf.__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Transcribe recordings to notes by harmonic non-negative matrix factorisation."""


def run() -> None:
    """Run the command line in a process of its own."""
    _separate_standard_error()
    main(prog_name="harmnmf")


def _separate_standard_error() -> None:
    """Leave standard error to Python: mpg123 comments there on damaged MP3 files, without names."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        return
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    sys.stderr = open(kept, "w", buffering=1, encoding=encoding, errors=errors)  # noqa: SIM115
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    # Crashes of native code would go unseen.
    faulthandler.enable(sys.stderr)
