"""`harmnmf train spelling`: keys and the spelling of pitches, from scores."""

from __future__ import annotations

from pathlib import Path

import click

import harmnmf
from harmnmf.cli._support.options import FOLDER, about_option, quiet_option, seed_option
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.cli._support.training import RUN
from harmnmf.errors import HarmnmfError

KEY_EPOCHS, SPELLING_EPOCHS = 8, 4


@click.command("spelling")
@click.option(
    "--scores",
    multiple=True,
    required=True,
    type=FOLDER,
    help="Folder of MusicXML files with a piano part; can be given several times.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=RUN,
    metavar="FOLDER",
    help="Output folder: keys.safetensors and spelling.safetensors.",
)
@seed_option
@click.option("--restart", is_flag=True, help="Replace the files of an earlier training.")
@about_option
@quiet_option
def command(
    scores: tuple[Path, ...],
    output: Path,
    seed: int,
    restart: bool,
    about: str | None,
    quiet: bool,
) -> None:
    """Train the models that find keys and spell pitches for `harmnmf score`.

    \b
    Example:
      harmnmf train spelling --scores lieder/ -o run/
    """  # noqa: D301 (click needs the backspace itself)
    paths = {name: output / f"{name}.safetensors" for name in ("keys", "spelling")}
    for path in paths.values():
        if path.exists() and not restart:
            raise HarmnmfError(f"{path}: exists; give --restart to replace it, or another folder")

    from harmnmf.score.training.key_training import train_keys
    from harmnmf.score.training.spelling_training import train_spelling
    from harmnmf.score.training.training_set import find_scores
    from harmnmf.storage.arrays import save_arrays
    from harmnmf.storage.files import make_folder

    files, _ = find_scores(sorted({folder.resolve() for folder in scores}), None)
    read = []
    with ProgressBar("Scores", len(files), quiet=quiet) as bar:
        for file in files:
            if score := file.read():
                read.append(score.piano)
            bar.advance(1)
    make_folder(output)
    metadata = {"harmnmf": harmnmf.__version__, **({"about": about} if about else {})}
    for name, train, n_epochs in (
        ("keys", train_keys, KEY_EPOCHS),
        ("spelling", train_spelling, SPELLING_EPOCHS),
    ):
        with ProgressBar(f"Passes for {name}", n_epochs, quiet=quiet) as bar:
            weights = train(read, n_epochs=n_epochs, seed=seed, progress=bar.advance)
        save_arrays(paths[name], weights, {"kind": name, **metadata})
        if not quiet:
            click.echo(f"{paths[name]}: learned from {len(read)} score{'s' * (len(read) != 1)}")
