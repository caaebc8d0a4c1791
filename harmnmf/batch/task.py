"""What is done to one recording of many, and what came of it."""

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

__all__ = ["Outcome", "Progress", "Report", "Task", "Work", "carry_out", "file_hash", "run_here"]

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """A recording, and the files to be made of it.

    Parameters
    ----------
    source : Path
        The recording.
    outputs : tuple of Path
        What to write.
    """

    source: Path
    outputs: tuple[Path, ...]


# Called with a task and what to tell how many seconds of its audio are done. It writes the outputs,
# each in one step, and says in a few words what they hold. To reach other processes it has to be
# pickled: a function of a module, or an instance of one's class.
Work = Callable[[Task, Progress], str]
Report = Callable[[Task, float], None]


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Parameters
    ----------
    summary : str
        What the outputs hold, in a few words; empty if there are none.
    error : str, optional
        Why there are none, in one line.
    trace : str, optional
        Where in the code that was, if nobody had expected it.
    warnings : tuple of str
        What was doubtful, in a line each.
    seconds : float
        Of audio that were done.
    elapsed : float
        Seconds that it took.
    sha256 : str, optional
        Of what the recording held, in hexadecimal digits, if it could be read.
    """

    summary: str = ""
    error: str | None = None
    trace: str | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    elapsed: float = 0.0
    sha256: str | None = None


def carry_out(work: Work, task: Task, progress: Progress) -> Outcome:
    """Do what is to be done to one recording, and survive it.

    Parameters
    ----------
    work : callable
        What is to be done.
    task : Task
        To what.
    progress : callable
        Told how many seconds of audio are done.

    Returns
    -------
    Outcome
        Also if it failed, whatever the reason.

    Examples
    --------
    >>> def work(task, progress):
    ...     return f"would write {task.outputs[0]}"
    >>> task = Task(Path("song.wav"), (Path("song.mid"),))
    >>> carry_out(work, task, progress=print).summary
    'would write song.mid'
    """
    start = time.perf_counter()
    seconds = 0.0
    sha256 = file_hash(task.source)

    def followed(done: float) -> None:
        nonlocal seconds
        seconds = done
        progress(done)

    with warnings.catch_warnings(record=True) as caught:
        try:
            outcome = Outcome(work(task, followed))
        except HarmnmfError as error:
            outcome = Outcome(error=" ".join(str(error).split()))
        except OSError as error:
            outcome = Outcome(error=f"{task.source}: {error.strerror or error}")
        except MemoryError:
            outcome = Outcome(error=f"{task.source}: needs more memory than there is")
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            outcome = Outcome(
                error=f"{task.source}: {reason} (a fault of harmnmf: please report it)",
                trace=traceback.format_exc(),
            )
    doubts = tuple(dict.fromkeys(" ".join(str(item.message).split()) for item in caught))
    elapsed = time.perf_counter() - start
    return replace(outcome, warnings=doubts, seconds=seconds, elapsed=elapsed, sha256=sha256)


def run_here(
    work: Work, tasks: Iterable[Task], report: Report
) -> Generator[tuple[Task, Outcome], None, None]:
    """Do one task after another in this process.

    Parameters
    ----------
    work : callable
        What is to be done.
    tasks : iterable of Task
        To what.
    report : callable
        Told of a task how many seconds of its audio are done.

    Yields
    ------
    task : Task
        One that is finished.
    outcome : Outcome
        What came of it.
    """
    for task in tasks:
        yield task, carry_out(work, task, partial(report, task))


def file_hash(path: Path) -> str | None:
    """Compute the SHA-256 of what a file holds.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    str or None
        In hexadecimal digits; None if it cannot be read, or is no plain file, whose end may never
        come.
    """
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError:
        return None  # what is wrong is found when it is read as audio
    return digest.hexdigest()
