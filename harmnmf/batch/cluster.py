"""Tasks on a cluster that runs Dask.distributed.

A worker reads the recording, or is sent it, and sends back what it made: only the machine that
asked writes outputs, each once and in one step, whatever becomes of the workers.
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
from harmnmf.storage.files import atomic_path

from .task import Outcome, Report, Task, Work, carry_out

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["run_cluster"]

# Seconds until a scheduler that does not answer counts as missing.
_PATIENCE = 10
_PACKAGE = "harmnmf"


def run_cluster(
    work: Work, tasks: Iterable[Task], report: Report, scheduler: str, *, send: bool = False
) -> Generator[tuple[Task, Outcome], None, None]:
    """Do tasks on a cluster, where a task whose worker is lost is done by another.

    Parameters
    ----------
    work : callable
        What is to be done; harmnmf must be installed on the workers and the scheduler.
    tasks : iterable of Task
        To what; each is taken when a worker is soon free for it.
    report : callable
        Told of a task how many seconds of its audio are done, when it is finished.
    scheduler : str
        Address of Dask's scheduler, as ``tcp://127.0.0.1:8786``.
    send : bool, default=False
        Whether to send the recordings to the workers, which read them from their own disks
        otherwise.

    Yields
    ------
    task : Task
        One that is finished; their order is that in which they end.
    outcome : Outcome
        What came of it.

    Raises
    ------
    HarmnmfError
        If Dask.distributed is not installed here, or harmnmf is not there, or the scheduler does
        not answer, or not any longer.
    """
    try:
        from distributed import Client, as_completed
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise HarmnmfError(
            "a cluster needs Dask.distributed; install it by: pip install 'harmnmf[cluster]'"
        ) from error
    try:
        client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise HarmnmfError(f"{scheduler}: no scheduler answers there ({error})") from error
    with client, warnings.catch_warnings():
        # It is sent with its task, and not scattered, so that it is not lost with a worker.
        warnings.filterwarnings("ignore", "Sending large graph")
        _check_installed(client)
        waiting = iter(tasks)
        futures: dict[Any, Task] = {}
        finished = as_completed(loop=client.loop)

        def keep_busy() -> None:
            # None waits at a worker, which would make it a suspect when that is lost.
            n_free = max(1, sum(client.nthreads().values())) - len(futures)
            for task in islice(waiting, max(0, n_free)):
                future = _submit(client, work, task, send)
                futures[future] = task
                finished.add(future)

        keep_busy()
        for future in finished:
            task = futures.pop(future)
            try:
                outcome = _result(future, task)
            except (CancelledError, CommClosedError) as error:
                raise HarmnmfError(
                    f"{scheduler}: the scheduler is lost; the same command goes on from here"
                ) from error
            keep_busy()
            report(task, outcome.seconds)
            yield task, outcome


def _check_installed(client: Client) -> None:
    """Refuse a cluster where what is to be done is not known: a worker would try for ever."""
    there = client.run(find_spec, _PACKAGE)
    there["the scheduler"] = client.run_on_scheduler(find_spec, _PACKAGE)
    if lacking := [address for address, found in there.items() if found is None]:
        raise HarmnmfError(f"{_PACKAGE} is not installed on {', '.join(lacking)}; install it there")


def _submit(client: Client, work: Work, task: Task, send: bool) -> Any:
    """Give a task to the cluster; what cannot be read here is found there to be missing."""
    sound = task.source.read_bytes() if send and task.source.is_file() else None
    # Not pure: what Dask remembers of an equal task may be older than the recording.
    return client.submit(
        _carry_out_there, work, task, os.path.abspath(task.source), sound, pure=False
    )


def _carry_out_there(
    work: Work, task: Task, source: str, sound: bytes | None
) -> tuple[Outcome, list[bytes]]:
    """Do a task on a worker, in a folder of its own, and say what the outputs hold."""
    with tempfile.TemporaryDirectory(prefix="harmnmf-") as folder:
        own = Path(source)
        if sound is not None:
            own = Path(folder, "input", task.source.name)
            own.parent.mkdir()
            own.write_bytes(sound)
        outputs = tuple(
            Path(folder, f"output{i}", path.name) for i, path in enumerate(task.outputs)
        )
        outcome = carry_out(work, Task(own, outputs), progress=lambda seconds: None)
        made = [] if outcome.error else [path.read_bytes() for path in outputs]

    names = dict(
        zip(map(str, (own, *outputs)), map(str, (task.source, *task.outputs)), strict=True)
    )

    def renamed(text: str) -> str:
        for there, here in names.items():
            text = text.replace(there, here)
        return text

    error = outcome.error and renamed(outcome.error)
    return replace(outcome, error=error, warnings=tuple(map(renamed, outcome.warnings))), made


def _result(future: Any, task: Task) -> Outcome:
    """Write what a worker made."""
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        outcome, made = future.result()
    except KilledWorker as error:
        n_lost = error.args[2] if len(error.args) > 2 else "several"
        return Outcome(error=f"{task.source}: was at work on {n_lost} workers when they were lost")
    except (CancelledError, CommClosedError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(error=f"{task.source}: could not be done on the cluster ({reason})")
    try:
        for path, data in zip(task.outputs, made, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
    except (HarmnmfError, OSError) as error:
        return Outcome(error=" ".join(str(error).split()))
    return outcome
