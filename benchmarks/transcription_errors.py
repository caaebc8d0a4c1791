"""Transcription errors by class: tables and figure of docs/transcription_errors.md.

::

    python -m benchmarks.transcription_errors --data PATH/TO/data

Transcribes the first 30 s of each recording in ``piano/real`` with each decoder, classifies each
missed and extra note (``benchmarks/note_errors.py``), and replaces the tables and the figure of the
document. All annotations are moved by the constant of ``benchmarks/data.py`` beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harmnmf import NoteList, Transcriber, save_figure

from .data import PIANOS, on_sound
from .note_errors import (
    EXTRA,
    MISSED,
    Errors,
    Sound,
    count_sounding,
    count_struck,
    f_measures,
    find_errors,
)
from .report import data_option, help_text, markdown
from .transcription import DECODERS, find_sounds, transcribe_recordings

# The lines of the document between which everything is replaced.
BEGIN, END = "<!-- tables of benchmarks/transcription_errors.py -->", "<!-- end of tables -->"
# Colours of Okabe and Ito, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73")
MARKS = {"ENSTDkCl": ("-", "o"), "ENSTDkAm": ("--", "s")}
FEWEST = 20  # notes that a point of the figure needs


class Judged(NamedTuple):
    """A transcribed piece and its errors."""

    piano: str
    name: str
    reference: NoteList
    sound: Sound
    estimated: NoteList
    errors: Errors


Levels = dict[str, list[Judged]]


class Feature(NamedTuple):
    """A property of notes, and the bands of its values with the lowest value of each."""

    name: str
    values: Callable[[NoteList], NDArray[np.int64]]
    bands: dict[str, int]

    def band(self, notes: NoteList) -> NDArray[np.int64]:
        """Index of each note's band."""
        return np.searchsorted(list(self.bands.values()), self.values(notes), side="right") - 1


OCTAVES = Feature(
    "key",
    lambda notes: notes.pitch,
    {"A0–B1": 0, "C2–B2": 36, "C3–B3": 48, "C4–B4": 60, "C5–B5": 72, "C6–C8": 84},
)
VELOCITIES = Feature(
    "velocity",
    lambda notes: notes.velocity,
    {"1–24": 0, "25–34": 25, "35–44": 35, "45–54": 45, "55–64": 55, "65–74": 65, "75 on": 75},
)
SOUNDING = Feature(
    "notes that sound",
    count_sounding,
    {"1–2": 0, "3–4": 3, "5–6": 5, "7–8": 7, "9–10": 9, "11 on": 11},
)
STRUCK = Feature("notes struck together", count_struck, {"1": 0, "2": 2, "3": 3, "4": 4, "5 on": 5})


def judge(data: Path, duration: float) -> Levels:
    """Transcribe the recordings by each decoder and classify the errors."""
    levels: Levels = {}
    sounds: dict[Path, Sound] = {}
    for name, parameters in DECODERS.items():
        transcriber = Transcriber(**parameters, device="cpu")
        levels[name] = []
        pieces, _ = transcribe_recordings(transcriber, data, duration)
        sounds = sounds or find_sounds(pieces, duration)
        for path, annotated, estimated, *_ in pieces:
            reference = on_sound(annotated)
            errors = find_errors(reference, estimated, sounds[path])
            notes = (reference, sounds[path], estimated)
            levels[name].append(Judged(path.parent.name, path.stem, *notes, errors))
    return levels


def hits(
    level: Iterable[Judged], feature: Feature, piano: str, *, estimated: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the notes of a piano in each band, and those of them that match.

    Parameters
    ----------
    level : iterable of Judged
        Pieces that a system transcribed.
    feature : Feature
        The bands.
    piano : str
        Piano whose pieces count.
    estimated : bool, default=False
        Count the estimated notes instead of the reference notes.

    Returns
    -------
    n_notes, n_matched : ndarray of int, shape (n_bands,)
        The counts.
    """
    n_bands = len(feature.bands)
    counts = np.zeros((2, n_bands), dtype=np.int64)
    for piece in level:
        if piece.piano == piano:
            notes = piece.estimated if estimated else piece.reference
            matched = (piece.errors.extra if estimated else piece.errors.missed) == ""
            band = feature.band(notes)
            counts[0] += np.bincount(band, minlength=n_bands)
            counts[1] += np.bincount(band[matched], minlength=n_bands)
    return counts[0], counts[1]


def accuracy_tables(levels: Levels) -> Iterator[str]:
    """Format recall by octave, velocity and polyphony, and precision by octave."""
    recall = [(feature, False) for feature in (OCTAVES, VELOCITIES, SOUNDING, STRUCK)]
    for feature, estimated in [*recall, (OCTAVES, True)]:
        kind = "precision" if estimated else "recall"
        header, columns = [feature.name], [list(feature.bands)]
        for name, level in levels.items():
            for piano in PIANOS:
                n_notes, n_matched = hits(level, feature, piano, estimated=estimated)
                if estimated or name == next(iter(levels)):
                    header.append(f"notes, {piano}")
                    columns.append([str(n) for n in n_notes])
                header.append(f"{kind}, {name}, {piano}")
                columns.append(
                    [f"{m / n:.3f}" if n else "" for n, m in zip(n_notes, n_matched, strict=True)]
                )
        yield markdown(header, zip(*columns, strict=True))


def error_tables(levels: Levels) -> Iterator[str]:
    """Format how many notes of each class are missed and extra, two tables for each system.

    A class applies to notes that are not errors, too: to how many, and how many of these are
    errors, tells a cause from a coincidence.
    """
    for name, level in levels.items():
        for kind, classes in (("missed", MISSED), ("extra", EXTRA)):
            total = _n_errors(level, kind)
            rows = []
            for label in classes:
                n = [_n_errors(level, kind, label, piano) for piano in PIANOS]
                cells = _conditional(level, kind, label)
                rows.append([label, *map(str, n), f"{sum(n) / max(1, total):.0%}", *cells])
            n_notes = sum(len(getattr(piece.errors, kind)) for piece in level)
            n = [_n_errors(level, kind, None, piano) for piano in PIANOS]
            share = f"{total / max(1, n_notes):.0%}"
            rows.append(["all", *map(str, n), "100%", str(n_notes), share])
            header = [f"{kind} by {name}", *PIANOS, "share", "applies to", f"of these {kind}"]
            yield markdown(header, rows)


def _conditional(level: list[Judged], kind: str, label: str) -> list[str]:
    """Count the notes that a class applies to, and the share of them that are errors."""
    n_notes = n_wrong = 0
    for piece in level:
        applies = getattr(piece.errors, f"{kind}_if").get(label)
        if applies is None:
            return ["", ""]
        n_notes += applies.sum()
        n_wrong += (applies & (getattr(piece.errors, kind) != "")).sum()
    return [str(n_notes), f"{n_wrong / n_notes:.0%}" if n_notes else ""]


def piece_table(levels: Levels) -> str:
    """Format the timing and F of each piece, as annotated and with the annotation corrected.

    Times are medians in milliseconds: from the annotation, moved by the constant, to the sound, and
    to the estimate.
    """
    header = ["piece", "piano", "notes", "ms from annotation to sound"]
    for name in levels:
        header += [f"ms to {name}", f"F, {name}", f"F if annotated right, {name}"]
    rows = []
    scores: dict[str, list[list[float]]] = {piano: [] for piano in PIANOS}
    for versions in zip(*levels.values(), strict=True):
        piece = versions[0]
        delay = 1000 * np.median(piece.sound.onset - piece.reference.onset)
        row = [piece.name, piece.piano, str(len(piece.reference)), str(round(delay))]
        both = [f_measures(version.errors) for version in versions]
        for version, F in zip(versions, both, strict=True):
            row += [str(round(1000 * version.errors.lag)), *(f"{value:.3f}" for value in F)]
        rows.append(row)
        scores[piece.piano].append([value for F in both for value in F])
    for piano, values in scores.items():
        row = ["mean", piano, "", ""]
        for i, mean in enumerate(np.mean(values, axis=0)):
            row += ([] if i % 2 else [""]) + [f"{mean:.3f}"]
        rows.append(row)
    return markdown(header, rows)


def draw(levels: Levels) -> Figure:
    """Draw recall by octave, velocity and polyphony, precision by octave, and errors by class."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    (keys, velocity, sounding), (precise, missed, extra) = figure.subplots(2, 3)
    for axes, feature, estimated in (
        (keys, OCTAVES, False),
        (velocity, VELOCITIES, False),
        (sounding, SOUNDING, False),
        (precise, OCTAVES, True),
    ):
        _draw_hits(axes, levels, feature, estimated)
    for axes, kind, names in ((missed, "missed", MISSED), (extra, "extra", EXTRA)):
        _draw_classes(axes, levels, kind, names)
    for axes in (velocity, sounding, precise):
        axes.sharey(keys)
    keys.set_ylim(0, 1)
    figure.legend(*keys.get_legend_handles_labels(), ncols=2, loc="outside lower center")
    return figure


def _draw_hits(axes: Axes, levels: Levels, feature: Feature, estimated: bool) -> None:
    for (name, level), colour in zip(levels.items(), COLOURS, strict=False):
        for piano, (line, marker) in MARKS.items():
            n_notes, n_matched = hits(level, feature, piano, estimated=estimated)
            shown = np.where(n_notes >= FEWEST, n_matched / np.maximum(1, n_notes), np.nan)
            axes.plot(shown, color=colour, linestyle=line, marker=marker, label=f"{name}, {piano}")
    axes.set_xticks(range(len(feature.bands)), list(feature.bands), fontsize="small", rotation=30)
    kind = "Precision" if estimated else "Recall"
    axes.set(title=f"{kind} by {feature.name}", ylabel=kind)
    axes.grid(axis="y", color="#00000022", linewidth=0.6)


def _draw_classes(axes: Axes, levels: Levels, kind: str, names: tuple[str, ...]) -> None:
    height = 0.8 / len(levels)
    for i, ((_, level), colour) in enumerate(zip(levels.items(), COLOURS, strict=False)):
        places = np.arange(len(names)) + (i - (len(levels) - 1) / 2) * height
        left = np.zeros(len(names))
        for piano, fill in zip(PIANOS, (colour, colour + "77"), strict=True):
            n = [_n_errors(level, kind, label, piano) for label in names]
            axes.barh(places, n, height, left, color=fill)
            left += n
    axes.set_yticks(range(len(names)), list(names), fontsize="small")
    axes.invert_yaxis()
    axes.set(title=f"Notes that are {kind}", xlabel="Notes (pale: ENSTDkAm)")
    axes.grid(axis="x", color="#00000022", linewidth=0.6)


def _n_errors(
    level: Iterable[Judged], kind: str, label: str | None = None, piano: str | None = None
) -> int:
    """Count the errors of a kind; only those of a class or on a piano, if given."""
    n = 0
    for piece in level:
        if piano in (None, piece.piano):
            errors = getattr(piece.errors, kind)
            n += int((errors != "").sum() if label is None else (errors == label).sum())
    return n


def replace_tables(document: str, tables: str) -> str:
    r"""Replace the text between `BEGIN` and `END` in a document.

    Raises
    ------
    ValueError
        If the document lacks these lines.

    Examples
    --------
    >>> text = f"Above{BEGIN}old{END}below"
    >>> replace_tables(text, "new") == f"Above{BEGIN}\n\nnew\n\n{END}below"
    True
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no {BEGIN!r} followed by {END!r}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


@click.command(help=help_text(__doc__))
@data_option
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
@click.option("--threads", default=2, show_default=True, help="Threads of PyTorch.")
@click.option(
    "--document",
    default="docs/transcription_errors.md",
    show_default=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Document to update; the figure lies beside it.",
)
def main(data: Path, duration: float, threads: int, document: Path) -> None:
    torch.set_num_threads(threads)
    levels = judge(data, duration)
    tables = [*error_tables(levels), piece_table(levels), *accuracy_tables(levels)]
    text = replace_tables(document.read_text("utf-8"), "\n\n".join(tables))
    document.write_text(text, "utf-8")
    save_figure(draw(levels), document.with_suffix(".png"))


if __name__ == "__main__":
    main()
