"""`harmnmf transcribe`: recordings to MIDI."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.errors import HarmnmfError

from .paths import audio_files, check_output

if TYPE_CHECKING:
    from harmnmf.notes import NoteList
    from harmnmf.transcription import Transcriber

FORMATS = ("mid", "csv", "npz")
# A picture of more than this is too crowded to read.
PLOTTED_SECONDS = 60.0


def _parse_formats(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    formats = [part.strip().lower() for part in value.split(",")] if value else []
    unknown = [part for part in formats if part not in FORMATS]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(FORMATS)}")
    return list(dict.fromkeys(formats))


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="File for one recording, or a folder (made if missing). Default: beside each recording.",
)
@click.option(
    "--format",
    "formats",
    callback=_parse_formats,
    metavar="LIST",
    help="What to write, separated by commas: mid (the default), csv (a table of notes), "
    "npz (the activations that the notes were decoded from).",
)
@click.option("--plot", is_flag=True, help="Also draw the first minute: notes over spectrogram.")
@click.option(
    "--dictionary",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="Timbres of the piano: see `harmnmf dictionary` and `harmnmf learn`.",
)
@click.option(
    "--onset-threshold",
    type=float,
    metavar="DB",
    help="Evidence that a note needs, in decibels: higher gives fewer notes, and surer ones.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, …")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.pass_context
def command(
    ctx: click.Context,
    audio: tuple[str, ...],
    output: Path | None,
    formats: list[str],
    plot: bool,
    dictionary: str,
    onset_threshold: float | None,
    device: str,
    overwrite: bool,
) -> None:
    """Transcribe AUDIO, piano recordings, to MIDI.

    AUDIO are files, folders (with the folders inside them) or patterns like 'takes/*.wav'.
    song.wav gives song.mid beside it. A recording that cannot be transcribed does not stop the
    others: it is named at the end, and the exit code is 1.
    """
    plan = _plan(audio, output, formats, plot)
    _check(plan, overwrite)

    from harmnmf.transcription import Transcriber

    thresholds = {} if onset_threshold is None else {"onset_threshold": onset_threshold}
    transcriber = Transcriber(dictionary, device=device, **thresholds)
    failures = []
    for source, outputs in plan.items():
        start = time.perf_counter()
        try:
            with _progress(source) as progress:
                notes = _transcribe(transcriber, source, outputs, progress)
        except (HarmnmfError, OSError) as error:
            failures.append(error)
            continue
        click.echo(
            f"{', '.join(map(str, outputs))}: {len(notes)} note{'s' * (len(notes) != 1)} "
            f"in {time.perf_counter() - start:.1f} s"
        )
    for failure in failures:
        click.echo(f"harmnmf: error: {' '.join(str(failure).split())}", err=True)
    if failures:
        click.echo(f"harmnmf: {len(failures)} of {len(plan)} recordings failed", err=True)
        ctx.exit(1)


def _plan(
    audio: tuple[str, ...], output: Path | None, formats: list[str], plot: bool
) -> dict[Path, list[Path]]:
    """Decide which files each recording shall give."""
    sources: dict[Path, Path] = {}
    for argument in audio:
        found = [argument] if Path(argument).exists() else sorted(glob.glob(argument))
        if not found:
            # That it is missing is found when it is read, and does not stop the others.
            found = [argument]
        for path in map(Path, found):
            files = audio_files(path) if path.is_dir() else [path]
            for file in files:
                sources.setdefault(
                    file, file.relative_to(path) if path.is_dir() else Path(file.name)
                )

    suffixes = [f".{name}" for name in formats]
    to_file = output is not None and output.suffix.lower()[1:] in (*FORMATS, "midi")
    if output is not None and to_file and not output.is_dir():
        if len(sources) > 1:
            raise click.UsageError(f"{output} is one file, but there are {len(sources)} recordings")
        bases = {source: output.with_suffix("") for source in sources}
        suffixes = suffixes or [output.suffix]
    elif output is not None:
        bases = {source: (output / name).with_suffix("") for source, name in sources.items()}
    else:
        bases = {source: source.with_suffix("") for source in sources}
    suffixes = (suffixes or [".mid"]) + [".png"] * plot
    return {
        source: [base.with_name(base.name + suffix) for suffix in suffixes]
        for source, base in bases.items()
    }


def _check(plan: dict[Path, list[Path]], overwrite: bool) -> None:
    """Refuse outputs that collide or exist before any work is done, and make their folders."""
    origin: dict[Path, Path] = {}
    for source, outputs in plan.items():
        for path in outputs:
            other = origin.setdefault(path, source)
            if other != source:
                raise HarmnmfError(f"{path}: would be written for both {other} and {source}")
    for path in origin:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HarmnmfError(
                f"{path.parent}: cannot be made ({error.strerror}); choose another output folder"
            ) from error
        check_output(path, overwrite=overwrite)


def _transcribe(
    transcriber: Transcriber,
    source: Path,
    outputs: list[Path],
    progress: Callable[[float], None] | None,
) -> NoteList:
    """Transcribe one recording and write all that was asked for."""
    from harmnmf.notefiles import write_csv, write_midi

    activations = transcriber.activations(source, progress=progress)
    notes = transcriber.decode(activations)
    for path in outputs:
        suffix = path.suffix.lower()
        if suffix == ".csv":
            write_csv(path, notes)
        elif suffix == ".npz":
            activations.save(path)
        elif suffix == ".png":
            _plot(transcriber, source, notes, path)
        else:
            write_midi(path, notes)
    return notes


def _plot(transcriber: Transcriber, source: Path, notes: NoteList, path: Path) -> None:
    from harmnmf.audio import read_audio
    from harmnmf.plotting import plot_transcription, save_figure

    front_end = transcriber.front_end
    start = read_audio(source, sample_rate=front_end.sample_rate, duration=PLOTTED_SECONDS)
    figure = plot_transcription(front_end.transform(start.samples), notes, title=source.name)
    save_figure(figure, path)


@contextmanager
def _progress(source: Path) -> Iterator[Callable[[float], None] | None]:
    """Show on a terminal how many seconds of a recording are done; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from harmnmf.audio import audio_info

    length = round(audio_info(source).duration)
    label = f"{source.name} (seconds)"
    with click.progressbar(length=length, label=label, show_pos=True, file=sys.stderr) as bar:
        yield lambda seconds: bar.update(round(seconds) - bar.pos)
