"""Accuracy and speed on real piano recordings.

::

    python -m benchmarks.transcription --data PATH/TO/data
    python -m benchmarks.transcription --data PATH/TO/data --inputs

Transcribes the first 30 s of each recording in ``piano/real`` and scores the notes with mir_eval:
means over the pieces of each piano. The annotations precede the sound, by less in one piece than
in the next, so that onset F is shown four times: with the annotations as they are, moved by the one
constant of ``benchmarks/data.py``, moved by each piece's median deviation from the transcription,
and moved by the constant with each note that is annotated late or early counted as right
(``benchmarks/note_errors.py``). All other scores are with the constant.

Notes end with their sound, the sustain pedal included, as in published scores of MAPS; "F with key
offset" compares the releases of keys. The rows of other systems were measured beforehand.
``--inputs`` also scores the recordings in halls, with noise and so on, which takes ten times as
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

from .data import (
    ANNOTATION_LEAD,
    INPUTS,
    PIANOS,
    Change,
    notes_of,
    on_sound,
    real_recordings,
    unchanged,
)
from .note_errors import Sound, f_measures, find_errors, find_sound, match_notes
from .report import Table, benchmark, decimals

SYSTEMS: dict[str, dict[str, Any]] = {
    "harmnmf": {},
    "harmnmf --adapt": {"adapt": True},
    "harmnmf --decoder nmf": {"decoder": "nmf"},
    "harmnmf --decoder nmf --no-adapt": {"decoder": "nmf", "adapt": False},
}
# One system per decoder, with defaults otherwise.
DECODERS = {name: SYSTEMS[name] for name in ("harmnmf", "harmnmf --decoder nmf")}
# How annotations are moved before onsets are compared.
ALIGNMENTS = (
    "as annotated",
    f"{1000 * ANNOTATION_LEAD:g} ms later",
    "median deviation removed",
    "annotated right",
)
# Onset F on ENSTDkCl and ENSTDkAm against the original annotations, and real-time factor; measured
# on the same excerpts.
ANCHORS = [
    ("transkun 2.0.1 (13.6 M parameters)", "0.913", "0.804", "1.0"),
    ("madmom CNN + ADSR", "0.826", "0.755", "0.25"),
    ("basic-pitch 0.4", "0.723", "0.630", "0.016"),
    ("Vincent, Bertin and Badeau 2010, their code", "0.693", "0.563", "0.55"),
    ("Silvet intensive (PLCA)", "0.576", "0.437", "0.26"),
]
FARTHEST = 0.12  # seconds between onsets that the median deviation is of
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
    """Beginning of a recording, its annotated notes, and its transcription.

    Notes end with their sound; those of `reference_keys` and `estimated_keys` when their keys are
    released.
    """

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
    """Score the pieces of each piano, with their annotations moved to the sound."""
    scores: Scores = {}
    for piece in pieces:
        results = evaluate_notes(on_sound(piece.reference), piece.estimated)
        keys = evaluate_notes(on_sound(piece.reference_keys), piece.estimated_keys)
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


def find_sounds(pieces: list[Piece], duration: float) -> dict[Path, Sound]:
    """Measure when the sound of each note of each piece begins."""
    return {
        piece.path: find_sound(read_audio(piece.path, duration=duration), on_sound(piece.reference))
        for piece in pieces
    }


def median_deviation(reference: NoteList, estimated: NoteList) -> float:
    """Median delay in seconds of estimated onsets, over the notes found within 120 ms, or 0.

    Examples
    --------
    >>> reference = NoteList([1, 2, 3], [2, 3, 4], [60, 62, 64], [70, 70, 70])
    >>> round(median_deviation(reference, reference.shift(0.1)), 6)
    0.1
    """
    found, _ = match_notes(reference, estimated, FARTHEST)
    delays = estimated.onset[found[found >= 0]] - reference.onset[found >= 0]
    return float(np.median(delays)) if len(delays) else 0.0


def onset_f(reference: NoteList, estimated: NoteList, delay: float = 0.0) -> float:
    """Compute onset F within 50 ms after removing a delay of the estimated notes.

    The notes that are earlier are moved later, by `delay` seconds, so that none is cut at time
    zero.

    Examples
    --------
    >>> reference = NoteList([0.0, 1.0], [1, 2], [60, 62], [70, 70])
    >>> onset_f(reference, reference.shift(0.2)), onset_f(reference, reference.shift(0.2), 0.2)
    (0.0, 1.0)
    """
    found, right = match_notes(reference.shift(max(delay, 0.0)), estimated.shift(max(-delay, 0.0)))
    return float(2 * (found >= 0).sum() / (len(found) + len(right)))


def aligned_f(piece: Piece, sound: Sound) -> list[float]:
    """Compute onset F of a piece with each of the `ALIGNMENTS`."""
    reference, estimated = piece.reference, piece.estimated
    _, right = f_measures(find_errors(on_sound(reference), estimated, sound))
    delays = (0.0, ANNOTATION_LEAD, median_deviation(reference, estimated))
    return [*(onset_f(reference, estimated, delay) for delay in delays), right]


def mean_aligned_f(pieces: list[Piece], sounds: dict[Path, Sound]) -> list[float]:
    """Average onset F over the pieces of each piano: all pianos with one alignment, then others."""
    means = [
        np.mean(
            [aligned_f(p, sounds[p.path]) for p in pieces if p.path.parent.name == piano], axis=0
        )
        for piano in PIANOS
    ]
    return np.stack(means, axis=1).ravel().tolist()


@benchmark()
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
@click.option("--inputs", is_flag=True, help="Also score altered recordings.")
def main(data: Path, duration: float, inputs: bool) -> Iterator[Table]:
    scores: dict[str, Scores] = {}
    sounds: dict[Path, Sound] = {}

    def system_rows() -> Iterator[list[str]]:
        for name, parameters in SYSTEMS.items():
            transcriber = Transcriber(**parameters, device="cpu")
            pieces, factor = transcribe_recordings(transcriber, data, duration)
            if not sounds:
                sounds.update(find_sounds(pieces, duration))
            scores[name] = score_pieces(pieces)
            yield [f"**{name}**", *decimals([*mean_aligned_f(pieces, sounds), factor])]
        unknown = ["–"] * len(PIANOS)
        for name, *measured, speed in ANCHORS:
            yield [name, *measured, *3 * unknown, speed]

    aligned = [f"{piano}, {alignment}" for alignment in ALIGNMENTS for piano in PIANOS]
    columns = ["system", *aligned, "real-time factor"]
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
