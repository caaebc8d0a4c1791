"""Measure what each part of the learned decoder is worth.

::

    harmnmf train notes --pianos NOTES --performances MIDI -o RUN
    python -m benchmarks.decoder --data PATH/TO/data --run RUN

Trains small networks on excerpts of a run, all in the same short way and one part left out of each,
and transcribes the first 30 s of each recording in ``piano/real`` with them. Nothing is adapted, so
that all read the same factorisation. Networks are kept in RUN/ablation, and not trained again.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from harmnmf import NoteList, Transcriber, evaluate_notes, read_audio, read_notes
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.features import NoteFeatures
from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig
from harmnmf.decoder.posteriors import NotePosteriors, decode_posteriors
from harmnmf.decoder.training import train_note_network
from harmnmf.decoder.training_set import ExcerptSource, split_performances, write_excerpts
from harmnmf.signal.harmonics import PIANO_PITCHES
from harmnmf.synthesis.microphone import RecordingConditions

DURATION = 30.0
SMALL = NoteNetworkConfig(n_channels=32)
SAMPLED = "MAPS sampled pianos instead of rendering"
SAMPLED_PIECES = "their pieces, rendered"

Recording = tuple[str, NoteFeatures, float, NoteList]


def analyse(paths: Sequence[Path], duration: float | None) -> list[Recording]:
    """Measure the levels of recordings, each with its piano's name, hop and notes."""
    transcriber = Transcriber(adapt=False, device="cpu")
    recordings = []
    for path in paths:
        features, hop = transcriber.features(read_audio(path, duration=duration))
        notes = read_notes(path.with_suffix(".tsv"))
        notes = notes if duration is None else notes.slice(0.0, duration)
        recordings.append((path.parent.name, features, hop, notes))
    return recordings


def score(network: NoteNetwork, recordings: Sequence[Recording]) -> list[float]:
    """Average the onset-only note F over the pieces of each piano."""
    scores: dict[str, list[float]] = {"ENSTDkCl": [], "ENSTDkAm": []}
    for piano, features, hop, reference in recordings:
        posteriors = NotePosteriors(*network.probabilities(features), np.array(PIANO_PITCHES), hop)
        notes = decode_posteriors(posteriors)
        scores[piano].append(evaluate_notes(reference, notes)["F-measure_no_offset"])
    return [float(np.mean(pieces)) for pieces in scores.values()]


def render(
    performances: Sequence[Path],
    conditions: RecordingConditions,
    data: Path,
    run: Path,
    name: str,
    n_excerpts: int,
) -> list[NoteExcerpt]:
    """Render excerpts with the run's pianos, of other performances or under other conditions."""
    pianos = {path.stem: data / "piano/notes" / path.stem for path in run.glob("dictionaries/*")}
    source = ExcerptSource(
        dict(sorted(pianos.items())),
        {name: run / "dictionaries" / f"{name}.safetensors" for name in pianos},
        performances,
        conditions,
        seed=1,
    )
    folder = run / "ablation" / f"excerpts {name}"
    return load(write_excerpts(source, folder, range(n_excerpts), n_jobs=2))


def load(paths: Sequence[Path]) -> list[NoteExcerpt]:
    return [NoteExcerpt.load(path) for path in paths]


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--run", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--steps", default=700, show_default=True, help="Of each training.")
@click.option("--excerpts", default=380, show_default=True, help="To train on.")
@click.option(
    "--without",
    "conditions",
    multiple=True,
    type=click.Choice(["all", *(field.name for field in fields(RecordingConditions))]),
    help="Conditions of the recording to leave out, too, which takes new excerpts.",
)
@click.option("--sampled", is_flag=True, help="Train on piano/sampled, too.")
@click.option("--threads", default=2, show_default=True)
def main(
    data: Path,
    run: Path,
    steps: int,
    excerpts: int,
    conditions: tuple[str, ...],
    sampled: bool,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    rendered = load(sorted((run / "training").glob("*.safetensors"))[:excerpts])
    recordings = analyse(sorted(data.glob("piano/real/*/*.flac")), DURATION)
    variants: dict[str, tuple[NoteNetworkConfig, Sequence[NoteExcerpt], dict[str, Any]]] = {
        "all parts": (SMALL, rendered, {}),
        "without activations": (replace(SMALL, activations=False), rendered, {}),
        "without harmonic stacking": (replace(SMALL, n_partials=1), rendered, {}),
        "without gain and equaliser of levels": (SMALL, rendered, {"augment": False}),
    }
    click.echo(f"{platform.machine()}, {threads} threads, {date.today()}, {steps} steps\n")
    click.echo("| network | ENSTDkCl F | ENSTDkAm F |\n|---|---|---|")
    performances, _ = split_performances(data / "piano/performances_free")
    for name in conditions:
        off = fields(RecordingConditions) if name == "all" else [name]
        names = [getattr(part, "name", part) for part in off]
        changed = replace(RecordingConditions(), **dict.fromkeys(names, 0.0))
        part = "all conditions" if name == "all" else name
        material = render(performances, changed, data, run, f"without {part}", len(rendered))
        variants[f"recorded without {part}"] = (SMALL, material, {})
    if sampled:
        material = [
            NoteExcerpt(features, notes, hop)
            for _, features, hop, notes in analyse(sorted(data.glob("piano/sampled/*/*.ogg")), None)
        ]
        variants[SAMPLED] = (SMALL, material, {})
        pieces = sorted(data.glob("piano/sampled/*/*.tsv"))
        material = render(pieces, RecordingConditions(), data, run, SAMPLED_PIECES, len(rendered))
        variants[SAMPLED_PIECES] = (SMALL, material, {})
    for name, (config, material, options) in variants.items():
        torch.manual_seed(0)
        network = NoteNetwork(config)
        train_note_network(network, material, run / "ablation" / name, n_steps=steps, **options)
        cl, am = score(network, recordings)
        click.echo(f"| {name} | {cl:.3f} | {am:.3f} |")


if __name__ == "__main__":
    main()
