"""Work for processes and clusters to do, which have to import it."""

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

from harmnmf import HarmnmfError
from harmnmf.batch.task import Progress, Task
from harmnmf.storage.files import atomic_path


@dataclass(frozen=True)
class Copy:
    """Copies a file, and does as its first word says."""

    def __call__(self, task: Task, progress: Progress) -> str:
        word = task.source.read_text().partition(" ")[0]
        progress(1.0)
        if word == "refuse":
            raise HarmnmfError(f"{task.source}: is\nbad")
        if word == "fault":
            raise KeyError("no such thing")
        if word == "memory":
            raise MemoryError
        if word == "full":
            raise OSError(28, "No space left on device")
        if word == "warn":
            warnings.warn(f"{task.source}: is doubtful", stacklevel=1)
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == "exit":
            os._exit(3)
        if word == "once":  # kills the first that works on it
            mark = task.source.with_suffix(".mark")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        for path in task.outputs:
            path.parent.mkdir(exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(task.source.read_bytes())
                if word == "hang":
                    task.source.with_suffix(".busy").touch()
                    time.sleep(60)
                if word == "slow":
                    time.sleep(0.5)
        progress(2.0)
        return f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}"


class Cluster:
    """A scheduler of Dask on the loopback interface, and its workers, in processes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen] = []
        tests = Path(__file__).parent
        self.environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
        self.scheduler = self.start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-jupyter",
            "--scheduler-file", str(self.file),
        )  # fmt: skip
        while not self.file.exists():
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, name: str, *args: str) -> subprocess.Popen:
        code = f"from distributed.cli import dask_{name} as cli; cli.main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def add_worker(self) -> subprocess.Popen:
        return self.start("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def make_tasks(folder: Path, *words: str) -> list[Task]:
    """Write a file for each word, and plan its copy."""
    (folder / "out").mkdir(exist_ok=True)
    tasks = []
    for i, word in enumerate(words):
        source = folder / f"{i}.txt"
        source.write_text(f"{word} {i}")
        tasks.append(Task(source, (folder / "out" / f"{i}.copy",)))
    return tasks
