"""Robustness of the commands to broken recordings, killed processes and full disks.

::

    python -m benchmarks.robustness [--reports FOLDER] [--before CHECKOUT] [--long]

Reads and transcribes one piece of music in all the files of ``benchmarks/unusual_audio.py``, and in
those of a folder that users reported, and with the library of another checkout to compare. Then
runs ``harmnmf transcribe FOLDER -o OUT -j 2`` and ``harmnmf enhance FOLDER -o OUT -j 2``: on the
files of ``benchmarks/broken_audio.py``, one of which is removed during the run; on a disk that
fills up and on a read-only one, which only root can mount; and repeatedly with SIGKILL at random
moments, to all processes or to the first only, until all is done. ``--long`` also measures the peak
memory of a minute, an hour and three hours of stereo at 44.1 kHz, in an hour and with 6 GB of disk.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile

from harmnmf import HarmnmfError, audio_info, read_audio

from . import unusual_recordings
from .broken_audio import Case, corpus
from .faults import COMMANDS, EXAMPLE, LOST, ROOT, Command, Runs, finish
from .report import Table, benchmark

REMOVED = "zz removed during the run.wav"
LENGTHS = {"1 minute": 60, "1 hour": 3600, "3 hours": 3 * 3600}
RATE = 44_100
# getrusage includes the process that started the measured one: this one is small.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def bad_inputs(command: Command, folder: Path) -> tuple[int, list[str]]:
    """Run a command on the corpus; return the number of files and a list of problems."""
    source, output = folder / "bad", folder / "bad outputs"
    source.mkdir()
    for case in corpus():
        case.make(source / case.name)
    shutil.copy(EXAMPLE, source / REMOVED)
    manifest = output / "manifest.jsonl"
    process = command.start(source, output)
    while process.poll() is None and not (manifest.exists() and b'"done"' in manifest.read_bytes()):
        time.sleep(0.05)
    (source / REMOVED).unlink()
    wrong = finish(process, 1, output)
    records = read_manifest(manifest)
    removed = Case(REMOVED, Path.touch, "no such file; check the name")
    cases = [*(case for case in corpus() if case.listed), removed]
    for case in cases:
        problem = judge(command, case, records.get(case.name), output)
        if problem is not None:
            wrong.append(f"{command.name} {case.name!r}: {problem}")
    return len(cases), wrong


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Last record of each input in a manifest, by the input's name."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {Path(record["input"]).name: record for record in map(json.loads, lines)}


def judge(command: Command, case: Case, record: dict[str, Any] | None, folder: Path) -> str | None:
    """Compare a record and the output with the expected result; return the difference."""
    if record is None:
        return LOST
    error = record.get("error")
    expected = case.errors.get(command.name, case.error)
    if expected is not None:
        is_right = record["status"] == "failed" and re.fullmatch(f".*: {expected}", error)
        return None if is_right else f"{record['status']}, {error!r}, and not {expected!r}"
    if record["status"] != "done":
        return f"{record['status']}: {error}"
    path = folder / command.output.format(Path(case.name).stem)
    try:
        command.read(path)
        seconds = audio_info(path).duration if command.name == "enhance" else case.seconds[0]
    except HarmnmfError as problem:
        return str(problem)
    return None if case.seconds[0] <= seconds <= case.seconds[1] else f"lasts {seconds} s"


def peak_memory(command: Command, folder: Path, seconds: int) -> float:
    """Measure the peak memory of a run on one long recording, in GB."""
    source = folder / "long.flac"
    stereo = np.tile(read_audio(EXAMPLE, sample_rate=RATE).samples[:, None], 2)
    with soundfile.SoundFile(source, "w", RATE, 2, "PCM_16") as file:
        for start in range(0, seconds * RATE, len(stereo)):
            file.write(stereo[: seconds * RATE - start])
    output = folder / command.output.format("long")
    measured = [sys.executable, "-c", MEASURE, *command.line(source, output)]
    done = subprocess.run(measured, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    output.unlink()
    return int(done.stdout.splitlines()[-1]) / 2**20


def column(command: Command, folder: Path, n_kills: int) -> tuple[dict[str, str], list[str]]:
    """Count the faults that a command survives, and list the problems."""
    n_inputs, bad = bad_inputs(command, folder)
    runs = Runs(command, folder)
    killed = runs.kill(n_kills)
    n_faults, filled = runs.fill()
    wrong = [*bad, *killed, *filled]
    counts = {
        "bad inputs, ended as specified": f"{n_inputs - len(bad)} of {n_inputs}",
        "SIGKILL, survived": f"{max(n_kills - len(killed), 0)} of {n_kills}",
        "disk full and read-only, survived": f"{max(n_faults - len(filled), 0)} of {n_faults}",
        "files lost": str(sum(LOST in problem for problem in wrong)),
    }
    if not n_faults:
        counts["disk full and read-only, survived"] = "not tried"
    return counts, wrong


@benchmark(data=False)
@click.option("--long", "is_long", is_flag=True, help="Measure the memory of long recordings.")
@click.option("--kills", default=20, show_default=True, help="Number of SIGKILLs.")
@click.option(
    "--reports",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of recordings that users reported.",
)
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkout of an older version to compare with.",
)
def main(is_long: bool, kills: int, reports: Path | None, before: Path | None) -> Iterator[Table]:
    checkouts = {"before": before, "now": ROOT} if before else {"now": ROOT}
    yield unusual_recordings.table(checkouts, reports)
    columns = []
    for command in COMMANDS:
        with tempfile.TemporaryDirectory(prefix="robustness ") as name:
            counts, problems = column(command, Path(name), kills)
            for length, seconds in LENGTHS.items() if is_long else ():
                memory = peak_memory(command, Path(name), seconds)
                counts[f"peak memory, {length}"] = f"{memory:.2f} GB"
            columns.append(counts)
        for problem in problems:
            click.echo(problem, err=True)
    header = ["", *(f"harmnmf {command.name}" for command in COMMANDS)]
    rows = [[row, *(counts[row] for counts in columns)] for row in columns[0]]
    yield Table("robustness", "Broken recordings, faults and memory", header, rows)


if __name__ == "__main__":
    main()
