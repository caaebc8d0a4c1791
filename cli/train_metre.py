"""`harmnmf train metre`: the ranking of levels, metres and phases of beats, from scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.cli._support.options import (
    COUNT,
    FOLDER,
    about_option,
    overwrite_option,
    quiet_option,
    seed_option,
)
from harmnmf.cli._support.paths import check_output
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.errors import HarmnmfError

if TYPE_CHECKING:
    from harmnmf.score.training.metre_training import RankedPiece

# Parts of scores that may have few notes before any has enough.
MAX_SHORT = 100


@click.command("metre")
@click.option(
    "--scores",
    multiple=True,
    type=FOLDER,
    help="Folder of MusicXML files with a piano part; can be given several times. File names begin "
    "with the composer and two underscores.",
)
@click.option("--songs", type=FOLDER, help="Folder of POP909: NNN.mid and NNN.beat_midi.txt.")
@click.option(
    "--beats", default="beats", show_default=True, help="Network of beats: shipped name or file."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Output file (.safetensors).",
)
@click.option("--pieces", default=2000, type=COUNT, help="Number of pieces that are played.")
@click.option("--steps", default=2000, type=COUNT, help="Number of training steps.")
@seed_option
@click.option("-j", "--jobs", default=1, type=COUNT, help="Number of processes that read scores.")
@overwrite_option
@about_option
@quiet_option
def command(
    scores: tuple[Path, ...],
    songs: Path | None,
    beats: str,
    output: Path,
    pieces: int,
    steps: int,
    seed: int,
    jobs: int,
    overwrite: bool,
    about: str | None,
    quiet: bool,
) -> None:
    """Train the choice of tempo level, metre and bar lines for `harmnmf score`.

    Parts of the scores are played as for `harmnmf train beats`; for each, beats and bars of several
    levels and metres are found by the network of beats, and a small network learns to tell by
    statistics which of them are those of the score (four pieces a second on one core).

    \b
    Example:
      harmnmf train metre --scores lieder/ --songs POP909/ -o metre.safetensors
    """  # noqa: D301 (click needs the backspace itself)
    if not scores and songs is None:
        raise HarmnmfError("there is nothing to train on; give --scores or --songs")
    check_output(output, overwrite=overwrite)

    import numpy as np

    from harmnmf.score.beats.network import BeatNetwork
    from harmnmf.score.training.metre_training import draw_piece, fit_ranking
    from harmnmf.score.training.training_set import (
        draw_chances,
        draw_score,
        find_scores,
        read_scores,
    )

    network = BeatNetwork.load(beats)
    files, _ = find_scores(sorted({folder.resolve() for folder in scores}), songs)
    read = read_scores(files, jobs)
    if not read:
        raise HarmnmfError("no score has a piano part of two staves")
    chance = draw_chances(read)
    rng = np.random.default_rng(seed)
    drawn: list[RankedPiece] = []
    n_short = 0
    with ProgressBar("Pieces", pieces, quiet=quiet) as bar:
        while len(drawn) < pieces:
            piece = draw_piece(draw_score(read, chance, rng), network, rng)
            if piece is not None:
                drawn.append(piece)
                bar.update(len(drawn))
            elif not drawn and (n_short := n_short + 1) == MAX_SHORT:
                raise HarmnmfError("the scores are too short to train on; give longer ones")
    with ProgressBar("Steps", steps, quiet=quiet) as bar:
        ranking = fit_ranking(drawn, n_steps=steps, seed=seed, progress=bar.update)
    ranking.save(output, about or "")
    if not quiet:
        click.echo(f"{output}: learned from {pieces} piece{'s' * (pieces != 1)}")
