"""Accuracy and speed on real piano recordings.

::

    python -m benchmarks.transcription --data PATH/TO/data
    python -m benchmarks.transcription --data PATH/TO/data --inputs

Transcribes the first 30 s of each recording in ``piano/real`` and scores the notes with mir_eval:
means over the pieces of each piano. Notes end with their sound, the sustain pedal included, as in
published scores of MAPS; "F with key offset" compares the releases of keys. The rows of other
systems were measured beforehand on the same excerpts. ``--inputs`` also scores the recordings
through a phone, 35 cents flat and as MP3 (see ``benchmarks/data.py``), which takes four times as
long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from harmnmf import NoteList, Transcriber, evaluate_notes, read_audio

from .data import INPUTS, PIANOS, Change, notes_of, real_recordings, unchanged
from .report import Table, benchmark, decimals

SYSTEMS: dict[str, dict[str, Any]] = {
    "harmnmf": {},
    "harmnmf --adapt": {"adapt": True},
    "harmnmf --decoder nmf": {"decoder": "nmf"},
    "harmnmf --decoder nmf --no-adapt": {"decoder": "nmf", "adapt": False},
}
# One system per decoder, with defaults otherwise.
DECODERS = {name: SYSTEMS[name] for name in ("harmnmf", "harmnmf --decoder nmf")}
# Onset-only note F on ENSTDkCl and on ENSTDkAm, and real-time factor, on the same excerpts.
ANCHORS = [
    ("transkun 2.0.1 (13.6 M parameters)", "0.913", "0.804", "1.0"),
    ("madmom CNN + ADSR", "0.826", "0.755", "0.25"),
    ("basic-pitch 0.4", "0.723", "0.630", "0.016"),
    ("Vincent, Bertin and Badeau 2010, their code", "0.693", "0.563", "0.55"),
    ("Silvet intensive (PLCA)", "0.576", "0.437", "0.26"),
]
KEY_OFFSET = "Key_F-measure"
SCORES = {
    "P": "Precision_no_offset",
    "R": "Recall_no_offset",
    "F": "F-measure_no_offset",
    "F with offset": "F-measure",
    "F with key offset": KEY_OFFSET,
    "F with velocity": "Velocity_F-measure_no_offset",
    "frame F": "Frame_F-measure",
}

Scores = dict[str, list[dict[str, float]]]


class Piece(NamedTuple):
    """Beginning of a recording, its notes, and its transcription, with both kinds of offsets."""

    path: Path
    reference: NoteList
    estimated: NoteList
    reference_keys: NoteList
    estimated_keys: NoteList


def transcribe_recordings(
    transcriber: Transcriber, data: Path, duration: float, change: Change = unchanged
) -> tuple[list[Piece], float]:
    """Transcribe the beginnings of the real recordings.

    Parameters
    ----------
    transcriber : Transcriber
        System to measure.
    data : Path
        Folder with ``piano/real``.
    duration : float
        Seconds of each recording.
    change : callable, optional
        Change of recordings and notes, from `benchmarks.data`.

    Returns
    -------
    pieces : list of Piece
        In the order of their paths.
    factor : float
        Real-time factor of reading and transcribing.
    """
    paths = real_recordings(data)
    transcriber.transcribe(read_audio(paths[0], duration=1.0))  # first call: initialisation
    pieces = []
    seconds = audio_seconds = 0.0
    for path in paths:
        start = time.perf_counter()
        audio = read_audio(path, duration=duration)
        seconds += time.perf_counter() - start
        _, reference_keys = change(audio, notes_of(path, duration, offset="key"))
        audio, reference = change(audio, notes_of(path, duration))
        start = time.perf_counter()
        estimated = transcriber.transcribe(audio)
        seconds += time.perf_counter() - start
        audio_seconds += audio.duration
        pieces.append(Piece(path, reference, estimated.pedalled(), reference_keys, estimated))
    return pieces, seconds / audio_seconds


def score_pieces(pieces: list[Piece]) -> Scores:
    """Score the pieces of each piano."""
    scores: Scores = {}
    for piece in pieces:
        results = evaluate_notes(piece.reference, piece.estimated)
        keys = evaluate_notes(piece.reference_keys, piece.estimated_keys)
        results[KEY_OFFSET] = keys["F-measure"]
        scores.setdefault(piece.path.parent.name, []).append(results)
    return scores


def score_recordings(
    transcriber: Transcriber, data: Path, duration: float, change: Change = unchanged
) -> Scores:
    """Transcribe the beginnings of the real recordings and score them."""
    return score_pieces(transcribe_recordings(transcriber, data, duration, change)[0])


def means(scores: Scores, *names: str) -> list[float]:
    """Average scores over the pieces of each piano: all of the first piano, then the second."""
    pianos = [piano for piano in PIANOS if piano in scores]
    return [
        float(np.mean([piece[SCORES[name]] for piece in scores[piano]]))
        for piano in pianos
        for name in names
    ]


@benchmark()
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
@click.option("--inputs", is_flag=True, help="Also score altered recordings.")
def main(data: Path, duration: float, inputs: bool) -> Iterator[Table]:
    scores: dict[str, Scores] = {}

    def system_rows() -> Iterator[list[str]]:
        for name, parameters in SYSTEMS.items():
            transcriber = Transcriber(**parameters, device="cpu")
            pieces, factor = transcribe_recordings(transcriber, data, duration)
            scores[name] = score_pieces(pieces)
            yield [f"**{name}**", *decimals([*means(scores[name], "F"), factor])]
        yield from map(list, ANCHORS)

    columns = ["system", *(f"{piano} F" for piano in PIANOS), "real-time factor"]
    yield Table("transcription", "Onset F and speed", columns, system_rows())

    rows = [
        [name, piano, str(len(results)), *decimals(means({piano: results}, *SCORES))]
        for name in DECODERS
        for piano, results in scores[name].items()
    ]
    columns = ["system", "recordings", "pieces", *SCORES]
    yield Table("transcription_scores", "Scores of mir_eval", columns, rows)

    def input_rows() -> Iterator[list[str]]:
        for name, change in INPUTS.items():
            for system, parameters in DECODERS.items():
                transcriber = Transcriber(**parameters, device="cpu")
                altered = score_recordings(transcriber, data, duration, change)
                yield [name, system, *decimals(means(altered, "P", "R", "F"))]

    if inputs:
        columns = ["input", "system", *(f"{p} {s}" for p in PIANOS for s in ("P", "R", "F"))]
        yield Table("transcription_inputs", "Altered recordings", columns, input_rows())


if __name__ == "__main__":
    main()
