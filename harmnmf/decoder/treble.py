"""Spectra of the highest keys, for any tuning of their strings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.signal.harmonics import pitch_to_hz

__all__ = ["widen_treble"]

# Hz. Above, neighbouring bins of the default front end lie further apart than the bandwidth of
# their windows: a few cents decide in which of them a partial appears.
_BEGIN = 2300.0


def widen_treble(dictionary: TimbreDictionary) -> NDArray[np.float32]:
    """Widen the spectra of the highest keys, from D7 on, by a bin of the axis on either side.

    The highest strings are tuned up to half a semitone sharp, differently on every piano. A
    dictionary shows their fundamentals where its own pianos have them, in one bin or two; another
    piano's C8 lies beside it, and is explained by the second partial of C7. From 2300 Hz on, each
    bin takes the maximum of three; the sum of a spectrum over the bins stays the same.

    Parameters
    ----------
    dictionary : TimbreDictionary
        Dictionary on any axis; on a linear one, bins are denser and nothing is widened.

    Returns
    -------
    ndarray, shape (n_bins, n_pitches, n_timbres)
        Spectra.

    Examples
    --------
    >>> dictionary = TimbreDictionary.load("default")
    >>> W = widen_treble(dictionary)
    >>> np.flatnonzero((W != dictionary.W).any(axis=(0, 2)))[0] + 21
    np.int64(98)
    """
    W = dictionary.W
    if dictionary.axis.scale != "logarithmic":
        return W
    keys = pitch_to_hz(dictionary.pitches) >= _BEGIN
    bins = dictionary.axis.frequencies >= _BEGIN
    narrow = W[:, keys]
    wide = np.where(bins[:, None, None], ndimage.maximum_filter1d(narrow, 3, axis=0), narrow)
    total = wide.sum(axis=0)
    widened = W.copy()
    widened[:, keys] = wide * (narrow.sum(axis=0) / np.where(total > 0, total, 1))
    return widened
