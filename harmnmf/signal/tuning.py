"""Tuning of a recording: its deviation from equal temperament at 440 Hz."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .audio import Audio
from .front_end import FrontEnd, Spectrogram
from .harmonics import FrequencyAxis
from .reading import read_audio

__all__ = ["estimate_tuning", "relative_tuning", "transform_in_tune"]

# Hz. Below, windows are too short to locate a partial; above, inharmonicity moves it.
_RANGE = (100.0, 2000.0)
# Peaks this far below the loudest of their frame are as often noise as partials.
_DEPTH = 10 ** (-30 / 20)
# Significance level of the test that peaks have a tuning at all.
_SIGNIFICANCE = 0.01


def estimate_tuning(values: ArrayLike, axis: FrequencyAxis) -> float | None:
    """Estimate by how many semitones, from -0.5 to 0.5, the partials in a spectrogram are sharp.

    The position of each spectral peak within its semitone is an angle; the tuning is the angle of
    their mean, weighted by magnitude. Partials other than octaves bias the estimate, equally for
    all spectra of one kind of instrument: only the difference of two estimates is meaningful.

    Parameters
    ----------
    values : array_like, shape (n_bins, n_frames)
        Magnitudes.
    axis : FrequencyAxis
        Frequencies of the bins.

    Returns
    -------
    float or None
        None if the peaks may have any positions, by Rayleigh's test at a level of 1 % [1]_. The
        peaks in one semitone are one observation, as they may be of one partial; the number of
        observations is Kish's effective number for their magnitudes. So too few notes give None,
        and so do very low and very high ones: the upper partials of low notes are inharmonic.

    References
    ----------
    .. [1] N. I. Fisher, "Statistical Analysis of Circular Data", Cambridge, 1993, section 4.3.
    """
    V = np.asarray(values)
    inside = (axis.frequencies >= _RANGE[0]) & (axis.frequencies <= _RANGE[1])
    below, at, above = V[:-2], V[1:-1], V[2:]
    loudest = V.max(axis=0, initial=0.0)
    is_peak = (at > below) & (at >= above) & (at > _DEPTH * loudest) & inside[1:-1, None]
    if not is_peak.any():
        return None
    bins = np.nonzero(is_peak)[0] + 1.0
    below, at, above = (np.log(part[is_peak] + 1e-9 * at[is_peak]) for part in (below, at, above))
    bins += 0.5 * (below - above) / (below - 2 * at + above)
    semitones = 12 * np.log2(axis.to_hz(bins) / 440)
    weights = np.exp(at)
    mean = np.sum(weights * np.exp(2j * np.pi * semitones)) / np.sum(weights)
    nearest = np.round(semitones).astype(int)
    of_semitone = np.bincount(nearest - nearest.min(), weights)
    n_observations = of_semitone.sum() ** 2 / np.sum(of_semitone**2)
    if np.exp(-n_observations * np.abs(mean) ** 2) > _SIGNIFICANCE:
        return None
    return float(np.angle(mean) / (2 * np.pi))


def relative_tuning(audio: Audio, front_end: FrontEnd, W: ArrayLike) -> float:
    """Estimate by how many semitones a recording is sharper than the spectra of a dictionary.

    `W`, (n_bins, ...), are spectra on the front end's axis. Without enough notes in either, it
    is 0.
    """
    axis = front_end.axis
    recorded = estimate_tuning(transform_in_tune(audio, front_end, 0.0).values, axis)
    expected = estimate_tuning(np.reshape(W, (axis.n_bins, -1)), axis)
    return 0.0 if recorded is None or expected is None else recorded - expected


def transform_in_tune(audio: Audio, front_end: FrontEnd, tuning: float) -> Spectrogram:
    """Compute a spectrogram as if the recording, sharp by `tuning` semitones, were tuned to 440 Hz.

    A sharp recording is resampled to a proportionally higher sample rate, which the result has, and
    analysed as if it had the front end's.
    """
    sample_rate = round(front_end.sample_rate * 2 ** (tuning / 12))
    samples = read_audio(audio, sample_rate=sample_rate).samples
    return replace(front_end.transform(samples), sample_rate=sample_rate)
