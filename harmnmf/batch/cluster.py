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
from harmnmf.storage.files import atomic_folder, atomic_path, open_plain

from .task import Outcome, Report, Task, Work, run_task

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["run_cluster"]

# Content of a file, or of the files in a folder by name.
_Content = bytes | dict[str, bytes]


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
    inputs = []
    for path in (task.source, *task.companions):
        content = None
        if send:
            try:
                with open_plain(path) as file:
                    content = file.read()
            except OSError as error:
                return client.submit(_fail, f"{path}: {error.strerror}", pure=False)
        inputs.append((os.path.abspath(path), content))
    # Not pure: Dask must not reuse the result of an equal task, whose file may have changed.
    return client.submit(_run_on_worker, work, task, inputs, pure=False)


def _fail(error: str) -> tuple[Outcome, list[_Content]]:
    return Outcome(error=error), []


def _run_on_worker(
    work: Work, task: Task, inputs: list[tuple[str, bytes | None]]
) -> tuple[Outcome, list[_Content]]:
    """Run a task in a temporary folder and return the contents of its outputs.

    `inputs` are the paths of the recording and its companions, with their contents if these are
    not to be read from disk.
    """
    with tempfile.TemporaryDirectory(prefix="harmnmf-") as folder:
        read = []
        for i, (name, content) in enumerate(inputs):
            path = Path(name)
            if content is not None:
                path = Path(folder, f"input{i}", path.name)
                path.parent.mkdir()
                path.write_bytes(content)
            read.append(path)
        outputs = tuple(
            Path(folder, f"output{i}", path.name) for i, path in enumerate(task.outputs)
        )
        own_task = Task(read[0], outputs, tuple(read[1:]))
        outcome = run_task(work, own_task, progress=lambda seconds: None)
        contents = [] if outcome.error else list(map(_content, outputs))

    def with_callers_paths(text: str) -> str:
        callers_paths = (task.source, *task.companions, *task.outputs)
        for own, callers in zip((*read, *outputs), callers_paths, strict=True):
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
            _write(path, content)
    except (HarmnmfError, OSError) as error:
        return Outcome(error=" ".join(str(error).split()))
    return outcome


def _content(path: Path) -> _Content:
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    return path.read_bytes()


def _write(path: Path, content: _Content) -> None:
    if isinstance(content, bytes):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        return
    with atomic_folder(path) as temporary:
        for name, data in content.items():
            (temporary / name).write_bytes(data)
