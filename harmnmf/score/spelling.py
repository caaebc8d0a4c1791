"""Spelling of pitches: sharps, flats and naturals by key and context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bars import Bars
from .score import Key

__all__ = ["spell"]

# Places on the line of fifths relative to the tonic of the major key with the signature.
_LOWEST = -3


def spell(onset: ArrayLike, pitch: ArrayLike, keys: Sequence[Key], bars: Bars) -> NDArray[np.int64]:
    """Spell the notes of a score.

    Parameters
    ----------
    onset : array_like of int, shape (n_notes,)
        Positions of the notes in ticks, in any order.
    pitch : array_like of int, shape (n_notes,)
        MIDI numbers.
    keys : sequence of Key
        Keys in ascending order of their bars, the first of bar 0.
    bars : Bars
        Bars.

    Returns
    -------
    ndarray of int, shape (n_notes,)
        Places on the line of fifths: C 0, G 1, F -1, F sharp 6, B flat -2.

    Examples
    --------
    >>> spell([0, 480], [61, 66], [Key(0, 2)], Bars([[4, 4]]))
    array([7, 6])
    """
    onset, pitch = np.asarray(onset, np.int64), np.asarray(pitch, np.int64)
    index = np.searchsorted([key.bar for key in keys], bars.bar_at(onset), side="right") - 1
    sharps = np.array([key.fifths for key in keys])[index]
    return sharps + _LOWEST + (7 * pitch - sharps - _LOWEST) % 12
