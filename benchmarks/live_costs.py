"""Latency, speed and memory of live transcription.

::

    python -m benchmarks.live_costs --data PATH/TO/data
    python -m benchmarks.live_costs --data PATH/TO/data --hours 10

Plays recordings of ``piano/real`` one after the other, each at a level that is drawn, in one thread
of PyTorch. The first table has the time from an onset to its event, when blocks of 10 ms are pushed
at the times at which they would be recorded: on a machine that does nothing else, and with another
process that keeps one core busy. Onsets are those of the events, on the clock of the stream. What a
sound card adds is not in it. The algorithm's latency is that of `LiveTranscriber.latency`.

The second has the real-time factor on one core, as fast as possible in blocks of several lengths,
and the longest time that one block takes: longer than the block, it must be made up for. Events
must be the same, whatever the blocks.

The table of ``--hours``, measured instead, has the resident memory of the process, Python and
PyTorch included, while it transcribes a stream as fast as possible in blocks of 1 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import cycle
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harmnmf import LiveTranscriber, NoteOn, read_audio
from harmnmf.live.events import Event

from .data import SAMPLE_RATE, SEED, real_recordings
from .report import Table, benchmark
from .separation import FORMATS

BLOCK = 0.01  # seconds, as of a sound card
WARM_UP = 2.0  # seconds, transcribed before anything is timed
LEVELS_DB = (-18.0, 0.0)  # least and most that a recording is amplified by
# Seconds of a block, or None for lengths that are drawn for each.
BLOCKS: dict[str, float | None] = {"10 ms": BLOCK, "1 s": 1.0, "drawn, up to 0.3 s": None}
LONGEST_DRAWN, N_DRAWN = 0.3, 99  # seconds, and number of lengths
MARKS = (1 / 60, 0.25, 0.5, 1.0, 2.0, 3.0, 10.0)  # hours after which memory is measured

Samples = NDArray[np.float32]


def endless(data: Path, sample_rate: int, n_channels: int, seconds: float) -> Iterator[Samples]:
    """Yield the real recordings again and again, in blocks of some seconds, at drawn levels."""
    rng = np.random.default_rng(SEED)
    n_samples = round(seconds * sample_rate)
    rest = np.empty((n_channels, 0), np.float32)
    for path in cycle(real_recordings(data)):
        gain = np.float32(10 ** (rng.uniform(*LEVELS_DB) / 20))
        samples = gain * read_audio(path, sample_rate=sample_rate).samples
        rest = np.concatenate([rest, np.tile(samples, (n_channels, 1))], axis=1)
        while rest.shape[1] >= n_samples:
            yield rest[:, :n_samples]
            rest = rest[:, n_samples:]


def excerpt(data: Path, sample_rate: int, n_channels: int, seconds: float) -> Samples:
    """Read the beginning of the stream, shape (n_channels, n_samples)."""
    return next(endless(data, sample_rate, n_channels, seconds))


def cut(samples: Samples, n_samples: Sequence[int]) -> Iterator[Samples]:
    """Cut samples into blocks of these lengths, again from the first length when they end."""
    start = 0
    for n in cycle(n_samples):
        if start >= samples.shape[1]:
            return
        yield samples[:, start : start + n]
        start += n


def warm_up(samples: Samples, sample_rate: int) -> None:
    """Transcribe a little with another transcriber: first calls take longer."""
    LiveTranscriber(sample_rate).push(samples[:, : round(WARM_UP * sample_rate)])


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def delays_of_notes(
    transcriber: LiveTranscriber, samples: Samples
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Push blocks of 10 ms in real time.

    Returns
    -------
    delays : ndarray, shape (n_notes,)
        Seconds from each onset, on the clock of the stream, to the return of its event.
    times : ndarray, shape (n_blocks,)
        Seconds that each push took.
    """
    rate = transcriber.sample_rate
    n_pushed, delays, times = 0, [], []
    start = time.perf_counter()
    for block in cut(samples, [round(BLOCK * rate)]):
        n_pushed += block.shape[1]
        # A block is there when its last sample was recorded.
        time.sleep(max(start + n_pushed / rate - time.perf_counter(), 0.0))
        before = time.perf_counter()
        events = transcriber.push(block)
        after = time.perf_counter()
        times.append(after - before)
        delays += [after - start - event.time for event in events if isinstance(event, NoteOn)]
    return np.array(delays), np.array(times)


def latency_rows(data: Path, seconds: float) -> Iterator[list[str]]:
    """Rows of the table of latencies: the median, the 99th percentile and the longest."""
    samples = excerpt(data, SAMPLE_RATE, 1, seconds)
    warm_up(samples, SAMPLE_RATE)
    for name, load in (("idle", nullcontext), ("one core busy", busy_core)):
        transcriber = LiveTranscriber(SAMPLE_RATE)
        with load():
            delays, times = delays_of_notes(transcriber, samples)
        measured = (*np.percentile(delays, (50, 99)), delays.max(), times.max())
        cells = [f"{1000 * x:.0f}" for x in (transcriber.look_ahead, transcriber.latency)]
        yield [name, *cells, str(len(delays)), *(f"{1000 * x:.0f}" for x in measured)]


def timed_events(
    transcriber: LiveTranscriber, blocks: Iterator[Samples]
) -> tuple[list[Event], float, float]:
    """Transcribe as fast as possible; return the events, all the time, and the longest push's."""
    events: list[Event] = []
    total = longest = 0.0
    for block in blocks:
        start = time.perf_counter()
        events += transcriber.push(block)
        elapsed = time.perf_counter() - start
        total, longest = total + elapsed, max(longest, elapsed)
    return events + transcriber.finish(), total, longest


@contextmanager
def on_one_core() -> Iterator[None]:
    """Stay on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def cost_rows(data: Path, seconds: float) -> Iterator[list[str]]:
    """Rows of the table of real-time factors."""
    rng = np.random.default_rng(SEED)
    for name, (rate, n_channels) in FORMATS.items():
        samples = excerpt(data, rate, n_channels, seconds)
        warm_up(samples, rate)
        first: list[Event] = []
        for blocks, length in BLOCKS.items():
            lengths = (
                [round(length * rate)] if length else rng.integers(1, LONGEST_DRAWN * rate, N_DRAWN)
            )
            with on_one_core():
                transcriber = LiveTranscriber(rate)
                events, total, longest = timed_events(transcriber, cut(samples, lengths))
            first = first or events
            is_same = "yes" if events == first else "no"
            factor = f"{total / seconds:.3f}"
            yield [name, blocks, factor, f"{1000 * longest:.0f}", str(len(events)), is_same]


def resident_memory() -> float:
    """Resident memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [x for x in lines if x.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def memory_rows(data: Path, hours: float) -> Iterator[list[str]]:
    """Rows of the table of memory: after a minute, and after some hours of a stream."""
    transcriber = LiveTranscriber(SAMPLE_RATE)
    blocks = endless(data, SAMPLE_RATE, 1, 1.0)
    for mark in sorted({*(x for x in MARKS if x < hours), hours}):
        begun, n_events = transcriber.time, 0
        while transcriber.time < 3600 * mark:
            n_events += len(transcriber.push(next(blocks)))
        after = f"{mark:g} h" if mark >= 1 else f"{60 * mark:g} min"
        rate = n_events / (transcriber.time - begun)
        yield [after, f"{resident_memory():.0f}", f"{rate:.1f}"]


@benchmark(threads=1)
@click.option("--seconds", default=60.0, show_default=True, help="Length of what is timed.")
@click.option("--hours", type=float, help="Measure memory instead, over so many hours.")
def main(data: Path, seconds: float, hours: float | None) -> Iterator[Table]:
    with threadpool_limits(1):
        if hours is not None:
            columns = ["after", "resident memory, MB", "events a second"]
            title = f"Memory of live transcription, {hours:g} h of stream"
            yield Table("live_memory", title, columns, memory_rows(data, hours))
            return

        columns = ["machine", "look-ahead, ms", "algorithm's latency, ms", "notes"]
        columns += ["median, ms", "99th percentile, ms", "longest, ms", "longest push, ms"]
        title = "Measured latency of live transcription"
        yield Table("live_latency", title, columns, latency_rows(data, seconds))

        columns = ["format", "blocks", "real-time factor", "longest push, ms"]
        columns += ["events", "the same events"]
        title = "Costs of live transcription on one core"
        yield Table("live_costs", title, columns, cost_rows(data, seconds))


if __name__ == "__main__":
    main()
