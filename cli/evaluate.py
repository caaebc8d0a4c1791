"""`harmnmf evaluate`: scores of transcriptions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from harmnmf.cli._support.options import Number

if TYPE_CHECKING:
    from harmnmf.notes.evaluation import Evaluation

# Headings and scores of the tables; `--json` prints all scores.
Columns = tuple[tuple[str, str], ...]
NOTE_COLUMNS: Columns = (
    ("note P", "Precision_no_offset"),
    ("note R", "Recall_no_offset"),
    ("note F", "F-measure_no_offset"),
    ("+offset F", "F-measure"),
    ("+velocity F", "Velocity_F-measure_no_offset"),
    ("+both F", "Velocity_F-measure"),
    ("frame F", "Frame_F-measure"),
)
BEAT_COLUMNS: Columns = (
    ("beat F", "F-measure"),
    ("downbeat F", "Downbeat_F-measure"),
    ("CMLt", "Correct Metric Level Total"),
    ("AMLt", "Any Metric Level Total"),
    ("beats/bar", "Beats_per_Bar"),
    ("key", "Key_Weighted_Score"),
    ("signature", "Key_Signature"),
    ("hands", "Hands"),
)
SCORE_COLUMNS: Columns = (
    ("MV2H", "MV2H"),
    ("multi-pitch", "Multi-pitch"),
    ("voice", "Voice"),
    ("metre", "Metre"),
    ("value", "Value"),
    ("harmony", "Harmony"),
    ("missing", "Missing_Note_Rate"),
    ("extra", "Extra_Note_Rate"),
    ("pitch", "Pitch_Error_Rate"),
    ("onset", "Onset_Error_Rate"),
    ("offset", "Offset_Error_Rate"),
    ("hands", "Hands"),
)

_REFUSED = {
    "--beats": ("--offset", "--onset-tolerance"),
    "--score": ("--duration", "--offset", "--onset-tolerance"),
}


@click.command()
@click.argument("reference", type=click.Path())
@click.argument("estimate", type=click.Path())
@click.option("--beats", is_flag=True, help="Evaluate beats, and keys and hands if known.")
@click.option("--score", is_flag=True, help="Evaluate scores in MusicXML.")
@click.option("--json", "as_json", is_flag=True, help="Print all scores as JSON.")
@click.option(
    "--onset-tolerance",
    type=Number(min=0, min_open=True),
    default=0.05,
    metavar="SECONDS",
    help="Maximum distance between the onsets of matching notes.",
)
@click.option(
    "--duration",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="Evaluate only the first SECONDS of each piece.",
)
@click.option(
    "--offset",
    type=click.Choice(["pedal", "key"]),
    default="pedal",
    help="Ends of notes: of the sound, with the sustain pedal applied, or at the release of the "
    "key.",
)
@click.pass_context
def command(
    ctx: click.Context,
    reference: str,
    estimate: str,
    beats: bool,
    score: bool,
    as_json: bool,
    onset_tolerance: float,
    duration: float | None,
    offset: str,
) -> None:
    """Evaluate ESTIMATE against REFERENCE with the measures of mir_eval.

    Both are files, or folders with files of the same names: MIDI (.mid, .midi, .rmi, .kar),
    tables of notes (.tsv, .csv, .txt) with columns onset, offset, pitch and perhaps velocity, or
    events of `harmnmf listen` (.jsonl). What breaks a file's format is passed over if it can be,
    and a warning says so. The table of scores shows precision, recall and F-measure of notes (onset
    and pitch), the F-measure with offset, velocity, or both, and of 10 ms frames. The mean is over
    pieces.

    With --beats, files are MIDI, whose beats are those of its tempo map and time signatures, or
    texts with a line for each beat: its time in seconds, and perhaps its number in the bar or a
    label ("db" for a downbeat). Shown are F-measures of beats and downbeats (70 ms), the part of
    the beats that follow each other at the correct metrical level, and at any; whether the number
    of beats a bar is right; and, if both files have them, the score of the key, whether its
    signature is right, and the part of the notes on the right one of two tracks.

    With --score, files are MusicXML (.musicxml, .mxl, .xml). Shown are MV2H and its parts, and
    rates of missing and extra notes and of errors of pitch, onset and offset. The scores are
    aligned by their notes first, and repeats of the reference written out if the estimate has them
    so.

    \b
    Examples:
      harmnmf evaluate reference.mid song.mid
      harmnmf evaluate references/ midi/ --json
      harmnmf evaluate --beats song.beats.tsv song.mid
      harmnmf evaluate --score printed.mxl song.musicxml
    """  # noqa: D301 (click needs the backspace itself)
    _refuse_options(ctx)
    if beats:
        from harmnmf.score.evaluation.evaluation import evaluate_beat_files

        result, columns = evaluate_beat_files(reference, estimate, duration=duration), BEAT_COLUMNS
    elif score:
        from harmnmf.score.evaluation.evaluation import evaluate_score_files

        result, columns = evaluate_score_files(reference, estimate), SCORE_COLUMNS
    else:
        from harmnmf.notes.evaluation import evaluate_files

        result, columns = (
            evaluate_files(
                *(reference, estimate),
                duration=duration,
                offset=offset,
                onset_tolerance=onset_tolerance,
            ),
            NOTE_COLUMNS,
        )
    if as_json:
        report = {"pieces": result.pieces, "mean": result.mean, "failures": result.failures}
        click.echo(json.dumps(report, indent=2))
    elif result.pieces:
        click.echo(_table(result, columns))
    if result.unused:
        names = ", ".join(path.name for path in result.unused)
        click.echo(f"harmnmf: ignored, no reference for: {names}", err=True)
    for reason in result.failures.values():
        click.echo(f"harmnmf: error: {reason}", err=True)
    if result.failures:
        ctx.exit(1)


def _refuse_options(ctx: click.Context) -> None:
    """Refuse options of notes where beats or scores are evaluated."""
    given = {
        parameter.opts[0]
        for parameter in ctx.command.params
        if ctx.get_parameter_source(str(parameter.name)) == ParameterSource.COMMANDLINE
    }
    if {"--beats", "--score"} <= given:
        raise click.UsageError("Choose one of --beats and --score.")
    for kind, refused in _REFUSED.items():
        for option in sorted(given.intersection(refused)):
            if kind in given:
                raise click.UsageError(f"{option} has no meaning with {kind}.")


def _table(result: Evaluation, columns: Columns) -> str:
    scored = list(result.pieces.items())
    # What no piece has is left out, as the hands of files without tracks.
    columns = tuple(column for column in columns if column[1] in result.mean)
    total = len(result.pieces) + len(result.failures)
    if total > 1:
        count = f"{len(scored)} of {total}" if result.failures else total
        scored.append((f"mean ({count})", result.mean))
    width = max(len(name) for name in ["piece", *dict(scored)])
    lines = ["  ".join(["piece".ljust(width), *(heading.rjust(5) for heading, _ in columns)])]
    for name, scores in scored:
        cells = [
            (f"{scores[key]:.3f}" if key in scores else "-").rjust(max(5, len(heading)))
            for heading, key in columns
        ]
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join(lines)
