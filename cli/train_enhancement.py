"""`harmnmf train MODEL`: enhancement networks from folders of audio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import click

import harmnmf
from harmnmf.cli._support.options import (
    COUNT,
    FOLDER,
    Number,
    about_option,
    device_option,
    quiet_option,
    seed_option,
)
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.cli._support.training import (
    RUN,
    check_result,
    draw_learning_curve,
    report,
    restart_option,
)
from harmnmf.errors import HarmnmfError

MODELS = {
    "harmonic-light": "small causal network, fast on one CPU thread",
    "harmonic-attention": "larger causal network, from which harmonic-light is derived",
    "harmonic-refinement": "second network that refines the estimate of harmonic-light",
    "spectrum-attention-fusion": "published network with attention over neighbouring bands",
    "spectrogram-fusion": "network that combines mapping and masking, for singing voice",
}


def _parse_settings(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """Parse NAME=VALUE, where VALUE is JSON or plain text."""
    settings = {}
    for value in values:
        name, found, text = value.partition("=")
        if not found or not name.isidentifier():
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    return settings


_settings_option = partial(
    click.option, multiple=True, callback=_parse_settings, metavar="NAME=VALUE"
)


def model_command(name: str) -> click.Command:
    """Build the command that trains one of `MODELS`; all have the same options."""

    @click.command(
        name,
        help=_HELP.format(name=name, about=MODELS[name]),
        short_help=f"Train a {MODELS[name]}.",
    )
    @click.option(
        "--task",
        default="speech",
        type=click.Choice(["speech", "singing"]),
        help="Remove noise from speech, or the accompaniment from a singing voice.",
    )
    @click.option(
        "--speech",
        type=FOLDER,
        help="Folder with one folder per speaker; a file directly in it counts as a speaker.",
    )
    @click.option(
        "--noise",
        type=FOLDER,
        multiple=True,
        help="Folder of noise (repeatable). If it has ten folders or more, each counts as one "
        "recording; else each file does.",
    )
    @click.option(
        "--clips",
        type=FOLDER,
        help="With --task singing: folder with train/ and dev/ of stereo files (left: "
        "accompaniment, right: voice).",
    )
    @click.option(
        "-o",
        "--output",
        required=True,
        type=RUN,
        metavar="RUN",
        help="Output folder: model.safetensors, learning_curve.png, metrics.jsonl, a checkpoint.",
    )
    @click.option(
        "--steps", "n_steps", default=20_000, type=COUNT, help="Number of training steps."
    )
    @click.option("--batch-size", default=16, type=COUNT, help="Mixtures per step and process.")
    @click.option(
        "--seconds", default=2.0, type=Number(min=0.1), help="Duration of a mixture in seconds."
    )
    @click.option(
        "--learning-rate",
        default=2e-3,
        type=Number(min=0, min_open=True),
        help="Peak learning rate.",
    )
    @seed_option
    @click.option(
        "-j",
        "--jobs",
        "n_workers",
        default=1,
        type=click.IntRange(min=0),
        help="Number of processes that load and mix audio; 0 to do it in the main process.",
    )
    @click.option(
        "--precision",
        default="auto",
        type=click.Choice(["auto", "float32", "bfloat16"]),
        help="Numeric precision; auto is bfloat16 on GPUs and float32 elsewhere.",
    )
    @device_option
    @click.option(
        "--init", "initial", metavar="MODEL",
        help="Initial weights: name or file of a network. For harmonic-refinement also a"
        " harmonic-light, which becomes its fixed first stage.",
    )  # fmt: skip
    @_settings_option("--set", "settings", help="Set a parameter of the model (repeatable).")
    @_settings_option("--weight", "weights", help="Set the weight of a loss term (repeatable).")
    @_settings_option(
        "--mix",
        "conditions",
        help="Set a parameter of the mixtures, such as room=0 (repeatable); see MixtureConditions "
        "in harmnmf.enhancement.mixtures.mixing.",
    )
    @restart_option
    @about_option
    @quiet_option
    def command(
        task: str,
        speech: Path | None,
        noise: tuple[Path, ...],
        clips: Path | None,
        output: Path,
        seconds: float,
        seed: int,
        initial: str | None,
        settings: dict[str, Any],
        conditions: dict[str, Any],
        restart: bool,
        about: str | None,
        quiet: bool,
        **training: Any,
    ) -> None:
        if task == "speech" and (speech is None or not noise or clips):
            raise click.UsageError("--task speech needs --speech and --noise, and no --clips")
        if task == "singing" and (clips is None or speech or noise or conditions):
            raise click.UsageError(
                "--task singing needs --clips, and no --speech, --noise or --mix"
            )

        import torch

        from harmnmf.enhancement.models.registry import save_model
        from harmnmf.enhancement.training import several_processes, train_enhancement
        from harmnmf.training.loop import forget_training

        path = output / "model.safetensors"
        check_result(path, restart=restart)
        with several_processes() as first:
            torch.manual_seed(seed)
            model = _build(name, settings, initial)
            if clips is not None:
                mixtures = _singing(clips, seconds, seed)
            else:
                assert speech is not None
                mixtures = _speech(speech, noise, seconds, seed, conditions)
            if restart and first:
                forget_training(output)
            start = {"seed": seed, "initial": _describe(initial)}
            n_steps = training["n_steps"]
            with ProgressBar("Steps", n_steps, quiet=quiet or not first) as bar:
                n_new = train_enhancement(
                    model, *mixtures, output, settings=start, progress=bar.update, **training
                )
            if not first:
                return
            metadata = {"name": output.resolve().name, "harmnmf": harmnmf.__version__, "task": task}
            if about:
                metadata["about"] = about
            save_model(path, name, model.cpu(), metadata)
            last = draw_learning_curve(output)
            if not quiet:
                gain = last["si_sdr_gain"]
                report(path, n_steps, n_new, f"SI-SDR {gain:+.1f} dB on held-out mixtures")

    return command


_HELP = """Train {name}, a {about}.

Mixtures are generated during training, with a tenth of the speakers and of the noise held out for
validation. Run the same command again to resume, or with more --steps to continue. Use several GPUs
with `torchrun --nproc-per-node N -m harmnmf train ...`.

\b
Example:
  harmnmf train {name} --speech speech/ --noise noise/ -o run/
  harmnmf enhance noisy.wav --model run/model.safetensors
"""


def _describe(initial: str | None) -> str | None:
    """Describe the file of initial weights by its name, size and checksum."""
    from harmnmf.enhancement.shipped import find_model

    if initial is None:
        return None
    path = find_model(initial)
    content = path.read_bytes()
    return f"{path.name}, {len(content)} bytes, checksum {crc32(content):08x}"


def _build(name: str, settings: Mapping[str, Any], initial: str | None) -> Any:
    """Build the network to train, with random or given initial weights."""
    from harmnmf.enhancement.models.registry import MODELS, build_model, load_model
    from harmnmf.enhancement.shipped import find_model

    if initial is None:
        return build_model(name, **settings)
    path = find_model(initial)
    model, _ = load_model(path)
    if type(model).__name__ == MODELS[name][1]:
        if settings:
            raise click.UsageError("--init has its own parameters: leave out --set")
        return model
    network = build_model(name, **settings)
    light = getattr(network, "light", None)
    if light is None or (type(light), light.config) != (type(model), model.config):
        raise HarmnmfError(f"{path}: is a {type(model).__name__}, not a {name}; give another file")
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
    # Validation mixtures do not depend on `conditions`, so that runs can be compared.
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
            raise HarmnmfError(f"{clips}: must contain the folders train and dev, of stereo files")
    training, validation = (
        SingingMixtures(audio_files(clips / part), duration=seconds, seed=seed + offset)
        for offset, part in enumerate(("train", "dev"))
    )
    return training, validation
