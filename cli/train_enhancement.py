"""`harmnmf train MODEL`: the enhancement networks, from folders of audio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import harmnmf
from harmnmf.cli._support.train_run import draw_learning_curve, show_steps
from harmnmf.errors import HarmnmfError

MODELS = {
    "harmonic-light": "small and causal, for one thread of a CPU",
    "harmonic-attention": "the published network that it comes from",
    "spectrum-attention-fusion": "attention over neighbouring bands",
    "spectrogram-fusion": "a mapped and a masked spectrogram, joined; for singing voice",
}
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class _Setting(click.ParamType):
    """NAME=VALUE, where the value is JSON or a word."""

    name = "setting"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        name, found, text = value.partition("=")
        if not found or not name.isidentifier():
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


def model_command(name: str) -> click.Command:
    """Make the command that trains a model.

    Parameters
    ----------
    name : str
        One of `MODELS`.

    Returns
    -------
    click.Command
        With the same options for each.
    """

    @click.command(name, help=_HELP.format(about=MODELS[name], name=name))
    @click.option(
        "--task",
        default="speech",
        show_default=True,
        type=click.Choice(["speech", "singing"]),
        help="Speech out of noise, or a singing voice out of its accompaniment.",
    )
    @click.option("--speech", type=_FOLDER, help="A folder with a folder for each speaker.")
    @click.option(
        "--noise", type=_FOLDER, multiple=True, help="A folder of noise; may be given repeatedly."
    )
    @click.option(
        "--clips",
        type=_FOLDER,
        help="For singing: a folder with train/ and dev/, of stereo files: left the "
        "accompaniment, right the voice.",
    )
    @click.option(
        "-o",
        "--output",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="RUN",
        help="Folder of all that is made: model.safetensors and learning_curve.png, and on the way "
        "to them a checkpoint and metrics.jsonl.",
    )
    @click.option("--steps", default=20_000, show_default=True, type=click.IntRange(min=1))
    @click.option("--batch-size", default=16, show_default=True, type=click.IntRange(min=1))
    @click.option("--seconds", default=2.0, show_default=True, help="How long a mixture is.")
    @click.option("--learning-rate", default=2e-3, show_default=True, help="The highest.")
    @click.option("--seed", default=0, show_default=True, help="Of all that is random.")
    @click.option("-j", "--jobs", default=1, show_default=True, help="Processes that mix.")
    @click.option(
        "--precision",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "float32", "bfloat16"]),
        help="bfloat16 is faster on GPUs, where auto takes it, and on processors that know it;"
        " others go on in float32.",
    )
    @click.option("--device", default="auto", show_default=True, help="Where to compute.")
    @click.option(
        "--init", "initial", metavar="MODEL",
        help="What to begin with: a shipped network, or a file of weights. With --set refines=true,"
        " the harmonic-light that goes first.",
    )  # fmt: skip
    @click.option(
        "--set", "settings", multiple=True, type=_Setting(), metavar="NAME=VALUE",
        help="A field of the model's configuration.",
    )  # fmt: skip
    @click.option(
        "--weight", "weights", multiple=True, type=_Setting(), metavar="NAME=VALUE",
        help="The weight of a term of the loss.",
    )  # fmt: skip
    @click.option(
        "--mix", "conditions", multiple=True, type=_Setting(), metavar="NAME=VALUE",
        help="How speech is mixed, such as room=0: see MixtureConditions of "
        "harmnmf.enhancement.mixtures.mixing.",
    )  # fmt: skip
    @click.option("--about", metavar="TEXT", help="Sources, licence and attribution: kept in it.")
    def command(
        task: str,
        speech: Path | None,
        noise: tuple[Path, ...],
        clips: Path | None,
        output: Path,
        steps: int,
        batch_size: int,
        seconds: float,
        learning_rate: float,
        seed: int,
        jobs: int,
        precision: str,
        device: str,
        initial: str | None,
        settings: Sequence[tuple[str, Any]],
        weights: Sequence[tuple[str, Any]],
        conditions: Sequence[tuple[str, Any]],
        about: str | None,
    ) -> None:
        if task == "speech" and (speech is None or not noise or clips):
            raise click.UsageError("speech needs --speech and --noise, and no --clips")
        if task == "singing" and (clips is None or speech or noise or conditions):
            raise click.UsageError("singing needs --clips, and no --speech, --noise or --mix")

        import torch

        from harmnmf.enhancement.models.registry import save_model
        from harmnmf.enhancement.training import several_processes, train_enhancement

        with several_processes() as first:
            torch.manual_seed(seed)
            model = _build(name, dict(settings), initial)
            if clips is not None:
                training, validation = _singing(clips, seconds, seed)
            else:
                assert speech is not None
                training, validation = _speech(speech, noise, seconds, seed, dict(conditions))
            with show_steps(steps if first else None) as progress:
                train_enhancement(
                    model,
                    training,
                    validation,
                    output,
                    n_steps=steps,
                    batch_size=batch_size,
                    learning_rate=learning_rate,
                    weights=dict(weights),
                    precision=precision,
                    n_workers=jobs,
                    device=device,
                    progress=progress,
                )
            if not first:
                return
            metadata = {"name": output.name, "harmnmf": harmnmf.__version__, "task": task}
            if about:
                metadata["about"] = about
            save_model(output / "model.safetensors", name, model.cpu(), metadata)
            last = draw_learning_curve(output)
            gain = last["si_sdr_gain"]
            path = output / "model.safetensors"
            click.echo(f"{path}: SI-SDR {gain:+.1f} dB on held-out mixtures")

    return command


_HELP = """Train {name}: {about}.

Mixtures are made while it trains, and no two are equal. A tenth of the speakers and of the noise
is kept to validate with. Started again, it goes on where it stopped; with more steps, it goes on
from the end. `torchrun -m harmnmf train ...` uses several GPUs.
"""


def _build(name: str, settings: Mapping[str, Any], initial: str | None) -> Any:
    """Give the network to train, with random weights, or those that it is to begin with."""
    from harmnmf.enhancement.enhancer import find_model
    from harmnmf.enhancement.models.registry import MODELS, build_model, load_model

    if initial is None:
        return build_model(name, **settings)
    path = find_model(initial)
    model, _ = load_model(path)
    if type(model).__name__ == MODELS[name][1]:
        if settings:
            raise click.UsageError("--init has a configuration: leave out --set")
        return model
    network = build_model(name, **settings)
    light = getattr(network, "light", None)
    if light is None or (type(light), light.config) != (type(model), model.config):
        raise HarmnmfError(f"{path}: has a {type(model).__name__}, not a {name}; give another file")
    light.load_state_dict(model.state_dict())
    return network


def _speech(
    speech: Path, noise: Sequence[Path], seconds: float, seed: int, conditions: Mapping[str, Any]
) -> tuple[Any, Any]:
    from harmnmf.enhancement.mixtures.mixing import MixtureConditions
    from harmnmf.enhancement.mixtures.speech import SpeechMixtures, split_material

    try:
        mixed = MixtureConditions(**conditions)
    except TypeError as error:
        raise HarmnmfError(f"--mix: {error}") from error
    training, validation = split_material(speech, noise)
    # What is validated is the same, whatever is trained with.
    return (
        SpeechMixtures(
            training.speech, training.noise, duration=seconds, conditions=mixed, seed=seed
        ),
        SpeechMixtures(validation.speech, validation.noise, duration=seconds, seed=seed + 1),
    )


def _singing(clips: Path, seconds: float, seed: int) -> tuple[Any, Any]:
    from harmnmf.enhancement.mixtures.singing import SingingMixtures
    from harmnmf.signal.audio_folders import audio_files

    for part in ("train", "dev"):
        if not (clips / part).is_dir():
            raise HarmnmfError(f"{clips}: needs the folders train and dev, of stereo files")
    training, validation = (
        SingingMixtures(audio_files(clips / part), duration=seconds, seed=seed + offset)
        for offset, part in enumerate(("train", "dev"))
    )
    return training, validation
