"""Which hand plays each note."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList

__all__ = ["assign_hands"]

_WINDOW = 0.5  # seconds on either side


def assign_hands(notes: NoteList, *, split_pitch: int | None = None) -> NDArray[np.int64]:
    """Assign each note to a hand.

    Parameters
    ----------
    notes : NoteList
        Notes.
    split_pitch : int, optional
        MIDI number of the lowest pitch of the right hand, for the whole piece.

    Returns
    -------
    ndarray of int, shape (n_notes,)
        1 for the right hand, on the upper staff, and 2 for the left.

    Examples
    --------
    >>> notes = NoteList([0, 0, 0.5], [0.4, 1, 1], [48, 76, 74], [70, 70, 70])
    >>> assign_hands(notes)
    array([2, 1, 1])
    """
    if split_pitch is not None:
        return np.where(notes.pitch >= split_pitch, 1, 2)
    first = np.searchsorted(notes.onset, notes.onset - _WINDOW)
    last = np.searchsorted(notes.onset, notes.onset + _WINDOW, side="right")
    near = [notes.pitch[slice(*ends)] for ends in zip(first, last, strict=True)]
    middle = np.array([(pitch.min() + pitch.max()) / 2 for pitch in near])
    return np.where(notes.pitch >= middle, 1, 2)
