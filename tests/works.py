"""Work for processes and clusters, in a module that they can import, and a command that runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import click

from harmnmf import HarmnmfError, ParameterError
from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import batch_options, process_each
from harmnmf.cli._support.paths import plan_outputs
from harmnmf.cli.main import LazyGroup
from harmnmf.storage.files import atomic_folder, atomic_path


@dataclass(frozen=True)
class Copy:
    """Copy a file, whose first word selects a failure or a delay."""

    level: int = 0

    def prepare(self) -> None:
        if self.level < 0:
            raise ParameterError("level must not be negative")

    def __call__(self, task: Task, progress: Progress) -> str:
        word = task.source.read_text(errors="replace").partition(" ")[0]
        progress(1.0)
        errors = {
            "refuse": HarmnmfError(f"{task.source}: is\nbad"),
            "fault": KeyError("no such thing"),
            "memory": MemoryError(),
            "full": OSError(28, "No space left on device"),
        }
        if word in errors:
            raise errors[word]
        if word == "warn":
            warnings.warn(f"{task.source}: is doubtful", stacklevel=1)
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == "exit":
            os._exit(3)
        if word == "once":  # kills the first process that works on it
            mark = task.source.with_suffix(".mark")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        for path in task.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(task.source.read_bytes())
                if word == "hang":
                    task.source.with_suffix(".busy").touch()
                    time.sleep(60)
                if word == "slow":
                    time.sleep(0.5)
        progress(2.0)
        return f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}"


@dataclass(frozen=True)
class CopyWithNotes:
    """Copy a file and its companions to a folder."""

    def __call__(self, task: Task, progress: Progress) -> str:
        (folder,) = task.outputs
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as temporary:
            for path in (task.source, *task.companions):
                (temporary / path.name).write_bytes(path.read_bytes())
        if task.source.read_text().startswith("warn"):
            warnings.warn(f"{folder}: like {task.companions[0]}", stacklevel=1)
        return ""


@click.command()
@click.argument("audio", nargs=-1)
@click.option("-o", "--output", type=click.Path())
@click.option("--ending", "endings", multiple=True, default=[".mid"])
@click.option("--level", default=0)
@batch_options
@click.pass_context
def copy(ctx, audio, output, endings, level, batch):
    """Copy files."""
    plan = plan_outputs(audio, output, endings, [".mid", ".csv"])
    process_each(ctx, plan, Copy(level), batch)


class Harmnmf(LazyGroup):
    """The group of commands, with another command."""

    def __init__(self, command: click.Command) -> None:
        super().__init__("harmnmf")
        self.command = command

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        return self.command


class Cluster:
    """A Dask scheduler and workers in processes of their own.

    With ``installed=False``, they cannot import harmnmf.
    """

    def __init__(self, folder: Path, *, installed: bool = True) -> None:
        self._block = "" if installed else "import sys; sys.modules['harmnmf'] = None; "
        self._processes: list[subprocess.Popen] = []
        file = folder / "scheduler.json"
        try:
            self.scheduler = self._start(
                "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                "--no-jupyter", "--scheduler-file", str(file),
            )  # fmt: skip
            self.address = self._read_address(file)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def add_worker(self) -> subprocess.Popen:
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"
        )

    def _start(self, name: str, *args: str) -> subprocess.Popen:
        tests = Path(__file__).parent
        code = f"{self._block}from distributed.cli import dask_{name} as cli; cli.main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def _read_address(self, file: Path) -> str:
        while self.scheduler.poll() is None:
            try:
                return json.loads(file.read_text())["address"]
            except (FileNotFoundError, json.JSONDecodeError):  # missing, or not complete yet
                time.sleep(0.05)
        raise RuntimeError(f"the scheduler ended with exit code {self.scheduler.returncode}")


def make_tasks(folder: Path, *words: str) -> list[Task]:
    """Write a file for each word, and plan its copy."""
    (folder / "out").mkdir(exist_ok=True)
    tasks = []
    for i, word in enumerate(words):
        source = folder / f"{i}.txt"
        source.write_text(f"{word} {i}")
        tasks.append(Task(source, (folder / "out" / f"{i}.copy",)))
    return tasks
