"""Score how well networks of spectrogram fusion separate singing voices from accompaniment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf import read_audio
from harmnmf.enhancement import evaluate_singing, wb_pesq
from harmnmf.enhancement.models.registry import load_model
from harmnmf.enhancement.models.spectrogram_fusion import SpectrogramFusion
from harmnmf.enhancement.transform import ShortTimeFourier

from .enhancement_costs import SAMPLE_RATE

MIXTURE, ORACLE = "mixture", "ideal ratio mask"
# Of a network: what its first stage says, twice, and both together.
OUTPUTS = ("mapping", "masking", "fusion")
HEADER = ["system", "voice SDR", "SIR", "SAR", "SDR gain", "SIR gain", "WB-PESQ"]
HEADER += ["accompaniment SDR", "SIR", "SAR", "SDR gain", "SIR gain"]


class Clip(NamedTuple):
    """A voice and its accompaniment, each shape (n_samples,)."""

    voice: NDArray[np.float32]
    accompaniment: NDArray[np.float32]


class Scored(NamedTuple):
    """The length of a clip in seconds; SDR, SIR and SAR of both sources; WB-PESQ of the voice."""

    duration: float
    sources: NDArray[np.float64]
    pesq: float


def read_clip(path: Path) -> Clip:
    """Read a clip of MIR-1K, which has the voice in its right channel."""
    accompaniment, voice = read_audio(path, sample_rate=SAMPLE_RATE, mono=False).samples
    return Clip(voice, accompaniment)


def ratio_mask(clip: Clip) -> NDArray[np.float32]:
    """Give of each bin of the mixture the voice's part of both magnitudes: who knows them wins."""
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
    """Separate the sum of both sources, and score the voice and what is left.

    Parameters
    ----------
    system : tuple of str
        A file and an output of its network, or the mixture or the oracle, and nothing.
    path : Path
        Of the clip.

    Returns
    -------
    Scored
        Of the mixture, both estimates are the mixture.
    """
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


def singing_rows(
    models: Sequence[str], paths: Sequence[Path], run: Callable
) -> Iterator[list[str]]:
    """Score networks, the mixture and an oracle: means that are weighted by the clips' lengths.

    Parameters
    ----------
    models : sequence of str
        Files of networks.
    paths : sequence of Path
        Clips.
    run : callable
        As :func:`map`.

    Yields
    ------
    list of str
        A row under `HEADER`.
    """
    systems = {MIXTURE: (MIXTURE, ""), ORACLE: (ORACLE, "")}
    systems.update({f"{model}, {name}": (model, name) for model in models for name in OUTPUTS})
    tasks = [(system, path) for system in systems.values() for path in paths]
    results = list(run(score_clip, *zip(*tasks, strict=True)))
    nothing: NDArray[np.float64] | None = None
    for i, name in enumerate(systems):
        scored = results[i * len(paths) :][: len(paths)]
        weights = [x.duration for x in scored]
        sources = np.average([x.sources for x in scored], axis=0, weights=weights)
        pesq = np.average([x.pesq for x in scored], weights=weights)
        nothing = sources if nothing is None else nothing
        voice, rest = np.concatenate([sources, (sources - nothing)[:, :2]], axis=1)
        yield [name, *(f"{value:.2f}" for value in (*voice, pesq, *rest))]
