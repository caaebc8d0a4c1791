"""Tasks on several processes of one machine, of which none can take the others with it."""

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

from .task import Outcome, Report, Task, Work, carry_out

__all__ = ["run_processes"]

# PyTorch, NumPy and SciPy each have their own.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Seconds that an interrupted worker has to remove what it has half written.
_PATIENCE = 10.0


def run_processes(
    work: Work, tasks: Iterable[Task], report: Report, n_jobs: int
) -> Generator[tuple[Task, Outcome], None, None]:
    """Do tasks on several processes, each with one thread.

    A task that kills its process fails, and another process takes its place. When the caller
    stops, by an exception or an interruption, the processes are told to clean up and end.

    Parameters
    ----------
    work : callable
        What is to be done; it is pickled.
    tasks : iterable of Task
        To what; each is taken when a process is free for it.
    report : callable
        Told of a task how many seconds of its audio are done.
    n_jobs : int
        Number of processes.

    Yields
    ------
    task : Task
        One that is finished; their order is that in which they end.
    outcome : Outcome
        What came of it.
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
                    del workers[connection]
                    message = Outcome(error=f"{task.source}: {worker.fate()}")
                    add_workers()
                else:
                    if not isinstance(message, Outcome):
                        report(task, message)
                        continue
                    following = next(waiting, None)
                    if following is None:
                        del workers[connection]
                        worker.end()
                    else:
                        worker.begin(following)
                # Not before: nobody is idle while the caller has it.
                yield task, message
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            worker.end(_PATIENCE)


class _Worker:
    """A process, and the task that it has."""

    def __init__(self, work: Work, task: Task) -> None:
        # Not forked: PyTorch's threads, and what other libraries hold, do not survive that.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        self.process.start()
        # Once it is closed here, too, the end of the process ends the connection.
        theirs.close()
        self.begin(task)

    def begin(self, task: Task) -> None:
        self.task = task
        with suppress(OSError):  # it has ended, which the next message tells
            self.connection.send(task)

    def end(self, timeout: float | None = None) -> None:
        self.connection.close()
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()

    def fate(self) -> str:
        """Tell how the process ended, which had not been asked to."""
        self.end()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        reason = " (as when memory runs out)" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{reason}; try it alone"


def _serve(connection: Connection, work: Work) -> None:
    """Do tasks until there are no more: what a worker is."""
    # Ctrl-C reaches all processes of a terminal; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    for name in _THREADS:
        os.environ[name] = "1"
    try:
        while True:
            task = connection.recv()
            connection.send(carry_out(work, task, lambda done: _send(connection, done)))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass


def _send(connection: Connection, message: Any) -> None:
    """Send a message; with nobody to read it, there is nobody to work for."""
    try:
        connection.send(message)
    except OSError:
        raise SystemExit(1) from None


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
