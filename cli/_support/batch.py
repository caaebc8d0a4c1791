"""Batch processing for commands: finished recordings are skipped, failures do not stop the rest."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import Field, asdict, dataclass, fields
from functools import wraps
from itertools import compress
from operator import not_
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import click

import harmnmf
from harmnmf.batch.task import Outcome, Progress, Report, Task, Work, file_hash, run_serial
from harmnmf.errors import HarmnmfError

from .options import COUNT, quiet_option
from .paths import Plan, check_folder, check_output, check_output_folder, holds_files
from .progress import ProgressBar, is_shown
from .recordings import MANIFEST

if TYPE_CHECKING:
    from harmnmf.batch.manifest import Manifest


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
    overwrite: bool | None  # None: recordings with outputs are skipped, and a single one refused
    quiet: bool


def batch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a `Batch` to a command, which gets it as the parameter `batch`."""

    @click.option(
        "--overwrite/--skip-existing",
        default=None,
        help="Replace existing outputs, or skip inputs that have them.  [default: skip, but refuse "
        "an input that is named alone]",
    )
    @click.option(
        "-j",
        "--jobs",
        type=COUNT,
        metavar="N",
        help="Process N inputs in parallel, with one thread each. "
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
        help="With --scheduler: send the inputs to workers that cannot read them from disk.",
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


def audio_duration(source: Path) -> float:
    """Length of a recording in seconds, or 0 if it cannot be read, which fails later."""
    from harmnmf.signal.reading import audio_info

    try:
        return audio_info(source).duration
    except HarmnmfError:
        return 0.0


@contextmanager
def named(source: Path) -> Iterator[None]:
    """Name a file in errors."""
    try:
        yield
    except HarmnmfError as error:
        raise HarmnmfError(f"{source}: {error}") from error


def process_each(
    ctx: click.Context,
    plan: Plan,
    work: PreparedWork,
    batch: Batch,
    duration: Callable[[Path], float] | None = audio_duration,
) -> None:
    """Process recordings, report each, and list the failures at the end with exit code 1.

    If all outputs are in one folder, a manifest there records what is done. `duration` gives the
    seconds of a recording that `work` processes, to show progress; None counts recordings. Invalid
    parameters of `work` and a folder that cannot be used raise HarmnmfError.
    """
    with ExitStack() as stack:
        manifest = None
        if plan.folder is not None:
            from harmnmf.batch.manifest import Manifest

            check_folder(plan.folder, plan.folder)
            settings = {"command": ctx.info_name, **_settings(work)}
            manifest = Manifest(plan.folder / MANIFEST, settings, harmnmf.__version__)
            stack.enter_context(manifest)
        tasks, failures, remarks = _select(plan, batch, manifest)
        failures = [*plan.errors, *failures]
        if not batch.quiet:
            for remark in (*plan.remarks, *remarks):
                _echo_line(f"harmnmf: {remark}")
        if tasks:
            work.prepare()
            _remove_leftovers(tasks)
            stack.callback(_remove_leftovers, tasks)
            label = f"{len(tasks)} {plan.noun}s"
            if len(tasks) == 1:
                label = click.format_filename(tasks[0].source.name)
            durations = dict.fromkeys(tasks, 1.0)
            if duration is not None:
                label += " (seconds)"
                if is_shown(quiet=batch.quiet):
                    durations = {task: duration(task.source) for task in tasks}
            failures += _run(tasks, work, batch, manifest, label, durations)
    for failure in failures:
        _echo_line(f"harmnmf: error: {failure}")
    total = len(plan.outputs) + len(plan.errors)
    if failures and total > 1:
        click.echo(f"harmnmf: {len(failures)} of {total} {plan.noun}s failed", err=True)
    if failures:
        ctx.exit(1)


def _echo_line(message: str) -> None:
    # Names of files may have line breaks.
    click.echo(message.replace("\n", " "), err=True)


def _select(
    plan: Plan, batch: Batch, manifest: Manifest | None
) -> tuple[list[Task], list[str], list[str]]:
    """Return the tasks to do, errors of those that cannot be done, and remarks on the others."""
    tasks = [
        Task(source, tuple(outputs), plan.companions.get(source, ()))
        for source, outputs in plan.outputs.items()
    ]
    exists = holds_files if plan.are_folders else os.path.isfile
    total = len(tasks)
    remarks = []
    if manifest is not None and not batch.overwrite:
        tasks, done = _split(tasks, manifest.is_done)
        if done:
            remarks.append(
                f"{len(done)} of {total} {plan.noun}s are done already, according to "
                f"{manifest.path}"
            )
    if batch.overwrite is False or (batch.overwrite is None and not plan.is_single):
        tasks, skipped = _split(tasks, lambda task: _has_outputs(task, exists, manifest))
        if skipped:
            first = skipped[0].outputs[0]
            exist = f"{first} exists" if len(skipped) == 1 else f"{first} and others exist"
            remarks.append(
                f"skipped {len(skipped)} of {total} {plan.noun}s: {exist} already; use "
                "--overwrite to replace existing outputs"
            )
    possible, errors = [], []
    taken = set(map(os.path.realpath, plan.outputs))
    for task in tasks:
        try:
            _check_outputs(task, taken, plan, manifest, overwrite=bool(batch.overwrite))
            possible.append(task)
        except HarmnmfError as error:
            errors.append(str(error))
    return possible, errors, remarks


def _split(tasks: list[Task], condition: Callable[[Task], bool]) -> tuple[list[Task], list[Task]]:
    """Return the tasks that do not meet a condition, and those that do."""
    met = [condition(task) for task in tasks]
    return list(compress(tasks, map(not_, met))), list(compress(tasks, met))


def _own_outputs(task: Task, manifest: Manifest | None) -> set[str]:
    """Real paths of outputs that may be replaced, since earlier runs have written them."""
    return set() if manifest is None else manifest.own_outputs(task)


def _has_outputs(task: Task, exists: Callable[[Path], bool], manifest: Manifest | None) -> bool:
    """Tell whether all outputs exist, and may not all be replaced."""
    return (
        os.path.exists(task.source)  # otherwise, reading it fails
        and all(map(exists, task.outputs))
        and not _own_outputs(task, manifest).issuperset(map(os.path.realpath, task.outputs))
    )


def _check_outputs(
    task: Task, taken: set[str], plan: Plan, manifest: Manifest | None, *, overwrite: bool
) -> None:
    """Add outputs to `taken`; HarmnmfError if they cannot be written or may not be replaced."""
    if not os.path.exists(task.source):
        return  # reading it fails, and nothing is written
    own = _own_outputs(task, manifest)
    for path in task.outputs:
        real = os.path.realpath(path)
        if real in taken:
            raise HarmnmfError(
                f"{path}: is one of the {plan.noun}s, or an output of another; choose another name"
            )
        if plan.are_folders:
            check_output_folder(path, overwrite=overwrite or real in own)
        else:
            check_output(path, overwrite=overwrite or real in own, folder_may_be_missing=True)
        taken.add(real)


def _run(
    tasks: list[Task],
    work: PreparedWork,
    batch: Batch,
    manifest: Manifest | None,
    label: str,
    durations: Mapping[Task, float],
) -> list[str]:
    """Run tasks and return the errors."""

    def begun() -> Iterator[Task]:
        for task in tasks:
            if manifest is not None:
                manifest.begin(task)
            yield task

    failures = []
    with (
        _progress(label, durations, quiet=batch.quiet) as (bar, report),
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
                names = ", ".join(map(click.format_filename, task.outputs)).replace("\n", " ")
                bar.echo(f"{names}: {outcome.summary} in {outcome.elapsed:.1f} s")
    return failures


@contextmanager
def _progress(
    label: str, durations: Mapping[Task, float], *, quiet: bool
) -> Iterator[tuple[ProgressBar, Report]]:
    """Show the progress of tasks, as a part of all durations."""
    done = dict.fromkeys(durations, 0.0)
    bar = ProgressBar(label, round(sum(durations.values())), quiet=quiet)

    def report(task: Task, seconds: float) -> None:
        # The last frame ends a little after the last sample.
        done[task] = min(seconds, durations[task])
        bar.update(sum(done.values()))

    with bar:
        yield bar, report


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
    return _with_hashes(asdict(work))


def _with_hashes(settings: dict[str, Any]) -> dict[str, Any]:
    settings = dict(settings)
    for name, value in settings.items():
        if isinstance(value, dict):
            settings[name] = _with_hashes(value)
        elif isinstance(value, str) and Path(value).is_file():
            settings[name] = f"sha256:{file_hash(Path(value))}"
    return settings
