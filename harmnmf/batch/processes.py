"""Tasks in several processes of one machine; a process that crashes fails its own task only.

`concurrent.futures` is not used, because there one killed process breaks the whole pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterable
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, NoReturn, cast

from .task import Outcome, Report, Task, Work, run_task

__all__ = ["run_processes"]

# Numbers of threads of PyTorch, NumPy and SciPy.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Seconds in which an interrupted worker may remove its temporary files.
_GRACE_PERIOD = 10.0


def run_processes(
    work: Work, tasks: Iterable[Task], report: Report, n_jobs: int
) -> Generator[tuple[Task, Outcome], None, None]:
    """Run tasks in several processes with one thread each.

    A task that kills its process fails, and a new process takes over. Closing the generator, as
    an exception or Ctrl-C in the caller does, stops the processes and removes their temporary
    files.

    `report` is called with a task and the seconds of its audio processed so far. Tasks are taken
    one by one as processes become free, and yielded with their outcomes in the order of completion.
    """
    waiting = iter(tasks)
    workers: dict[Connection, _Worker] = {}

    def add_workers() -> None:
        for task in islice(waiting, n_jobs - len(workers)):
            worker = _Worker(work, task)
            workers[worker.connection] = worker

    try:
        add_workers()
        while workers:
            for connection in cast(list[Connection], wait(list(workers))):
                worker = workers[connection]
                task = worker.task
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    # It is listed until it has ended, or Ctrl-C in between would leave it behind.
                    message = Outcome(error=f"{task.source}: {worker.exit_reason()}")
                    del workers[connection]
                    add_workers()
                else:
                    if not isinstance(message, Outcome):
                        report(task, message)
                        continue
                    following = next(waiting, None)
                    if following is None:
                        worker.stop()
                        del workers[connection]
                    else:
                        worker.send(following)
                # Last, so that no worker is idle while the caller handles the outcome.
                yield task, message
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            worker.stop(_GRACE_PERIOD)


class _Worker:
    """A process and its current task."""

    def __init__(self, work: Work, task: Task) -> None:
        # Spawned, since PyTorch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_serve, args=(child, work), daemon=True)
        self.process.start()
        # With no copy left here, the connection ends when the process does.
        child.close()
        self.send(task)

    def send(self, task: Task) -> None:
        self.task = task
        with suppress(OSError):  # the process has ended, which the next `recv` reports
            self.connection.send(task)

    def stop(self, timeout: float | None = None) -> None:
        self.connection.close()
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()

    def exit_reason(self) -> str:
        """Describe how the process ended unexpectedly."""
        self.stop()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        name = signal.Signals(-code).name
        reason = ", perhaps out of memory" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{reason}; try this file alone"


def _serve(connection: Connection, work: Work) -> None:
    """Run tasks until the connection is closed: the main function of a worker process."""
    # Ctrl-C reaches all processes of a terminal; only the parent acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    for name in _THREADS:
        os.environ[name] = "1"
    try:
        while True:
            task = connection.recv()
            connection.send(run_task(work, task, lambda seconds: _send(connection, seconds)))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass


def _send(connection: Connection, message: Any) -> None:
    """Send a message; exit if the parent process has gone."""
    try:
        connection.send(message)
    except OSError:
        raise SystemExit(1) from None


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
