"""Scores of speech enhancement on VoiceBank+DEMAND.

::

    pip install '.[bench]'
    python -m benchmarks.enhancement --data PATH/TO/data
    python -m benchmarks.enhancement --data PATH/TO/data --model RUN/model.safetensors --pairs 20

Enhances the noisy recordings of ``speech/voicebank_demand_dev`` and scores them against the clean
ones: means over all recordings, and over those of each input SNR.

A model is the name of a shipped network, a file of weights, or one of the peers that pip installs:
noisereduce and pyrnnoise (RNNoise). NAME@DB sets the maximum attenuation instead of the one that
the file recommends; NAME@inf removes it.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from harmnmf import read_audio
from harmnmf.enhancement import Enhancer, evaluate_enhancement, shipped_models

from .data import SAMPLE_RATE, speech_pairs
from .report import Table, benchmark

# SNRs of active speech that the recordings were made with. Measured over whole files, with the
# pauses, they are 0.5 to 3 dB lower.
INPUT_SNRS = (2.5, 7.5, 12.5, 17.5)
NOISY = "noisy"
PEERS = ("noisereduce", "pyrnnoise")
RNNOISE_RATE = 48_000
RNNOISE_DELAY = 0.02  # seconds

Enhance = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Scored(NamedTuple):
    """Input SNR of a recording in dB, and its scores."""

    snr: float
    scores: dict[str, float]


@cache
def load_system(name: str) -> Enhance:
    """Load an enhancer of samples at 16 kHz: "noisy" (the identity), a peer, or a network."""
    if name == NOISY:
        return np.asarray
    if name == "noisereduce":
        import noisereduce

        return lambda noisy: noisereduce.reduce_noise(noisy, SAMPLE_RATE)
    if name == "pyrnnoise":
        return _rnnoise
    source, found, limit = name.rpartition("@")
    options = {"attenuation_limit": float(limit)} if found else {}
    enhancer = Enhancer.load(source if found else name, device="cpu", **options)
    return partial(enhancer, sample_rate=SAMPLE_RATE)


def _rnnoise(noisy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run RNNoise at its own rate, and remove its delay."""
    from pyrnnoise import RNNoise

    samples = np.pad(noisy, (0, round(RNNOISE_DELAY * SAMPLE_RATE)))
    samples = soxr.resample(samples, SAMPLE_RATE, RNNOISE_RATE) * 32767
    chunk = samples.clip(-32768, 32767).astype(np.int16)
    frames = RNNoise(RNNOISE_RATE).denoise_chunk(chunk, partial=True)
    denoised = np.concatenate([frame[0] for _, frame in frames]) / np.float32(32767)
    aligned = denoised[round(RNNOISE_DELAY * RNNOISE_RATE) :]
    return soxr.resample(aligned, RNNOISE_RATE, SAMPLE_RATE)[: len(noisy)]


def input_snr(clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> float:
    """Nominal SNR of a recording, from the measured one."""
    speech, noise = clean.astype(np.float64), (noisy - clean).astype(np.float64)
    measured = 10 * np.log10((speech @ speech) / (noise @ noise))
    return next((snr for snr in INPUT_SNRS if measured < snr + 1), INPUT_SNRS[-1])


def score_pair(name: str, paths: tuple[Path, Path]) -> Scored:
    """Enhance a noisy recording and score it against the clean one."""
    clean, noisy = (read_audio(path, sample_rate=SAMPLE_RATE).samples for path in paths)
    scores = evaluate_enhancement(clean, load_system(name)(noisy), SAMPLE_RATE)
    return Scored(input_snr(clean, noisy), scores)


@contextmanager
def workers(n_jobs: int) -> Iterator[Callable]:
    """Yield a function like :func:`map` that works in n_jobs processes."""
    if n_jobs == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_jobs, context, torch.set_num_threads, (1,)) as pool:
        yield pool.map


def score_all(
    names: Sequence[str], pairs: Sequence[tuple[Path, Path]], run: Callable
) -> dict[str, list[Scored]]:
    """Score all systems on all recordings."""
    tasks = [(name, pair) for name in names for pair in pairs]
    results = list(run(score_pair, *zip(*tasks, strict=True)))
    return {name: results[i * len(pairs) :][: len(pairs)] for i, name in enumerate(names)}


def means(scored: Sequence[Scored], *names: str) -> list[str]:
    """Format the means of scores."""
    values = {name: np.mean([x.scores[name] for x in scored]) for name in names}
    return [f"{mean:.{3 if name == 'STOI' else 2}f}" for name, mean in values.items()]


def snr_table(results: dict[str, list[Scored]]) -> Table:
    """Format WB-PESQ and SI-SDR of each system at each input SNR."""
    columns, rows = ["system"], [[name] for name in results]
    for snr in INPUT_SNRS:
        groups = [[x for x in scored if x.snr == snr] for scored in results.values()]
        if groups[0]:
            columns += [f"{snr} dB ({len(groups[0])} pairs): WB-PESQ", "SI-SDR"]
            for row, group in zip(rows, groups, strict=True):
                row += means(group, "WB-PESQ", "SI-SDR")
    return Table("enhancement_snr", "Scores by input SNR", columns, rows)


def available(models: Sequence[str]) -> list[str]:
    """Models to measure, all if none are named, without peers that are not installed."""
    names = models or [*shipped_models(), *PEERS]
    missing = [x for x in names if x in PEERS and importlib.util.find_spec(x) is None]
    for name in missing:
        click.echo(f"{name} is not installed: left out", err=True)
    return [name for name in names if name not in missing]


model_option = click.option(
    "--model", "models", multiple=True, help="Name or file. [default: all shipped, and the peers]"
)


@benchmark(threads=1)
@model_option
@click.option("--pairs", type=click.IntRange(min=1), help="Number, evenly spaced. [default: all]")
@click.option("--jobs", default=1, show_default=True, help="Processes that score.")
def main(data: Path, models: tuple[str, ...], pairs: int | None, jobs: int) -> Iterator[Table]:
    with workers(jobs) as run:
        results = score_all([NOISY, *available(models)], speech_pairs(data, pairs), run)
    metrics = list(results[NOISY][0].scores)
    rows = [[name, *means(scored, *metrics)] for name, scored in results.items()]
    yield Table("enhancement", "Scores", ["system", *metrics], rows)
    yield snr_table(results)


if __name__ == "__main__":
    main()
