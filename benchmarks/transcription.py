"""Measure how well, how fast and in how much memory real piano recordings are transcribed.

::

    python -m benchmarks.transcription --data PATH/TO/data

Transcribes the first 30 s of each recording in ``piano/real`` with one setting for all, and
scores the notes with mir_eval. The rows of other systems are anchors measured on the same
recordings; they are not run here.
"""

from __future__ import annotations

import platform
import resource
import time
from datetime import date
from pathlib import Path

import click
import numpy as np
import torch

from harmnmf import Transcriber, evaluate_notes, read_audio, read_notes

# (onset-only note F on ENSTDkCl, on ENSTDkAm, real-time factor), same excerpts.
ANCHORS = {
    "transkun 2.0.1 (13.6 M parameters)": (0.913, 0.804, "1.0"),
    "madmom CNN + ADSR": (0.826, 0.755, "0.25"),
    "basic-pitch 0.4": (0.723, 0.630, "0.016"),
    "Vincent, Bertin and Badeau 2010, their code": (0.693, 0.563, "0.55"),
    "Silvet intensive (PLCA)": (0.576, 0.437, "0.26"),
}
SCORES = {
    "P": "Precision_no_offset",
    "R": "Recall_no_offset",
    "F": "F-measure_no_offset",
    "F with offset": "F-measure",
    "F with velocity": "Velocity_F-measure_no_offset",
    "frame F": "Frame_F-measure",
}


def score_recordings(
    transcriber: Transcriber, data: Path, duration: float
) -> tuple[dict[str, list[dict[str, float]]], float]:
    """Transcribe the beginnings of the real recordings.

    Parameters
    ----------
    transcriber : Transcriber
        What to measure.
    data : Path
        Folder with ``piano/real``.
    duration : float
        Seconds of each recording.

    Returns
    -------
    scores : dict
        For each piano the scores of its pieces, as `harmnmf.evaluate_notes` names them.
    factor : float
        Seconds of reading and transcribing, over seconds of audio.
    """
    paths = sorted(data.glob("piano/real/*/*.flac"))
    transcriber.transcribe(read_audio(paths[0], duration=1.0))  # what happens only once
    scores: dict[str, list[dict[str, float]]] = {}
    seconds = audio_seconds = 0.0
    for path in paths:
        start = time.perf_counter()
        audio = read_audio(path, duration=duration)
        notes = transcriber.transcribe(audio)
        seconds += time.perf_counter() - start
        audio_seconds += audio.duration
        reference = read_notes(path.with_suffix(".tsv")).slice(0.0, duration)
        scores.setdefault(path.parent.name, []).append(evaluate_notes(reference, notes))
    return scores, seconds / audio_seconds


def mean_f(scores: dict[str, list[dict[str, float]]]) -> tuple[float, float]:
    """Average the onset-only note F over the pieces of ENSTDkCl, and over those of ENSTDkAm."""
    cl, am = (
        float(np.mean([result[SCORES["F"]] for result in scores[piano]]))
        for piano in ("ENSTDkCl", "ENSTDkAm")
    )
    return cl, am


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
@click.option("--threads", default=2, show_default=True)
def main(data: Path, duration: float, threads: int) -> None:
    torch.set_num_threads(threads)
    scores, factor = score_recordings(Transcriber(device="cpu"), data, duration)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    unadapted, unadapted_factor = score_recordings(
        Transcriber(adapt=False, device="cpu"), data, duration
    )

    click.echo(f"{platform.machine()}, {threads} threads, {date.today()}, first {duration:g} s\n")
    click.echo(f"| recordings | pieces | {' | '.join(SCORES)} |")
    click.echo("|---" * (len(SCORES) + 2) + "|")
    for piano, results in sorted(scores.items()):
        means = (np.mean([result[key] for result in results]) for key in SCORES.values())
        click.echo(f"| {piano} | {len(results)} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    click.echo("\n| system | ENSTDkCl F | ENSTDkAm F | real-time factor | peak memory |")
    click.echo("|---|---|---|---|---|")
    cl, am = mean_f(scores)
    click.echo(f"| **harmnmf** | {cl:.3f} | {am:.3f} | {factor:.3f} | {memory:.2f} GB |")
    cl, am = mean_f(unadapted)
    click.echo(f"| harmnmf --no-adapt | {cl:.3f} | {am:.3f} | {unadapted_factor:.3f} | |")
    for system, (cl, am, factor_) in ANCHORS.items():
        click.echo(f"| {system} | {cl:.3f} | {am:.3f} | {factor_} | |")


if __name__ == "__main__":
    main()
