"""`harmnmf transcribe`: piano recordings to MIDI."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, batch_options, process_each
from harmnmf.cli._support.options import PATH, device_option
from harmnmf.cli._support.paths import file_suffix, plan_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harmnmf.transcription import Transcriber

FORMATS = ("mid", "csv", "npz")
_PICTURE = 60.0  # seconds
# Seconds without notes at the beginning, or between notes, that are worth a remark.
_PASSED_OVER = 20.0


def _parse_formats(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    formats = [] if value is None else [part.strip().lower() for part in value.split(",")]
    unknown = [part for part in formats if part not in FORMATS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(FORMATS)}")
    return list(dict.fromkeys(formats))


def _parse_cents(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Return semitones."""
    if value is not None and not -100 <= value <= 100:
        raise click.BadParameter(f"{value:g} is not from -100 to 100 cents")
    return None if value is None else value / 100


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE|DIR",
    help="Output folder, or .mid, .csv or .npz file for a single recording.  "
    "[default: beside each recording]",
)
@click.option(
    "--format",
    "formats",
    callback=_parse_formats,
    metavar="LIST",
    help="Output formats, separated by commas: mid (MIDI), csv (table of notes), npz (NumPy arrays "
    "of note probabilities, or of activations with --decoder nmf).  [default: mid]",
)
@click.option(
    "--plot",
    is_flag=True,
    help="Also save a picture (.png) of the notes over the spectrogram: the first minute that has "
    "notes.",
)
@click.option(
    "--decoder",
    default="learned",
    metavar="NAME|FILE",
    help="Note decoder: learned (neural network), nmf (rules on the NMF activations, no network), "
    "or a network file from `harmnmf train notes`.",
)
@click.option(
    "--onset-threshold",
    type=float,
    metavar="NUMBER",
    help="Onset threshold; a higher one gives fewer notes. A probability, or decibels with "
    "--decoder nmf.  [default: 0.45; -20 with nmf]",
)
@click.option(
    "--dictionary",
    default="default",
    metavar="NAME|FILE",
    help="Timbre dictionary: a name from `harmnmf dictionary list`, or a file from "
    "`harmnmf learn`.",
)
@click.option(
    "--adapt/--no-adapt",
    default=None,
    help="Adapt the dictionary to the piano in the recording: slower, and on average 0.5 points of "
    "note F-measure better (2 points with --decoder nmf).  [default: only with nmf]",
)
@click.option(
    "--tuning",
    type=float,
    callback=_parse_cents,
    metavar="CENTS",
    help="Cents by which the recordings are sharper than A4 = 440 Hz, negative if flatter, from "
    "-100 to 100.  [default: estimated for each recording]",
)
@device_option
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
    tuning: float | None,
    device: str,
    batch: Batch,
) -> None:
    """Transcribe piano recordings to MIDI.

    AUDIO: audio files (WAV, FLAC, MP3, OGG, AIFF, ...), folders, or patterns like 'takes/*.wav'.
    song.wav gives song.mid beside it. Existing files are not replaced without --overwrite. If a
    recording fails, the others are still transcribed, and the exit code is 1.

    With -o DIR, a log (manifest.jsonl) in the folder records what is done. Run the same command
    again to resume: only new, changed or failed recordings are transcribed.

    \b
    Examples:
      harmnmf transcribe song.wav
      harmnmf transcribe song.wav -o takes/first.mid --plot
      harmnmf transcribe recordings/ -o notes/ --format mid,csv -j 2
    """  # noqa: D301 (click needs the backspace itself)
    named = file_suffix(output)
    suffixes = [f".{name}" for name in formats] or [named or ".mid"]
    suffixes.sort(key=lambda suffix: suffix != named)  # the named file is the first output
    accepted = [f".{name}" for name in formats or FORMATS]
    plan, folder = plan_outputs(audio, output, [*suffixes, *[".png"] * plot], accepted)
    work = Transcription(dictionary, decoder, onset_threshold, adapt, tuning, device)
    process_each(ctx, plan, work, batch, folder)


@dataclass(frozen=True)
class Transcription:
    """Transcription of one recording, with the parameters of `Transcriber`."""

    dictionary: str
    decoder: str
    onset_threshold: float | None
    adapt: bool | None
    tuning: float | None
    device: str

    def prepare(self) -> None:
        """Load the dictionary and the network."""
        _transcriber(self)

    def __call__(self, task: Task, progress: Progress) -> str:
        """Transcribe a recording and write its outputs."""
        from harmnmf.notes.files import write_csv, write_midi

        transcriber = _transcriber(self)
        recording = transcriber.prepare(task.source)
        analysis = None
        if any(path.suffix.lower() == ".npz" for path in task.outputs):
            analysis = transcriber.analyse(recording, progress=progress)
            notes = transcriber.decode(analysis)
            recording.check_notes(notes)
        else:
            notes = transcriber.transcribe(recording, progress=progress)
        for path in task.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            suffix = path.suffix.lower()
            if suffix == ".csv":
                write_csv(path, notes)
            elif suffix == ".png":
                from harmnmf.plotting.figures import plot_transcription, save_figure

                title = click.format_filename(task.source.name)
                spectrogram = recording.spectrogram(recording.intervals[0][0], _PICTURE)
                save_figure(plot_transcription(spectrogram, notes, title=title), path)
            elif analysis is not None and suffix == ".npz":
                analysis.save(path)
            else:
                write_midi(path, notes)
        return f"{len(notes)} note{'s' * (len(notes) != 1)}{_calibration(recording.intervals)}"


def _calibration(intervals: Sequence[tuple[float, float]]) -> str:
    """Say what a recording was tuned from, if that is not its beginning."""
    end = intervals[-1][1]
    if end - sum(b - a for a, b in intervals) < _PASSED_OVER:
        return ""
    first, last = (f"{int(x) // 60}:{int(x) % 60:02d}" for x in (intervals[0][0], end))
    return f", tuned from {first} to {last}" + ", where it has notes," * (len(intervals) > 1)


@lru_cache(maxsize=1)
def _transcriber(work: Transcription) -> Transcriber:
    from harmnmf.transcription import Transcriber

    return Transcriber(**asdict(work))
