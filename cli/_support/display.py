"""What is seen on a terminal while many recordings are worked on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.batch.task import Task
from harmnmf.errors import HarmnmfError

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar


class Display:
    """Show how many seconds of all recordings are done, and how long the rest will take.

    What is no terminal gets lines only.

    Parameters
    ----------
    tasks : list of Task
        All that is to be done.
    """

    def __init__(self, tasks: list[Task]) -> None:
        self._bar: ProgressBar[int] | None = None
        if not sys.stderr.isatty():
            return
        self._lengths = {task: _length(task.source) for task in tasks}
        self._done: dict[Task, float] = {}
        one = len(tasks) == 1
        name = click.format_filename(tasks[0].source.name) if one else f"{len(tasks)} recordings"
        self._bar = click.progressbar(
            length=round(sum(self._lengths.values())),
            label=f"{name} (seconds)",
            show_pos=True,
            file=sys.stderr,
        )

    def __enter__(self) -> Display:
        """Begin to show it."""
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """End the line of the bar."""
        if self._bar is not None:
            self._bar.__exit__(*error)

    def report(self, task: Task, seconds: float) -> None:
        """Show how many seconds of a recording are done."""
        if self._bar is not None:
            # The last frame ends a little after the last sample.
            self._done[task] = min(seconds, self._lengths[task])
            self._bar.update(round(sum(self._done.values())) - self._bar.pos)

    def say(self, line: str, *, err: bool = False) -> None:
        """Write a line above the bar."""
        if self._bar is not None:
            click.echo("\r\x1b[K", nl=False, err=True)
        click.echo(line, err=err)
        if self._bar is not None:
            self._bar.render_progress()


def _length(source: Path) -> float:
    from harmnmf.signal.audio import audio_info

    try:
        return audio_info(source).duration
    except HarmnmfError:
        return 0.0  # what is wrong is said when it is read
