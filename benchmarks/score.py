"""Beats, bars, hands, keys and scores found in notes.

::

    python -m benchmarks.score --data PATH/TO/data
    python -m benchmarks.score --data PATH/TO/data --limit 10

Three sets of notes: the first minute of the recordings in ``piano/real`` as annotated (MAPS), the
same as harmnmf transcribes it, both with the beats of A-MAPS; and the performances in
``piano/performances`` with the beats, key signatures and printed scores of ASAP. All numbers are
means over pieces. Beats are compared by mir_eval, within 70 ms; with the metrical level forgiven,
the greatest F counts of the beats found, twice as many, or every second or third of them. "Beats a
bar" is the part of the pieces whose most frequent bar has the right number of beats, "key
signature" the part with the right one for most of the time. Hands, and places of notes in their
beats when the true beats are given, are the part of the notes that are right, of those found in the
printed score.

librosa gets the notes as an onset strength, pretty_midi as MIDI. MuseScore, if it is installed,
imports the same notes from a MIDI file; its scores and ours are compared with the printed ones by
MV2H, of performances without repeats. ``--limit`` takes evenly spaced pieces of each set.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
import mir_eval
import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf import (
    NoteList,
    Score,
    Transcriber,
    read_musicxml,
    read_notes,
    transcribe_score,
    write_musicxml,
)
from harmnmf.score.evaluation.evaluation import evaluate_beats
from harmnmf.score.evaluation.mv2h import mv2h
from harmnmf.score.reading.annotations import Annotations

from .beat_references import amaps_names, asap_names
from .data import ANNOTATION_LEAD, evenly_spaced
from .report import Table, benchmark, decimals
from .score_data import ASAP, MAPS, Piece, beat_phases, read_piece
from .score_peers import import_by_musescore, librosa_beats, musescore, pretty_midi_beats

OWN = "MAPS, transcribed"
HARMNMF, MUSESCORE = "harmnmf", "MuseScore"
PEERS: dict[str, Callable[[NoteList], NDArray[np.float64]]] = {
    "librosa": librosa_beats,
    "pretty_midi": pretty_midi_beats,
}
# F of beats and downbeats of madmom's audio models (RNN and DBN), measured beforehand on the same
# recordings; they may not be used commercially.
MADMOM = ("0.731", "0.464")
FORGIVEN = "Level forgiven"
BEATS = ("F-measure", FORGIVEN, "Downbeat_F-measure", "Beats_per_Bar")
MV2H = ("Multi-pitch", "Voice", "Metre", "Value", "Harmony", "MV2H")
DURATION = 60.0  # seconds of the recordings
TIMED = 600.0  # seconds of notes whose processing is timed
BEYOND = 0.1  # seconds before the first note, and after the last, in which beats count
CLOSE = 0.01  # of a beat
# A performance with as many notes as are printed, but for this part, has no repeats.
ABRIDGED = 0.15

Scores = dict[tuple[str, str], float]  # by system and measure


def measure(data: Path, job: tuple[str, str]) -> Scores:
    """Compare what is found in the notes of a piece with its references."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    which, name = job
    piece = read_piece(data, ASAP if which == ASAP else MAPS, name)
    notes, reference = piece.notes, piece.reference
    if which == OWN:
        path = data / "piano/real" / f"{name}.flac"
        notes = Transcriber(device="cpu").transcribe(path).slice(0, DURATION)
        reference = on_sound(reference)
    score = transcribe_score(notes)
    found = {HARMNMF: beat_scores(reference, to_annotations(score), notes)}
    for system, find in PEERS.items():
        found[system] = beat_scores(reference, Annotations(find(notes)), notes)
    if which != OWN:
        found[HARMNMF] |= note_scores(piece)
    if piece.printed is not None and abs(len(notes) / len(piece.printed.notes) - 1) < ABRIDGED:
        for system, other in scores_of_programs(notes, score):
            found.setdefault(system, {}).update(mv2h(piece.printed, other))
    return {(system, key): x for system, scores in found.items() for key, x in scores.items()}


def on_sound(reference: Annotations) -> Annotations:
    """Move annotations to the sound, as `benchmarks.data.on_sound` does."""
    return Annotations(reference.beats + ANNOTATION_LEAD, reference.downbeats + ANNOTATION_LEAD)


def to_annotations(score: Score) -> Annotations:
    """Beats, downbeats and keys of a score in its performance."""
    grid = score.performance.grid
    keys = tuple((float(grid.time_at(score.bars.starts[key.bar])), key) for key in score.keys)
    return Annotations(grid.time, grid.downbeats, keys)


def beat_scores(
    reference: Annotations, estimated: Annotations, notes: NoteList
) -> dict[str, float]:
    """Scores of `evaluate_beats`, and the F-measure with the metrical level forgiven.

    Estimated beats count from the first note to the last, as the annotated ones.
    """
    first, last = notes.onset[0] - BEYOND, notes.onset[-1] + BEYOND
    beats, downbeats = (
        None if times is None else times[(times >= first) & (times <= last)]
        for times in (estimated.beats, estimated.downbeats)
    )
    estimated = Annotations(beats, downbeats, estimated.keys)
    scores = evaluate_beats(reference, estimated)
    levels = metrical_levels(estimated.beats)
    scores[FORGIVEN] = max(mir_eval.beat.f_measure(reference.beats, beats) for beats in levels)
    return scores


def metrical_levels(beats: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Beats, twice as many, and every second or third of them.

    Examples
    --------
    >>> [level.tolist() for level in metrical_levels(np.array([0.0, 1.0, 2.0]))][:3]
    [[0.0, 1.0, 2.0], [0.0, 0.5, 1.0, 1.5, 2.0], [0.0, 2.0]]
    """
    halves = np.sort(np.concatenate([beats, (beats[1:] + beats[:-1]) / 2]))
    fewer = [beats[start::step] for step in (2, 3) for start in range(step)]
    return [beats, halves, *(level for level in fewer if level.size)]


def note_scores(piece: Piece) -> dict[str, float]:
    """Parts of the notes that are of the right hand, and at the right place of the true beats."""
    score = transcribe_score(piece.notes, beats=piece.grid)
    written = score.performance.written
    scores = {}
    if (known := piece.hands > 0).any():
        hands = score.notes.staff[written]
        scores["Hands"] = float(np.mean(hands[known] == piece.hands[known]))
    within = (piece.notes.onset > piece.grid.time[0] - 0.05) & (
        piece.notes.onset < piece.grid.time[-1]
    )
    if (known := within & ~np.isnan(piece.phases)).any():
        phases = beat_phases(score.bars.beats(), score.notes.onset)[written]
        distance = np.abs(phases - piece.phases)[known]
        scores["Positions"] = float(np.mean(np.minimum(distance, 1 - distance) < CLOSE))
    return scores


def scores_of_programs(notes: NoteList, score: Score) -> Iterator[tuple[str, Score]]:
    """Yield our score, and that of MuseScore, both as a MusicXML file says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "score.musicxml")
        write_musicxml(path, score)
        yield HARMNMF, read_musicxml(path)
        program = musescore()
        if program is not None and import_by_musescore(program, notes, path):
            yield MUSESCORE, read_musicxml(path)


def mean(results: Iterable[Scores], system: str, key: str) -> str:
    """Mean over the pieces that have a score, as a cell."""
    values = [scores[system, key] for scores in results if (system, key) in scores]
    return decimals([float(np.mean(values))])[0] if values else "–"


def ten_minutes(data: Path) -> tuple[int, float]:
    """Make a score of the first ten minutes of the longest performance; notes and seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        performances = [read_notes(path) for path in data.glob("piano/performances/*.mid")]
    longest = max(performances, key=lambda notes: notes.onset[-1])
    notes = longest.slice(longest.onset[0], longest.onset[0] + TIMED)
    transcribe_score(notes.slice(longest.onset[0], longest.onset[0] + 10))  # loads the networks
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_musicxml(Path(folder, "score.musicxml"), transcribe_score(notes))
    return len(notes), time.perf_counter() - start


@benchmark()
@click.option("--limit", type=int, help="Pieces of each set.")
@click.option("--processes", default=2, show_default=True, help="Pieces at a time.")
def main(data: Path, limit: int | None, processes: int) -> Iterator[Table]:
    names = {MAPS: amaps_names(data), OWN: amaps_names(data), ASAP: asap_names(data)}
    chosen = {which: evenly_spaced(names[which], limit or len(names[which])) for which in names}
    jobs = [(which, name) for which, pieces in chosen.items() for name in pieces]
    # Threads of this process would not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        scores = dict(zip(jobs, pool.map(partial(measure, data), jobs), strict=True))
    results = {which: [scores[which, name] for name in chosen[which]] for which in chosen}

    rows = [
        [f"**{system}**" if system == HARMNMF else system, which, str(len(results[which]))]
        + [mean(results[which], system, key) for key in BEATS]
        for which in results
        for system in (HARMNMF, *PEERS)
    ]
    rows.append(["madmom, from audio", MAPS, "20", MADMOM[0], "–", MADMOM[1], "–"])
    columns = ["system", "notes", "pieces", "beat F", "level forgiven", "downbeat F", "beats a bar"]
    yield Table("score_beats", "Beats and bars", columns, rows)

    # Many key signatures of A-MAPS are the default of its MIDI files.
    rows = [
        [which, str(len(results[which]))]
        + [mean(results[which], HARMNMF, key) for key in ("Hands", "Positions")]
        + [mean(results[which], HARMNMF, "Key_Signature") if which == ASAP else "–"]
        for which in (MAPS, ASAP)
    ]
    columns = ["notes", "pieces", "hands", "places in true beats", "key signature"]
    yield Table("score_notation", "Keys, hands and places of onsets", columns, rows)

    compared = [scores for scores in results[ASAP] if (MUSESCORE, "MV2H") in scores]
    rows = [
        [system, str(len(compared)), *(mean(compared, system, key) for key in MV2H)]
        for system in (HARMNMF, MUSESCORE)
    ]
    if compared:
        columns = ["system", "pieces", *MV2H]
        yield Table("score_mv2h", "Scores of ASAP's performances by MV2H", columns, rows)

    n_notes, seconds = ten_minutes(data)
    columns = ["notes", "seconds to MusicXML"]
    yield Table("score_time", "Ten minutes", columns, [[str(n_notes), f"{seconds:.1f}"]])


if __name__ == "__main__":
    main()
