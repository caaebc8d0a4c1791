"""Comb-pitch matrix of harmonic attention, after Wang et al. (2023).

A comb is positive at the partials of a fundamental and negative half-way between them, so that its
product with a spectrum is large if the spectrum has these partials and no others.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.signal.harmonics import FrequencyAxis, HarmonicSeries
from harmnmf.validation import check_choice, check_flag, real_array

__all__ = ["CONSTRUCTIONS", "VOICE", "comb_matrix", "comb_pitch"]

VOICE = range(60, 420)  # fundamental frequencies in Hz
# A partial at the edge of a bin counts as inside in spite of rounding.
_BIN_TOLERANCE = 1e-6


def comb_matrix(
    axis: FrequencyAxis,
    candidates: ArrayLike = VOICE,
    *,
    construction: str = "smooth",
    normalize: bool = True,
) -> NDArray[np.float64]:
    """Build the comb-pitch conversion matrix of harmonic attention.

    With h = f / f₀ counting harmonics, the smooth comb of a candidate f₀ is, at the frequency f of
    each bin::

        u(f) = cos(2πh) / √(h + 1)   if h ≥ 1/2, else 0

    The published one [1]_ rounds each partial k down to a bin, where it is 1 / √(k + 1). Between
    two partials lies one period of a cosine, whose amplitude changes linearly from one peak to the
    other; adjacent peaks are lowered by a quarter of their sum. As a pitch detector it errs more
    often than the smooth one (docs/experiments.md).

    Parameters
    ----------
    axis : FrequencyAxis
        Frequencies of the bins, linear from 0 Hz.
    candidates : array_like, shape (n_candidates,), default=range(60, 420)
        Fundamental frequencies in Hz, from the width of a bin to the frequency of the last bin.
    construction : {"smooth", "published"}, default="smooth"
        Kind of comb.
    normalize : bool, default=True
        Scale each comb to unit Euclidean norm, unlike the published matrix.

    Returns
    -------
    ndarray, shape (n_candidates + 1, n_bins)
        U. Row 0 is all zeros, for no pitch; row 1 + i is the comb of candidate i.

    Raises
    ------
    ParameterError
        If the axis is not linear from 0 Hz, or a candidate or the construction is invalid.

    References
    ----------
    .. [1] T. Wang et al., "Harmonic attention for monaural speech enhancement", IEEE/ACM Trans.
       Audio, Speech, Lang. Process. 31, 2023, doi 10.1109/TASLP.2023.3284522.

    Examples
    --------
    >>> axis = FrequencyAxis.linear(n_fft=512, sample_rate=16000)
    >>> comb_matrix(axis).shape
    (361, 257)
    >>> comb_matrix(axis, [93.75], normalize=False)[1, :7].round(2)  # partials at bins 3 and 6
    array([ 0.  ,  0.  , -0.39,  0.71, -0.33, -0.31,  0.58])
    """
    f0 = _check_candidates(axis, candidates)
    check_choice("construction", construction, CONSTRUCTIONS)
    check_flag("normalize", normalize)
    combs = CONSTRUCTIONS[construction](f0, axis)
    if normalize:
        lengths = np.linalg.norm(combs, axis=1, keepdims=True)
        combs = np.divide(combs, lengths, out=combs, where=lengths > 0)
    return np.concatenate([np.zeros((1, axis.n_bins)), combs])


def comb_pitch(
    spectrogram: ArrayLike,
    axis: FrequencyAxis,
    candidates: ArrayLike = VOICE,
    *,
    construction: str = "smooth",
    normalize: bool = True,
) -> NDArray[np.float64]:
    """Estimate the pitch of each frame by the comb that matches its power spectrum best.

    Frames are independent, and there is no voicing decision: noise matches some comb, and only
    silence matches none.

    Parameters
    ----------
    spectrogram : array_like, shape (n_bins, n_frames)
        Magnitudes. They are squared, which gives the fewest errors (docs/experiments.md).
    axis : FrequencyAxis
        Frequencies of the bins, linear from 0 Hz.
    candidates, construction, normalize
        As in :func:`comb_matrix`.

    Returns
    -------
    ndarray, shape (n_frames,)
        Candidate in Hz that maximises U times the power spectrum; NaN where no comb has a positive
        product.

    Raises
    ------
    ParameterError
        If the spectrogram does not fit the axis or has negative or non-finite values.

    Examples
    --------
    >>> from harmnmf.signal.spectrogram import STFT
    >>> t = np.arange(2048) / 16000
    >>> voice = sum(np.cos(2 * np.pi * 150 * k * t) / k for k in range(1, 20)) * (t < 0.07)
    >>> spectrogram = STFT(n_fft=512, hop_length=512).transform(voice)
    >>> comb_pitch(spectrogram.values, spectrogram.axis, range(100, 200, 10))
    array([150., 150., 150.,  nan,  nan])
    """
    values = real_array("spectrogram", spectrogram)
    if values.ndim != 2 or len(values) != axis.n_bins:
        raise ParameterError(
            f"spectrogram must have shape ({axis.n_bins}, n_frames), not {values.shape}"
        )
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ParameterError("spectrogram must be finite and not negative")
    combs = comb_matrix(axis, candidates, construction=construction, normalize=normalize)
    # argmax takes the first of equal scores: silence has no pitch.
    best = (combs @ values**2).argmax(axis=0)
    return np.concatenate([[np.nan], np.asarray(candidates, dtype=np.float64)])[best]


def _smooth(f0: NDArray[np.float64], axis: FrequencyAxis) -> NDArray[np.float64]:
    positions, _ = HarmonicSeries(2).positions(f0, axis)
    first = positions[:, :1]
    spacing = positions[:, 1:] - first
    h = 1 + (np.arange(axis.n_bins) - first) / spacing
    above = (h - 0.5) * spacing >= -_BIN_TOLERANCE
    return np.where(above, np.cos(2 * np.pi * h) / np.sqrt(h + 1), 0.0)


def _published(f0: NDArray[np.float64], axis: FrequencyAxis) -> NDArray[np.float64]:
    bins = np.arange(axis.n_bins)
    n_partials = math.ceil(axis.frequencies[-1] / f0.min())
    positions, valid = HarmonicSeries(n_partials).positions(f0, axis)
    combs = np.zeros((len(f0), axis.n_bins))
    for comb, position, on_axis in zip(combs, positions, valid, strict=True):
        number = 1 + np.flatnonzero(on_axis)
        peak = np.floor(position[on_axis] + _BIN_TOLERANCE).astype(int)
        height = 1 / np.sqrt(number + 1)
        amplitude = np.interp(bins, peak, height, left=0, right=0)
        comb += amplitude * np.cos(2 * np.pi * np.interp(bins, peak, number))
        touching = np.flatnonzero(np.diff(peak) == 1)
        quarter = (height[touching] + height[touching + 1]) / 4
        comb[peak[touching]] -= quarter
        comb[peak[touching + 1]] -= quarter
    return combs


CONSTRUCTIONS = {"smooth": _smooth, "published": _published}


def _check_candidates(axis: FrequencyAxis, candidates: ArrayLike) -> NDArray[np.float64]:
    if axis.scale != "linear" or axis.fmin != 0:
        raise ParameterError(
            f"a comb needs a linear frequency axis from 0 Hz, not a {axis.scale} one"
            f" from {axis.fmin:g} Hz"
        )
    f0 = real_array("candidates", candidates)
    if f0.ndim != 1 or f0.size == 0 or not (np.isfinite(f0) & (f0 > 0)).all():
        raise ParameterError("candidates must be a list of frequencies, positive and finite")
    narrowest, highest = 1 / axis.resolution, axis.frequencies[-1]
    tolerance = _BIN_TOLERANCE * narrowest
    if f0.min() < narrowest - tolerance or f0.max() > highest + tolerance:
        raise ParameterError(
            f"candidates must lie between {narrowest:g} Hz, the width of a bin, and {highest:g} Hz,"
            f" the last bin; they go from {f0.min():g} to {f0.max():g} Hz"
        )
    return f0
