"""Tasks on a Dask.distributed cluster.

Workers read the recordings, or receive them, and return the contents of the outputs. Only the
calling machine writes files, each in one step, so that lost workers leave no partial outputs.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Generator, Iterable
from concurrent.futures import CancelledError
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmnmf.errors import HarmnmfError
from harmnmf.storage.files import atomic_path, open_plain

from .task import Outcome, Report, Task, Work, run_task

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["run_cluster"]


def run_cluster(
    work: Work,
    tasks: Iterable[Task],
    report: Report,
    scheduler: str,
    *,
    send: bool = False,
    timeout: float = 10.0,
) -> Generator[tuple[Task, Outcome], None, None]:
    """Run tasks on a cluster, as `run_processes`; tasks of a lost worker are run by another.

    `report` is called only when a task is finished. `send` sends the recordings to the workers,
    which read them from disk otherwise. `timeout` is the time in seconds to wait for the scheduler.
    """
    try:
        from distributed import Client, as_completed
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise HarmnmfError(
            "--scheduler needs Dask.distributed; install it by: pip install 'harmnmf[cluster]'"
        ) from error
    try:
        client = Client(scheduler, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        raise HarmnmfError(f"{scheduler}: no Dask scheduler answers ({error})") from error
    with client, warnings.catch_warnings():
        # Audio is sent with its task: scattered data would be lost with its worker.
        warnings.filterwarnings("ignore", "Sending large graph")
        _check_installed(client)
        waiting = iter(tasks)
        futures: dict[Any, Task] = {}
        finished = as_completed(loop=client.loop)

        def submit_to_free_workers() -> None:
            # No task queues at a worker: if the worker died, it would count against that task.
            n_free = max(1, sum(client.nthreads().values())) - len(futures)
            for task in islice(waiting, max(0, n_free)):
                future = _submit(client, work, task, send)
                futures[future] = task
                finished.add(future)

        submit_to_free_workers()
        for future in finished:
            task = futures.pop(future)
            try:
                outcome = _write_result(future, task)
            except (CancelledError, CommClosedError) as error:
                raise HarmnmfError(
                    f"{scheduler}: lost the scheduler; run the same command again to resume"
                ) from error
            submit_to_free_workers()
            report(task, outcome.seconds)
            yield task, outcome


def _check_installed(client: Client) -> None:
    """Raise HarmnmfError if harmnmf is missing on the cluster, where tasks would hang."""
    found = client.run(find_spec, "harmnmf")
    found["the scheduler"] = client.run_on_scheduler(find_spec, "harmnmf")
    if missing := [address for address, spec in found.items() if spec is None]:
        raise HarmnmfError(f"harmnmf is not installed on {', '.join(missing)}; install it there")


def _submit(client: Client, work: Work, task: Task, send: bool) -> Any:
    audio = None
    if send:
        try:
            with open_plain(task.source) as file:
                audio = file.read()
        except OSError as error:
            return client.submit(_fail, f"{task.source}: {error.strerror}", pure=False)
    # Not pure: Dask must not reuse the result of an equal task, whose file may have changed.
    source = os.path.abspath(task.source)
    return client.submit(_run_on_worker, work, task, source, audio, pure=False)


def _fail(error: str) -> tuple[Outcome, list[bytes]]:
    return Outcome(error=error), []


def _run_on_worker(
    work: Work, task: Task, source: str, audio: bytes | None
) -> tuple[Outcome, list[bytes]]:
    """Run a task in a temporary folder and return the contents of its outputs."""
    with tempfile.TemporaryDirectory(prefix="harmnmf-") as folder:
        recording = Path(source)
        if audio is not None:
            recording = Path(folder, "input", task.source.name)
            recording.parent.mkdir()
            recording.write_bytes(audio)
        outputs = tuple(
            Path(folder, f"output{i}", path.name) for i, path in enumerate(task.outputs)
        )
        outcome = run_task(work, Task(recording, outputs), progress=lambda seconds: None)
        contents = [] if outcome.error else [path.read_bytes() for path in outputs]

    def with_callers_paths(text: str) -> str:
        for own, callers in zip((recording, *outputs), (task.source, *task.outputs), strict=True):
            text = text.replace(str(own), str(callers))
        return text

    error = outcome.error and with_callers_paths(outcome.error)
    messages = tuple(map(with_callers_paths, outcome.warnings))
    return replace(outcome, error=error, warnings=messages), contents


def _write_result(future: Any, task: Task) -> Outcome:
    """Write the outputs that a worker returned."""
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        outcome, contents = future.result()
    except KilledWorker as error:
        n_lost = error.args[2] if len(error.args) > 2 else "several"
        return Outcome(error=f"{task.source}: given up after it was lost with {n_lost} workers")
    except (CancelledError, CommClosedError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(error=f"{task.source}: failed on the cluster ({reason})")
    try:
        for path, content in zip(task.outputs, contents, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
    except (HarmnmfError, OSError) as error:
        return Outcome(error=" ".join(str(error).split()))
    return outcome
