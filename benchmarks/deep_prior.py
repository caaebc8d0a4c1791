"""Denoising by the deep prior: SI-SDR and WB-PESQ over the steps of a fit.

::

    pip install '.[bench]'
    python -m benchmarks.deep_prior --data PATH/TO/data --run RUN --figures docs

Fits untrained networks of harmonic, dilated and plain convolutions, otherwise equal, to ten noisy
recordings of VoiceBank+DEMAND, and to five of clean speech and five of piano with white noise at 0
and 10 dB: each time to the loudest part of the first ten seconds. Scores are kept in RUN and not
measured again. "Best" is the step with the highest mean score, which cannot be known without the
clean recording.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harmnmf import read_audio, save_figure
from harmnmf.enhancement.deep_prior import CONVOLUTIONS, DeepPrior, PriorFit
from harmnmf.enhancement.metrics.scores import si_sdr, wb_pesq

from .data import SAMPLE_RATE, evenly_spaced, real_recordings, speech_pairs
from .report import Table, benchmark
from .transcription_errors import COLOURS

STEPS = (0, 50, 100, 150, 200, 250, 300, 400, 500, 600)
N_PAIRS, N_CLEAN = 10, 5
FIGURE = "deep_prior.png"

METRICS = ("SI-SDR", "WB-PESQ")

Scores = dict[str, list[float]]
Results = dict[str, dict[str, list[Scores]]]


class Sound(NamedTuple):
    """Clean and noisy samples of a recording."""

    group: str
    name: str
    clean: NDArray[np.float32]
    noisy: NDArray[np.float32]


def sounds(
    data: Path, duration: float, n_pairs: int = N_PAIRS, n_clean: int = N_CLEAN
) -> Iterator[Sound]:
    """Read the loudest part of each recording, clean and noisy."""
    for paths in speech_pairs(data, n_pairs):
        clean, noisy = (read_audio(path, sample_rate=SAMPLE_RATE).samples for path in paths)
        part = loudest(clean, duration)
        yield Sound("VoiceBank+DEMAND", paths[0].stem, clean[part], noisy[part])
    for kind, recordings in (
        ("speech", sorted((data / "speech/clean").glob("*/*.ogg"))),
        ("piano", real_recordings(data)),
    ):
        for i, path in enumerate(evenly_spaced(recordings, n_clean)):
            samples = read_audio(path, sample_rate=SAMPLE_RATE).samples
            clean = samples[loudest(samples, duration)]
            noise = np.random.default_rng(i).standard_normal(len(clean))
            noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2))
            for snr in (0, 10):
                noisy = (clean + noise * 10 ** (-snr / 20)).astype(np.float32)
                yield Sound(f"{kind}, white noise at {snr} dB", path.stem, clean, noisy)


def loudest(samples: NDArray[np.float32], duration: float) -> slice:
    """Loudest part of the first ten seconds."""
    length = round(duration * SAMPLE_RATE)
    squares = np.square(samples[: 10 * SAMPLE_RATE], dtype=np.float64)
    energy = np.cumsum(np.concatenate([[0.0], squares]))
    start = int(np.argmax(energy[length:] - energy[:-length])) if len(energy) > length else 0
    return slice(start, start + length)


def measure(sound: Sound, prior: DeepPrior) -> Scores:
    """Score a fit after each number of `STEPS`; WB-PESQ only of speech."""
    fit = PriorFit(prior, sound.noisy, SAMPLE_RATE)
    scores: Scores = {"SI-SDR": [], "WB-PESQ": []}
    for step in STEPS:
        while fit.n_done < step:
            fit.step()
        estimate = fit.estimate() if step else sound.noisy
        scores["SI-SDR"].append(si_sdr(sound.clean, estimate))
        if "piano" not in sound.group:
            scores["WB-PESQ"].append(wb_pesq(sound.clean, estimate, SAMPLE_RATE))
    return scores


def summarise(results: Results) -> Iterator[list[str]]:
    """Format the mean scores of each group and network at the last and at the best step."""
    for group, networks in results.items():
        for convolution, pieces in networks.items():
            row = [group, convolution, str(len(pieces))]
            for metric in METRICS:
                means = np.mean([piece[metric] for piece in pieces], axis=0)
                if len(means):
                    best = int(np.argmax(means))
                    values = (means[0], means[-1], means[best])
                    row += [*(f"{value:.2f}" for value in values), str(STEPS[best])]
                else:
                    row += [""] * 4
            yield row


def draw(results: Results) -> Figure:
    """Draw mean SI-SDR over steps, one panel per group."""
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (group, networks) in zip(panels, results.items(), strict=True):
        for (convolution, pieces), colour in zip(networks.items(), COLOURS, strict=True):
            means = np.mean([piece["SI-SDR"] for piece in pieces], axis=0)
            axes.plot(STEPS[1:], means[1:], color=colour, label=convolution)
        axes.axhline(means[0], color="#888888", linestyle=":", label="noisy")
        axes.set_title(group, fontsize="small")
        axes.set(xlabel="Step", ylim=(means[0] - 8, None))
        axes.grid(axis="y", color="#00000022", linewidth=0.6)
    panels[0].set_ylabel("SI-SDR (dB)")
    panels[0].legend(fontsize="small")
    return figure


@benchmark()
@click.option("--run", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--duration", default=1.5, show_default=True, help="Seconds of each recording.")
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--figures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the figure to draw.",
)
def main(
    data: Path, run: Path, duration: float, device: str, figures: Path | None
) -> Iterator[Table]:
    run.mkdir(parents=True, exist_ok=True)
    results: Results = {}
    for sound in sounds(data, duration):
        for convolution in CONVOLUTIONS:
            path = run / f"{sound.group}, {sound.name}, {convolution}.json"
            if not path.exists():
                prior = DeepPrior(convolution, device=device)
                path.write_text(json.dumps(measure(sound, prior)), encoding="utf-8")
            scores = json.loads(path.read_text(encoding="utf-8"))
            results.setdefault(sound.group, {}).setdefault(convolution, []).append(scores)
    columns = ["recordings", "convolutions", "n"]
    for metric in METRICS:
        columns += [f"{metric}, noisy", f"at step {STEPS[-1]}", "at best", "best step"]
    yield Table("deep_prior", "Deep prior", columns, summarise(results))
    if figures is not None:
        save_figure(draw(results), figures / FIGURE)


if __name__ == "__main__":
    main()
