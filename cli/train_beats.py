"""`harmnmf train beats`: the network of beats, from scores."""

from __future__ import annotations

from collections.abc import Sequence
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

if TYPE_CHECKING:
    from torch import nn

    from harmnmf.score.training.beat_excerpts import BeatExcerpt

# Training excerpts per validation excerpt.
TRAINING_PER_VALIDATION = 20


@click.command("beats")
@click.option(
    "--scores",
    multiple=True,
    type=FOLDER,
    help="Folder of MusicXML files with a piano part; can be given several times. File names begin "
    "with the composer and two underscores.",
)
@click.option("--songs", type=FOLDER, help="Folder of POP909: NNN.mid and NNN.beat_midi.txt.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=RUN,
    metavar="RUN",
    help="Output folder: network.safetensors, learning_curve.png, metrics.jsonl, and intermediate "
    "files (excerpts, checkpoint).",
)
@click.option(
    "--excerpts", default=16000, type=COUNT, help="Number of training excerpts of 512 onsets."
)
@click.option("--steps", default=5000, type=COUNT, help="Number of training steps.")
@seed_option
@device_option
@click.option("-j", "--jobs", default=1, type=COUNT, help="Number of processes that read scores.")
@restart_option
@about_option
@quiet_option
def command(
    scores: tuple[Path, ...],
    songs: Path | None,
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
    """Train the network that finds beats and bars for `harmnmf score`.

    The scores are played in many manners, with tempo, rubato, articulation and errors of
    transcription drawn at random (a hundred excerpts a second). Then the network is trained (one
    second per step on one core).

    \b
    Example:
      harmnmf train beats --scores lieder/ --songs POP909/ -o run/
    """  # noqa: D301 (click needs the backspace itself)
    if not scores and songs is None:
        raise HarmnmfError("there is nothing to train on; give --scores or --songs")

    import torch

    from harmnmf.score.beats.network import BeatNetwork
    from harmnmf.score.training.beat_training import train_beat_network
    from harmnmf.score.training.training_set import find_scores, read_excerpts, write_excerpts

    folders = sorted({folder.resolve() for folder in scores})
    training, validation = find_scores(folders, songs)
    settings = {
        "scores": [describe_folder(folder, folder.rglob("*")) for folder in folders],
        "songs": describe_folder(songs, songs.iterdir()) if songs else "",
        "excerpts": excerpts,
        "seed": seed,
    }
    path = output / "network.safetensors"
    check_result(path, restart=restart)
    begin_run(output, settings, restart=restart)
    sets: dict[str, list[BeatExcerpt]] = {}
    parts = (
        ("validation", validation, max(1, excerpts // TRAINING_PER_VALIDATION)),
        ("training", training, excerpts),
    )
    for offset, (part, files, n_excerpts) in enumerate(parts):
        with ProgressBar(f"Excerpts for {part}", n_excerpts, quiet=quiet) as bar:
            paths = write_excerpts(
                files, output / part, n_excerpts, seed=2 * seed + offset, n_jobs=jobs,
                progress=bar.update,
            )  # fmt: skip
        sets[part] = read_excerpts(paths)
    torch.manual_seed(seed)
    metadata = {"name": output.resolve().name, "harmnmf": harmnmf.__version__}
    if about:
        metadata["about"] = about
    network = BeatNetwork(metadata=metadata)
    with ProgressBar("Steps", steps, quiet=quiet) as bar:
        n_new = train_beat_network(
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
        score = (
            f"F-measure of beats {last['f_measure']:.3f}, of downbeats "
            f"{last['f_measure_downbeat']:.3f} at the onsets of held-out scores"
        )
        report(path, steps, n_new, score)


def _validate(network: nn.Module, excerpts: Sequence[BeatExcerpt]) -> dict[str, float]:
    """F-measures of beats and downbeats: onsets with a probability above one half."""
    import torch

    from harmnmf.score.training.beat_training import stacked

    device = next(network.parameters()).device
    counts = torch.zeros(2, 3, device=device)
    with torch.inference_mode():
        for start in range(0, len(excerpts), 32):
            batch = {
                name: x.to(device) for name, x in stacked(excerpts[start : start + 32]).items()
            }
            logits = network(batch["features"])
            for row, name in enumerate(("beat", "downbeat")):
                found = (getattr(logits, name) > 0) & batch["valid"]
                true = batch[name] > 0
                counts[row] += torch.stack([(found & true).sum(), found.sum(), true.sum()])
    both, n_found, n_true = counts.T
    beat, downbeat = (2 * both / (n_found + n_true).clamp(min=1)).tolist()
    return {"f_measure": beat, "f_measure_downbeat": downbeat}
