"""Accuracy of live transcription by look-ahead, compared with the transcription of files.

::

    python -m benchmarks.live --data PATH/TO/data

The first table has the first 30 s of each recording in ``piano/real``, transcribed by
`LiveTranscriber` with each look-ahead, and by `Transcriber`: means of the scores of mir_eval over
the pieces of each piano, onsets within 50 ms. The annotations precede the sound: they are moved by
one constant or, in two columns, otherwise, as in ``benchmarks/transcription.py``.

The second has 30 s of concert performances in ``piano/performances``, whose onsets are exact,
rendered with the pianos of ``piano/notes`` in turn. These pianos are in the training of the shipped
networks, both live and for files: compare rows, and expect less of another piano. The performances
are not in it.

The third has precision, recall and F of the notes of each register, counted over all pieces of
each set; annotations are moved by the constant.

Notes end with their sound, the sustain pedal included. Latency is that of the algorithm: the sound
after an onset that is needed before its event. ``benchmarks/live_costs.py`` measures the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf import (
    Audio,
    LiveTranscriber,
    NoteList,
    SampledPiano,
    Transcriber,
    evaluate_notes,
    read_audio,
)
from harmnmf.cli.listen import LOOK_AHEADS
from harmnmf.live.events import Event, notes_from_events

from .data import PIANOS, evenly_spaced, isolated_notes, notes_of, on_sound, real_recordings
from .note_errors import match_notes
from .rendered_notes import performances, render
from .rendered_notes import score as score_rendered
from .report import Table, benchmark, decimals
from .transcription import ALIGNMENTS, SCORES, median_deviation, onset_f

OFFLINE = "whole file"
RENDERED = "rendered"
REAL_SCORES = ("P", "R", "F", "F with offset", "F with velocity")
RENDERED_SCORES = ("P", "R", "F", "F at 20 ms", "F with offset", "F with velocity")
# Registers from these keys on, and systems that are compared in them.
REGISTERS = {"A0 to B1": 21, "C2 to B3": 36, "C4 to B5": 60, "C6 to C8": 84}
COMPARED = (0.06, 0.2, OFFLINE)
BELOW = "F below that of the whole file, points"

System = float | str  # a look-ahead in seconds, or OFFLINE
SYSTEMS: tuple[System, ...] = (*(x / 1000 for x in LOOK_AHEADS), OFFLINE)


class Piece(NamedTuple):
    """Notes of a recording, and those that each system finds, with the pedal."""

    recordings: str
    reference: NoteList
    found: dict[System, NoteList]


def events_of(transcriber: LiveTranscriber, audio: Audio, block: float = 1.0) -> list[Event]:
    """Transcribe a recording in blocks of some seconds, as fast as possible."""
    n_samples = round(block * audio.sample_rate)
    events: list[Event] = []
    for start in range(0, audio.samples.shape[-1], n_samples):
        events += transcriber.push(audio.samples[..., start : start + n_samples])
    return events + transcriber.finish()


@lru_cache(1)
def file_transcriber() -> Transcriber:
    """Load the shipped dictionary and network once a process."""
    return Transcriber(device="cpu")


def found_notes(audio: Audio) -> dict[System, NoteList]:
    """Transcribe a recording with each look-ahead, and as a file."""
    torch.set_num_threads(1)
    found: dict[System, NoteList] = {}
    for look_ahead in SYSTEMS[:-1]:
        transcriber = LiveTranscriber(audio.sample_rate, look_ahead=look_ahead)
        events = events_of(transcriber, audio)
        found[look_ahead] = notes_from_events(events, audio.duration)
    found[OFFLINE] = file_transcriber().transcribe(audio)
    return found


def real_piece(duration: float, path: Path) -> Piece:
    """Transcribe the beginning of a real recording."""
    audio = read_audio(path, duration=duration)
    return Piece(path.parent.name, notes_of(path, duration), found_notes(audio))


def rendered_piece(data: Path, performance: tuple[str, NoteList]) -> Piece:
    """Render and transcribe a performance, given with the name of its piano."""
    name, notes = performance
    piano = SampledPiano.load(data / "piano/notes" / name)
    return Piece(RENDERED, notes, found_notes(render(piano, notes)))


def real_scores(piece: Piece, system: System) -> list[float]:
    """Score a real recording.

    `REAL_SCORES` with the annotations moved by the constant, then onset F with other `ALIGNMENTS`:
    as annotated, and without the median deviation.
    """
    reference, found = piece.reference, piece.found[system].pedalled()
    scores = evaluate_notes(on_sound(reference), found)
    return [
        *(scores[SCORES[name]] for name in REAL_SCORES),
        onset_f(reference, found),
        onset_f(reference, found, median_deviation(reference, found)),
    ]


def rendered_scores(piece: Piece, system: System) -> list[float]:
    """Compute the `RENDERED_SCORES` of a rendered performance, and the median deviation in ms."""
    scores = score_rendered(piece.reference, piece.found[system])
    p, r, f, strict, _, offset, velocity, deviation = scores
    return [p, r, f, strict, offset, velocity, deviation]


def register_counts(reference: NoteList, found: NoteList) -> NDArray[np.int64]:
    """Count right, found and true notes of each register, shape (3, n_registers)."""
    _, right = match_notes(reference, found)
    pitches = (found.pitch[right >= 0], found.pitch, reference.pitch)
    edges = [*REGISTERS.values(), 109]
    return np.stack([np.histogram(pitch, edges)[0] for pitch in pitches])


@lru_cache
def system_cells(system: System) -> tuple[str, str]:
    """Name of a system, and its latency in ms."""
    if isinstance(system, str):
        return system, "–"
    latency = LiveTranscriber(16_000, look_ahead=system).latency
    return f"{1000 * system:g} ms", f"{1000 * latency:.0f}"


def points_below(best: float, f: float) -> str:
    return f"{100 * (best - f):.1f}"


def ratio(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"


def real_rows(pieces: Sequence[Piece]) -> Iterator[list[str]]:
    """Rows of the table of real recordings."""
    for piano in PIANOS:
        played = [piece for piece in pieces if piece.recordings == piano]
        means = {
            system: np.mean([real_scores(piece, system) for piece in played], axis=0)
            for system in SYSTEMS
        }
        for system, values in means.items():
            below = points_below(means[OFFLINE][2], values[2])
            cells = decimals(values)
            yield [piano, *system_cells(system), *cells[:3], below, *cells[3:]]


def rendered_rows(pieces: Sequence[Piece]) -> Iterator[list[str]]:
    """Rows of the table of rendered performances."""
    means = {
        system: np.mean([rendered_scores(piece, system) for piece in pieces], axis=0)
        for system in SYSTEMS
    }
    for system, (*values, deviation) in means.items():
        below = points_below(means[OFFLINE][2], values[2])
        cells = decimals(values)
        yield [*system_cells(system), *cells[:3], below, *cells[3:], f"{deviation:.1f}"]


def register_rows(pieces: Sequence[Piece]) -> Iterator[list[str]]:
    """Rows of the table of registers."""
    for recordings in (*PIANOS, RENDERED):
        played = [piece for piece in pieces if piece.recordings == recordings]
        is_moved = recordings != RENDERED
        references = [on_sound(p.reference) if is_moved else p.reference for p in played]
        counts = {
            system: sum(
                register_counts(reference, piece.found[system])
                for reference, piece in zip(references, played, strict=True)
            )
            for system in COMPARED
        }
        for i, register in enumerate(REGISTERS):
            cells = []
            for system in COMPARED:
                right, found, true = counts[system][:, i].tolist()
                cells += [ratio(right, found), ratio(right, true), ratio(2 * right, found + true)]
            yield [recordings, register, str(true), *cells]


@benchmark(threads=1)
@click.option(
    "--limit",
    "n",
    default=14,
    show_default=True,
    help="Number of performances, and most recordings of each piano.",
)
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
@click.option("--processes", default=2, show_default=True, help="Recordings at a time.")
def main(data: Path, n: int, duration: float, processes: int) -> Iterator[Table]:
    paths = [
        path
        for piano in PIANOS
        for path in evenly_spaced([p for p in real_recordings(data) if p.parent.name == piano], n)
    ]
    played = list(zip(cycle(isolated_notes(data)), performances(data, n, duration)))
    # Threads of this process would not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        real = list(pool.map(partial(real_piece, duration), paths))
        rendered = list(pool.map(partial(rendered_piece, data), played))

    others = (ALIGNMENTS[0], ALIGNMENTS[2])
    columns = ["recordings", "look-ahead", "latency, ms", *REAL_SCORES[:3], BELOW]
    columns += [*REAL_SCORES[3:], *(f"F, {name}" for name in others)]
    yield Table("live_real", "Live transcription of real recordings", columns, real_rows(real))

    columns = ["look-ahead", "latency, ms", *RENDERED_SCORES[:3], BELOW]
    columns += [*RENDERED_SCORES[3:], "median onset error, ms"]
    title = f"Live transcription of {len(rendered)} rendered performances"
    yield Table("live_rendered", title, columns, rendered_rows(rendered))

    columns = ["recordings", "keys", "notes"]
    for system in COMPARED:
        columns += [f"{system_cells(system)[0]}, {score}" for score in ("P", "R", "F")]
    title = "Live transcription by register"
    yield Table("live_registers", title, columns, register_rows([*real, *rendered]))


if __name__ == "__main__":
    main()
