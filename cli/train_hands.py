"""`harmnmf train hands`: the network of hands, from scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import harmnmf
from harmnmf.cli._support.options import COUNT, FOLDER, about_option, quiet_option, seed_option
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.cli._support.training import (
    RUN,
    check_result,
    draw_learning_curve,
    report,
    restart_option,
)
from harmnmf.errors import FormatError, HarmnmfError

if TYPE_CHECKING:
    from torch import nn

    from harmnmf.score.score import ScoreNotes

# Scores per score of the validation.
SCORES_PER_VALIDATION = 20


@click.command("hands")
@click.option(
    "--scores", required=True, type=FOLDER, help="Folder of MusicXML files with a piano part."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=RUN,
    metavar="RUN",
    help="Output folder: network.safetensors, learning_curve.png, metrics.jsonl and the "
    "checkpoint.",
)
@click.option("--steps", default=3000, type=COUNT, help="Number of training steps.")
@seed_option
@restart_option
@about_option
@quiet_option
def command(
    scores: Path, output: Path, steps: int, seed: int, restart: bool, about: str | None, quiet: bool
) -> None:
    """Train the network that tells the hands apart for `harmnmf score`.

    The staves of the scores are the hands. They are played with variations of timing, key and
    texture drawn at random (ten steps per second on one core). One score in twenty is held out for
    validation; files without a piano part are left out.

    \b
    Example:
      harmnmf train hands --scores lieder/ -o run/
    """  # noqa: D301 (click needs the backspace itself)
    import torch

    from harmnmf.score.hands import HandNetwork
    from harmnmf.score.reading.musicxml import MUSICXML_SUFFIXES
    from harmnmf.score.training.hand_training import train_hand_network
    from harmnmf.training.loop import forget_training
    from harmnmf.training.settings import describe_files

    files = sorted(path for path in scores.rglob("*") if path.suffix.lower() in MUSICXML_SUFFIXES)
    path = output / "network.safetensors"
    check_result(path, restart=restart)
    if restart:
        forget_training(output)
    parts = _read(files, quiet=quiet)
    if len(parts) < 2:
        raise HarmnmfError(f"{scores}: has no two scores with notes for both hands")
    validation = parts[::SCORES_PER_VALIDATION]
    del parts[::SCORES_PER_VALIDATION]
    torch.manual_seed(seed)
    metadata = {"name": output.resolve().name, "harmnmf": harmnmf.__version__}
    if about:
        metadata["about"] = about
    network = HandNetwork(metadata=metadata)
    names = ((file.relative_to(scores).as_posix(), file) for file in files)
    with ProgressBar("Steps", steps, quiet=quiet) as bar:
        n_new = train_hand_network(
            network,
            parts,
            output,
            n_steps=steps,
            seed=seed,
            settings={"material": describe_files(names)},
            validate=lambda network: _validate(network, validation),
            progress=bar.update,
        )
    network.save(path)
    last = draw_learning_curve(output)
    if not quiet:
        report(
            path, steps, n_new, f"{100 * last['accuracy']:.1f} % of the notes of held-out scores"
        )


def _read(files: Sequence[Path], *, quiet: bool) -> list[ScoreNotes]:
    """Read the scores with notes for both hands, and say how many others there are."""
    from harmnmf.score.reading.musicxml import read_musicxml
    from harmnmf.score.training.hand_training import has_hands

    found = []
    with ProgressBar("Scores", len(files), quiet=quiet) as bar:
        for file in files:
            try:
                score = read_musicxml(file)
            except FormatError:
                score = None
            if score is not None and has_hands(score):
                found.append(score.notes)
            bar.advance()
    if len(found) < len(files) and not quiet:
        click.echo(
            f"{len(files) - len(found)} of {len(files)} scores are left out: they have no notes "
            "for both hands, or cannot be read",
            err=True,
        )
    return found


def _validate(network: nn.Module, scores: Sequence[ScoreNotes]) -> dict[str, float]:
    """Share of notes in the right hand or the left as printed, without the search for spans."""
    import numpy as np

    from harmnmf.score.hands import HandNetwork
    from harmnmf.score.training.hand_training import play_score

    assert isinstance(network, HandNetwork)
    right = []
    for score in scores:
        notes, hands = play_score(score)
        right.append((network.logits(notes) > 0) == (hands == 1))
    return {"accuracy": float(np.concatenate(right).mean())}
