"""Fault injection for `robustness`: killed processes and full disks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from harmnmf import HarmnmfError, read_audio, read_notes

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/example.flac"
N_FILES = 10
SHORT = 5.0  # seconds
PATIENCE = 1800.0  # seconds until a run counts as hung
LOST = "is lost"
_PAGE = 4096  # bytes of a disk in memory


def _samples(path: Path) -> bytes:
    # Samples, not bytes of the file: libsndfile writes the time into it.
    return read_audio(path, mono=False).samples.tobytes()


@dataclass(frozen=True)
class Command:
    """A command, the pattern of its outputs' names, and a function that reads an output."""

    name: str
    output: str
    read: Callable[[Path], object]

    def line(self, source: Path, output: Path, *options: str) -> list[str]:
        """Command line, as a list of arguments."""
        arguments = ["-m", "harmnmf", self.name, str(source), "-o", str(output)]
        return [sys.executable, *arguments, *options]

    def start(self, source: Path, output: Path) -> subprocess.Popen[str]:
        """Start it in a session of its own, with two workers."""
        return subprocess.Popen(
            self.line(source, output, "-j", "2"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )


COMMANDS = [
    Command("transcribe", "{}.mid", partial(read_notes, offset="key")),
    Command("enhance", "{}_enhanced.wav", _samples),
]


def finish(process: subprocess.Popen[str], code: int, output: Path) -> list[str]:
    """Wait for a run and list the problems of its end.

    It should have this exit code, an error message in lines of its own if the code is not 0, and no
    temporary files left in the folder of outputs.
    """
    lines = process.communicate(timeout=PATIENCE)[1].splitlines()
    temporary = list(output.rglob(".harmnmf-*"))
    is_orderly = all(line.startswith("harmnmf: ") for line in lines)
    if process.returncode == code and bool(code) <= bool(lines) and is_orderly and not temporary:
        return []
    return [f"{process.args}: exit code {process.returncode}, not {code}; {temporary}; {lines}"]


class Runs:
    """Runs on short recordings, compared with the outputs of an undisturbed run.

    Parameters
    ----------
    command : Command
        The command.
    folder : Path
        An empty folder.
    duration : float
        Length of the recordings in seconds.
    """

    def __init__(self, command: Command, folder: Path, duration: float = SHORT) -> None:
        self.command = command
        self.folder = folder
        self.source = folder / "short"
        self.source.mkdir()
        for number in range(N_FILES):
            audio = read_audio(EXAMPLE, offset=0.5 * number, duration=duration)
            soundfile.write(self.source / f"{number}.wav", audio.samples, audio.sample_rate)
        start = time.perf_counter()
        output = folder / "undisturbed"
        if wrong := finish(command.start(self.source, output), 0, output):
            raise RuntimeError(f"an undisturbed run failed: {wrong}")
        self.seconds = time.perf_counter() - start
        paths = [output / command.output.format(number) for number in range(N_FILES)]
        self.n_bytes = [path.stat().st_size for path in paths]
        self.expected = {path.name: command.read(path) for path in paths}

    def compare(self, output: Path, *, partly: bool) -> list[str]:
        """List outputs that differ from the expected ones; with `partly`, some may be missing."""
        wrong = []
        for name, expected in self.expected.items():
            path = output / name
            try:
                if not path.exists():
                    wrong += [] if partly else [f"{path}: {LOST}"]
                elif self.command.read(path) != expected:
                    wrong.append(f"{path}: differs")
            except HarmnmfError as error:
                wrong.append(f"corrupt: {error}")
        return wrong

    def kill(self, n: int) -> list[str]:
        """Kill n runs at random moments, continue each time, and list the problems."""
        rng = np.random.default_rng(0)
        output = self.folder / "killed"
        wrong: list[str] = []
        n_killed = 0
        while True:
            process = self.command.start(self.source, output)
            if n_killed < n:
                try:
                    process.wait(rng.uniform(0.2, 1.0) * self.seconds)
                except subprocess.TimeoutExpired:
                    # Workers that are left behind may still work during the next run.
                    (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
                    process.wait()
                    n_killed += 1
                    wrong += self.compare(output, partly=True)
                    continue
            wrong += finish(process, 0, output)
            wrong += self.compare(output, partly=False)
            if n_killed == n:
                return wrong
            shutil.rmtree(output)

    def fill(self) -> tuple[int, list[str]]:
        """Write to a disk that fills up, make it read-only, then make room.

        Returns
        -------
        n_faults : int
            Number of faults; 0 without the rights to mount a disk.
        wrong : list of str
            Problems.
        """
        output = self.folder / "full"
        n_pages = sum(-(-n_bytes // _PAGE) for n_bytes in self.n_bytes)
        with _small_disk(output, max(n_pages // 3, 4) * _PAGE) as mounted:
            if not mounted:
                return 0, []
            wrong = finish(self.command.start(self.source, output), 1, output)
            wrong += self.compare(output, partly=True)
            _remount(output, "ro")
            wrong += finish(self.command.start(self.source, output), 1, output)
            wrong += self.compare(output, partly=True)
            _remount(output, "rw,size=1g")
            wrong += finish(self.command.start(self.source, output), 0, output)
            wrong += self.compare(output, partly=False)
        return 2, wrong


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a disk of some bytes; yield whether that was possible."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
