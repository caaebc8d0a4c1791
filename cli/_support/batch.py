"""Batch processing for commands: finished recordings are skipped, failures do not stop the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import Field, asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import click

import harmnmf
from harmnmf.batch.task import Outcome, Progress, Report, Task, Work, file_hash, run_serial
from harmnmf.errors import HarmnmfError

from .options import COUNT, overwrite_option, quiet_option
from .paths import check_plan
from .progress import ProgressBar, is_shown

if TYPE_CHECKING:
    from harmnmf.batch.manifest import Manifest

MANIFEST = "manifest.jsonl"


class PreparedWork(Protocol):
    """Processing of one recording: a frozen dataclass of the command's parameters."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def prepare(self) -> None:
        """Raise HarmnmfError if a parameter is wrong, before any output is touched."""

    def __call__(self, task: Task, progress: Progress) -> str:
        """Write the outputs of a recording and return a summary in a few words."""


@dataclass(frozen=True)
class Batch:
    """Options of a command that works on many recordings."""

    jobs: int | None
    scheduler: str | None
    send: bool
    overwrite: bool
    quiet: bool


def batch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a `Batch` to a command, which gets it as the parameter `batch`."""

    @overwrite_option
    @click.option(
        "-j",
        "--jobs",
        type=COUNT,
        metavar="N",
        help="Process N recordings in parallel, with one thread each. "
        "[default: one at a time, with all threads]",
    )
    @click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Process on a Dask cluster whose scheduler has this address, such as "
        "tcp://10.0.0.1:8786. Needs pip install 'harmnmf[cluster]'.",
    )
    @click.option(
        "--send",
        is_flag=True,
        help="With --scheduler: send the audio to workers that cannot read it from disk.",
    )
    @quiet_option
    @wraps(command)
    def with_batch(*args: Any, **options: Any) -> Any:
        batch = Batch(**{field.name: options.pop(field.name) for field in fields(Batch)})
        if batch.jobs and batch.scheduler:
            raise click.UsageError("--jobs and --scheduler exclude each other")
        if batch.send and not batch.scheduler:
            raise click.UsageError("--send needs --scheduler")
        return command(*args, batch=batch, **options)

    return with_batch


def process_each(
    ctx: click.Context,
    plan: Mapping[Path, Sequence[Path]],
    work: PreparedWork,
    batch: Batch,
    folder: Path | None = None,
) -> None:
    """Process recordings, report each, and list the failures at the end with exit code 1.

    `plan` has the outputs of each recording. If all are in one `folder`, a manifest there records
    what is done. Invalid plans and parameters of `work` raise HarmnmfError.
    """
    tasks = [Task(source, tuple(outputs)) for source, outputs in plan.items()]
    with ExitStack() as stack:
        manifest = None
        if folder is not None:
            from harmnmf.batch.manifest import Manifest

            settings = {"command": ctx.info_name, **_settings(work)}
            manifest = Manifest(folder / MANIFEST, settings, harmnmf.__version__)
            stack.enter_context(manifest)
        own = manifest.own_outputs() if manifest is not None else ()
        check_plan(plan, overwrite=batch.overwrite, own=own)
        if manifest is not None and not batch.overwrite:
            tasks = _not_done(tasks, manifest, quiet=batch.quiet)
        if not tasks:
            return
        work.prepare()
        _remove_leftovers(tasks)
        stack.callback(_remove_leftovers, tasks)
        failures = _run(tasks, work, batch, manifest)
    for failure in failures:
        click.echo(f"harmnmf: error: {failure}", err=True)
    if failures:
        click.echo(f"harmnmf: {len(failures)} of {len(tasks)} recordings failed", err=True)
        ctx.exit(1)


def _not_done(tasks: list[Task], manifest: Manifest, *, quiet: bool) -> list[Task]:
    missing = [task for task in tasks if not manifest.is_done(task)]
    n_done = len(tasks) - len(missing)
    if n_done and not quiet:
        message = f"{n_done} of {len(tasks)} recordings are done already"
        click.echo(f"harmnmf: {message}, according to {manifest.path}", err=True)
    return missing


def _run(
    tasks: list[Task], work: PreparedWork, batch: Batch, manifest: Manifest | None
) -> list[str]:
    """Run tasks and return the errors."""

    def begun() -> Iterator[Task]:
        for task in tasks:
            if manifest is not None:
                manifest.begin(task)
            yield task

    failures = []
    with (
        _progress(tasks, quiet=batch.quiet) as (bar, report),
        closing(_start(batch, work, begun(), report)) as finished,
    ):
        for task, outcome in finished:
            if manifest is not None:
                manifest.finish(task, outcome)
            report(task, math.inf)
            for warning in outcome.warnings:
                bar.echo(f"harmnmf: warning: {warning}", err=True)
            if outcome.error is not None:
                failures.append(outcome.error)
            elif not batch.quiet:
                names = ", ".join(map(click.format_filename, task.outputs))
                bar.echo(f"{names}: {outcome.summary} in {outcome.elapsed:.1f} s")
    return failures


@contextmanager
def _progress(tasks: list[Task], *, quiet: bool) -> Iterator[tuple[ProgressBar, Report]]:
    """Show the progress of tasks in seconds of audio."""
    shown = is_shown(quiet=quiet)
    durations = {task: _duration(task.source) if shown else 0.0 for task in tasks}
    done = dict.fromkeys(tasks, 0.0)
    one = len(tasks) == 1
    name = click.format_filename(tasks[0].source.name) if one else f"{len(tasks)} recordings"
    bar = ProgressBar(f"{name} (seconds)", round(sum(durations.values())), quiet=quiet)

    def report(task: Task, seconds: float) -> None:
        # The last frame ends a little after the last sample.
        done[task] = min(seconds, durations[task])
        bar.update(sum(done.values()))

    with bar:
        yield bar, report


def _duration(source: Path) -> float:
    from harmnmf.signal.audio import audio_info

    try:
        return audio_info(source).duration
    except HarmnmfError:
        return 0.0  # the error is reported when the file is read


def _start(
    batch: Batch, work: Work, tasks: Iterable[Task], report: Report
) -> Generator[tuple[Task, Outcome], None, None]:
    if batch.scheduler is not None:
        from harmnmf.batch.cluster import run_cluster

        return run_cluster(work, tasks, report, batch.scheduler, send=batch.send)
    if batch.jobs is not None:
        from harmnmf.batch.processes import run_processes

        return run_processes(work, tasks, report, batch.jobs)
    return run_serial(work, tasks, report)


def _remove_leftovers(tasks: list[Task]) -> None:
    """Remove temporary files of killed processes."""
    from harmnmf.storage.files import remove_leftovers

    for folder in sorted({path.parent for task in tasks for path in task.outputs}):
        remove_leftovers(folder)


def _settings(work: PreparedWork) -> dict[str, Any]:
    """Parameters that outputs depend on, with the hashes of files instead of their names."""
    settings = asdict(work)
    for name, value in settings.items():
        if isinstance(value, str) and Path(value).is_file():
            settings[name] = f"sha256:{file_hash(Path(value))}"
    return settings
