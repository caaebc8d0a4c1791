"""`harmnmf score`: notes to sheet music."""

from __future__ import annotations

from dataclasses import dataclass

import click

from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, batch_options, process_each
from harmnmf.cli._support.options import Formats
from harmnmf.cli._support.paths import file_suffix, plan_outputs
from harmnmf.cli._support.recordings import InputKind
from harmnmf.cli._support.score import (
    TEMPO,
    ScoreOptions,
    check_score,
    describe_score,
    score_options,
    write_score,
)
from harmnmf.notes.suffixes import EVENT_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES

FORMATS = ("musicxml", "svg", "pdf", "mid", "json")
# A MIDI file beside the notes has another name than theirs.
_ENDINGS = {"mid": "_score.mid"}
_NAMED = (*TABLE_SUFFIXES, *EVENT_SUFFIXES)
_NOTES = InputKind("file", "MIDI", MIDI_SUFFIXES, _NAMED, tuple(_ENDINGS.values()))


@click.command()
@click.argument("notes", nargs=-1, required=True, type=click.Path(readable=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="FILE|DIR",
    help="Output folder, or .musicxml, .svg, .pdf, .mid or .json file for a single input.  "
    "[default: beside each input]",
)
@click.option(
    "--format",
    "formats",
    type=Formats(FORMATS),
    metavar="LIST",
    help="Output formats, separated by commas: musicxml (opens in score programs), svg and pdf "
    "(pictures of the pages), mid (MIDI with bars, tempo, key, and a track for each hand), json "
    "(all of the score as text).  [default: musicxml]",
)
@click.option(
    "--plot",
    is_flag=True,
    help="Also save a picture (.png) of the first minute: notes by hand, beats and bar lines.",
)
@click.option(
    "--tempo",
    type=TEMPO,
    metavar="BPM",
    help="About how many beats a minute there are.  [default: found in the notes]",
)
@score_options()
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    notes: tuple[str, ...],
    output: str | None,
    formats: list[str] | None,
    plot: bool,
    tempo: float | None,
    score: ScoreOptions,
    batch: Batch,
) -> None:
    """Make sheet music for piano from notes.

    NOTES: MIDI files (.mid, .midi, .rmi, .kar), tables of notes (.csv, .tsv, .txt), events of
    `harmnmf listen` (.jsonl), folders with MIDI files, or patterns like 'takes/*.mid'. Beats, bars,
    hands and key are found in the notes, however the file divides them. song.mid gives
    song.musicxml beside it, an editable draft that MuseScore, Sibelius, Finale and others open; as
    MIDI it is song_score.mid, which sounds as played. The line that is printed says what was found:
    if the time signature, the tempo or the key are wrong, set them and run again.

    Existing files are not replaced without --overwrite. With -o DIR, a log in DIR records what is
    done, and running the command again resumes.

    \b
    Examples:
      harmnmf score song.mid
      harmnmf score song.mid -o song.pdf
      harmnmf score waltz.mid --time-signature 3/4 --pickup 1 --key "Eb major" --overwrite
      harmnmf score takes/ -o scores/ --format musicxml,mid -j 2
    """  # noqa: D301 (click needs the backspace itself)
    named = file_suffix(output)
    chosen = formats or [(named or "").removeprefix(".") or FORMATS[0]]
    chosen.sort(key=lambda name: f".{name}" != named)  # the named file is the first output
    endings = [_ENDINGS.get(name, f".{name}") for name in chosen]
    accepted = [f".{name}" for name in formats or FORMATS]
    plan = plan_outputs(notes, output, [*endings, *[".png"] * plot], accepted, _NOTES)
    check_score(score, tempo, chosen, len(plan.outputs))
    process_each(ctx, plan, ScoreOfNotes(score, tempo), batch, duration=None)


@dataclass(frozen=True)
class ScoreOfNotes:
    """Making a score of the notes in a file."""

    score: ScoreOptions
    tempo: float | None

    def prepare(self) -> None:
        """Load the network that finds beats, if they are not given."""
        self.score.prepare()

    def __call__(self, task: Task, progress: Progress) -> str:
        """Make a score of a file's notes and write its outputs."""
        from harmnmf.notes.files import read_notes

        notes = read_notes(task.source, offset="key")
        grid = self.score.find_beats(notes, self.tempo, task.source)
        score = self.score.transcribe(notes, grid, task.source)
        for path in task.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix.lower() == ".png":
                from harmnmf.plotting.figures import save_figure
                from harmnmf.plotting.piano_rolls import plot_notes
                from harmnmf.score.hands import assign_hands

                figure = plot_notes(
                    notes,
                    staff=assign_hands(notes, split_pitch=self.score.split_pitch),
                    beats=grid.time,
                    downbeats=grid.downbeats,
                    title=click.format_filename(task.source.name),
                )
                save_figure(figure, path)
            else:
                write_score(path, score)
        return f"{len(notes)} note{'s' * (len(notes) != 1)}, {describe_score(score, grid)}"
