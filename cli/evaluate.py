"""`harmnmf evaluate`: scores of transcriptions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from harmnmf.cli._support.options import Number

if TYPE_CHECKING:
    from harmnmf.notes.evaluation import Evaluation

# Headings and scores of the table; `--json` prints all scores.
COLUMNS = (
    ("note P", "Precision_no_offset"),
    ("note R", "Recall_no_offset"),
    ("note F", "F-measure_no_offset"),
    ("+offset F", "F-measure"),
    ("+velocity F", "Velocity_F-measure_no_offset"),
    ("+both F", "Velocity_F-measure"),
    ("frame F", "Frame_F-measure"),
)


@click.command()
@click.argument("reference", type=click.Path())
@click.argument("estimate", type=click.Path())
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
    as_json: bool,
    onset_tolerance: float,
    duration: float | None,
    offset: str,
) -> None:
    """Evaluate ESTIMATE against REFERENCE with the measures of mir_eval.

    Both are files, or folders with files of the same names: MIDI (.mid, .midi, .rmi, .kar) or
    tables of notes (.tsv, .csv, .txt) with columns onset, offset, pitch and perhaps velocity. What
    breaks a file's format is passed over if it can be, and a warning says so. The table of scores
    shows precision, recall and F-measure of notes (onset and pitch), the F-measure with offset,
    velocity, or both, and of 10 ms frames. The mean is over pieces.

    \b
    Examples:
      harmnmf evaluate reference.mid song.mid
      harmnmf evaluate references/ midi/ --json
    """  # noqa: D301 (click needs the backspace itself)
    from harmnmf.notes.evaluation import evaluate_files

    result = evaluate_files(
        reference, estimate, duration=duration, offset=offset, onset_tolerance=onset_tolerance
    )
    if as_json:
        report = {"pieces": result.pieces, "mean": result.mean, "failures": result.failures}
        click.echo(json.dumps(report, indent=2))
    elif result.pieces:
        click.echo(_table(result))
    if result.unused:
        names = ", ".join(path.name for path in result.unused)
        click.echo(f"harmnmf: ignored, no reference for: {names}", err=True)
    for reason in result.failures.values():
        click.echo(f"harmnmf: error: {reason}", err=True)
    if result.failures:
        ctx.exit(1)


def _table(result: Evaluation) -> str:
    scored = list(result.pieces.items())
    total = len(result.pieces) + len(result.failures)
    if total > 1:
        count = f"{len(scored)} of {total}" if result.failures else total
        scored.append((f"mean ({count})", result.mean))
    width = max(len(name) for name in ["piece", *dict(scored)])
    lines = ["  ".join(["piece".ljust(width), *(heading for heading, _ in COLUMNS)])]
    for name, scores in scored:
        cells = [f"{scores[key]:.3f}".rjust(len(heading)) for heading, key in COLUMNS]
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join(lines)
