"""What all trainings show: how far they are, and how they went."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

_CURVE = "learning_curve.png"


@contextmanager
def show_progress(label: str, length: int | None) -> Iterator[Callable[[object], None] | None]:
    """Show on a terminal how much is done; nothing elsewhere.

    Parameters
    ----------
    label : str
        Of what.
    length : int or None
        How many calls there will be; None to show nothing.

    Yields
    ------
    callable or None
        To be called with the number of what is done, or with whatever is one more.
    """
    if length is None or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        # A resumed training begins with more than one step done.
        yield lambda done: bar.update(done - bar.pos if isinstance(done, int) else 1)


def draw_learning_curve(run: Path) -> dict[str, float]:
    """Draw how a training went beside its metrics, and give the last line of them.

    Parameters
    ----------
    run : Path
        Folder with ``metrics.jsonl``.

    Returns
    -------
    dict
        The last line.
    """
    from harmnmf.plotting import plot_learning_curve, save_figure

    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    lines: list[dict[str, float]] = [json.loads(line) for line in text.splitlines()]
    save_figure(plot_learning_curve(lines), run / _CURVE)
    return lines[-1]
