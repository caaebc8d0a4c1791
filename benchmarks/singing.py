"""Separation of singing voices from accompaniment by Spectrogram Fusion.

::

    python -m benchmarks.singing --data PATH/TO/data --model RUN/model.safetensors

Separates the test clips of ``singing/mir1k``, voice and accompaniment mixed at 0 dB. SDR, SIR and
SAR are those of mir_eval, means weighted by the length of the clips; gains are relative to the
mixture. The outputs of a network are its first stage's mapping and masking, and their fusion. The
ideal ratio mask knows both sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf import read_audio
from harmnmf.enhancement import evaluate_singing, wb_pesq
from harmnmf.enhancement.models.registry import load_model
from harmnmf.enhancement.models.spectrogram_fusion import SpectrogramFusion
from harmnmf.enhancement.transform import ShortTimeFourier

from .data import SAMPLE_RATE
from .enhancement import workers
from .report import Table, benchmark, decimals

MIXTURE, ORACLE = "mixture", "ideal ratio mask"
OUTPUTS = ("mapping", "masking", "fusion")
COLUMNS = ["system", "voice SDR", "SIR", "SAR", "SDR gain", "SIR gain", "WB-PESQ"]
COLUMNS += ["accompaniment SDR", "SIR", "SAR", "SDR gain", "SIR gain"]


class Clip(NamedTuple):
    """A voice and its accompaniment, each shape (n_samples,)."""

    voice: NDArray[np.float32]
    accompaniment: NDArray[np.float32]


class Scored(NamedTuple):
    """Length of a clip in seconds; SDR, SIR and SAR of both sources; WB-PESQ of the voice."""

    duration: float
    sources: NDArray[np.float64]
    pesq: float


def read_clip(path: Path) -> Clip:
    """Read a clip of MIR-1K, whose right channel is the voice."""
    accompaniment, voice = read_audio(path, sample_rate=SAMPLE_RATE, mono=False).samples
    return Clip(voice, accompaniment)


def ratio_mask(clip: Clip) -> NDArray[np.float32]:
    """Estimate the voice by its share of both magnitudes in each bin."""
    transform = ShortTimeFourier(512, 256)
    voice, accompaniment = (transform.analyze(torch.from_numpy(source)) for source in clip)
    mask = voice.abs() / (voice.abs() + accompaniment.abs()).clamp_min(1e-12)
    estimate = transform.synthesize(mask * (voice + accompaniment), len(clip.voice))
    return estimate.numpy()


@cache
def load_fusion(path: str) -> SpectrogramFusion:
    """Read a network of spectrogram fusion."""
    model, _ = load_model(path)
    if not isinstance(model, SpectrogramFusion):
        raise TypeError(f"{path}: a {type(model).__name__}, which does not separate singing voices")
    return model


@torch.inference_mode()
def separate(path: str, output: str, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Estimate the voice by a network."""
    model = load_fusion(path)
    spectrum = model.transform.analyze(torch.from_numpy(mixture))
    estimate = model(spectrum[None], output)[0]
    return model.transform.synthesize(estimate, len(mixture)).numpy()


def score_clip(system: tuple[str, str], path: Path) -> Scored:
    """Separate a clip by the output of a network's file, or by MIXTURE or ORACLE, and score it."""
    clip = read_clip(path)
    mixture = clip.voice + clip.accompaniment
    if system[0] == MIXTURE:
        voice = rest = mixture
    else:
        voice = ratio_mask(clip) if system[0] == ORACLE else separate(*system, mixture)
        rest = mixture - voice
    scores = evaluate_singing(clip, [voice, rest])
    sources = np.stack([scores[name] for name in ("SDR", "SIR", "SAR")], axis=1)
    return Scored(len(voice) / SAMPLE_RATE, sources, wb_pesq(clip.voice, voice, SAMPLE_RATE))


@benchmark(threads=1)
@click.option("--model", required=True, help="File of a network.")
@click.option("--jobs", default=1, show_default=True, help="Processes that score.")
def main(data: Path, model: str, jobs: int) -> Iterator[Table]:
    systems = {MIXTURE: (MIXTURE, ""), ORACLE: (ORACLE, "")}
    systems |= {f"Spectrogram Fusion, {name}": (model, name) for name in OUTPUTS}
    paths = sorted((data / "singing/mir1k/test").glob("*.flac"))
    tasks = [(system, path) for system in systems.values() for path in paths]
    with workers(jobs) as run:
        results = list(run(score_clip, *zip(*tasks, strict=True)))
    rows = []
    for i, name in enumerate(systems):
        scored = results[i * len(paths) :][: len(paths)]
        weights = [x.duration for x in scored]
        sources = np.average([x.sources for x in scored], axis=0, weights=weights)
        pesq = np.average([x.pesq for x in scored], weights=weights)
        if name == MIXTURE:
            mixed = sources
        voice, rest = np.concatenate([sources, (sources - mixed)[:, :2]], axis=1)
        rows.append([name, *decimals([*voice, pesq, *rest], 2)])
    yield Table("singing", f"Scores of {len(paths)} clips", COLUMNS, rows)


if __name__ == "__main__":
    main()
