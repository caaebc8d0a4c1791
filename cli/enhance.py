"""`harmnmf enhance`: noise out of recordings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from harmnmf.audiofiles import AUDIO_SUFFIXES
from harmnmf.errors import HarmnmfError

from .batch import Progress, process_each
from .paths import check_plan, find_recordings
from .pcm import stream_pcm

if TYPE_CHECKING:
    import numpy as np

    from harmnmf.enhancement.deep_prior import DeepPrior
    from harmnmf.enhancement.enhancer import Enhancer

DEEP_PRIOR = "deep-prior"
DEFAULT_MODEL = "harmonic-light"
CONVOLUTIONS = ("harmonic", "dilated", "plain")
# Options that mean something to the deep prior only, and to trained networks only.
PRIOR_OPTIONS = {"convolution", "steps", "seed"}
NETWORK_OPTIONS = {"dry", "attenuation_limit", "stdin", "stdout"}
# A longer picture is too crowded to read.
PLOTTED_SECONDS = 60.0

Work = Callable[[Path, list[Path], Progress | None], str]


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
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
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
    help="harmonic-light is trained, for speech; so is a file from `harmnmf train`. deep-prior is "
    "fitted to each recording and has heard nothing before.",
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
    help="How much weaker any part of the spectrum may become. Not for deep-prior.",
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
@click.pass_context
def command(
    ctx: click.Context,
    audio: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
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
      harmnmf enhance recordings/ -o clean/ --atten-lim 20 --plot
      harmnmf enhance piano.wav -o clean.flac --model deep-prior --steps 800
    """  # noqa: D301 (click needs the backspace itself)
    _check_options(ctx, model)
    if stdin != stdout:
        raise click.UsageError("--stdin and --stdout belong together")
    if stdin and (audio or output or plot or rate != 16_000):
        raise click.UsageError("--stdin takes no AUDIO, no --output, no --plot, and only 16000 Hz")
    if not stdin and not audio:
        raise click.UsageError("Missing argument 'AUDIO...'.")
    plan = _plan(audio, output, plot)
    check_plan(plan, overwrite=overwrite, make_folders=output is not None)

    if model == DEEP_PRIOR:
        from harmnmf.enhancement.deep_prior import DeepPrior

        prior = DeepPrior(convolution=convolution, n_steps=steps, seed=seed, device=device)
        process_each(ctx, plan, _fit(prior))
        return
    from harmnmf.enhancement.enhancer import Enhancer

    enhancer = Enhancer.load(model, dry=dry, attenuation_limit=attenuation_limit, device=device)
    if stdin:
        stream = enhancer.stream()
        click.echo(f"latency: {1000 * stream.latency / rate:.1f} ms", err=True)
        stream_pcm(stream, sys.stdin.buffer, sys.stdout.buffer)
    else:
        process_each(ctx, plan, _apply(enhancer))


def _check_options(ctx: click.Context, model: str) -> None:
    """Refuse options that the model knows nothing of."""
    unknown = NETWORK_OPTIONS if model == DEEP_PRIOR else PRIOR_OPTIONS
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
        if parameter.name in unknown and given:
            raise click.UsageError(f"--model {model} has no {parameter.opts[0]}")


def _plan(audio: tuple[str, ...], output: Path | None, plot: bool) -> dict[Path, list[Path]]:
    """Decide which files each recording shall give."""
    sources = find_recordings(audio)
    if output is not None and not output.is_dir() and output.suffix.lower() in AUDIO_SUFFIXES:
        if len(sources) > 1:
            raise click.UsageError(f"{output} is one file, but there are {len(sources)} recordings")
        plan = {file: [output] for file, _ in sources}
    elif output is not None and not output.is_dir() and output.suffix:
        raise HarmnmfError(f"{output}: is neither a folder nor of a format of audio; use .wav")
    else:
        plan = {}
        for file, place in sources:
            base = file if output is None else output / place
            plan[file] = [base.with_name(f"{base.stem}_enhanced.wav")]
    if plot:
        plan = {file: [path, path.with_suffix(".png")] for file, [path] in plan.items()}
    return plan


def _fit(prior: DeepPrior) -> Work:
    """Make what enhances one recording by the deep prior."""
    from harmnmf.audio import read_audio, write_audio

    def work(source: Path, outputs: list[Path], progress: Progress | None) -> str:
        path = outputs[0]
        noisy = read_audio(source, mono=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = path.with_name(f"{path.name}.checkpoint.npz")
        try:
            write_audio(path, prior.enhance(noisy, checkpoint=checkpoint, progress=progress))
            # Not before: an hour's work shall outlive a disk that is full.
            checkpoint.unlink()
        except KeyboardInterrupt:
            click.echo(f"{checkpoint}: the same command goes on from here", err=True)
            raise
        _plot(source, *outputs)
        return f"{noisy.duration:.1f} s"

    return work


def _apply(enhancer: Enhancer) -> Work:
    """Make what enhances one recording by a trained network, in blocks."""
    from harmnmf.audio import audio_info, stream_audio, write_blocks

    def work(source: Path, outputs: list[Path], progress: Progress | None) -> str:
        path = outputs[0]
        rate = audio_info(source).sample_rate
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = 0.0

        def followed(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal seconds
            for block in blocks:
                yield block
                seconds += block.shape[-1] / rate
                if progress is not None:
                    progress(seconds)

        noisy = stream_audio(source, mono=False)
        write_blocks(path, followed(enhancer.enhance_blocks(noisy, rate)), rate)
        _plot(source, *outputs)
        return f"{seconds:.1f} s"

    return work


def _plot(source: Path, enhanced: Path, picture: Path | None = None) -> None:
    """Draw a recording before and after, if a picture is asked for."""
    if picture is None:
        return
    from harmnmf.audio import read_audio
    from harmnmf.plotting import plot_before_after, save_figure
    from harmnmf.spectrogram import STFT

    sounds = [read_audio(path, duration=PLOTTED_SECONDS) for path in (source, enhanced)]
    n_fft = 2 * round(0.016 * sounds[0].sample_rate)
    front_end = STFT(sounds[0].sample_rate, hop_length=n_fft // 2, n_fft=n_fft)
    figure = plot_before_after(
        *(front_end.transform(sound.samples) for sound in sounds),
        title=click.format_filename(source.name),
    )
    save_figure(figure, picture)
