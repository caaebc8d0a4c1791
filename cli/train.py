"""`harmnmf train`: networks from training material."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import harmnmf
from harmnmf.cli._support.train_run import draw_learning_curve, show_progress, show_steps
from harmnmf.errors import HarmnmfError

from .train_enhancement import MODELS, model_command

if TYPE_CHECKING:
    from torch import nn

    from harmnmf.decoder.excerpts import NoteExcerpt

# One excerpt for so many others is for validation.
VALIDATION = 40


@click.group()
def command() -> None:
    """Train the networks of harmnmf. What was interrupted goes on where it stopped."""


@command.command()
@click.option(
    "--pianos",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with a folder for each piano, of isolated notes called <MIDI number>_<layer>.",
)
@click.option(
    "--performances",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of MIDI files.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="RUN",
    help="Folder of all that is made: network.safetensors and learning_curve.png, and on the way "
    "to them dictionaries, excerpts, a checkpoint and metrics.jsonl.",
)
@click.option("--excerpts", default=1200, show_default=True, help="Excerpts of 20 s to render.")
@click.option("--steps", default=5000, show_default=True, help="Steps of the training.")
@click.option("--seed", default=0, show_default=True, help="Of all that is random.")
@click.option("-j", "--jobs", default=1, show_default=True, help="Processes that render.")
@click.option("--about", metavar="TEXT", help="Sources, licence and attribution: kept in it.")
def notes(
    pianos: Path,
    performances: Path,
    output: Path,
    excerpts: int,
    steps: int,
    seed: int,
    jobs: int,
    about: str | None,
) -> None:
    """Train the decoder that `harmnmf transcribe` finds notes with.

    Performances are rendered with the pianos, recorded in simulated rooms and factorised: each
    excerpt takes one to two seconds of a core. Then a network is trained on them; a step takes
    half a second of two cores.
    """
    folders = {path.name: path for path in sorted(pianos.iterdir()) if path.is_dir()}
    if not folders:
        raise HarmnmfError(f"{pianos}: needs a folder of notes for each piano")

    import torch

    from harmnmf.decoder.excerpts import NoteExcerpt
    from harmnmf.decoder.network import NoteNetwork
    from harmnmf.decoder.training import train_note_network
    from harmnmf.decoder.training_set import (
        ExcerptSource,
        learn_foreign_dictionaries,
        split_performances,
        write_excerpts,
    )

    training, validation = split_performances(performances)
    with show_progress("Dictionaries", len(folders)) as progress:
        dictionaries = learn_foreign_dictionaries(
            folders, output / "dictionaries", progress=progress
        )
    parts = {"validation": validation, "training": training}
    sets: dict[str, list[NoteExcerpt]] = {}
    for offset, (part, played) in enumerate(parts.items()):
        n_excerpts = max(1, excerpts // VALIDATION) if part == "validation" else excerpts
        source = ExcerptSource(folders, dictionaries, played, seed=2 * seed + offset)
        with show_progress(f"Excerpts for {part}", n_excerpts) as progress:
            paths = write_excerpts(
                source, output / part, range(n_excerpts), n_jobs=jobs, progress=progress
            )
        sets[part] = [NoteExcerpt.load(path) for path in paths]
    torch.manual_seed(seed)
    metadata = {"name": output.name, "harmnmf": harmnmf.__version__}
    if about:
        metadata["about"] = about
    network = NoteNetwork(metadata=metadata)
    with show_steps(steps) as progress:
        train_note_network(
            network,
            sets["training"],
            output,
            n_steps=steps,
            seed=seed,
            validate=lambda network: _validate(network, sets["validation"]),
            progress=progress,
        )
    network.save(output / "network.safetensors")
    draw_learning_curve(output)
    score = _validate(network, sets["validation"])["f_measure"]
    click.echo(f"{output / 'network.safetensors'}: F-measure {score:.3f} on held-out performances")


def _validate(network: nn.Module, excerpts: list[NoteExcerpt]) -> dict[str, float]:
    """Mean onset-only F-measure of excerpts."""
    import numpy as np

    from harmnmf.decoder.network import NoteNetwork
    from harmnmf.decoder.posteriors import NotePosteriors, decode_posteriors
    from harmnmf.notes.evaluation import evaluate_notes
    from harmnmf.signal.harmonics import PIANO_PITCHES

    assert isinstance(network, NoteNetwork)
    scores = []
    for excerpt in excerpts:
        posteriors = NotePosteriors(
            *network.probabilities(excerpt.features), np.array(PIANO_PITCHES), excerpt.hop_duration
        )
        notes = decode_posteriors(posteriors, latency=0.0)
        scores.append(evaluate_notes(excerpt.notes, notes)["F-measure_no_offset"])
    return {"f_measure": float(np.mean(scores))}


for _name in MODELS:
    command.add_command(model_command(_name))
