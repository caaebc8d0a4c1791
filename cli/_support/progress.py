"""The progress bar of all long commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar as ClickBar


def is_shown(*, quiet: bool) -> bool:
    """Tell whether progress is shown: on a terminal only."""
    return not quiet and sys.stderr.isatty()


class ProgressBar:
    """Progress bar on a terminal; nothing in a pipe or if `quiet`."""

    def __init__(self, label: str, length: int, *, quiet: bool = False) -> None:
        self._bar: ClickBar[int] | None = None
        if is_shown(quiet=quiet):
            self._bar = click.progressbar(
                length=length, label=label, show_pos=True, file=sys.stderr
            )

    def __enter__(self) -> ProgressBar:
        """Show the bar."""
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """End the line of the bar."""
        if self._bar is not None:
            self._bar.render_finish()

    def update(self, n_done: float) -> None:
        """Show that `n_done` units are done in total."""
        if self._bar is not None:
            self._bar.update(round(n_done) - self._bar.pos)

    def advance(self, item: object = None) -> None:
        """Show that one more unit is done; `item` is not used."""
        if self._bar is not None:
            self._bar.update(1)

    def echo(self, line: str, *, err: bool = False) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            click.echo("\r\x1b[K", nl=False, err=True)
        click.echo(line, err=err)
        if self._bar is not None:
            self._bar.render_progress()
