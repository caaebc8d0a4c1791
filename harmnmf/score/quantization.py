"""From the times of notes to their positions in a score, given the times of the beats."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList

from .bars import BeatGrid
from .ornaments import find_ornaments
from .positions import find_positions
from .score import ORNAMENTS

__all__ = ["Quantized", "quantize"]

# A chord is rolled if it has this many notes, and on average this many seconds from one to the
# next, or more.
_ROLLED_NOTES, _ROLLED_STEP = 3, 0.03


@dataclass(frozen=True, eq=False)
class Quantized:
    """Notes at positions of a score, in order of onset, staff and pitch; none is there twice.

    Parameters
    ----------
    onset : ndarray of int, shape (n_notes,)
        Position in ticks.
    duration : ndarray of int, shape (n_notes,)
        Ticks until the release of the key, 1 or more; 0 for a grace note.
        :func:`~harmnmf.score.voices.assign_voices` makes note values of them.
    sounding : ndarray of int, shape (n_notes,)
        Ticks until the end of the sound, which is later if the sustain pedal is down.
    pitch : ndarray of int, shape (n_notes,)
        MIDI number.
    staff : ndarray of int, shape (n_notes,)
        1 for the right hand, 2 for the left.
    ornament : ndarray of str, shape (n_notes,)
        As in :class:`~harmnmf.score.score.ScoreNotes`.
    written : ndarray of int, shape (n_played,)
        For each played note the index of its note here.
    """

    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    sounding: NDArray[np.int64]
    pitch: NDArray[np.int64]
    staff: NDArray[np.int64]
    ornament: NDArray[np.str_]
    written: NDArray[np.int64]

    def __len__(self) -> int:
        return self.onset.size


def quantize(notes: NoteList, grid: BeatGrid, staff: ArrayLike) -> Quantized:
    """Find the positions of notes in a score.

    Each beat is divided into equal parts, for each hand, and each onset falls on one of them. The
    divisions and the positions are those of least cost, by dynamic programming over the notes:
    onsets deviate little from a constant tempo within the beat, and the time from one to the next
    less; notes at one position are close in time; and divisions are more probable if they are
    frequent in general, and in this piece.

    Trills, grace notes and rolled chords are found before that: of a trill and of grace notes,
    only the main note has a position of its own.

    Notes before the first bar go to its start, and those after the last bar line to the last beat.

    Parameters
    ----------
    notes : NoteList
        Notes; offsets are releases of keys.
    grid : BeatGrid
        Beats and bars.
    staff : array_like of int, shape (n_played,)
        1 for notes of the right hand, 2 for the left.

    Returns
    -------
    Quantized
        Notes at their positions. Notes of one pitch at one position are one note.

    Raises
    ------
    ParameterError
        If `staff` has another length, or values other than 1 and 2.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> grid = BeatGrid([0.5, 1.0, 1.5, 2.0], Bars([[4, 4]]))
    >>> notes = NoteList([0.51, 1.02, 1.24, 1.5], [1, 1.2, 1.5, 2], [60, 62, 64, 65], [70] * 4)
    >>> quantize(notes, grid, [1, 1, 1, 1]).onset
    array([  0, 480, 720, 960])
    """
    hand = np.array(staff, np.int64)
    if hand.shape != (len(notes),) or not np.isin(hand, (1, 2)).all():
        raise ParameterError("staff must be 1 or 2 for each note")
    ornaments = find_ornaments(notes, grid, hand)
    main = ornaments.main
    position = np.empty(len(notes), np.int64)
    is_event = main == np.arange(len(notes))
    position[is_event] = find_positions(
        ornaments.onset[is_event], grid, hand[is_event], ornaments.is_rolled[is_event]
    )
    position = position[main]
    duration, sounding = (
        np.where(ornaments.is_grace, 0, np.maximum(np.round(grid.position(end)) - position, 1))
        for end in (notes.offset, notes.pedalled().offset)
    )
    pitch = np.where(ornaments.is_grace, notes.pitch, notes.pitch[main])
    label = np.full(len(notes), "", f"<U{max(map(len, ORNAMENTS))}")
    label[ornaments.is_grace] = "grace"
    label[ornaments.is_trill] = "trill"
    label[_is_rolled(notes, position, hand, label)] = "arpeggio"
    return _merge(
        position, duration.astype(np.int64), sounding.astype(np.int64), pitch, hand, label
    )


def _is_rolled(
    notes: NoteList,
    position: NDArray[np.int64],
    staff: NDArray[np.int64],
    label: NDArray[np.str_],
) -> NDArray[np.bool_]:
    """Which notes are of a chord that is played one by one from the lowest to the highest."""
    is_rolled = np.zeros(len(notes), np.bool_)
    plain = np.flatnonzero(label == "")
    order = plain[np.lexsort((notes.pitch[plain], staff[plain], position[plain]))]
    key = 2 * position[order] + staff[order]
    bounds = np.flatnonzero(np.diff(key, prepend=-1, append=-1))
    for first, last in pairwise(bounds):
        if last - first >= _ROLLED_NOTES:
            steps = np.diff(notes.onset[order[first:last]])
            if steps.min() > 0 and steps.mean() > _ROLLED_STEP:
                is_rolled[order[first:last]] = True
    return is_rolled


def _merge(
    position: NDArray[np.int64],
    duration: NDArray[np.int64],
    sounding: NDArray[np.int64],
    pitch: NDArray[np.int64],
    staff: NDArray[np.int64],
    label: NDArray[np.str_],
) -> Quantized:
    """Make one note of those that have one pitch and one position: the longest."""
    by_key = np.lexsort((-duration, pitch, position))
    keys = np.column_stack([position, pitch])[by_key]
    is_first = np.any(np.diff(keys, axis=0, prepend=-1) != 0, axis=1)
    first = by_key[is_first]
    order = np.lexsort((pitch[first], staff[first], position[first]))
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    written = np.empty(position.size, np.int64)
    written[by_key] = rank[np.cumsum(is_first) - 1]
    kept = first[order]
    return Quantized(
        position[kept],
        duration[kept],
        sounding[kept],
        pitch[kept],
        staff[kept],
        label[kept],
        written,
    )
