"""Progress bar of long commands."""

from __future__ import annotations

import sys
from io import StringIO

import click


def is_shown(*, quiet: bool) -> bool:
    """Tell whether progress is shown: on a terminal only."""
    # A program without a console on Windows has no standard error.
    return not quiet and sys.stderr is not None and sys.stderr.isatty()


class ProgressBar:
    """Progress bar on a terminal; nothing in a pipe or if `quiet`."""

    def __init__(self, label: str, length: int, *, quiet: bool = False) -> None:
        self._is_shown = is_shown(quiet=quiet)
        file = sys.stderr if self._is_shown else StringIO()
        self._bar = click.progressbar(length=length, label=label, show_pos=True, file=file)

    def __enter__(self) -> ProgressBar:
        """Show the bar."""
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """End the line of the bar."""
        self._bar.render_finish()

    def update(self, n_done: float) -> None:
        """Show that `n_done` units are done in total."""
        self._bar.update(round(n_done) - self._bar.pos)

    def advance(self, item: object = None) -> None:
        """Show that one more unit is done; `item` is not used."""
        self._bar.update(1)

    def echo(self, line: str, *, err: bool = False) -> None:
        """Print a line above the bar."""
        if self._is_shown:
            click.echo("\r\x1b[K", nl=False, err=True)
        click.echo(line, err=err)
        if self._is_shown:
            self._bar.render_progress()
