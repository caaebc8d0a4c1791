"""Measure how many recordings an hour are transcribed, against the number of workers.

::

    pip install '.[cluster]'
    python -m benchmarks.scale --data PATH/TO/data

Cuts recordings of real pianos into files and transcribes them by the command, from its start to
its end: in processes of this machine, and by workers of Dask.distributed on this machine, which
read the files or are sent them. A worker is a process with one thread, which keeps its memory.
Efficiency is the rate for each worker, divided by that of one; what it takes to start is within it.
Then it projects what an archive takes that is larger than this machine.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import cycle, islice
from pathlib import Path

import click
from distributed import Client

from harmnmf import read_audio, write_audio
from harmnmf.signal.audio_folders import audio_files

from .error_report import table

# Dask's nannies have glibc give all memory back at once, and take it anew for the next block.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**32)}
ARCHIVE_HOURS = 100_000
CORES = (100, 1_000, 10_000)


def write_archive(folder: Path, data: Path, n_files: int, seconds: float) -> None:
    """Write excerpts of real recordings, the first of each, then the second, and so on."""
    pieces = audio_files(data / "piano/real")
    for i, piece in enumerate(islice(cycle(pieces), n_files)):
        offset = i // len(pieces) * seconds
        excerpt = read_audio(piece, mono=False, offset=offset, duration=seconds)
        write_audio(folder / f"{i}.wav", excerpt)


def timed_run(folder: Path, options: Sequence[str]) -> float:
    """Transcribe all files of a folder by the command; return the seconds that it took."""
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
        raise RuntimeError(f"only {n_done} recordings are there")
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
                while not file.exists():
                    time.sleep(0.1)
            address: str = json.loads(file.read_text())["address"]
            with Client(address) as client:
                client.wait_for_workers(n_workers)
            yield address
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--files", "n_files", default=12, show_default=True, help="Number of recordings.")
@click.option("--seconds", default=60.0, show_default=True, help="Length of each.")
@click.option(
    "--workers",
    "most",
    default=os.cpu_count() or 1,
    show_default=True,
    help="Most workers: 1, 2, 4, …",
)
def main(data: Path, n_files: int, seconds: float, most: int) -> None:
    counts = [2**i for i in range(most.bit_length())]
    rows = []
    alone = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_archive(folder, data, n_files, seconds)
        n_bytes = sum(path.stat().st_size for path in audio_files(folder))

        def measure(where: str, n_workers: int, options: Sequence[str], first: float) -> float:
            elapsed = timed_run(folder, options)
            rate = n_files / elapsed
            efficiency = rate / n_workers / (first or rate)
            rows.append([
                where, str(n_workers), f"{elapsed:.1f}", f"{3600 * rate:.0f}",
                f"{rate * seconds:.1f}", f"{efficiency:.2f}",
            ])  # fmt: skip
            return rate

        for n_workers in counts:
            rate = measure("processes", n_workers, ["-j", str(n_workers)], alone)
            alone = alone or rate
        for where, more in (("cluster, by path", []), ("cluster, sent", ["--send"])):
            for n_workers in counts:
                with cluster(n_workers) as address:
                    measure(where, n_workers, ["--scheduler", address, *more], alone)
    click.echo(
        f"{platform.machine()}, {os.cpu_count()} cores, {date.today()}; {n_files} recordings of "
        f"{seconds:g} s, {n_bytes / 2**20:.0f} MiB\n"
    )
    header = ["where", "workers", "seconds", "files an hour", "times real time", "efficiency"]
    click.echo(table(header, rows))
    speed = float(rows[len(counts) - 1][4]) / counts[-1]
    megabytes = n_bytes / n_files / seconds * 3600 / 1e6
    click.echo(
        f"\n{ARCHIVE_HOURS:,} hours of such audio, with cores like these, all of them as busy as "
        f"{counts[-1]} are here ({speed:.1f} times real time each), and disks and a network that "
        f"give {megabytes:.0f} MB for each hour of audio:\n"
    )
    click.echo(
        table(
            ["cores", "days", "hours of audio an hour", "MB/s to be read"],
            [
                [
                    f"{n:,}", f"{ARCHIVE_HOURS / speed / n / 24:.2g}", f"{speed * n:,.0f}",
                    f"{speed * n * megabytes / 3600:.0f}",
                ]
                for n in CORES
            ],
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
