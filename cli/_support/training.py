"""What the commands that train share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

RUN = click.Path(file_okay=False, path_type=Path)

restart_option = click.option(
    "--restart", is_flag=True, help="Train anew, without the checkpoint that is in the folder."
)


def describe_folder(folder: Path, files: Iterable[Path]) -> str:
    """Describe the files of a folder, by names relative to it."""
    from harmnmf.training.settings import describe_files

    return describe_files(
        (path.relative_to(folder).as_posix(), path) for path in files if path.is_file()
    )


def begin_run(run: Path, settings: Mapping[str, Any], *, restart: bool) -> None:
    """Make a run's folder, or check that it was made with the same settings.

    Its excerpts and dictionaries depend on them, and are kept when a run is resumed.
    """
    from harmnmf.storage.files import make_folder, remove_leftovers
    from harmnmf.training.loop import forget_training
    from harmnmf.training.settings import check_settings, keep_settings

    make_folder(run)
    kept = run / "settings.json"
    folders = [run / name for name in ("dictionaries", "validation", "training")]
    made = [path for folder in folders for path in folder.glob("*.safetensors")]
    if restart:
        forget_training(run)
        for path in made:
            path.unlink()
        kept.unlink(missing_ok=True)
    elif made and not kept.exists():
        check_settings(kept, None, settings)
    keep_settings(kept, settings)
    for folder in folders:
        remove_leftovers(folder)


def check_result(path: Path, *, restart: bool) -> None:
    """Raise HarmnmfError if a file would be replaced that no training in its folder has written."""
    from harmnmf.errors import HarmnmfError
    from harmnmf.training.loop import has_checkpoint
    from harmnmf.training.settings import ADVICE

    if path.exists() and not (restart or has_checkpoint(path.parent)):
        raise HarmnmfError(f"{path}: exists without the checkpoint of a training; {ADVICE}")


def draw_learning_curve(run: Path) -> dict[str, float]:
    """Plot the metrics of a training run, and return those of the last step."""
    from harmnmf.plotting.figures import plot_learning_curve, save_figure
    from harmnmf.training.loop import METRICS
    from harmnmf.training.metrics import read_metrics

    metrics = read_metrics(run / METRICS)
    save_figure(plot_learning_curve(metrics), run / "learning_curve.png")
    return metrics[-1]


def report(path: Path, n_steps: int, n_new: int, score: str) -> None:
    """Print the score of a trained network, or that there was nothing to train."""
    if n_new:
        click.echo(f"{path}: {score}")
    else:
        click.echo(
            f"{path}: was trained before for {n_steps} steps with these settings, nothing to do "
            f"({score}); give more --steps to continue, or --restart to train anew"
        )
