"""What all trainings show: how far they are, and how they went."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

_CURVE = "learning_curve.png"


@contextmanager
def show_progress(label: str, length: int) -> Iterator[Callable[[object], None] | None]:
    """Show on a terminal how much is done; nothing elsewhere.

    Parameters
    ----------
    label : str
        Of what.
    length : int
        How many calls there will be.

    Yields
    ------
    callable or None
        To be called whenever one more is done.
    """
    with _bar(label, length) as bar:
        yield bar and (lambda _: bar.update(1))


@contextmanager
def show_steps(n_steps: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show on a terminal how many steps are done, some of which earlier; nothing elsewhere.

    Parameters
    ----------
    n_steps : int or None
        In all; None to show nothing.

    Yields
    ------
    callable or None
        To be called with the number of steps done.
    """
    with _bar("Steps", n_steps) as bar:
        yield bar and (lambda n_done: bar.update(n_done - bar.pos))


@contextmanager
def _bar(label: str, length: int | None) -> Iterator[Any]:
    if length is None or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar


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
    from harmnmf.plotting.figures import plot_learning_curve, save_figure

    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    lines: list[dict[str, float]] = [json.loads(line) for line in text.splitlines()]
    save_figure(plot_learning_curve(lines), run / _CURVE)
    return lines[-1]
