"""Keys of a score, from its pitches.

A linear-chain conditional random field [1]_ over bars. Its states are the 24 major and minor keys,
and its features are pitch classes relative to the tonic: of each bar, and of the bars that open and
close a section in one key. It was trained on the key signatures of printed scores, so that it
changes where an engraver would, not at each modulation.

References
----------
.. [1] J. Lafferty, A. McCallum and F. Pereira, "Conditional random fields: probabilistic models for
   segmenting and labeling sequence data", ICML 2001, pp. 282–289.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.storage.arrays import load_arrays
from harmnmf.storage.shipped import shipped_files

from .bars import TICKS, Bars
from .score import Key

__all__ = ["BY_KEY", "CHANGES", "MODES", "SHARPS", "estimate_keys", "key_features"]

# The states: C major, Db major, ..., B major, C minor, ..., B minor. SHARPS are those of their
# signatures modulo 12, and CHANGES their differences from one (row) to another.
_TONICS, MODES = np.arange(24) % 12, np.arange(24) // 12
SHARPS = 7 * (_TONICS + 3 * MODES) % 12
CHANGES = (SHARPS - SHARPS[:, None]) % 12
# Index that turns weights by mode and pitch class above the tonic, (2, ..., 12), to those by key
# and pitch class, (24, 12, ...).
BY_KEY = (MODES[:, None], ..., (np.arange(12) - _TONICS[:, None]) % 12)

_LONGEST = 4 * TICKS  # longer notes count no more
_N_OPENING = 4  # bars that open or close a section
# Added to the log-probability of a change: the songs of the training are shorter than movements of
# sonatas, which modulate for longer without another signature.
_RELUCTANCE = -8.0
# Signature by sharps modulo 12; five and six flats are more frequent in print than seven and six
# sharps, and five sharps than seven flats.
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
    features = key_features(onset, duration, pitch, bars)
    bar, opening, closing = (
        np.einsum("nkp,spk->ns", features[:, index], weights[name][BY_KEY])
        for index, name in enumerate(("bar", "opening", "closing"))
    )
    for scores, name, position in (
        (opening[0], "first_bass", onset.min()),
        (closing[-1], "last_bass", onset.max()),
    ):
        bass = pitch[onset == position].min() % 12
        scores += weights[name][BY_KEY][:, bass]
    change = weights["change"][MODES[:, None], MODES, CHANGES] + _RELUCTANCE
    change[CHANGES == 0] = -np.inf
    states = _best_path(bar, opening, closing, change)
    begins = np.flatnonzero(np.diff(states, prepend=-1))
    fifths = _choose_signatures(SHARPS[states[begins]])
    return tuple(
        Key(int(bar), int(sharps), "minor" if MODES[states[bar]] else "major")
        for bar, sharps in zip(begins, fifths, strict=True)
    )


def key_features(
    onset: NDArray[np.int64], duration: NDArray[np.int64], pitch: NDArray[np.int64], bars: Bars
) -> NDArray[np.float64]:
    """Compute the pitch classes of bars: by number, by duration, and of the bass by duration.

    Parameters
    ----------
    onset, duration, pitch : ndarray of int, shape (n_notes,)
        Notes: positions and durations in ticks, MIDI numbers.
    bars : Bars
        Bars.

    Returns
    -------
    ndarray, shape (n_bars, 3, 3, 12)
        Histograms of pitch classes for each bar, over three spans: the bar alone, with the three
        bars after it, and with the three bars before it. Square roots of shares, or zero if there
        are no notes.
    """
    n_bars = len(bars)
    _, chord = np.unique(onset, return_inverse=True)
    bass = np.full(chord.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(bass, chord, pitch)
    length = np.minimum(duration, _LONGEST)
    index = 12 * bars.bar_at(onset) + pitch % 12
    total = np.zeros((n_bars + 1, 3, 12))
    for kind, weight in enumerate((np.ones(pitch.size), length, length * (pitch == bass[chord]))):
        total[1:, kind] = np.bincount(index, weight, 12 * n_bars).reshape(-1, 12).cumsum(axis=0)
    here = np.arange(n_bars)
    ranges = (
        (here, here + 1),
        (here, np.minimum(here + _N_OPENING, n_bars)),
        (np.maximum(here + 1 - _N_OPENING, 0), here + 1),
    )
    histograms = np.stack([total[end] - total[start] for start, end in ranges], axis=1)
    return np.sqrt(histograms / np.maximum(histograms.sum(axis=-1, keepdims=True), 1))


def _best_path(
    bar: NDArray[np.float64],
    opening: NDArray[np.float64],
    closing: NDArray[np.float64],
    change: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Find the best keys of bars from their scores (n_bars, 24) and those of changes (24, 24)."""
    keys = np.arange(bar.shape[1])
    origin = np.empty(bar.shape, np.int64)
    score = bar[0] + opening[0]
    for index in range(1, len(bar)):
        left = (score + closing[index - 1])[:, None] + change
        best = left.argmax(axis=0)
        changed = left[best, keys] + opening[index]
        origin[index] = np.where(changed > score, best, keys)
        score = np.maximum(changed, score) + bar[index]
    path = [int((score + closing[-1]).argmax())]
    for index in range(len(bar) - 1, 0, -1):
        path.append(int(origin[index, path[-1]]))
    return np.array(path[::-1])


def _choose_signatures(sharps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose among enharmonic signatures: six sharps beside sharps, otherwise six flats."""
    fifths = _SIGNATURES[sharps]
    padded = np.pad(fifths, 1)
    return np.where((fifths == -6) & (padded[:-2] + padded[2:] > 0), 6, fifths)


@lru_cache(maxsize=1)
def _weights() -> dict[str, NDArray[np.float32]]:
    arrays, _ = load_arrays(shipped_files("harmnmf", "data/score")["keys"], kind="keys")
    return arrays
