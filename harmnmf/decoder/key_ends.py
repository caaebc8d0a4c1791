"""Estimate when keys are released while the sustain pedal holds their notes.

A note that the pedal holds sounds the same whether its key is down or not, so its release is
inferred from the music: a hand lets a key go when it plays the next one. Without pedal, a key is
released where the sound ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList

__all__ = ["release_keys"]

# Semitones that a hand reaches.
_REACH = 12
# Seconds within which notes are one chord.
_CHORD = 0.05
_SHORTEST_NOTE = 0.04
# Seconds after the pedal in which the dampers silence the strings that it held, and the share of
# these notes that have ended when it counts as released.
_DAMPING = 0.1
_DAMPED = 0.9


def release_keys(notes: NoteList) -> NoteList:
    """Estimate the releases of keys from where sounds end.

    A note that ends with the pedal is released at the next onset within an octave after its chord,
    but not before the pedal goes down. Dampers take time: notes that end shortly after the pedal
    are held by it too, and the pedal's release is moved to where nine tenths of its notes end, so
    that :meth:`harmnmf.NoteList.pedalled` gives about the same ends of sounds again.

    Parameters
    ----------
    notes : NoteList
        Notes, with offsets where their sound ends, and the pedal.

    Returns
    -------
    NoteList
        The same notes, with offsets where their keys are released, and the pedal.

    Examples
    --------
    >>> notes = NoteList([0, 1], [3, 3], [60, 64], [70, 70], pedal=[[0.2, 3]])
    >>> release_keys(notes).offset
    array([1., 3.])
    """
    if len(notes.pedal) == 0:
        return notes
    down, up = notes.pedal.T
    # The last time that the pedal goes down before the sound ends.
    which = np.searchsorted(down, notes.offset) - 1
    is_held = (which >= 0) & (notes.offset <= up[which] + _DAMPING)
    is_held &= up[which] > notes.onset + _SHORTEST_NOTE
    up = _damped(notes.offset, np.where(is_held, which, -1), down, up)
    release = np.maximum(_next_in_reach(notes), notes.onset + _SHORTEST_NOTE)
    release = np.minimum(np.maximum(release, down[which]), notes.offset)
    return NoteList(
        notes.onset,
        np.where(is_held, release, notes.offset),
        notes.pitch,
        notes.velocity,
        np.column_stack([down, up]),
    )


def _damped(
    offset: NDArray[np.float64],
    which: NDArray[np.int64],
    down: NDArray[np.float64],
    up: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Move releases of the pedal to where the notes have ended that it held to the last."""
    to_the_last = (which >= 0) & (offset >= up[which])
    moved = up.copy()
    ends, order = offset[to_the_last], np.argsort(which[to_the_last], kind="stable")
    held_by, first = np.unique(which[to_the_last][order], return_index=True)
    for i, together in zip(held_by, np.split(ends[order], first[1:]), strict=False):
        moved[i] = np.quantile(together, _DAMPED)
    moved[:-1] = np.minimum(moved[:-1], down[1:])
    return np.maximum(moved, up)


def _next_in_reach(notes: NoteList) -> NDArray[np.float64]:
    """Onset of the next note in the hand's reach after the chord of each note, or infinity."""
    following = np.empty(len(notes))
    for pitch in np.unique(notes.pitch):
        own = notes.pitch == pitch
        onsets = np.append(notes.onset[abs(notes.pitch - pitch) <= _REACH], np.inf)
        following[own] = onsets[np.searchsorted(onsets, notes.onset[own] + _CHORD, side="right")]
    return following
