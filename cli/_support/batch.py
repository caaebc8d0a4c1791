"""Work on many recordings: what is done already is left, what fails does not stop the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import Field, asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import click

import harmnmf
from harmnmf.batch.task import Outcome, Progress, Report, Task, Work, file_hash, run_here

from .display import Display
from .paths import check_plan

if TYPE_CHECKING:
    from harmnmf.batch.manifest import Manifest

MANIFEST = "manifest.jsonl"


class PreparedWork(Protocol):
    """What a command does to a recording: a frozen dataclass of its parameters."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def prepare(self) -> None:
        """Find what is wrong with the parameters, before there is anything to lose."""

    def __call__(self, task: Task, progress: Progress) -> str:
        """Write the outputs of a recording, and say in a few words what they hold."""


@dataclass(frozen=True)
class Batch:
    """Where the work is done, as the options of a command say.

    Parameters
    ----------
    jobs : int, optional
        Processes of this machine; by default it is done in this one.
    scheduler : str, optional
        Address of a cluster's scheduler.
    send : bool
        Whether the cluster is sent the recordings.
    overwrite : bool
        Whether outputs that exist are made again.
    """

    jobs: int | None
    scheduler: str | None
    send: bool
    overwrite: bool


def batch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a `Batch`, which it gets as the parameter `batch`."""

    @click.option("--overwrite", is_flag=True, help="Make outputs that exist again.")
    @click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Work on N recordings at a time, in as many processes with one thread each. "
        "[default: one at a time, with all threads]",
    )
    @click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Let a cluster work, by the address of its Dask scheduler, as tcp://10.0.0.1:8786. "
        "Needs harmnmf[cluster] here and harmnmf on the workers.",
    )
    @click.option(
        "--send",
        is_flag=True,
        help="With --scheduler: send the recordings to workers that cannot read them from disk.",
    )
    @wraps(command)
    def with_batch(
        *args: Any,
        jobs: int | None,
        scheduler: str | None,
        send: bool,
        overwrite: bool,
        **rest: Any,
    ) -> Any:
        if jobs and scheduler:
            raise click.UsageError("--jobs is of this machine; a cluster has as many as it has")
        if send and not scheduler:
            raise click.UsageError("--send belongs to --scheduler")
        return command(*args, batch=Batch(jobs, scheduler, send, overwrite), **rest)

    return with_batch


def process_each(
    ctx: click.Context,
    plan: Mapping[Path, Sequence[Path]],
    work: PreparedWork,
    batch: Batch,
    folder: Path | None = None,
) -> None:
    """Work on each recording, say in a line what was written, and name at the end what failed.

    Parameters
    ----------
    ctx : click.Context
        Of the command. Its exit code is 1 if something failed.
    plan : mapping of Path to sequence of Path
        Outputs of each recording.
    work : PreparedWork
        What is to be done.
    batch : Batch
        Where it is done.
    folder : Path, optional
        Of all outputs, made if it is missing. A manifest in it remembers what is done.

    Raises
    ------
    HarmnmfError
        If outputs collide, exist or cannot be written, or `work` has a parameter that is wrong.
    """
    tasks = [Task(source, tuple(outputs)) for source, outputs in plan.items()]
    with ExitStack() as stack:
        manifest = None
        if folder is not None:
            from harmnmf.batch.manifest import Manifest

            settings = {"command": ctx.info_name, **_settings(work)}
            manifest = Manifest(folder / MANIFEST, settings, harmnmf.__version__)
            stack.enter_context(manifest)
        own = manifest.made() if manifest is not None else ()
        check_plan(plan, overwrite=batch.overwrite, own=own)
        if manifest is not None and not batch.overwrite:
            tasks = _not_done(tasks, manifest)
        if not tasks:
            return
        work.prepare()
        with _leftovers_removed(tasks):
            failures = _run(tasks, work, batch, manifest)
    for failure in failures:
        click.echo(f"harmnmf: error: {failure}", err=True)
    if failures:
        click.echo(f"harmnmf: {len(failures)} of {len(tasks)} recordings failed", err=True)
        ctx.exit(1)


def _not_done(tasks: list[Task], manifest: Manifest) -> list[Task]:
    missing = [task for task in tasks if not manifest.is_done(task)]
    if n_done := len(tasks) - len(missing):
        message = f"{n_done} of {len(tasks)} recordings are done already"
        click.echo(f"harmnmf: {message}, says {manifest.path}", err=True)
    return missing


def _run(
    tasks: list[Task], work: PreparedWork, batch: Batch, manifest: Manifest | None
) -> list[str]:
    """Do tasks, and list what went wrong."""

    def begun() -> Iterator[Task]:
        for task in tasks:
            if manifest is not None:
                manifest.begin(task)
            yield task

    failures = []
    with (
        Display(tasks) as display,
        closing(_start(batch, work, begun(), display.report)) as finished,
    ):
        for task, outcome in finished:
            if manifest is not None:
                manifest.finish(task, outcome)
            display.report(task, math.inf)
            for warning in outcome.warnings:
                display.say(f"harmnmf: warning: {warning}", err=True)
            if outcome.error is not None:
                failures.append(outcome.error)
                continue
            names = ", ".join(map(click.format_filename, task.outputs))
            display.say(f"{names}: {outcome.summary} in {outcome.elapsed:.1f} s")
    return failures


def _start(
    batch: Batch, work: Work, tasks: Iterable[Task], report: Report
) -> Generator[tuple[Task, Outcome], None, None]:
    if batch.scheduler is not None:
        from harmnmf.batch.cluster import run_cluster

        return run_cluster(work, tasks, report, batch.scheduler, send=batch.send)
    if batch.jobs is not None:
        from harmnmf.batch.processes import run_processes

        return run_processes(work, tasks, report, batch.jobs)
    return run_here(work, tasks, report)


@contextmanager
def _leftovers_removed(tasks: list[Task]) -> Iterator[None]:
    """Remove what a killed process has half written, before this run and after it."""
    from harmnmf.storage.files import remove_leftovers

    folders = sorted({path.parent for task in tasks for path in task.outputs})

    def remove() -> None:
        for folder in folders:
            remove_leftovers(folder)

    remove()
    try:
        yield
    finally:
        remove()


def _settings(work: PreparedWork) -> dict[str, Any]:
    """Name what outputs depend on besides the recording: files by what they hold."""
    settings = asdict(work)
    for name, value in settings.items():
        if isinstance(value, str) and Path(value).is_file():
            settings[name] = f"sha256:{file_hash(Path(value))}"
    return settings
