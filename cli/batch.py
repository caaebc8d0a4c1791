"""Work on many recordings, one after another, of which one that fails does not stop the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from harmnmf.errors import HarmnmfError

Progress = Callable[[float], None]


def process_each(
    ctx: click.Context,
    plan: Mapping[Path, list[Path]],
    work: Callable[[Path, list[Path], Progress | None], str],
) -> None:
    """Work on each recording, say in a line what was written, and name at the end what failed.

    Parameters
    ----------
    ctx : click.Context
        Of the command. Its exit code is 1 if something failed.
    plan : mapping of Path to list of Path
        Outputs of each recording.
    work : callable
        Called with the recording, its outputs, and what to tell how many seconds are done; writes
        the outputs, and says in a few words what they hold.
    """
    failures = []
    for source, outputs in plan.items():
        start = time.perf_counter()
        try:
            with _progress(source) as progress:
                summary = work(source, outputs, progress)
        except (HarmnmfError, OSError) as error:
            failures.append(error)
            continue
        names = ", ".join(map(click.format_filename, outputs))
        click.echo(f"{names}: {summary} in {time.perf_counter() - start:.1f} s")
    for failure in failures:
        click.echo(f"harmnmf: error: {' '.join(str(failure).split())}", err=True)
    if failures:
        click.echo(f"harmnmf: {len(failures)} of {len(plan)} recordings failed", err=True)
        ctx.exit(1)


@contextmanager
def _progress(source: Path) -> Iterator[Progress | None]:
    """Show on a terminal how many seconds of a recording are done; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from harmnmf.audio import audio_info

    length = round(audio_info(source).duration)
    label = f"{click.format_filename(source.name)} (seconds)"
    with click.progressbar(length=length, label=label, show_pos=True, file=sys.stderr) as bar:
        yield lambda seconds: bar.update(round(seconds) - bar.pos)
