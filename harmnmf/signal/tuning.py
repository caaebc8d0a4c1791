"""The tuning of a recording: how far its notes lie from equal temperament at 440 Hz."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harmnmf.errors import ParameterError

from .harmonics import FrequencyAxis

__all__ = ["estimate_tuning"]

# Hz. Below, windows are too short to place a partial; above, inharmonicity moves it.
_RANGE = (100.0, 2000.0)
# Peaks this far below the loudest of their frame are as often noise as partials.
_DEPTH = 10 ** (-30 / 20)


def estimate_tuning(values: ArrayLike, axis: FrequencyAxis) -> float:
    """Estimate by how much the partials in a spectrogram are sharp.

    The position of each spectral peak within its semitone is an angle; the tuning is the angle of
    their mean, weighted by magnitude. Partials that are no octaves of the fundamental bias it,
    equally in all spectra of one kind of instrument: compare two estimates.

    Parameters
    ----------
    values : array_like, shape (n_bins, n_frames)
        Magnitudes.
    axis : FrequencyAxis
        Frequencies of the bins.

    Returns
    -------
    float
        Semitones, from -0.5 (flat) to 0.5 (sharp); 0 where there are no peaks.

    Raises
    ------
    ParameterError
        If the values have another shape than the axis.

    Examples
    --------
    >>> from harmnmf.signal.spectrogram import LogFrequency
    >>> front_end = LogFrequency()
    >>> tone = np.sin(2 * np.pi * 440 * 2 ** (0.2 / 12) * np.arange(16000) / 16000)
    >>> round(estimate_tuning(front_end.transform(tone).values, front_end.axis), 1)
    0.2
    """
    V = np.asarray(values)
    if V.ndim != 2 or len(V) != axis.n_bins:
        raise ParameterError(f"values must have shape ({axis.n_bins}, n_frames), not {V.shape}")
    inside = (axis.frequencies >= _RANGE[0]) & (axis.frequencies <= _RANGE[1])
    below, at, above = V[:-2], V[1:-1], V[2:]
    loudest = V.max(axis=0, initial=0.0)
    is_peak = (at > below) & (at >= above) & (at > _DEPTH * loudest) & inside[1:-1, None]
    if not is_peak.any():
        return 0.0
    bins = np.nonzero(is_peak)[0] + 1.0
    below, at, above = (np.log(part[is_peak] + 1e-9 * at[is_peak]) for part in (below, at, above))
    bins += 0.5 * (below - above) / (below - 2 * at + above)
    semitones = 12 * np.log2(axis.to_hz(bins) / 440)
    mean = np.sum(np.exp(at) * np.exp(2j * np.pi * semitones))
    return float(np.angle(mean) / (2 * np.pi))
