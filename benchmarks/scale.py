"""Recordings transcribed per hour by number of workers.

::

    pip install '.[cluster]'
    python -m benchmarks.scale --data PATH/TO/data

Cuts recordings of real pianos into files and times the command on them: in processes of this
machine, and by workers of Dask.distributed on this machine, which read the files or are sent them.
A worker is a process with one thread, which keeps its memory. Efficiency is the rate of each
worker over that of a single one, with the time to start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import click
from distributed import Client

from harmnmf import read_audio, write_audio
from harmnmf.signal.audio_folders import audio_files

from .data import real_recordings
from .report import Table, benchmark

# By default, Dask makes glibc return memory after each block, and the next one allocates it again.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**32)}
# Further options of the command than the number or the address of the workers.
WHERE: dict[str, list[str]] = {
    "processes": [],
    "cluster, by path": [],
    "cluster, sent": ["--send"],
}


def write_archive(folder: Path, data: Path, n_files: int, seconds: float) -> None:
    """Write excerpts of real recordings: the first of each, then the second, and so on."""
    pieces = real_recordings(data)
    for i, piece in enumerate(islice(cycle(pieces), n_files)):
        offset = i // len(pieces) * seconds
        excerpt = read_audio(piece, mono=False, offset=offset, duration=seconds)
        write_audio(folder / f"{i}.wav", excerpt)


def timed_run(folder: Path, options: Sequence[str]) -> float:
    """Seconds that the command takes to transcribe all files of a folder."""
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "harmnmf", "transcribe", str(folder), "-o", output, *options],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        elapsed = time.perf_counter() - start
        n_done = len(list(Path(output).glob("*.mid")))
    if n_done != len(audio_files(folder)):
        raise RuntimeError(f"only {n_done} recordings were transcribed")
    return elapsed


@contextmanager
def cluster(n_workers: int) -> Iterator[str]:
    """Start a scheduler and workers on the loopback interface; yield their address."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scheduler.json")
        common = ["--no-dashboard", "--scheduler-file", str(file)]
        commands = [["scheduler", "--host", "127.0.0.1", "--port", "0"]]
        commands += [["worker", "--nthreads", "1", "--local-directory", folder]] * n_workers
        processes = []
        try:
            for name, *options in commands:
                code = f"from distributed.cli import dask_{name} as cli; cli.main()"
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-c", code, *options, *common],
                        env={**os.environ, **KEEP_MEMORY, "OMP_NUM_THREADS": "1"},
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                )
                while not (file.exists() and file.read_text().rstrip().endswith("}")):
                    if processes[0].poll() is not None:
                        raise RuntimeError("the scheduler has ended")
                    time.sleep(0.1)
            address: str = json.loads(file.read_text())["address"]
            with Client(address) as client:
                client.wait_for_workers(n_workers)
            yield address
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


@benchmark(threads=1)
@click.option("--files", "n_files", default=12, show_default=True, help="Number of recordings.")
@click.option("--seconds", default=60.0, show_default=True, help="Length of each.")
@click.option(
    "--workers",
    "most",
    default=os.cpu_count() or 1,
    show_default=True,
    help="Most workers: 1, 2, 4, …",
)
def main(data: Path, n_files: int, seconds: float, most: int) -> Iterator[Table]:
    counts = [2**i for i in range(most.bit_length())]

    def rows(folder: Path) -> Iterator[list[str]]:
        alone = 0.0
        for where, more in WHERE.items():
            for n_workers in counts:
                if where == "processes":
                    seconds_taken = timed_run(folder, ["-j", str(n_workers)])
                else:
                    with cluster(n_workers) as address:
                        seconds_taken = timed_run(folder, ["--scheduler", address, *more])
                rate = n_files / seconds_taken
                alone = alone or rate
                speeds = (f"{3600 * rate:.0f}", f"{rate * seconds:.1f}")
                efficiency = f"{rate / n_workers / alone:.2f}"
                yield [where, str(n_workers), f"{seconds_taken:.1f}", *speeds, efficiency]

    with tempfile.TemporaryDirectory() as name:
        write_archive(Path(name), data, n_files, seconds)
        columns = ["where", "workers", "seconds", "files per hour", "× real time", "efficiency"]
        title = f"Transcription of {n_files} recordings of {seconds:g} s"
        yield Table("scale", title, columns, rows(Path(name)))


if __name__ == "__main__":
    main()
