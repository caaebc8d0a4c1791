"""Measure how well, how fast and in how much memory real piano recordings are transcribed.

::

    python -m benchmarks.transcription --data PATH/TO/data
    python -m benchmarks.transcription --data PATH/TO/data --tables all --document docs

Transcribes the first 30 s of each recording in ``piano/real`` with one setting for all, and
scores the notes with mir_eval. The rows of other systems are anchors measured on the same
recordings; they are not run here.

The tables are scores, means over the pieces of each piano; accuracy, which is recall and precision
by octave, velocity and polyphony, with all pieces of a piano together; errors, which counts what
kinds of notes are missed and made up (note_errors.py says which there are); and inputs, the scores
when there is a phone, a flat piano or an MP3 in between (inputs.py says how), which takes as long
again for each of them. With --document, accuracy and errors take the place of the tables in
transcription_errors.md of that folder, and are drawn beside it.
"""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch

from harmnmf import (
    NoteList,
    TimbreDictionary,
    Transcriber,
    evaluate_notes,
    read_audio,
    read_notes,
    save_figure,
)

from .data import INPUTS, Change, unchanged
from .error_report import (
    PIANOS,
    Judged,
    accuracy_tables,
    draw,
    error_tables,
    piece_table,
    replace_tables,
    table,
)
from .note_errors import find_errors, find_sound

# Parameters of Transcriber for what is measured in full. What needs more memory comes later.
LEVELS: dict[str, dict[str, Any]] = {
    "harmnmf --decoder nmf": {"decoder": "nmf"},
    "harmnmf": {},
}
# (onset-only note F on ENSTDkCl, on ENSTDkAm, real-time factor), same excerpts.
ANCHORS = {
    "transkun 2.0.1 (13.6 M parameters)": (0.913, 0.804, "1.0"),
    "madmom CNN + ADSR": (0.826, 0.755, "0.25"),
    "basic-pitch 0.4": (0.723, 0.630, "0.016"),
    "Vincent, Bertin and Badeau 2010, their code": (0.693, 0.563, "0.55"),
    "Silvet intensive (PLCA)": (0.576, 0.437, "0.26"),
}
SCORES = {
    "P": "Precision_no_offset",
    "R": "Recall_no_offset",
    "F": "F-measure_no_offset",
    "F with offset": "F-measure",
    "F with velocity": "Velocity_F-measure_no_offset",
    "frame F": "Frame_F-measure",
}
TABLES = ("scores", "accuracy", "errors", "inputs")
QUICK = ("scores", "accuracy", "errors")
DOCUMENT, FIGURE = "transcription_errors.md", "transcription_errors.png"

Scores = dict[str, list[dict[str, float]]]


class Piece(NamedTuple):
    """The beginning of a recording, what was played there, and what was heard."""

    path: Path
    reference: NoteList
    estimated: NoteList


class Measured(NamedTuple):
    """A system's pieces, its real-time factor, and the peak memory in GB, if it is its own."""

    pieces: list[Piece]
    factor: float
    memory: float | None


def transcribe_recordings(
    transcriber: Transcriber, data: Path, duration: float, change: Change = unchanged
) -> tuple[list[Piece], float]:
    """Transcribe the beginnings of the real recordings.

    Parameters
    ----------
    transcriber : Transcriber
        What to measure.
    data : Path
        Folder with ``piano/real``.
    duration : float
        Seconds of each recording.
    change : callable, optional
        What to do to recordings and notes before, one of those in `benchmarks.data`.

    Returns
    -------
    pieces : list of Piece
        In the order of their paths.
    factor : float
        Seconds of reading and transcribing, over seconds of audio.
    """
    paths = sorted(data.glob("piano/real/*/*.flac"))
    transcriber.transcribe(read_audio(paths[0], duration=1.0))  # what happens only once
    pieces = []
    seconds = audio_seconds = 0.0
    for path in paths:
        reference = read_notes(path.with_suffix(".tsv")).slice(0.0, duration)
        start = time.perf_counter()
        audio = read_audio(path, duration=duration)
        seconds += time.perf_counter() - start
        audio, reference = change(audio, reference)
        start = time.perf_counter()
        estimated = transcriber.transcribe(audio)
        seconds += time.perf_counter() - start
        audio_seconds += audio.duration
        pieces.append(Piece(path, reference, estimated))
    return pieces, seconds / audio_seconds


def score_pieces(pieces: Iterable[Piece]) -> Scores:
    """Score transcribed pieces.

    Parameters
    ----------
    pieces : iterable of Piece
        As `transcribe_recordings` gives them.

    Returns
    -------
    dict
        For each piano the scores of its pieces, as `harmnmf.evaluate_notes` names them.
    """
    scores: Scores = {}
    for path, reference, estimated in pieces:
        scores.setdefault(path.parent.name, []).append(evaluate_notes(reference, estimated))
    return scores


def score_recordings(transcriber: Transcriber, data: Path, duration: float) -> tuple[Scores, float]:
    """Transcribe the beginnings of the real recordings and score them.

    Parameters
    ----------
    transcriber, data, duration
        As for `transcribe_recordings`.

    Returns
    -------
    scores : dict
        As `score_pieces` gives them.
    factor : float
        Seconds of reading and transcribing, over seconds of audio.
    """
    pieces, factor = transcribe_recordings(transcriber, data, duration)
    return score_pieces(pieces), factor


def mean_score(scores: Scores, piano: str, score: str) -> float:
    """Average a score over the pieces of a piano."""
    return float(np.mean([result[SCORES[score]] for result in scores[piano]]))


def mean_f(scores: Scores) -> tuple[float, float]:
    """Average the onset-only note F over the pieces of ENSTDkCl, and over those of ENSTDkAm."""
    return mean_score(scores, "ENSTDkCl", "F"), mean_score(scores, "ENSTDkAm", "F")


def measure(parameters: dict[str, Any], data: Path, duration: float) -> Measured:
    """Transcribe the recordings as they are, and see whether memory grows beyond its peak."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pieces, factor = transcribe_recordings(Transcriber(**parameters, device="cpu"), data, duration)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(pieces, factor, peak / 2**20 if peak > before else None)


def ablations() -> dict[str, dict[str, Any]]:
    """Name the parameters of Transcriber of what is only scored: one part less or more each."""
    default = TimbreDictionary.load("default")
    no_decay = default.W.copy()
    no_decay[:, :, -1] = 0
    # The frame on which attacks are centred.
    one_frame = default.W[:, :, 1 : 2 + default.W.shape[2] - default.n_attack].copy()
    one_frame[:, :, 1:] = default.W[:, :, default.n_attack :]
    changes: dict[str, dict[str, Any]] = {
        "with adaptation": {"adapt": True},
        "without adaptation": {"adapt": False},
        "without decay": {"dictionary": replace(default, W=no_decay)},
        "attacks of one frame": {
            "dictionary": replace(default, W=one_frame, n_attack=1, attack_lead=0.0)
        },
    }
    return {
        f"{level}, {name}": {**parameters, **change}
        for level, parameters in LEVELS.items()
        for name, change in changes.items()
        # What a level does anyway is no change.
        if change != {"adapt": Transcriber(**parameters).adapt}
    }


def score_tables(levels: dict[str, Measured], data: Path, duration: float) -> Iterator[str]:
    scores = {name: score_pieces(measured.pieces) for name, measured in levels.items()}
    rows = []
    for name in levels:
        for piano, results in sorted(scores[name].items()):
            means = (mean_score(scores[name], piano, score) for score in SCORES)
            rows.append([name, piano, str(len(results)), *(f"{mean:.3f}" for mean in means)])
    yield table(["system", "recordings", "pieces", *SCORES], rows)

    rows = []
    for name, measured in levels.items():
        memory = f"{measured.memory:.2f} GB" if measured.memory else ""
        rows.append([f"**{name}**", *mean_f(scores[name]), f"{measured.factor:.3f}", memory])
    for name, parameters in ablations().items():
        transcriber = Transcriber(**parameters, device="cpu")
        ablated, factor = score_recordings(transcriber, data, duration)
        rows.append([name, *mean_f(ablated), f"{factor:.3f}", ""])
    rows += [[name, *anchor, ""] for name, anchor in ANCHORS.items()]
    yield table(
        ["system", "ENSTDkCl F", "ENSTDkAm F", "real-time factor", "peak memory"],
        ([name, f"{cl:.3f}", f"{am:.3f}", *costs] for name, cl, am, *costs in rows),
    )


def judge(levels: dict[str, Measured], duration: float) -> dict[str, list[Judged]]:
    """Classify the errors of each system in each piece."""
    judged: dict[str, list[Judged]] = {name: [] for name in levels}
    for versions in zip(*(measured.pieces for measured in levels.values()), strict=True):
        path, reference, _ = versions[0]
        sound = find_sound(read_audio(path, duration=duration), reference)
        for name, piece in zip(levels, versions, strict=True):
            errors = find_errors(reference, piece.estimated, sound)
            notes = (reference, sound, piece.estimated)
            judged[name].append(Judged(path.parent.name, path.stem, *notes, errors))
    return judged


def input_table(levels: dict[str, Measured], data: Path, duration: float) -> str:
    rows = []
    for name, change in INPUTS.items():
        for level, parameters in LEVELS.items():
            if change is unchanged:
                pieces = levels[level].pieces
            else:
                transcriber = Transcriber(**parameters, device="cpu")
                pieces, _ = transcribe_recordings(transcriber, data, duration, change)
            scores = score_pieces(pieces)
            means = (mean_score(scores, piano, s) for piano in PIANOS for s in ("P", "R", "F"))
            rows.append([name, level, *(f"{mean:.3f}" for mean in means)])
    return table(["input", "system", *(f"{p} {s}" for p in PIANOS for s in ("P", "R", "F"))], rows)


def chosen_tables(context: click.Context, option: click.Parameter, value: str) -> set[str]:
    chosen = set(TABLES if value == "all" else value.split(","))
    if not chosen <= set(TABLES):
        raise click.BadParameter(f"{value!r} is not 'all' or some of {','.join(TABLES)}")
    return chosen


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
@click.option("--threads", default=2, show_default=True)
@click.option(
    "--tables",
    default=",".join(QUICK),
    show_default=True,
    callback=chosen_tables,
    help="Which to print, or all.",
)
@click.option(
    "--document",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the document to update.",
)
def main(
    data: Path, duration: float, threads: int, tables: set[str], document: Path | None
) -> None:
    torch.set_num_threads(threads)
    levels = {name: measure(parameters, data, duration) for name, parameters in LEVELS.items()}
    heading = f"{platform.machine()}, {threads} threads, {date.today()}, first {duration:g} s"
    click.echo(heading)
    if "scores" in tables:
        for text in score_tables(levels, data, duration):
            click.echo(f"\n{text}")
    if document is not None or tables & {"accuracy", "errors"}:
        judged = judge(levels, duration)
        accuracy = list(accuracy_tables(judged))
        errors = [*error_tables(judged), piece_table(judged)]
        for name, texts in (("accuracy", accuracy), ("errors", errors)):
            for text in texts if name in tables else ():
                click.echo(f"\n{text}")
        if document is not None:
            path = document / DOCUMENT
            text = "\n\n".join([*errors, *accuracy])
            path.write_text(replace_tables(path.read_text("utf-8"), text), "utf-8")
            save_figure(draw(judged), document / FIGURE)
    if "inputs" in tables:
        click.echo(f"\n{input_table(levels, data, duration)}")


if __name__ == "__main__":
    main()
