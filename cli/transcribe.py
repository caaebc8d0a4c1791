"""`harmnmf transcribe`: piano recordings to MIDI."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import click

import harmnmf
from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, audio_duration, batch_options, process_each
from harmnmf.cli._support.options import FiniteNumber, Formats, Number, Time, device_option
from harmnmf.cli._support.paths import file_suffix, plan_outputs
from harmnmf.cli._support.score import (
    FASTEST,
    SCORE_FORMATS,
    SLOWEST,
    ScoreOptions,
    check_score,
    describe_score,
    score_options,
    write_score,
)

if TYPE_CHECKING:
    from pathlib import Path

    from harmnmf.decoder.analysis import Recording
    from harmnmf.notes.note_list import NoteList
    from harmnmf.score.bars import BeatGrid
    from harmnmf.transcription import Transcriber

FORMATS = ("mid", "musicxml", "svg", "pdf", "csv", "json", "npz")
_PICTURE = 60.0  # seconds
_MIDI_TEMPO = 120.0  # of MIDI files without a score, in beats per minute
# Seconds without notes at the beginning, or between notes, that are worth a remark.
_PASSED_OVER = 20.0


def _parse_cents(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Return semitones."""
    return None if value is None else value / 100


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path(readable=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="FILE|DIR",
    help="Output folder, or .mid, .musicxml, .svg, .pdf, .csv, .json or .npz file for a single "
    "recording.  [default: beside each recording]",
)
@click.option(
    "--format",
    "formats",
    type=Formats(FORMATS),
    metavar="LIST",
    help="Output formats, separated by commas: mid (MIDI), musicxml (sheet music for score "
    "programs), svg and pdf (its pages as pictures), csv (table of notes), json (notes, pedal, "
    "tuning, version and settings), npz (NumPy arrays of note probabilities, or of activations "
    "with --decoder nmf).  [default: mid]",
)
@click.option(
    "--plot",
    is_flag=True,
    help="Also save a picture (.png) of the notes, beats and bar lines over the spectrogram: the "
    "first minute that has notes.",
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
    type=FiniteNumber(),
    metavar="NUMBER",
    help="Onset threshold; a higher one gives fewer notes. A probability, or decibels with "
    "--decoder nmf.  [default: 0.4; -20 with nmf]",
)
@click.option(
    "--note-ends",
    type=click.Choice(["key", "sound"]),
    default="key",
    help="Where notes end: at the release of the key, with the pedal in the MIDI file, or with the "
    "sound, pedal included.",
)
@click.option(
    "--tempo",
    type=Number(4, 1000),
    metavar="BPM",
    help="Beats per minute, about, for sheet music and bar lines; those of a MIDI file alone, "
    "whose times in seconds do not depend on it.  [default: found in the notes; 120 for MIDI "
    "alone]",
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
    type=Number(-100, 100),
    callback=_parse_cents,
    metavar="CENTS",
    help="Cents by which the recordings are sharper than A4 = 440 Hz, negative if flatter.  "
    "[default: estimated for each recording]",
)
@click.option(
    "--start",
    type=Time(),
    default=0.0,
    metavar="TIME",
    help="Transcribe from this time on, in seconds, m:ss or h:mm:ss. It is time 0 of the outputs.  "
    "[default: the beginning]",
    show_default=False,
)
@click.option(
    "--end",
    type=Time(),
    metavar="TIME",
    help="Transcribe up to this time of the recording.  [default: its end]",
)
@score_options(hidden=True)
@device_option
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    audio: tuple[str, ...],
    output: str | None,
    formats: list[str] | None,
    plot: bool,
    decoder: str,
    dictionary: str,
    onset_threshold: float | None,
    note_ends: str,
    tempo: float | None,
    adapt: bool | None,
    tuning: float | None,
    start: float,
    end: float | None,
    score: ScoreOptions,
    device: str,
    batch: Batch,
) -> None:
    """Transcribe piano recordings to MIDI.

    AUDIO: audio files (WAV, FLAC, MP3, M4A, OGG, ...), videos, folders, or patterns like
    'takes/*.wav'. song.wav gives song.mid beside it; with a song.mp3 in the same folder,
    song.wav.mid and song.mp3.mid. Existing files are not replaced without --overwrite: recordings
    that have outputs already are skipped. If a recording fails, the others are still transcribed,
    and the exit code is 1.

    With musicxml, svg or pdf among the formats, beats, bars, hands and key are found, and the MIDI
    file gets them as well. Whatever is found wrong can be set by the options of `harmnmf score`
    (--time-signature, --pickup, --double-time, --half-time, --beats, --no-rubato, --key,
    --split-pitch), which work here, too; `harmnmf score song.mid` does the same later.

    With -o DIR, takes/a/x.wav in the folder takes gives DIR/a/x.mid, and a log (manifest.jsonl) in
    DIR records what is done. Run the same command again to resume: only new, changed or failed
    recordings are transcribed.

    \b
    Examples:
      harmnmf transcribe song.wav
      harmnmf transcribe song.wav -o takes/first.mid --plot
      harmnmf transcribe song.wav --format musicxml,pdf,mid --time-signature 3/4
      harmnmf transcribe concert.wav --start 12:30 --end 16:00 -o encore.mid
      harmnmf transcribe recordings/ -o notes/ --format mid,csv -j 2
    """  # noqa: D301 (click needs the backspace itself)
    named = file_suffix(output)
    suffixes = [f".{name}" for name in formats or ()] or [named or ".mid"]
    suffixes.sort(key=lambda suffix: suffix != named)  # the named file is the first output
    accepted = [f".{name}" for name in formats or FORMATS]
    plan = plan_outputs(audio, output, [*suffixes, *[".png"] * plot], accepted)
    if end is not None and end <= start:
        raise click.UsageError("--end must be after --start")
    written = [suffix.removeprefix(".") for suffix in suffixes]
    has_score = any(name in SCORE_FORMATS for name in written)
    if not (has_score or plot or score.is_default):
        raise click.UsageError(
            "these options of `harmnmf score` have no effect without a score: add --format "
            "musicxml, svg or pdf, or --plot"
        )
    if (has_score or plot) and tempo is not None and not SLOWEST <= tempo <= FASTEST:
        raise click.UsageError(f"--tempo of a score is {SLOWEST} to {FASTEST} beats a minute")
    check_score(score, tempo, written, len(plan.outputs))
    work = Transcription(
        dictionary, decoder, onset_threshold, note_ends, adapt, tuning, device, start, end, tempo,
        score if has_score or plot else None, has_score,
    )  # fmt: skip
    process_each(ctx, plan, work, batch, work.duration)


@dataclass(frozen=True)
class Transcription:
    """Transcription of one recording, or a part: parameters of `Transcriber`, and the rest."""

    dictionary: str
    decoder: str
    onset_threshold: float | None
    note_ends: str
    adapt: bool | None
    tuning: float | None
    device: str
    start: float
    end: float | None
    tempo: float | None
    score: ScoreOptions | None  # None if neither a score nor its bar lines are written
    has_score: bool

    def prepare(self) -> None:
        """Load the dictionary and the networks."""
        _transcriber(self)
        if self.score is not None:
            self.score.prepare()

    def duration(self, source: Path) -> float:
        """Seconds of a recording that are transcribed, as far as they are known."""
        end = audio_duration(source)
        return max(0.0, (end if self.end is None else min(end, self.end)) - self.start)

    def __call__(self, task: Task, progress: Progress) -> str:
        """Transcribe a recording and write its outputs."""
        from harmnmf.notes.files import write_csv, write_midi
        from harmnmf.notes.json_file import write_json

        transcriber = _transcriber(self)
        recording = transcriber.prepare(task.source, start=self.start, end=self.end)
        analysis = None
        if any(path.suffix.lower() == ".npz" for path in task.outputs):
            analysis = transcriber.analyse(recording, progress=progress)
            notes = transcriber.decode(analysis)
            recording.check_notes(notes)
        else:
            notes = transcriber.transcribe(recording, progress=progress)
        score = grid = None
        found = f"{len(notes)} note{'s' * (len(notes) != 1)}"
        if self.score is not None and (self.has_score or len(notes)):
            grid = self.score.find_beats(notes, self.tempo, task.source)
            if self.has_score:
                score = self.score.transcribe(notes, grid, task.source)
                found += f", {describe_score(score, grid)}"
        for path in task.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            suffix = path.suffix.lower()
            if suffix == ".csv":
                write_csv(path, notes)
            elif suffix == ".json":
                write_json(path, notes, self._metadata(task, recording))
            elif suffix == ".png":
                _plot(path, notes, grid, recording, click.format_filename(task.source.name))
            elif analysis is not None and suffix == ".npz":
                analysis.save(path)
            elif score is not None:
                write_score(path, score)
            else:
                write_midi(path, notes, tempo=self.tempo or _MIDI_TEMPO)
        return f"{found}{_calibration(recording)}"

    def _metadata(self, task: Task, recording: Recording) -> dict[str, Any]:
        """Metadata for a JSON file; the tuning in cents, relative to the dictionary."""
        return {
            "version": harmnmf.__version__,
            "source": click.format_filename(task.source.name),
            "tuning": round(100 * recording.tuning, 1),
            "settings": asdict(self),
        }


def _plot(
    path: Path, notes: NoteList, grid: BeatGrid | None, recording: Recording, title: str
) -> None:
    from harmnmf.plotting.figures import save_figure
    from harmnmf.plotting.piano_rolls import plot_transcription

    spectrogram = recording.spectrogram(recording.intervals[0][0], _PICTURE)
    figure = plot_transcription(
        spectrogram,
        notes,
        beats=() if grid is None else grid.time,
        downbeats=() if grid is None else grid.downbeats,
        title=title,
    )
    save_figure(figure, path)


def _calibration(recording: Recording) -> str:
    """Say what a recording was tuned from, if that is not its beginning."""
    intervals = recording.intervals
    end = intervals[-1][1]
    if end - sum(b - a for a, b in intervals) < _PASSED_OVER:
        return ""
    first, last = (f"{int(x) // 60}:{int(x) % 60:02d}" for x in (intervals[0][0], end))
    return f", tuned from {first} to {last}" + ", where it has notes," * (len(intervals) > 1)


@lru_cache(maxsize=1)
def _transcriber(work: Transcription) -> Transcriber:
    from harmnmf.transcription import Transcriber

    options = asdict(work)
    for name in ("start", "end", "tempo", "score", "has_score"):
        del options[name]
    return Transcriber(**options)
