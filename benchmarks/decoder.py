"""Ablation of the learned decoder.

::

    harmnmf train notes --pianos NOTES --performances MIDI -o RUN
    python -m benchmarks.decoder --data PATH/TO/data --run RUN

Trains small networks on excerpts of a run, each briefly and with one part left out, and transcribes
the first 30 s of each recording in ``piano/real`` with them. There is no adaptation, so that all
read the same factorisation. Networks are kept in RUN/ablation, and not trained again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from harmnmf import NoteList, Transcriber, evaluate_notes, read_audio
from harmnmf.decoder.analysis import measure_features
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.features import FeatureSettings, NoteFeatures
from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig
from harmnmf.decoder.posteriors import NotePosteriors, decode_posteriors
from harmnmf.decoder.training import train_note_network
from harmnmf.decoder.training_set import ExcerptSource, split_performances, write_excerpts
from harmnmf.signal.harmonics import PIANO_PITCHES
from harmnmf.synthesis.microphone import RecordingConditions

from .data import PIANOS, notes_of, on_sound, other_sounds, real_recordings
from .report import Table, benchmark, decimals
from .transcription import means

DURATION = 30.0
SMALL = NoteNetworkConfig(n_channels=32)
CONDITIONS = [field.name for field in fields(RecordingConditions)]
SAMPLED = "MAPS sampled pianos instead of rendering"
SAMPLED_PIECES = "their pieces, rendered"

Recording = tuple[str, NoteFeatures, float, NoteList]
Variant = tuple[NoteNetworkConfig, Sequence[NoteExcerpt], dict[str, Any]]


def analyse(paths: Sequence[Path], duration: float | None) -> list[Recording]:
    """Extract the features of recordings, with the piano's name, the hop and the notes."""
    transcriber = Transcriber(adapt=False, device="cpu")
    recordings = []
    for path in paths:
        recording = transcriber.prepare(read_audio(path, duration=duration))
        features = measure_features(recording, FeatureSettings())
        notes = notes_of(path, duration)
        recordings.append((path.parent.name, features, recording.hop_duration, notes))
    return recordings


def score(network: NoteNetwork, recordings: Sequence[Recording]) -> list[float]:
    """Onset-only note F: means over the pieces of each piano."""
    scores: dict[str, list[dict[str, float]]] = {}
    for piano, features, hop, reference in recordings:
        posteriors = NotePosteriors(*network.probabilities(features), np.array(PIANO_PITCHES), hop)
        notes = decode_posteriors(posteriors)
        scores.setdefault(piano, []).append(evaluate_notes(on_sound(reference), notes))
    return means(scores, "F")


def render(
    performances: Sequence[Path],
    conditions: RecordingConditions,
    data: Path,
    run: Path,
    name: str,
    n_excerpts: int,
) -> list[NoteExcerpt]:
    """Render excerpts of other performances or conditions with the pianos of the run."""
    pianos = {path.stem: data / "piano/notes" / path.stem for path in run.glob("dictionaries/*")}
    source = ExcerptSource(
        dict(sorted(pianos.items())),
        {name: run / "dictionaries" / f"{name}.safetensors" for name in pianos},
        performances,
        other_sounds(data),
        conditions,
        seed=1,
    )
    folder = run / "ablation" / f"excerpts {name}"
    return load(write_excerpts(source, folder, range(n_excerpts), n_jobs=2))


def load(paths: Sequence[Path]) -> list[NoteExcerpt]:
    return [NoteExcerpt.load(path) for path in paths]


def variants(
    data: Path, run: Path, n_excerpts: int, conditions: Sequence[str], sampled: bool
) -> Iterator[tuple[str, Variant]]:
    """Yield the name, configuration, excerpts and training options of each network."""
    rendered = load(sorted((run / "training").glob("*.safetensors"))[:n_excerpts])
    yield "all parts", (SMALL, rendered, {})
    yield "without activations", (replace(SMALL, activations=False), rendered, {})
    yield "without harmonic stacking", (replace(SMALL, n_partials=1), rendered, {})
    yield "without gain and equaliser of levels", (SMALL, rendered, {"augment": False})
    performances, _ = split_performances(data / "piano/performances_free")
    for name in conditions:
        off = CONDITIONS if name == "all" else [name]
        changed = replace(RecordingConditions(), **dict.fromkeys(off, 0.0))
        part = "all conditions" if name == "all" else name
        material = render(performances, changed, data, run, f"without {part}", len(rendered))
        yield f"recorded without {part}", (SMALL, material, {})
    if sampled:
        material = [
            NoteExcerpt(features, notes, hop)
            for _, features, hop, notes in analyse(sorted(data.glob("piano/sampled/*/*.ogg")), None)
        ]
        yield SAMPLED, (SMALL, material, {})
        pieces = sorted(data.glob("piano/sampled/*/*.tsv"))
        material = render(pieces, RecordingConditions(), data, run, SAMPLED_PIECES, len(rendered))
        yield SAMPLED_PIECES, (SMALL, material, {})


@benchmark()
@click.option("--run", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--steps", default=700, show_default=True, help="Steps of each training.")
@click.option("--excerpts", default=380, show_default=True, help="Excerpts to train on.")
@click.option(
    "--without",
    "conditions",
    multiple=True,
    type=click.Choice(["all", *CONDITIONS]),
    help="Recording conditions to leave out; renders new excerpts.",
)
@click.option("--sampled", is_flag=True, help="Also train on piano/sampled.")
def main(
    data: Path, run: Path, steps: int, excerpts: int, conditions: tuple[str, ...], sampled: bool
) -> Iterator[Table]:
    recordings = analyse(real_recordings(data), DURATION)

    def rows() -> Iterator[list[str]]:
        for name, variant in variants(data, run, excerpts, conditions, sampled):
            config, material, options = variant
            torch.manual_seed(0)
            network = NoteNetwork(config)
            train_note_network(network, material, run / "ablation" / name, n_steps=steps, **options)
            yield [name, *decimals(score(network, recordings))]

    columns = ["network", *(f"{piano} F" for piano in PIANOS)]
    yield Table("decoder", "Parts of the learned decoder", columns, rows())


if __name__ == "__main__":
    main()
