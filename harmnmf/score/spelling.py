"""Spelling of pitches: sharps, flats and naturals by key and context.

A small network looks at the pitch classes around a note, at the steps that lead to it and from it,
and at the key, and chooses a place on the line of fifths. All are relative to the key signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.storage.arrays import load_arrays
from harmnmf.storage.shipped import shipped_files

from .bars import TICKS, Bars
from .score import Key, sharps_of_bars

__all__ = ["PLACES", "spell", "spelling_features"]

# Places on the line of fifths that notes can have, relative to the tonic of the major key with the
# signature: from a doubly flattened third to a doubly sharpened sixth.
PLACES = np.arange(-13, 17)
_LOWEST, _HIGHEST = -15, 19  # double flats and double sharps, A and B excepted
_STEPS = np.arange(-2, 3)  # semitones to the neighbours in a melody


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
    sharps = sharps_of_bars(keys, bars.bar_at(onset))
    weights = _weights()
    features = spelling_features(onset, pitch, sharps)
    hidden = np.maximum(features @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    scores = hidden @ weights["output.weight"].T + weights["output.bias"]
    places = sharps[:, None] + PLACES
    possible = (
        ((7 * places - pitch[:, None]) % 12 == 0) & (places >= _LOWEST) & (places <= _HIGHEST)
    )
    return sharps + PLACES[np.where(possible, scores, -np.inf).argmax(axis=1)]


def spelling_features(
    onset: NDArray[np.int64], pitch: NDArray[np.int64], sharps: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compute what the spelling of each note depends on.

    Parameters
    ----------
    onset, pitch : ndarray of int, shape (n_notes,)
        Positions in ticks and MIDI numbers.
    sharps : ndarray of int, shape (n_notes,)
        Key signature at each note, flats negative.

    Returns
    -------
    ndarray, shape (n_notes, 114)
        Its pitch class relative to the tonic of the major key with the signature; the
        pitch classes at its onset, and within a quarter, a whole note and four whole notes of it;
        and for the chord before and after it, and the quarter and the whole note before and after
        it, whether there is a pitch up to two semitones lower or higher.
    """
    times, chord = np.unique(onset, return_inverse=True)
    here = np.arange(times.size)

    def within(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.searchsorted(times, times - before), np.searchsorted(
            times, times + after, "right"
        )

    ranges = [
        (np.maximum(here - 1, 0), here),
        (here + 1, np.minimum(here + 2, times.size)),
    ]
    for length in (TICKS, 4 * TICKS):
        start, end = within(length, length)
        ranges += [(start, here), (here + 1, end)]
    rotation = (np.arange(12) + 7 * sharps[:, None]) % 12
    tonic_distance = (pitch - 7 * sharps) % 12
    columns = [np.eye(12)[tonic_distance]]
    # Cumulative over chords, so that the difference of two rows counts the chords between them.
    margin = _STEPS.max()
    pitches = np.zeros((times.size + 1, 128 + 2 * margin), np.int32)
    pitches[chord + 1, pitch + margin] = 1
    classes = np.zeros((times.size + 1, 12), np.int32)
    classes[chord + 1, pitch % 12] = 1
    pitches, classes = pitches.cumsum(axis=0), classes.cumsum(axis=0)
    for start, end in ((here, here + 1), *ranges[2:], within(16 * TICKS, 16 * TICKS)):
        histogram = classes[end] - classes[start]
        if start is not here:
            histogram = np.sqrt(histogram / np.maximum(histogram.sum(axis=1, keepdims=True), 1))
        columns.append(np.take_along_axis(histogram[chord], rotation, axis=1))
    near = pitch[:, None] + _STEPS + margin
    for start, end in ranges:
        columns.append(pitches[end[chord, None], near] > pitches[start[chord, None], near])
    return np.concatenate(columns, axis=1, dtype=np.float32)


@lru_cache(maxsize=1)
def _weights() -> dict[str, NDArray[np.float32]]:
    arrays, _ = load_arrays(shipped_files("harmnmf", "data/score")["spelling"], kind="spelling")
    return arrays
