"""`harmnmf enhance`: noise out of recordings."""

from __future__ import annotations

from pathlib import Path

import click

from harmnmf.audiofiles import AUDIO_SUFFIXES
from harmnmf.errors import HarmnmfError

from .batch import Progress, process_each
from .paths import check_plan, find_recordings

MODELS = ("deep-prior",)
CONVOLUTIONS = ("harmonic", "dilated", "plain")


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path())
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
    "--model",
    default="deep-prior",
    show_default=True,
    type=click.Choice(MODELS),
    help="deep-prior is a network that is fitted to each recording and has heard nothing before.",
)
@click.option(
    "--convolution",
    default="harmonic",
    show_default=True,
    type=click.Choice(CONVOLUTIONS),
    help="What it is made of; all but harmonic are for comparison.",
)
@click.option(
    "--steps",
    default=500,
    show_default=True,
    type=click.IntRange(min=1),
    help="Where the fit stops: more steps give more of the sound, and of the noise.",
)
@click.option("--seed", default=0, show_default=True, help="Of all that is random.")
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
    model: str,
    convolution: str,
    steps: int,
    seed: int,
    device: str,
) -> None:
    """Take noise out of recordings.

    AUDIO are WAV, FLAC, MP3, OGG or AIFF files, folders of them (with the folders inside), or
    patterns like 'takes/*.wav'. What is written has the rate, the channels and the length of what
    was read. A second at 16 kHz takes about a minute of one core: what is interrupted leaves a
    checkpoint beside its output, and the same command goes on from it.

    \b
    Examples:
      harmnmf enhance noisy.wav
      harmnmf enhance noisy.wav -o clean.flac --steps 800
    """  # noqa: D301 (click needs the backspace itself)
    plan = _plan(audio, output)
    check_plan(plan, overwrite=overwrite, make_folders=output is not None)

    from harmnmf.audio import read_audio, write_audio
    from harmnmf.enhancement.deep_prior import DeepPrior

    prior = DeepPrior(convolution=convolution, n_steps=steps, seed=seed, device=device)

    def work(source: Path, outputs: list[Path], progress: Progress | None) -> str:
        [path] = outputs
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
        return f"{noisy.duration:.1f} s"

    process_each(ctx, plan, work)


def _plan(audio: tuple[str, ...], output: Path | None) -> dict[Path, list[Path]]:
    """Decide which file each recording shall give."""
    sources = find_recordings(audio)
    if output is not None and not output.is_dir() and output.suffix.lower() in AUDIO_SUFFIXES:
        if len(sources) > 1:
            raise click.UsageError(f"{output} is one file, but there are {len(sources)} recordings")
        return {file: [output] for file, _ in sources}
    if output is not None and not output.is_dir() and output.suffix:
        raise HarmnmfError(f"{output}: is neither a folder nor of a format of audio; use .wav")
    plan = {}
    for file, place in sources:
        base = file if output is None else output / place
        plan[file] = [base.with_name(f"{base.stem}_enhanced.wav")]
    return plan
