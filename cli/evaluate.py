"""`harmnmf evaluate`: scores of transcriptions against references."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harmnmf.notes.evaluation import Evaluation

# Heading and score of each column of the table; `--json` has all scores.
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
    type=click.FloatRange(min=0, min_open=True),
    default=0.05,
    show_default=True,
    metavar="SECONDS",
    help="Largest distance between the onsets of notes that match.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Score the first part of each piece only.",
)
@click.option(
    "--offset",
    type=click.Choice(["pedal", "key"]),
    default="pedal",
    show_default=True,
    help="Where notes end: with their sound, or with the key.",
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
    """Score ESTIMATE against REFERENCE: two files, or two folders with files of the same names.

    Files are MIDI (.mid, .midi) or tables (.tsv, .csv). The table shows precision, recall and F
    of notes (onset and pitch), F when the offset, the velocity, or both must be right too, and F
    of 10 ms frames; the mean is over pieces. Pieces that cannot be scored are named at the end.
    """
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
