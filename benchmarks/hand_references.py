"""Hands of performances, by the tracks of A-MAPS and the staves of ASAP's printed scores.

Both are for measuring only, and nothing is trained on them. A-MAPS has a track for each hand. In
ASAP the hand of a note is the staff that it is printed on: a pianist takes some of the upper staff
with the left hand, and in print some passages of one hand run through both staves.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray

from harmnmf import NoteList
from harmnmf.score.reading.musicxml import read_musicxml
from harmnmf.score.score import ScoreNotes

from .beat_references import asap_score

_TOLERANCE = 0.1  # seconds from a note to that of the tracks; transcribed notes are later
_CHORD = 0.035  # seconds between the notes of a chord
# Costs of moves in the score from one chord played to the next, in chords that do not match: the
# same chord again, the next, and leaving one, two or three out; and a jump to any place, as at a
# repeat.
_STEPS, _JUMP = (0.3, 0.0, 0.5, 0.8, 1.1), 5.0
# Works printed on three staves.
_THREE_STAVES = ("Liszt__Transcendental_Etudes__4", "Scriabin__Sonatas__5")
_NEAR = 3  # chords on either side of the aligned one in which a note is looked for


def amaps_hands(data: Path, name: str, notes: NoteList) -> NDArray[np.int64]:
    """Hands of the notes of a recording of A-MAPS, annotated or transcribed.

    Returns 1 for the right hand, 2 for the left, and 0 where the tracks have no such note.
    """
    onset, pitch, hand = _tracks(data / f"scores/amaps/{name}.mid")
    hands = np.zeros(len(notes), np.int64)
    for key in np.unique(notes.pitch):
        mine, other = np.flatnonzero(notes.pitch == key), np.flatnonzero(pitch == key)
        if len(other):
            distance = np.abs(notes.onset[mine][:, None] - onset[other])
            found = distance.min(axis=1) <= _TOLERANCE
            hands[mine[found]] = hand[other[distance.argmin(axis=1)]][found]
    return hands


def asap_hands(data: Path, name: str, notes: NoteList) -> NDArray[np.int64]:
    """Hands of the notes of a performance of ASAP, aligned to its printed score.

    Returns 1 for the upper staff, 2 for the lower, and 0 for notes that are not found in the score,
    or all if it is missing or has three staves.
    """
    path = asap_score(data, name)
    if not path.exists() or path.stem in _THREE_STAVES:
        return np.zeros(len(notes), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        printed = read_musicxml(path).notes
    index = printed_notes(notes, printed)
    return np.where(index >= 0, printed.staff[index], 0)


def printed_notes(notes: NoteList, printed: ScoreNotes) -> NDArray[np.int64]:
    """Index of the printed note of each note played, by an alignment of the chords; -1 if none."""
    chord = np.cumsum(np.diff(notes.onset, prepend=notes.onset[0]) > _CHORD)
    _, place = np.unique(printed.onset, return_inverse=True)
    path = _align(_pitch_sets(chord, notes.pitch), _pitch_sets(place, printed.pitch))
    places = zip(place.tolist(), printed.pitch.tolist(), strict=True)
    index_of = {key: index for index, key in enumerate(places)}
    nearby = sorted(range(-_NEAR, _NEAR + 1), key=abs)
    return np.array(
        [
            next((index_of[at + d, pitch] for d in nearby if (at + d, pitch) in index_of), -1)
            for at, pitch in zip(path[chord].tolist(), notes.pitch.tolist(), strict=True)
        ],
        np.int64,
    )


def _tracks(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Onsets in seconds, pitches and hands of a MIDI file; the first track with notes is right."""
    file = mido.MidiFile(path)
    parts = [t for t in file.tracks if any(m.type == "note_on" and m.velocity for m in t)]
    for channel, part in enumerate(parts):
        for message in part:
            if message.type == "note_on":
                message.channel = channel
    time, rows = 0.0, []
    for message in file:
        time += message.time
        if message.type == "note_on" and message.velocity:
            rows.append((time, message.note, message.channel + 1))
    onset, pitch, hand = np.array(rows).T
    return onset, pitch.astype(np.int64), hand.astype(np.int64)


def _pitch_sets(chord: NDArray[np.int64], pitch: NDArray[np.int64]) -> NDArray[np.float32]:
    sets = np.zeros((chord[-1] + 1, 128), np.float32)
    sets[chord, pitch] = 1
    return sets


def _align(played: NDArray[np.float32], printed: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the printed chord of each chord played.

    A Viterbi search: the most pitches in common (Dice coefficient) less the costs of the moves.
    """
    n = len(printed)
    sizes = printed.sum(axis=1)
    total = np.zeros(n)
    moves, origins = np.zeros((len(played), n), np.int8), np.zeros(len(played), np.int64)
    for t, pitches in enumerate(played):
        origins[t] = total.argmax()
        best, move = np.full(n, total.max() - _JUMP), np.full(n, -1, np.int8)
        for step, cost in enumerate(_STEPS):
            candidate = np.full(n, -np.inf)
            candidate[step:] = total[: n - step] - cost
            is_better = candidate > best
            best[is_better], move[is_better] = candidate[is_better], step
        moves[t] = move
        total = best + 2 * (printed @ pitches) / (sizes + pitches.sum())
    path = np.zeros(len(played), np.int64)
    path[-1] = total.argmax()
    for t in range(len(played) - 1, 0, -1):
        move = moves[t, path[t]]
        path[t - 1] = path[t] - move if move >= 0 else origins[t]
    return path
