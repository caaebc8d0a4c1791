"""What the commands share that train networks on rendered performances."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import harmnmf
from harmnmf.errors import HarmnmfError

from .options import COUNT, FOLDER, about_option, device_option, quiet_option, seed_option
from .progress import ProgressBar
from .training import (
    RUN,
    begin_run,
    check_result,
    describe_folder,
    draw_learning_curve,
    report,
    restart_option,
)

if TYPE_CHECKING:
    from torch import nn

    from harmnmf.decoder.causal_network import CausalNetwork
    from harmnmf.decoder.excerpts import NoteExcerpt
    from harmnmf.decoder.network import NoteNetwork, NoteProbabilities

# Training excerpts per validation excerpt, and the most of the latter.
TRAINING_PER_VALIDATION = 40
MOST_VALIDATION = 16

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class NoteTraining:
    """Values of the options of :func:`note_training_options`."""

    pianos: Path
    performances: Path
    backgrounds: tuple[Path, ...]
    output: Path
    excerpts: int
    steps: int
    seed: int
    device: str
    jobs: int
    restart: bool
    about: str | None
    quiet: bool

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the network."""
        metadata = {"name": self.output.resolve().name, "harmnmf": harmnmf.__version__}
        return {**metadata, "about": self.about} if self.about else metadata


def note_training_options(*, excerpts: int, steps: int) -> Callable[[_Function], _Function]:
    """Make a decorator that adds the options, with default numbers of excerpts and steps."""
    options = (
        click.option(
            "--pianos",
            required=True,
            type=FOLDER,
            help="Folder with one folder of isolated notes per piano, named "
            "<MIDI number>_<layer>.wav.",
        ),
        click.option(
            "--performances",
            required=True,
            type=FOLDER,
            help="Folder of MIDI files of piano performances.",
        ),
        click.option(
            "--background",
            "backgrounds",
            multiple=True,
            type=FOLDER,
            help="Folder of recordings of other sounds (speech, rooms, streets) to mix in; can be "
            "given several times.",
        ),
        click.option(
            "-o",
            "--output",
            required=True,
            type=RUN,
            metavar="RUN",
            help="Output folder: network.safetensors, learning_curve.png, metrics.jsonl, and "
            "intermediate files (dictionaries, excerpts, checkpoint).",
        ),
        click.option(
            "--excerpts", default=excerpts, type=COUNT, help="Number of training excerpts of 20 s."
        ),
        click.option("--steps", default=steps, type=COUNT, help="Number of training steps."),
        seed_option,
        device_option,
        click.option(
            "-j", "--jobs", default=1, type=COUNT, help="Number of processes that render excerpts."
        ),
        restart_option,
        about_option,
        quiet_option,
    )

    def add(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def train_on_performances(
    network: NoteNetwork | CausalNetwork,
    training: NoteTraining,
    score: Callable[[nn.Module, NoteExcerpt], Mapping[str, float]],
    *,
    settings: Mapping[str, Any] | None = None,
    where: str = "",
    **options: Any,
) -> None:
    """Render excerpts, train a network on them, and write it with its learning curve.

    Parameters
    ----------
    network : NoteNetwork or CausalNetwork
        The network, whose settings the features are measured with.
    training : NoteTraining
        The options of the command.
    score : callable
        Called with a network and an excerpt for validation; returns its scores, "f_measure" and
        others.
    settings : mapping of str to JSON data, optional
        What the result depends on beside the options.
    where : str, default=""
        Which notes the F-measure is about, in the last message.
    **options
        Other parameters of :func:`harmnmf.decoder.training.train_note_network`.
    """
    import numpy as np

    from harmnmf.decoder.excerpts import NoteExcerpt
    from harmnmf.decoder.training import train_note_network
    from harmnmf.decoder.training_set import (
        ExcerptSource,
        learn_leave_one_out,
        split_performances,
        write_excerpts,
    )
    from harmnmf.signal.audio_folders import audio_files

    folders = {path.name: path for path in sorted(training.pianos.iterdir()) if path.is_dir()}
    if not folders:
        raise HarmnmfError(f"{training.pianos}: contains no folder of a piano's notes")
    played, held_out = split_performances(training.performances)
    # The order of the sounds is one of the settings.
    backgrounds = sorted({folder.resolve() for folder in training.backgrounds})
    sounds = [path for folder in backgrounds for path in audio_files(folder)]
    material = {
        "pianos": {
            name: describe_folder(path, path.glob("*_*.*")) for name, path in folders.items()
        },
        "performances": describe_folder(training.performances, [*played, *held_out]),
        "backgrounds": [describe_folder(folder, audio_files(folder)) for folder in backgrounds],
        "excerpts": training.excerpts,
        "seed": training.seed,
        **(settings or {}),
    }
    output, quiet = training.output, training.quiet
    path = output / "network.safetensors"
    check_result(path, restart=training.restart)
    begin_run(output, material, restart=training.restart)
    with ProgressBar("Dictionaries", len(folders), quiet=quiet) as bar:
        dictionaries = learn_leave_one_out(
            folders,
            output / "dictionaries",
            front_end=network.settings.front_end,
            progress=bar.advance,
        )
    n_validation = min(max(1, training.excerpts // TRAINING_PER_VALIDATION), MOST_VALIDATION)
    sets: dict[str, list[NoteExcerpt]] = {}
    for offset, (part, files, n_excerpts) in enumerate(
        (("validation", held_out, n_validation), ("training", played, training.excerpts))
    ):
        source = ExcerptSource(
            folders,
            dictionaries,
            files,
            sounds,
            seed=2 * training.seed + offset,
            settings=network.settings,
        )
        with ProgressBar(f"Excerpts for {part}", n_excerpts, quiet=quiet) as bar:
            paths = write_excerpts(
                source, output / part, range(n_excerpts), n_jobs=training.jobs, progress=bar.advance
            )
        sets[part] = [NoteExcerpt.load(path) for path in paths]

    def validate(network: nn.Module) -> dict[str, float]:
        scores = [score(network, excerpt) for excerpt in sets["validation"]]
        return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}

    with ProgressBar("Steps", training.steps, quiet=quiet) as bar:
        n_new = train_note_network(
            network,
            sets["training"],
            output,
            n_steps=training.steps,
            seed=training.seed,
            device=training.device,
            settings={"material": material},
            validate=validate,
            progress=bar.update,
            **options,
        )
    network.save(path)
    last = draw_learning_curve(output)
    if not quiet:
        text = f"F-measure {last['f_measure']:.3f}{where} on held-out performances"
        report(path, training.steps, n_new, text)


def f_measure(
    probabilities: NoteProbabilities, excerpt: NoteExcerpt, end: float = math.inf
) -> float:
    """F-measure (onset and pitch) of the notes of an excerpt that begin before `end` seconds.

    Without such notes, it is 1 if none are found, else 0.
    """
    import numpy as np

    from harmnmf.decoder.posteriors import NotePosteriors, decode_posteriors
    from harmnmf.notes.evaluation import evaluate_notes

    pitches = np.array(excerpt.settings.pitches)
    posteriors = NotePosteriors(*probabilities, pitches, excerpt.hop_duration)
    notes, found = (x.slice(0, end) for x in (excerpt.notes, decode_posteriors(posteriors)))
    if not len(notes):
        return float(not len(found))
    score: float = evaluate_notes(notes, found)["F-measure_no_offset"]
    return score
