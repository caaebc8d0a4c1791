"""Voices of each staff, and note values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bars import TICKS, Bars
from .quantization import Quantized

__all__ = ["assign_voices"]

_SMALLEST = TICKS // 8  # ticks of the shortest note value that releases of keys are rounded to


def assign_voices(notes: Quantized, bars: Bars) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the notes of each staff into voices, and find their durations.

    Parameters
    ----------
    notes : Quantized
        Notes, with durations until the release of the key.
    bars : Bars
        Bars; no note lasts longer than the last.

    Returns
    -------
    voice : ndarray of int, shape (n_notes,)
        1 or 2 in each staff: see :class:`~harmnmf.score.score.ScoreNotes`.
    duration : ndarray of int, shape (n_notes,)
        Duration in ticks; 0 for a grace note.

    Examples
    --------
    >>> from harmnmf.score.bars import BeatGrid
    >>> from harmnmf.notes.note_list import NoteList
    >>> from harmnmf.score.quantization import quantize
    >>> grid = BeatGrid([0.5, 1.0, 1.5, 2.0], Bars([[4, 4]]))
    >>> notes = NoteList([0.5, 0.5, 1.0, 1.5], [0.9, 0.9, 1.4, 2], [60, 64, 67, 72], [70] * 4)
    >>> voice, duration = assign_voices(quantize(notes, grid, [1, 1, 1, 1]), grid.bars)
    >>> voice, duration
    (array([1, 1, 1, 1]), array([480, 480, 480, 960]))
    """
    voice = np.ones(len(notes), np.int64)
    duration = np.zeros(len(notes), np.int64)
    end = int(bars.starts[-1])
    for staff in (1, 2):
        of_staff = np.flatnonzero((notes.staff == staff) & (notes.ornament != "grace"))
        if not of_staff.size:
            continue
        starts, chord = np.unique(notes.onset[of_staff], return_inverse=True)
        longest = np.zeros(starts.size, np.int64)
        np.maximum.at(longest, chord, notes.duration[of_staff])
        room = np.diff(np.append(starts, end))
        value = np.maximum(np.round(longest / _SMALLEST).astype(np.int64), 1) * _SMALLEST
        value = np.where(2 * longest >= room, room, np.minimum(value, room))
        duration[of_staff] = value[chord]
    return voice, duration
