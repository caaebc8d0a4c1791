"""`harmnmf deep-prior`: remove noise with an untrained network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, batch_options, process_each
from harmnmf.cli._support.enhancement import output_option, plot_option, save_before_after
from harmnmf.cli._support.options import COUNT, device_option, seed_option
from harmnmf.cli._support.paths import plan_outputs
from harmnmf.cli._support.subtype import check_subtype, subtype_option

if TYPE_CHECKING:
    from harmnmf.enhancement.deep_prior import DeepPrior


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path(readable=False))
@output_option
@plot_option
@click.option(
    "--steps",
    "n_steps",
    default=500,
    show_default=True,
    type=COUNT,
    help="Optimisation steps. More steps keep more of the sound, and of the noise.",
)
@click.option(
    "--convolution",
    default="harmonic",
    show_default=True,
    type=click.Choice(("harmonic", "dilated", "plain")),
    help="Convolutions of the network; dilated and plain are for comparison.",
)
@subtype_option
@seed_option
@device_option
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    audio: tuple[str, ...],
    output: str | None,
    plot: bool,
    n_steps: int,
    convolution: str,
    subtype: str | None,
    seed: int,
    device: str,
    batch: Batch,
) -> None:
    """Remove noise from recordings of any sound, without a trained network.

    A network of harmonic convolutions is fitted to each recording, and stopped before it learns
    the noise. That works best for harmonic sounds in white noise, and takes about a minute per
    second of audio at 16 kHz on one core. If interrupted, it leaves a checkpoint beside the output;
    run the same command again to resume.

    AUDIO: audio files (WAV, FLAC, MP3, M4A, OGG, ...), videos, folders, or patterns like
    'takes/*.wav'. The output has the sample rate, the channels and the length of the input. If its
    peaks exceed full scale, the whole file is made softer, with a warning; float WAV files keep
    them. Existing files are not replaced without --overwrite.

    \b
    Example:
      harmnmf deep-prior piano.wav -o clean.flac --steps 800
    """  # noqa: D301 (click needs the backspace itself)
    from harmnmf.signal.formats import OUTPUT_SUFFIXES

    endings = ["_enhanced.wav", *["_enhanced.png"] * plot]
    plan = plan_outputs(audio, output, endings, OUTPUT_SUFFIXES)
    check_subtype(output, subtype)
    work = DeepPriorFit(convolution, n_steps, seed, device, subtype)
    process_each(ctx, plan, work, batch)


@dataclass(frozen=True)
class DeepPriorFit:
    """Enhancement of one recording, with the parameters of `DeepPrior`."""

    convolution: str
    n_steps: int
    seed: int
    device: str
    subtype: str | None

    def prepare(self) -> None:
        """Check the parameters."""
        self._make_prior()

    def __call__(self, task: Task, progress: Progress) -> str:
        """Fit a network to a recording, from its checkpoint if there is one."""
        from harmnmf.signal.formats import check_format, matching_subtype
        from harmnmf.signal.reading import read_audio
        from harmnmf.signal.writing import write_audio

        path = task.outputs[0]
        noisy = read_audio(task.source, mono=False)
        subtype = self.subtype or matching_subtype(path, task.source)
        check_format(path, noisy.sample_rate, noisy.n_channels, subtype)
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = path.with_name(f"{path.name}.checkpoint.safetensors")
        try:
            enhanced = self._make_prior().enhance(noisy, checkpoint=checkpoint, progress=progress)
            write_audio(path, enhanced, subtype=subtype)
            # Only now: if the disk is full, the fit must not be lost.
            checkpoint.unlink()
        except KeyboardInterrupt:
            click.echo(f"{checkpoint}: run the same command again to resume", err=True)
            raise
        if task.outputs[-1].suffix == ".png":
            save_before_after(task.source, path, task.outputs[-1])
        return f"{noisy.duration:.1f} s"

    def _make_prior(self) -> DeepPrior:
        from harmnmf.enhancement.deep_prior import DeepPrior

        parameters = asdict(self)
        del parameters["subtype"]
        return DeepPrior(**parameters)
