"""A task of a batch, and its outcome."""

from __future__ import annotations

import hashlib
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harmnmf.errors import HarmnmfError

__all__ = ["Outcome", "Progress", "Report", "Task", "Work", "file_hash", "run_serial", "run_task"]


@dataclass(frozen=True)
class Task:
    """A recording (`source`), and the files or folders to write for it (`outputs`).

    `companions` are other files that are read with it, such as its notes.
    """

    source: Path
    outputs: tuple[Path, ...]
    companions: tuple[Path, ...] = ()


# Called with the seconds of audio processed so far.
Progress = Callable[[float], None]
# The same for one task of several.
Report = Callable[[Task, float], None]
# Writes the outputs of a task and returns a summary in a few words. To run in other processes it
# must be picklable: a function of a module, or an instance of a class of a module.
Work = Callable[[Task, Progress], str]


@dataclass(frozen=True)
class Outcome:
    """Result of a task."""

    summary: str = ""  # content of the outputs in a few words
    error: str | None = None  # reason of a failure, in one line
    trace: str | None = None  # traceback of an unexpected exception
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0  # processed seconds of audio
    elapsed: float = 0.0  # processing time in seconds
    sha256: str | None = None  # hash of the recording


def run_task(work: Work, task: Task, progress: Progress) -> Outcome:
    """Process one recording; every exception becomes an `Outcome` with an error."""
    start = time.perf_counter()
    seconds = 0.0
    sha256 = file_hash(task.source)

    def track(done: float) -> None:
        nonlocal seconds
        seconds = done
        progress(done)

    with warnings.catch_warnings(record=True) as caught:
        try:
            outcome = Outcome(work(task, track))
        except HarmnmfError as error:
            outcome = Outcome(error=_one_line(error))
        except OSError as error:
            outcome = Outcome(error=f"{task.source}: {error.strerror or error}")
        except MemoryError:
            outcome = Outcome(error=f"{task.source}: not enough memory")
        except Exception as error:
            reason = _one_line(f"{type(error).__name__}: {error}")
            outcome = Outcome(
                error=f"{task.source}: {reason} (a bug in harmnmf: please report it)",
                trace=traceback.format_exc(),
            )
    return replace(
        outcome,
        warnings=tuple(dict.fromkeys(_one_line(item.message) for item in caught)),
        seconds=seconds,
        elapsed=time.perf_counter() - start,
        sha256=sha256,
    )


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def run_serial(
    work: Work, tasks: Iterable[Task], report: Report
) -> Generator[tuple[Task, Outcome], None, None]:
    """Run tasks one after another in this process; as `run_processes`."""
    for task in tasks:
        yield task, run_task(work, task, partial(report, task))


def file_hash(path: Path) -> str | None:
    """Compute the SHA-256 of a file; None if it cannot be read or is a pipe or a device."""
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError:
        return None  # reading the audio raises the error
    return digest.hexdigest()
