"""`harmnmf transcribe`: recordings to MIDI."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, batch_options, process_each
from harmnmf.cli._support.paths import find_recordings
from harmnmf.signal.audio_folders import AUDIO_SUFFIXES

if TYPE_CHECKING:
    from harmnmf.notes.note_list import NoteList
    from harmnmf.signal.spectrogram import Spectrogram
    from harmnmf.transcription import Transcriber

FORMATS = ("mid", "csv", "npz")
# An output of such a name is a file, or a mistake; any other is a folder.
FILE_SUFFIXES = (*(f".{name}" for name in FORMATS), ".midi", ".png", *AUDIO_SUFFIXES)


def _parse_formats(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    formats = [] if value is None else [part.strip().lower() for part in value.split(",")]
    unknown = [part for part in formats if part not in FORMATS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(FORMATS)}")
    return list(dict.fromkeys(formats))


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Where to write: a .mid, .csv or .npz file for one recording, or a folder for any number "
    "(made if missing). [default: beside each recording]",
)
@click.option(
    "--format",
    "formats",
    callback=_parse_formats,
    metavar="LIST",
    help="What to write, separated by commas: mid (notes as MIDI), csv (notes as a table), npz "
    "(what notes are decoded from, frame by frame, for NumPy). [default: mid]",
)
@click.option(
    "--plot",
    is_flag=True,
    help="Also write a picture, .png: the notes of the first minute over the spectrogram.",
)
@click.option(
    "--decoder",
    default="learned",
    show_default=True,
    metavar="NAME|FILE",
    help="What finds the notes: learned, a network that reads activations and spectrum; nmf, rules "
    "on the activations alone; or the file of a network, from `harmnmf train notes`.",
)
@click.option(
    "--onset-threshold",
    type=float,
    metavar="NUMBER",
    help="What a note needs, higher for fewer notes and surer ones: a probability with a network, "
    "evidence in decibels with nmf. [default: 0.45; -20 with nmf]",
)
@click.option(
    "--dictionary",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="What piano notes sound like: `harmnmf dictionary list` names those that there are, "
    "`harmnmf learn` makes one of your piano.",
)
@click.option(
    "--adapt/--no-adapt",
    default=None,
    help="Whether to adapt the dictionary to the piano that plays, from the first three minutes, "
    "which take two to three times as long. It raised the F-measure of notes by two points with "
    "nmf, and by half a point with a network. [default: with nmf only]",
)
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
    formats: list[str],
    plot: bool,
    decoder: str,
    dictionary: str,
    onset_threshold: float | None,
    adapt: bool | None,
    device: str,
    batch: Batch,
) -> None:
    """Transcribe piano recordings to MIDI.

    AUDIO are WAV, FLAC, MP3, OGG or AIFF files, folders of them (with the folders inside), or
    patterns like 'takes/*.wav'. song.wav gives song.mid beside it; nothing that exists is replaced
    unless you ask. A recording that cannot be transcribed does not stop the others: it is named
    at the end, and the exit code is 1.

    A folder of outputs, by --output, remembers in manifest.jsonl what was made of which recording.
    What stops the work, stops it there: the same command goes on, and does again only what has
    failed, or has changed: the recording, or the options.

    \b
    Examples:
      harmnmf transcribe song.wav
      harmnmf transcribe song.wav -o takes/first.mid --plot
      harmnmf transcribe recordings/ -o notes/ --format mid,csv -j 2
    """  # noqa: D301 (click needs the backspace itself)
    plan, folder = _plan(audio, output, formats, plot)
    work = Transcription(dictionary, decoder, onset_threshold, adapt, device)
    process_each(ctx, plan, work, batch, folder)


@dataclass(frozen=True)
class Transcription:
    """What is done to each recording, with the parameters of `Transcriber`."""

    dictionary: str
    decoder: str
    onset_threshold: float | None
    adapt: bool | None
    device: str

    def prepare(self) -> None:
        """Load dictionary and network."""
        _transcriber(self)

    def __call__(self, task: Task, progress: Progress) -> str:
        """Transcribe a recording and write all that was asked for."""
        from harmnmf.notes.files import write_csv, write_midi

        transcriber = _transcriber(self)
        recording = transcriber.prepare(task.source)
        analysis = None
        if any(path.suffix.lower() == ".npz" for path in task.outputs):
            analysis = transcriber.analyse(recording, progress=progress)
            notes = transcriber.decode(analysis)
        else:
            notes = transcriber.transcribe(recording, progress=progress)
        for path in task.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            suffix = path.suffix.lower()
            if suffix == ".csv":
                write_csv(path, notes)
            elif suffix == ".png":
                _plot(recording.beginning, notes, task.source, path)
            elif analysis is not None and suffix == ".npz":
                analysis.save(path)
            else:
                write_midi(path, notes)
        return f"{len(notes)} note{'s' * (len(notes) != 1)}"


@lru_cache(maxsize=1)
def _transcriber(work: Transcription) -> Transcriber:
    from harmnmf.transcription import Transcriber

    return Transcriber(**asdict(work))


def _plan(
    audio: tuple[str, ...], output: Path | None, formats: list[str], plot: bool
) -> tuple[dict[Path, list[Path]], Path | None]:
    """Decide which files each recording shall give, and in which folder if they share one."""
    sources = find_recordings(audio)
    to_file = output is not None and not output.is_dir() and output.suffix.lower() in FILE_SUFFIXES
    if output is not None and to_file:
        own_format = output.suffix.lower()[1:].replace("midi", "mid")
        if own_format not in (formats or FORMATS):
            expected = ", ".join(formats or FORMATS)
            raise click.UsageError(f"{output} is neither a folder nor of the format {expected}")
        formats = formats or [own_format]
        if len(sources) > 1:
            raise click.UsageError(f"{output} is one file, but there are {len(sources)} recordings")
    plan = {}
    for file, place in sources:
        base = file if output is None else output if to_file else output / place
        plan[file] = [
            base.with_suffix(f".{name}") for name in [*(formats or ["mid"]), *["png"] * plot]
        ]
        if output is not None and to_file:
            plan[file][formats.index(own_format)] = output
    return plan, None if to_file else output


def _plot(spectrogram: Spectrogram, notes: NoteList, source: Path, path: Path) -> None:
    from harmnmf.plotting.figures import plot_transcription, save_figure

    figure = plot_transcription(spectrogram, notes, title=click.format_filename(source.name))
    save_figure(figure, path)
