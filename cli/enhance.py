"""`harmnmf enhance`: noise out of recordings."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from harmnmf.cli._support.batch import Batch, batch_options, process_each
from harmnmf.cli._support.enhance_work import DeepPriorFit, NetworkEnhancement, load_enhancer
from harmnmf.cli._support.paths import find_recordings
from harmnmf.cli._support.pcm import stream_pcm
from harmnmf.errors import HarmnmfError
from harmnmf.signal.audio_folders import AUDIO_SUFFIXES

DEEP_PRIOR = "deep-prior"
DEFAULT_MODEL = "harmonic-light"
SINGING = "singing"
LOSSLESS = (".wav", ".flac")
CONVOLUTIONS = ("harmonic", "dilated", "plain")
# Options that mean something to the deep prior only, and to trained networks only.
PRIOR_OPTIONS = {"convolution", "steps", "seed"}
NETWORK_OPTIONS = {"dry", "attenuation_limit", "stdin", "stdout"}


@click.command()
@click.argument("audio", nargs=-1, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Where to write: an audio file for one recording, or a folder for any number (made if "
    "missing). [default: song_enhanced.wav beside song.mp3]",
)
@click.option(
    "--plot",
    is_flag=True,
    help="Also write a picture, .png: the spectrograms of the first minute, before and after.",
)
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|FILE",
    help="harmonic-light and spectrum-attention-fusion, six times as slow and a little better, are "
    "trained, for speech. A file from `harmnmf train` is for what it was trained for: speech, or "
    "singing, when the accompaniment is written, too. deep-prior is fitted to each recording and "
    "has heard nothing before.",
)
@click.option(
    "--dry",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Part of the noisy recording that is mixed back. Not for deep-prior.",
)
@click.option(
    "--atten-lim",
    "attenuation_limit",
    type=click.FloatRange(min=0),
    metavar="DB",
    help="How much weaker any part of the spectrum may become; inf for no limit. Not for "
    "deep-prior. [default: what the network's file recommends, 18 for harmonic-light and 22 for "
    "spectrum-attention-fusion]",
)
@click.option(
    "--stdin",
    is_flag=True,
    help="Read raw samples instead of files: mono, 16 kHz, 16 bits, signed, little-endian.",
)
@click.option(
    "--stdout",
    is_flag=True,
    help="With --stdin: write such samples as soon as they are known, one frame later.",
)
@click.option(
    "--rate", default=16_000, show_default=True, help="Of raw samples; no other is possible yet."
)
@click.option(
    "--convolution",
    default="harmonic",
    show_default=True,
    type=click.Choice(CONVOLUTIONS),
    help="What deep-prior is made of; all but harmonic are for comparison.",
)
@click.option(
    "--steps",
    default=500,
    show_default=True,
    type=click.IntRange(min=1),
    help="Where the fit of deep-prior stops: more steps give more of the sound, and of the noise.",
)
@click.option("--seed", default=0, show_default=True, help="Of all that is random in deep-prior.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help="Where to compute: cpu, cuda, cuda:1, …; auto is a GPU if there is one.",
)
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    audio: tuple[str, ...],
    output: Path | None,
    plot: bool,
    model: str,
    dry: float,
    attenuation_limit: float | None,
    stdin: bool,
    stdout: bool,
    rate: int,
    convolution: str,
    steps: int,
    seed: int,
    device: str,
    batch: Batch,
) -> None:
    """Take noise out of recordings of speech, and of others.

    AUDIO are WAV, FLAC, MP3, OGG or AIFF files, folders of them (with the folders inside), or
    patterns like 'takes/*.wav'. What is written has the rate, the channels and the length of what
    was read.

    Trained networks hear what is below 8 kHz. What is above becomes as much weaker as what they
    leave between 4 and 8 kHz. With deep-prior, a second at 16 kHz takes about a minute of one core:
    what is interrupted leaves a checkpoint beside its output, and the same command goes on from it.

    \b
    Examples:
      harmnmf enhance noisy.wav
      harmnmf enhance recordings/ -o clean/ --atten-lim inf --plot
      harmnmf enhance piano.wav -o clean.flac --model deep-prior --steps 800
      harmnmf enhance song.wav -o parts/ --model run/model.safetensors   # voice and accompaniment
    """  # noqa: D301 (click needs the backspace itself)
    _check_options(ctx, model)
    if stdin != stdout:
        raise click.UsageError("--stdin and --stdout belong together")
    if stdin and (audio or output or plot or rate != 16_000):
        raise click.UsageError("--stdin takes no AUDIO, no --output, no --plot, and only 16000 Hz")
    if not stdin and not audio:
        raise click.UsageError("Missing argument 'AUDIO...'.")
    separated = _is_for_singing(model)
    plan, folder = _plan(audio, output, plot, separated)
    if model == DEEP_PRIOR:
        prior = DeepPriorFit(convolution, steps, seed, device)
        process_each(ctx, plan, prior, batch, folder)
        return
    network = NetworkEnhancement(model, dry, attenuation_limit, device, separated)
    if not stdin:
        process_each(ctx, plan, network, batch, folder)
        return
    stream = load_enhancer(network).stream()
    click.echo(f"latency: {1000 * stream.latency / rate:.1f} ms", err=True)
    stream_pcm(stream, sys.stdin.buffer, sys.stdout.buffer)


def _check_options(ctx: click.Context, model: str) -> None:
    """Refuse options that the model knows nothing of."""
    unknown = NETWORK_OPTIONS if model == DEEP_PRIOR else PRIOR_OPTIONS
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
        if parameter.name in unknown and given:
            raise click.UsageError(f"--model {model} has no {parameter.opts[0]}")


def _is_for_singing(model: str) -> bool:
    """Tell whether weights are for singing, of which a recording gives two outputs."""
    if Path(model).is_file():
        from harmnmf.enhancement.models.registry import load_model

        return load_model(model)[1].get("task") == SINGING
    if model == SINGING:
        raise HarmnmfError(
            "--model singing: its weights are not shipped, because what they are learned from is "
            "for research only; see `harmnmf train spectrogram-fusion --help`, and give the file "
            "that it writes"
        )
    return False


def _plan(
    audio: tuple[str, ...], output: Path | None, plot: bool, separated: bool
) -> tuple[dict[Path, list[Path]], Path | None]:
    """Decide which files each recording shall give, and in which folder if they share one."""
    sources = find_recordings(audio)
    folder, ending = output, "voice" if separated else "enhanced"
    plan = {}
    if output is not None and not output.is_dir() and output.suffix.lower() in AUDIO_SUFFIXES:
        if len(sources) > 1:
            raise click.UsageError(f"{output} is one file, but there are {len(sources)} recordings")
        folder = None
        plan = {file: [output] for file, _ in sources}
    elif output is not None and not output.is_dir() and output.suffix:
        raise HarmnmfError(f"{output}: is neither a folder nor of a format of audio; use .wav")
    else:
        for file, place in sources:
            base = file if output is None else output / place
            plan[file] = [base.with_name(f"{base.stem}_{ending}.wav")]
    for outputs in plan.values():
        first = outputs[0]
        if separated:
            # Of others, what is read again is not quite what was written.
            if first.suffix.lower() not in LOSSLESS:
                raise HarmnmfError(f"{first}: write the voice as {' or '.join(LOSSLESS)}")
            name = f"{first.stem.removesuffix('_voice')}_accompaniment{first.suffix}"
            outputs.append(first.with_name(name))
        if plot:
            outputs.append(first.with_suffix(".png"))
    return plan, folder
