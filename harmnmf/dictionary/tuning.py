"""Tuning of the keys of a piano: deviations from equal temperament at A4 = 440 Hz.

Spectra of a dictionary have the partials of a piano at 440 Hz, as recordings are analysed and
networks are trained. The deviations of single keys from the whole, such as the stretch of the
octaves, stay in the spectra: the piano that plays has them too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from harmnmf.signal.harmonics import FrequencyAxis, HarmonicSeries, piano_inharmonicity, pitch_to_hz

__all__ = [
    "IN_TUNE", "TUNED_KEYS", "measure_tuning", "overall_tuning", "partial_deviation",
    "shift_spectra",
]  # fmt: skip

# Semitones; recordings are not tuned better than to this.
IN_TUNE = 0.08
# Partials from which the deviation of a key is measured: the lowest ones, this far below the
# strongest, and within this many semitones of where they are expected.
_N_PARTIALS = 8
_DEPTH = 10 ** (-40 / 20)
_SEARCH = 0.3
# Keys that tell the tuning of the whole. Beyond, octaves are stretched.
TUNED_KEYS = range(45, 82)
_GRID = np.arange(-6, 7) / 10  # semitones
# Mean level of partials at the tuning, relative to all tunings, that tells it.
_CONTRAST = 1.4
_FLOOR = 1e-12
_DEEPEST = 1e-5  # level of zeros relative to the maximum while spectra are interpolated
_ROUNDING = 1e-6  # bins


def overall_tuning(tuning: ArrayLike, pitches: ArrayLike) -> float:
    """Deviation of a whole piano in semitones: the median of its keys from A2 to A5, or of all.

    Examples
    --------
    >>> overall_tuning([0.2, 0.4, 0.5], [60, 64, 67])
    0.4
    """
    tuning, pitches = np.asarray(tuning), np.asarray(pitches)
    inside = (pitches >= TUNED_KEYS[0]) & (pitches <= TUNED_KEYS[-1])
    return float(np.median(tuning[inside] if inside.any() else tuning))


def partial_deviation(magnitudes: ArrayLike, axis: FrequencyAxis, pitch: float) -> float:
    """Measure the pitch of a key, whose neighbourhood is known.

    Parameters
    ----------
    magnitudes : array_like, shape (n_bins,)
        Spectrum of the key.
    axis : FrequencyAxis
        Frequencies of the bins.
    pitch : float
        Fractional MIDI number within 0.3 semitones of the pitch.

    Returns
    -------
    float
        Fractional MIDI number: the median over the lowest partials, weighted by their level, with
        the inharmonicity of a typical piano. NaN if there are no peaks.
    """
    magnitudes = np.asarray(magnitudes, np.float64)
    expected = HarmonicSeries(_N_PARTIALS, piano_inharmonicity(round(pitch))).frequencies(
        pitch_to_hz(pitch)
    )
    deviations, levels = [], []
    for hz in expected:
        low, high = axis.to_bin(hz * np.exp2(np.array([-_SEARCH, _SEARCH]) / 12))
        first, last = max(1, round(float(low))), min(axis.n_bins - 2, round(float(high)))
        if first > last:
            continue
        k = first + int(magnitudes[first : last + 1].argmax())
        below, at, above = np.log(magnitudes[k - 1 : k + 2] + _FLOOR).tolist()
        if at > below and at >= above:
            peak = axis.to_hz(k + 0.5 * (below - above) / (below - 2 * at + above))
            deviations.append(12 * np.log2(float(peak) / hz))
            levels.append(magnitudes[k])
    if not deviations:
        return float("nan")
    weights = np.sqrt(levels) * (np.array(levels) >= _DEPTH * max(levels))
    order = np.argsort(deviations)
    half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return pitch + float(np.array(deviations)[order][half])


def measure_tuning(
    W: ArrayLike, pitches: ArrayLike, axis: FrequencyAxis
) -> NDArray[np.float64] | None:
    """Measure the deviation of each key from equal temperament at 440 Hz, up to 0.6 semitones.

    Parameters
    ----------
    W : array_like, shape (n_bins, n_pitches)
        Spectrum of each key.
    pitches : array_like of int, shape (n_pitches,)
        MIDI numbers, ascending.
    axis : FrequencyAxis
        Frequencies of the bins.

    Returns
    -------
    ndarray, shape (n_pitches,), or None
        Deviations in semitones; those of keys without peaks are interpolated. None if the spectra
        do not have the partials of the keys, or do not resolve them.
    """
    W, pitches = np.asarray(W, np.float64), np.asarray(pitches)
    overall = _coarse_tuning(W, pitches, axis)
    if overall is None:
        return None
    # From the middle outwards, since octaves are stretched: the neighbours tell where to search.
    measured: dict[int, float] = {}
    start = int(np.abs(pitches - np.mean(TUNED_KEYS)).argmin())
    for keys in (range(start, len(pitches)), range(start - 1, -1, -1)):
        neighbours = [overall] * 5
        for k in keys:
            found = partial_deviation(W[:, k], axis, pitches[k] + np.median(neighbours))
            if np.isfinite(found):
                measured[k] = found - float(pitches[k])
                neighbours = [*neighbours[1:], measured[k]]
    if not measured:
        return None
    known = sorted(measured)
    return np.interp(np.arange(len(pitches)), known, [measured[k] for k in known])


def shift_spectra(W: ArrayLike, axis: FrequencyAxis, semitones: float) -> NDArray[np.float64]:
    """Shift spectra upwards in frequency by some semitones; W has shape (n_bins, ...).

    Levels in dB are interpolated by cubic splines, and zeros stay zero.

    Examples
    --------
    >>> axis = FrequencyAxis.logarithmic(fmin=110.0, bins_per_octave=12, n_bins=4)
    >>> shift_spectra([1.0, 8.0, 2.0, 0.0], axis, 1.0).round(3)
    array([0., 1., 8., 2.])
    """
    W = np.asarray(W, np.float64)
    bins = np.arange(axis.n_bins)
    origin = axis.to_bin(axis.frequencies * np.exp2(-semitones / 12))
    inside = (origin > -_ROUNDING) & (origin < axis.n_bins - 1 + _ROUNDING)
    origin = origin.clip(0, axis.n_bins - 1)
    levels = np.log(np.maximum(W, _DEEPEST * W.max(axis=0, keepdims=True) + _FLOOR))
    shifted = np.exp(PchipInterpolator(bins, levels, axis=0)(origin))
    is_zero = W[np.rint(origin).astype(int)] == 0
    return np.where(is_zero | ~inside.reshape(-1, *[1] * (W.ndim - 1)), 0.0, shifted)


def _coarse_tuning(
    W: NDArray[np.float64], pitches: NDArray[np.int64], axis: FrequencyAxis
) -> float | None:
    """Deviation of all keys in tenths of a semitone; None if it is not clear."""
    series = HarmonicSeries(_N_PARTIALS, piano_inharmonicity(pitches))
    levels = np.sqrt(W / np.maximum(W.max(axis=0), _FLOOR))
    middle = (pitches >= TUNED_KEYS[0]) & (pitches <= TUNED_KEYS[-1])
    keys = np.flatnonzero(middle) if middle.any() else np.arange(len(pitches))
    strengths = []
    for tuning in _GRID:
        positions, valid = series.positions(pitch_to_hz(pitches, tuning), axis)
        bins = np.rint(positions).clip(0, axis.n_bins - 1).astype(int)
        strengths.append(sum(levels[bins[k, valid[k]], k].sum() for k in keys))
    contrast = np.max(strengths) / max(np.mean(strengths), _FLOOR)
    return float(_GRID[np.argmax(strengths)]) if contrast > _CONTRAST else None
