"""Keys of a score, from its pitches.

A linear-chain conditional random field [1]_ over bars: its states are the 24 major and minor keys,
its features the pitch classes of a bar relative to the tonic, and it changes between keys of
different signature only. It was trained on the key signatures of printed scores, so that it
changes where an engraver would, not at each modulation.

References
----------
.. [1] J. Lafferty, A. McCallum and F. Pereira, "Conditional random fields: probabilistic models for
   segmenting and labeling sequence data", ICML 2001, pp. 282–289.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.storage.arrays import load_arrays

from .bars import TICKS, Bars
from .score import Key

__all__ = ["estimate_keys", "key_features"]

_LONGEST = 4 * TICKS  # longer notes count no more
# States: C major, Db major, ..., B major, C minor, ..., B minor.
_TONIC, _MODE = np.arange(24) % 12, np.arange(24) // 12
_MODES = ("major", "minor")
# Sharps of their signatures modulo 12, and changes from one (row) to another.
_SHARPS = 7 * (_TONIC + 3 * _MODE) % 12
_CHANGE = (_SHARPS - _SHARPS[:, None]) % 12
# Signature by sharps modulo 12; six flats are more frequent in print than six sharps, and so on.
_SIGNATURES = np.array([0, 1, 2, 3, 4, 5, -6, -5, -4, -3, -2, -1])


def estimate_keys(
    onset: ArrayLike, duration: ArrayLike, pitch: ArrayLike, bars: Bars
) -> tuple[Key, ...]:
    """Estimate the key signatures of a score, and their modes.

    Parameters
    ----------
    onset, duration : array_like of int, shape (n_notes,)
        Position and duration of the notes in ticks.
    pitch : array_like of int, shape (n_notes,)
        MIDI numbers.
    bars : Bars
        Bars. For a performance without them, take seconds for half notes, in bars of 4/4.

    Returns
    -------
    tuple of Key
        Keys in ascending order of their bars, the first of bar 0; C major if there are no notes.

    Examples
    --------
    >>> onset = 480 * np.arange(8)
    >>> estimate_keys(onset, [480] * 8, [62, 64, 66, 67, 69, 71, 73, 74], Bars([[4, 4], [4, 4]]))
    (Key(bar=0, fifths=2, mode='major'),)
    """
    onset, duration, pitch = np.asarray(onset), np.asarray(duration), np.asarray(pitch)
    if not onset.size:
        return (Key(0, 0),)
    weights = _weights()
    emission = _relative(key_features(onset, duration, pitch, bars), weights["bar"])
    # The bass of the first and of the last chord, each by its pitch class.
    for index, name, position in ((0, "first", onset.min()), (-1, "last", onset.max())):
        bass = np.eye(12)[pitch[onset == position].min() % 12]
        emission[index] += _relative(bass[None, None], weights[name][:, None])[0]
    change = weights["change"][_MODE[:, None], _MODE, _CHANGE]
    change[_CHANGE == 0] = -np.inf
    np.fill_diagonal(change, 0.0)
    states = _viterbi(emission, change)
    begins = np.flatnonzero(np.diff(states, prepend=-1))
    fifths = _choose_signatures(_SHARPS[states[begins]])
    return tuple(
        Key(int(bar), int(sharps), _MODES[_MODE[states[bar]]])
        for bar, sharps in zip(begins, fifths, strict=True)
    )


def key_features(
    onset: NDArray[np.int64], duration: NDArray[np.int64], pitch: NDArray[np.int64], bars: Bars
) -> NDArray[np.float64]:
    """Compute the pitch classes of each bar: by number, by duration, and of the bass.

    Each is the square root of a distribution; zero in a bar without notes.

    Parameters
    ----------
    onset, duration, pitch : ndarray of int, shape (n_notes,)
        Notes: positions and durations in ticks, MIDI numbers.
    bars : Bars
        Bars.

    Returns
    -------
    ndarray, shape (n_bars, 3, 12)
        Features.
    """
    _, chord = np.unique(onset, return_inverse=True)
    bass = np.full(chord.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(bass, chord, pitch)
    length = np.minimum(duration, _LONGEST)
    features = np.empty((len(bars), 3, 12))
    index = 12 * bars.bar_at(onset) + pitch % 12
    for kind, weight in enumerate((np.ones(pitch.size), length, length * (pitch == bass[chord]))):
        histogram = np.bincount(index, weight, 12 * len(bars)).reshape(-1, 12)
        total = histogram.sum(axis=1, keepdims=True)
        features[:, kind] = np.sqrt(histogram / np.where(total > 0, total, 1))
    return features


def _relative(features: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score the keys (n, 24) from features (n, kinds, 12) and weights (2, kinds, 12) by tonic."""
    by_key = weights[_MODE[:, None], :, (np.arange(12) - _TONIC[:, None]) % 12]  # (24, 12, kinds)
    return np.einsum("nkp,spk->ns", features, by_key)


def _viterbi(emission: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the best path of states through emissions (n, n_states)."""
    states = np.arange(emission.shape[1])
    origin = np.zeros(emission.shape, np.int64)
    score = emission[0]
    for index in range(1, len(emission)):
        scores = score[:, None] + change
        origin[index] = scores.argmax(axis=0)
        score = scores[origin[index], states] + emission[index]
    path = [int(score.argmax())]
    for index in range(len(emission) - 1, 0, -1):
        path.append(int(origin[index, path[-1]]))
    return np.array(path[::-1])


def _choose_signatures(sharps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose among enharmonic signatures: six sharps beside sharps, otherwise six flats."""
    fifths = _SIGNATURES[sharps]
    padded = np.pad(fifths, 1)
    return np.where((fifths == -6) & (padded[:-2] + padded[2:] > 0), 6, fifths)


@lru_cache(maxsize=1)
def _weights() -> dict[str, NDArray[np.float64]]:
    path = Path(str(resources.files("harmnmf"))) / "data" / "score" / "keys.safetensors"
    arrays, _ = load_arrays(path, kind="keys")
    return {name: array.astype(np.float64) for name, array in arrays.items()}
