"""`harmnmf enhance`: remove noise from recordings of speech."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, batch_options, process_each
from harmnmf.cli._support.enhancement import output_option, plot_option, save_before_after
from harmnmf.cli._support.options import Number, device_option
from harmnmf.cli._support.paths import plan_outputs
from harmnmf.cli._support.pcm import stream_pcm
from harmnmf.cli._support.subtype import check_subtype, subtype_option
from harmnmf.enhancement.shipped import shipped_models
from harmnmf.errors import HarmnmfError

if TYPE_CHECKING:
    import numpy as np

    from harmnmf.enhancement.enhancer import Enhancer

# The accompaniment is computed from the written voice, which must be exact.
LOSSLESS_SUFFIXES = (".wav", ".flac")


@click.command()
@click.argument("audio", nargs=-1, type=click.Path(readable=False))
@output_option
@plot_option
@click.option(
    "--model",
    default="harmonic-light",
    show_default=True,
    metavar="NAME|FILE",
    help=f"Network: {', '.join(shipped_models())}, or a file from `harmnmf train`. With a network "
    "for singing, the voice and the accompaniment are written.",
)
@click.option(
    "--dry",
    default=0.0,
    show_default=True,
    type=Number(0, 1),
    help="Proportion of the noisy recording in the output, from 0 to 1.",
)
@click.option(
    "--atten-lim",
    "attenuation_limit",
    type=Number(min=0, infinite=True),
    metavar="DB",
    help="Maximum attenuation of the noise in dB; 0 changes nothing, and inf is no limit.  "
    "[default: the limit stored with the network]",
)
@subtype_option
@click.option(
    "--stdin",
    is_flag=True,
    help="Enhance raw samples from standard input as they arrive, and write them to standard "
    "output: 16-bit little-endian, mono, 16 kHz.",
)
@device_option
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    audio: tuple[str, ...],
    output: str | None,
    plot: bool,
    model: str,
    dry: float,
    attenuation_limit: float | None,
    subtype: str | None,
    stdin: bool,
    device: str,
    batch: Batch,
) -> None:
    """Remove noise from recordings of speech.

    AUDIO: audio files (WAV, FLAC, MP3, M4A, ...), videos, folders, or patterns like 'takes/*.wav'.
    The output has the sample rate, the channels and the length of the input. It is a WAV file, or
    what `-o FILE` names: .wav, .flac, .mp3, .ogg, .opus, .aiff, ... If its peaks exceed full scale,
    the whole file is made softer, with a warning; float WAV files keep them. Existing files are not
    replaced without --overwrite. For other sounds than speech, see `harmnmf deep-prior`.

    \b
    Examples:
      harmnmf enhance noisy.wav
      harmnmf enhance recordings/ -o clean/ --atten-lim inf --plot
      harmnmf enhance song.wav -o parts/ --model singing.safetensors
      ffmpeg -i noisy.mp3 -f s16le -ac 1 -ar 16000 - | harmnmf enhance --stdin > enhanced.raw
    """  # noqa: D301 (click needs the backspace itself)
    if stdin and (audio or output or plot or subtype):
        raise click.UsageError("--stdin takes no AUDIO, --output, --plot or --subtype")
    if not stdin and not audio:
        raise click.UsageError("Missing argument 'AUDIO...'.")
    is_singing = _is_for_singing(model)
    work = Enhancement(model, dry, attenuation_limit, device, subtype, is_singing)
    if stdin:
        from harmnmf.signal.audio import SAMPLE_RATE

        if sys.stdin is None or sys.stdout is None:
            raise HarmnmfError("--stdin: standard input or output is closed; redirect it")
        stream = _load_enhancer(work).stream()
        if not batch.quiet:
            click.echo(f"latency: {1000 * stream.latency / SAMPLE_RATE:.1f} ms", err=True)
        stream_pcm(stream, sys.stdin.buffer, sys.stdout.buffer)
        return
    from harmnmf.signal.formats import OUTPUT_SUFFIXES

    names = ["_voice", "_accompaniment"] if is_singing else ["_enhanced"]
    endings = [*(f"{name}.wav" for name in names), *[f"{names[0]}.png"] * plot]
    suffixes = LOSSLESS_SUFFIXES if is_singing else OUTPUT_SUFFIXES
    plan = plan_outputs(audio, output, endings, suffixes)
    check_subtype(output, subtype)
    process_each(ctx, plan, work, batch)


def _is_for_singing(model: str) -> bool:
    if Path(model).is_file():
        from harmnmf.enhancement.models.registry import load_model

        return load_model(model)[1].get("task") == "singing"
    if model == "singing":
        raise HarmnmfError(
            "--model singing: networks for singing are not shipped, since their training data is"
            " for research only; train one (see `harmnmf train spectrogram-fusion --help`) and give"
            " its file"
        )
    return False


@dataclass(frozen=True)
class Enhancement:
    """Enhancement of one recording by a network."""

    model: str
    dry: float
    attenuation_limit: float | None
    device: str
    subtype: str | None
    is_separation: bool  # the removed part is the second output

    def prepare(self) -> None:
        """Load the network."""
        _load_enhancer(self)

    def __call__(self, task: Task, progress: Progress) -> str:
        """Enhance a recording and write its outputs."""
        from harmnmf.signal.formats import check_format, matching_subtype
        from harmnmf.signal.reading import audio_info, stream_audio
        from harmnmf.signal.writing import write_blocks

        path = task.outputs[0]
        info = audio_info(task.source)
        rate = info.sample_rate
        subtype = self.subtype or matching_subtype(path, task.source)
        check_format(path, rate, info.n_channels, subtype)
        path.parent.mkdir(parents=True, exist_ok=True)
        write = partial(
            write_blocks,
            sample_rate=rate,
            subtype=subtype,
            n_samples=round(info.duration * rate),
        )
        seconds = 0.0

        def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal seconds
            for block in blocks:
                yield block
                seconds += block.shape[-1] / rate
                progress(seconds)

        noisy = stream_audio(task.source, mono=False)
        gain = write(path, counted(_load_enhancer(self).enhance_blocks(noisy, rate)))
        if self.is_separation:
            parts = (stream_audio(name, mono=False) for name in (task.source, path))
            pairs = zip(*parts, strict=True)
            write(task.outputs[1], (whole - voice / gain for whole, voice in pairs))
        if task.outputs[-1].suffix == ".png":
            save_before_after(task.source, path, task.outputs[-1])
        return f"{seconds:.1f} s"


@lru_cache(maxsize=1)
def _load_enhancer(work: Enhancement) -> Enhancer:
    from harmnmf.enhancement.enhancer import Enhancer

    limit = work.attenuation_limit
    options = {} if limit is None else {"attenuation_limit": limit}
    return Enhancer.load(work.model, dry=work.dry, device=work.device, **options)
