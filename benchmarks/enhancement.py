"""Measure how well, how fast and in how much memory noise is taken out of speech.

::

    pip install '.[bench]'
    python -m benchmarks.enhancement --data PATH/TO/data
    python -m benchmarks.enhancement --data PATH/TO/data --model RUN/model.npz --pairs 20 --no-costs

Enhances the noisy recordings of ``speech/voicebank_demand_dev``, and scores them and what they were
made from: means over all recordings, and over those of each SNR. Nothing tells which noise is in
which. The anchors are published or were measured on other files of VoiceBank+DEMAND; they are not
run here.

A model is a name of the package's, a file of weights, or one of the peers that need nothing but
pip: noisereduce and pyrnnoise. NAME@DB has another limit than its file recommends, NAME@inf none.
The real-time factor is the best of three with ten seconds of noise, the memory that of a process
that enhances a minute of it, with Python and PyTorch. Multiply-accumulates are without the Fourier
transforms.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date
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

from .comb_pitch import evenly_spaced
from .enhancement_costs import (
    SAMPLE_RATE,
    Enhance,
    multiply_accumulates,
    n_parameters,
    peak_memory,
    real_time_factor,
)
from .enhancement_singing import HEADER as SINGING_HEADER
from .enhancement_singing import singing_rows
from .error_report import table

# That the recordings were made with, of the level of active speech. What can be measured from the
# files, with the pauses, is 0.5 to 3 dB less.
INPUT_SNRS = (2.5, 7.5, 12.5, 17.5)
NOISY = "noisy"
PEERS = ("noisereduce", "pyrnnoise")
RNNOISE_RATE = 48_000
RNNOISE_DELAY = 0.02  # seconds
# WB-PESQ, STOI, SI-SDR; "papers" are all 824 files of the test set, "64" the hardest of them.
ANCHORS = (
    ("RNNoise", "VoiceBank", "papers", "2.29", "", ""),
    ("DeepFilterNet", "VoiceBank", "papers", "2.81", "", ""),
    ("Spectrum Attention Fusion, 0.58 M", "VoiceBank", "papers", "2.84", "0.943", ""),
    ("GTCRN, 24 k", "VoiceBank", "papers", "2.87", "", ""),
    ("FastEnhancer-T, 22 k", "VoiceBank", "papers", "2.99", "", ""),
    ("LiSenNet, 37 k", "VoiceBank", "papers", "3.08", "", ""),
    ("FastEnhancer-B, 91 k", "VoiceBank", "papers", "3.13", "", ""),
    ("FastEnhancer-M, 492 k", "VoiceBank", "papers", "3.24", "", ""),
    ("DB-AIAT, 2.8 M", "VoiceBank", "papers", "3.31", "", ""),
    ("CMGAN, 1.8 M", "VoiceBank", "papers", "3.41", "", ""),
    ("MP-SENet, 2 M", "VoiceBank", "papers", "3.50", "", ""),
    ("PrimeK-Net, 1.4 M", "VoiceBank", "papers", "3.61", "", ""),
    ("noisy", "", "64", "1.717", "", ""),
    ("noisereduce", "", "64", "1.32 to 1.55", "", ""),
    ("Speex", "", "64", "2.06", "", ""),
    ("RNNoise", "its own", "64", "2.14", "", ""),
    ("WebRTC", "", "64", "2.40", "0.901", ""),
    ("GTCRN", "DNS3", "64", "2.479", "0.919", "14.7"),
    ("GTCRN", "VoiceBank", "64", "2.861", "0.939", "18.0"),
)


class Scored(NamedTuple):
    """A recording's input SNR in dB, and its scores."""

    snr: float
    scores: dict[str, float]


@cache
def load_system(name: str) -> Enhance:
    """Find what enhances samples at 16 kHz by its name.

    Parameters
    ----------
    name : str
        "noisy" for what does nothing, a peer, the name of a shipped model, or a file.

    Returns
    -------
    callable
        From samples to as many samples.
    """
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
    """Run RNNoise at its own rate, and take its delay away."""
    from pyrnnoise import RNNoise

    samples = np.pad(noisy, (0, round(RNNOISE_DELAY * SAMPLE_RATE)))
    samples = soxr.resample(samples, SAMPLE_RATE, RNNOISE_RATE) * 32767
    chunk = samples.clip(-32768, 32767).astype(np.int16)
    frames = RNNoise(RNNOISE_RATE).denoise_chunk(chunk, partial=True)
    denoised = np.concatenate([frame[0] for _, frame in frames]) / np.float32(32767)
    aligned = denoised[round(RNNOISE_DELAY * RNNOISE_RATE) :]
    return soxr.resample(aligned, RNNOISE_RATE, SAMPLE_RATE)[: len(noisy)]


def input_snr(clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> float:
    """Tell with which SNR a recording was made, from how loud speech and noise are in it."""
    speech, noise = clean.astype(np.float64), (noisy - clean).astype(np.float64)
    measured = 10 * np.log10((speech @ speech) / (noise @ noise))
    return next((snr for snr in INPUT_SNRS if measured < snr + 1), INPUT_SNRS[-1])


def score_pair(name: str, clean_path: Path) -> Scored:
    """Enhance a noisy recording and score it."""
    noisy_path = clean_path.parents[1] / "noisy" / clean_path.name
    clean, noisy = (
        read_audio(path, sample_rate=SAMPLE_RATE).samples for path in (clean_path, noisy_path)
    )
    scores = evaluate_enhancement(clean, load_system(name)(noisy), SAMPLE_RATE)
    return Scored(input_snr(clean, noisy), scores)


@contextmanager
def workers(n_jobs: int) -> Iterator[Callable]:
    """Give what maps a function over arguments, in some processes if there are to be some."""
    if n_jobs == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_jobs, context, torch.set_num_threads, (1,)) as pool:
        yield pool.map


def score_all(
    names: Sequence[str], paths: Sequence[Path], run: Callable
) -> dict[str, list[Scored]]:
    """Score all systems on all recordings."""
    tasks = [(name, path) for name in names for path in paths]
    results = list(run(score_pair, *zip(*tasks, strict=True)))
    return {name: results[i * len(paths) :][: len(paths)] for i, name in enumerate(names)}


def mean_row(scored: Sequence[Scored]) -> list[str]:
    """Write the means of all scores."""
    names = scored[0].scores
    means = {name: np.mean([x.scores[name] for x in scored]) for name in names}
    return [f"{mean:.{3 if name == 'STOI' else 2}f}" for name, mean in means.items()]


def snr_rows(results: dict[str, list[Scored]]) -> Iterator[list[str]]:
    """Write the means for each input SNR."""
    for snr in INPUT_SNRS:
        for name, scored in results.items():
            inside = [x for x in scored if x.snr == snr]
            if inside:
                yield [f"{snr} dB", name, str(len(inside)), *mean_row(inside)]


def cost_row(name: str) -> list[str]:
    """Measure what a system costs."""
    system = load_system(name)
    enhancer = system.func if isinstance(system, partial) else None
    size = rate = ""
    if isinstance(enhancer, Enhancer):
        size = f"{n_parameters(enhancer.model) / 1e3:.1f} k"
        rate = f"{multiply_accumulates(enhancer.model) / 1e6:.0f} M"
    factors = (f"{real_time_factor(system, n_threads):.3f}" for n_threads in (1, 2))
    return [name, size, rate, *factors, f"{peak_memory(load_system, name):.2f} GB"]


def available(names: Sequence[str]) -> Iterator[str]:
    """Leave out the peers that are not installed, and say so."""
    for name in names:
        if name in PEERS and importlib.util.find_spec(name) is None:
            click.echo(f"{name} is not installed: left out", err=True)
        else:
            yield name


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option(
    "--model", "models", multiple=True, help="Name or file. [default: all shipped, and the peers]"
)
@click.option("--singing", multiple=True, help="File of a model that separates singing voices.")
@click.option("--pairs", type=click.IntRange(min=1), help="How many, evenly spaced. [default: all]")
@click.option("--jobs", default=1, show_default=True, help="Processes that score.")
@click.option("--costs/--no-costs", default=True, help="Whether to measure time and memory.")
def main(
    data: Path,
    models: tuple[str, ...],
    singing: tuple[str, ...],
    pairs: int | None,
    jobs: int,
    costs: bool,
) -> None:
    torch.set_num_threads(1)
    names = [NOISY, *available(models or [*shipped_models(), *PEERS])]
    pair_paths, clip_paths = (
        evenly_spaced(paths, pairs or len(paths))
        for paths in (
            sorted((data / "speech/voicebank_demand_dev/clean").iterdir()),
            sorted((data / "singing/mir1k/test").glob("*.flac")) if singing else [],
        )
    )
    with workers(jobs) as run:
        results = score_all(names, pair_paths, run)
        click.echo(f"{platform.machine()}, {date.today()}, {len(pair_paths)} pairs\n")
        metrics = list(results[NOISY][0].scores)
        rows = [[name, *mean_row(scored)] for name, scored in results.items()]
        click.echo(table(["system", *metrics], rows))
        click.echo("\n" + table(["input SNR", "system", "pairs", *metrics], snr_rows(results)))
        if singing:
            click.echo(f"\n{len(clip_paths)} clips\n")
            click.echo(table(SINGING_HEADER, singing_rows(singing, clip_paths, run)))
    if costs and len(names) > 1:
        header = ["system", "parameters", "multiply-accumulates per second"]
        header += ["real-time factor, 1 thread", "2 threads", "peak memory"]
        click.echo("\n" + table(header, map(cost_row, names[1:])))
    header = ["anchor", "trained on", "files", "WB-PESQ", "STOI", "SI-SDR"]
    click.echo("\n" + table(header, ANCHORS))


if __name__ == "__main__":
    main()
