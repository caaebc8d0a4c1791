"""Pieces with true beats, keys, hands and places of notes in their beats."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi
from numpy.typing import NDArray

from harmnmf import BeatGrid, NoteList, Score, read_musicxml
from harmnmf.score.beats.tracking import grid_from_beats
from harmnmf.score.reading.annotations import Annotations

from .beat_references import amaps_reference, asap_reference, asap_score
from .hand_references import amaps_hands, asap_hands, printed_notes

MAPS, ASAP = "MAPS, annotated", "ASAP"
TOLERANCE = 0.06  # seconds from a note of a table to that of the MIDI file made from it


@dataclass(frozen=True)
class Piece:
    """A performance and what is known of its score.

    Parameters
    ----------
    name : str
        Name of the piece.
    notes : NoteList
        Notes as played.
    reference : Annotations
        Beats, downbeats and key signatures.
    hands : ndarray of int, shape (n_notes,)
        1 for notes of the right hand, 2 for the left, 0 where it is not known.
    phases : ndarray, shape (n_notes,)
        Place of each note in its beat, from 0 to 1; NaN where it is not known.
    printed : Score, optional
        Printed score.
    """

    name: str
    notes: NoteList
    reference: Annotations
    hands: NDArray[np.int64]
    phases: NDArray[np.float64]
    printed: Score | None = None

    @property
    def grid(self) -> BeatGrid:
        """True beats and bars."""
        beats = self.reference.beats
        return grid_from_beats(beats, np.isin(beats, self.reference.downbeats))


def read_piece(data: Path, collection: str, name: str) -> Piece:
    """Read a piece of MAPS or ASAP."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if collection == MAPS:
            _, notes, reference, _ = amaps_reference(data, name)
            hands = amaps_hands(data, name, notes)
            phases = _phases_of_midi(data / f"scores/amaps/{name}.mid", notes, reference.beats)
            return Piece(name, notes, reference, hands, phases)
        _, notes, reference, _ = asap_reference(data, name)
        path = asap_score(data, name)
        if not path.exists():
            unknown = np.full(len(notes), np.nan)
            return Piece(name, notes, reference, np.zeros(len(notes), np.int64), unknown)
        printed = read_musicxml(path)
    index = printed_notes(notes, printed.notes)
    is_timed = (index >= 0) & (printed.notes.duration[index] > 0)  # no grace notes
    phases = beat_phases(printed.bars.beats(), printed.notes.onset)
    return Piece(
        name,
        notes,
        reference,
        asap_hands(data, name, notes),
        np.where(is_timed, phases[index], np.nan),
        printed,
    )


def beat_phases(beats: NDArray[np.int64], position: NDArray[np.int64]) -> NDArray[np.float64]:
    """Place of positions in their beats, from 0 to 1.

    Examples
    --------
    >>> beat_phases(np.array([0, 480, 960]), np.array([240, 480, 1200]))
    array([0.5, 0. , 0.5])
    """
    index = np.clip(np.searchsorted(beats, position, side="right") - 1, 0, len(beats) - 2)
    return (position - beats[index]) / np.diff(beats)[index] % 1


def _phases_of_midi(path: Path, notes: NoteList, beats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place of each note in its beat, from a MIDI file whose ticks are those of the score."""
    midi = pretty_midi.PrettyMIDI(str(path))
    written = [note for track in midi.instruments for note in track.notes]
    onset = np.array([note.start for note in written])
    pitch = np.array([note.pitch for note in written])
    ticks, beat_ticks = (
        np.array([midi.time_to_tick(time) for time in times]) for times in (onset, beats)
    )
    phases = np.full(len(notes), np.nan)
    for key in np.unique(notes.pitch):
        played, other = np.flatnonzero(notes.pitch == key), np.flatnonzero(pitch == key)
        if other.size:
            distance = np.abs(notes.onset[played, None] - onset[other])
            found = distance.min(axis=1) <= TOLERANCE
            nearest = other[distance.argmin(axis=1)][found]
            phases[played[found]] = beat_phases(beat_ticks, ticks[nearest])
    return phases
