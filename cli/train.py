"""`harmnmf train`: neural networks from audio and MIDI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import harmnmf
from harmnmf.cli._support.options import (
    COUNT,
    FOLDER,
    about_option,
    device_option,
    quiet_option,
    seed_option,
)
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.cli._support.training import (
    RUN,
    begin_run,
    check_result,
    describe_folder,
    draw_learning_curve,
    report,
    restart_option,
)
from harmnmf.errors import HarmnmfError

from .train_beats import command as beats_command
from .train_enhancement import MODELS, model_command
from .train_hands import command as hands_command
from .train_metre import command as metre_command
from .train_spelling import command as spelling_command

if TYPE_CHECKING:
    from torch import nn

    from harmnmf.decoder.excerpts import NoteExcerpt

# Training excerpts per validation excerpt, and the most of the latter.
TRAINING_PER_VALIDATION = 40
MOST_VALIDATION = 16


@click.group()
def command() -> None:
    """Train the neural networks.

    Run the same command again to resume an interrupted training, or with more --steps to continue.
    With other data or settings, give --restart or another folder.
    """


@command.command()
@click.option(
    "--pianos",
    required=True,
    type=FOLDER,
    help="Folder with one folder of isolated notes per piano, named <MIDI number>_<layer>.wav.",
)
@click.option(
    "--performances", required=True, type=FOLDER, help="Folder of MIDI files of piano performances."
)
@click.option(
    "--background",
    "backgrounds",
    multiple=True,
    type=FOLDER,
    help="Folder of recordings of other sounds (speech, rooms, streets) to mix in; can be given "
    "several times.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=RUN,
    metavar="RUN",
    help="Output folder: network.safetensors, learning_curve.png, metrics.jsonl, and intermediate "
    "files (dictionaries, excerpts, checkpoint).",
)
@click.option("--excerpts", default=2600, type=COUNT, help="Number of training excerpts of 20 s.")
@click.option("--steps", default=4900, type=COUNT, help="Number of training steps.")
@seed_option
@device_option
@click.option(
    "-j", "--jobs", default=1, type=COUNT, help="Number of processes that render excerpts."
)
@restart_option
@about_option
@quiet_option
def notes(
    pianos: Path,
    performances: Path,
    backgrounds: tuple[Path, ...],
    output: Path,
    excerpts: int,
    steps: int,
    seed: int,
    device: str,
    jobs: int,
    restart: bool,
    about: str | None,
    quiet: bool,
) -> None:
    """Train the note decoder of `harmnmf transcribe`.

    The performances are rendered with samples of the pianos in simulated rooms, some with other
    sounds in the background, and factorised (one second per excerpt and core). Then the network is
    trained (half a second per step on two cores that compute in bfloat16).

    \b
    Example:
      harmnmf train notes --pianos pianos/ --performances midi/ -o run/
      harmnmf transcribe song.wav --decoder run/network.safetensors
    """  # noqa: D301 (click needs the backspace itself)
    folders = {path.name: path for path in sorted(pianos.iterdir()) if path.is_dir()}
    if not folders:
        raise HarmnmfError(f"{pianos}: contains no folder of a piano's notes")

    import torch

    from harmnmf.decoder.excerpts import NoteExcerpt
    from harmnmf.decoder.network import NoteNetwork
    from harmnmf.decoder.training import train_note_network
    from harmnmf.decoder.training_set import (
        ExcerptSource,
        learn_leave_one_out,
        split_performances,
        write_excerpts,
    )
    from harmnmf.signal.audio_folders import audio_files

    training, validation = split_performances(performances)
    # The order of the sounds is one of the settings.
    backgrounds = tuple(sorted({folder.resolve() for folder in backgrounds}))
    sounds = [path for folder in backgrounds for path in audio_files(folder)]
    settings = {
        "pianos": {
            name: describe_folder(path, path.glob("*_*.*")) for name, path in folders.items()
        },
        "performances": describe_folder(performances, [*training, *validation]),
        "backgrounds": [describe_folder(folder, audio_files(folder)) for folder in backgrounds],
        "excerpts": excerpts,
        "seed": seed,
    }
    path = output / "network.safetensors"
    check_result(path, restart=restart)
    begin_run(output, settings, restart=restart)
    with ProgressBar("Dictionaries", len(folders), quiet=quiet) as bar:
        dictionaries = learn_leave_one_out(folders, output / "dictionaries", progress=bar.advance)
    parts = (
        (
            "validation",
            validation,
            min(max(1, excerpts // TRAINING_PER_VALIDATION), MOST_VALIDATION),
        ),
        ("training", training, excerpts),
    )
    sets: dict[str, list[NoteExcerpt]] = {}
    for offset, (part, played, n_excerpts) in enumerate(parts):
        source = ExcerptSource(folders, dictionaries, played, sounds, seed=2 * seed + offset)
        with ProgressBar(f"Excerpts for {part}", n_excerpts, quiet=quiet) as bar:
            paths = write_excerpts(
                source, output / part, range(n_excerpts), n_jobs=jobs, progress=bar.advance
            )
        sets[part] = [NoteExcerpt.load(path) for path in paths]
    torch.manual_seed(seed)
    metadata = {"name": output.resolve().name, "harmnmf": harmnmf.__version__}
    if about:
        metadata["about"] = about
    network = NoteNetwork(metadata=metadata)
    with ProgressBar("Steps", steps, quiet=quiet) as bar:
        n_new = train_note_network(
            network,
            sets["training"],
            output,
            n_steps=steps,
            seed=seed,
            device=device,
            settings={"material": settings},
            validate=lambda network: _validate(network, sets["validation"]),
            progress=bar.update,
        )
    network.save(path)
    last = draw_learning_curve(output)
    if not quiet:
        report(path, steps, n_new, f"F-measure {last['f_measure']:.3f} on held-out performances")


def _validate(network: nn.Module, excerpts: list[NoteExcerpt]) -> dict[str, float]:
    """Mean F-measure (onset and pitch) over excerpts.

    An excerpt without notes scores 1 if none are found, else 0.
    """
    import numpy as np

    from harmnmf.decoder.network import NoteNetwork
    from harmnmf.decoder.posteriors import NotePosteriors, decode_posteriors
    from harmnmf.notes.evaluation import evaluate_notes

    assert isinstance(network, NoteNetwork)
    scores = []
    for excerpt in excerpts:
        posteriors = NotePosteriors(
            *network.probabilities(excerpt.features),
            np.array(excerpt.settings.pitches),
            excerpt.hop_duration,
        )
        notes = decode_posteriors(posteriors)
        if len(excerpt.notes):
            scores.append(evaluate_notes(excerpt.notes, notes)["F-measure_no_offset"])
        else:
            scores.append(float(not len(notes)))
    return {"f_measure": float(np.mean(scores))}


command.add_command(beats_command)
command.add_command(metre_command)
command.add_command(spelling_command)
command.add_command(hands_command)
for _name in MODELS:
    command.add_command(model_command(_name))
