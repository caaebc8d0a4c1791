"""Choice of a mono mix: the mean of the channels, or another one where the mean cancels.

Channels of opposite phase, from a wrong cable, a wrong plug-in or a stereo widener, cancel when
they are averaged, in all of the spectrum or in a part of it. The power of a mix is compared with
the power of its channels in bands of a sixth of an octave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["apply_mix", "choose_mix", "describe_mix", "measure_covariance"]

# Hz: lower end of the first band, and number of sixths of an octave up to 8 kHz.
_MIN_HZ = 62.5
_N_BANDS = 42
_WINDOW = 0.128  # seconds
_MAX_FRAMES = 1024
_BATCH = 64  # frames transformed together
# The mean cancels if in its worst bands it has less than this fraction (-8 dB) of the power that
# the mean of as many unrelated channels would have. The worst are a twentieth of the bands, which
# a delay of 0.5 to 2 ms between the channels cancels; two microphones in a room do not.
_CANCELLED = 0.15
_WORST = 0.05
# Bands whose power is below this fraction of the strongest one's (-50 dB) do not count.
_AUDIBLE = 1e-5


def measure_covariance(samples: ArrayLike, sample_rate: int) -> NDArray[np.float64]:
    """Measure how channels correlate in bands of a sixth of an octave.

    Parameters
    ----------
    samples : array_like, shape (n_channels, n_samples)
        Samples of a recording or of a part of it; those of several parts can be added up.
    sample_rate : int
        Samples per second.

    Returns
    -------
    ndarray, shape (n_bands, n_channels, n_channels)
        Real parts of the cross-spectra, summed over the frequencies of each band and over frames;
        zero if there are fewer than 0.13 s.
    """
    x = np.asarray(samples)
    n_channels = len(x)
    n_fft = 2 ** round(np.log2(_WINDOW * sample_rate))
    n_frames = min(_MAX_FRAMES, x.shape[1] // n_fft)
    starts = np.linspace(0, x.shape[1] - n_fft, n_frames).astype(int)
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    edges = np.searchsorted(frequencies, _MIN_HZ * 2.0 ** (np.arange(_N_BANDS + 1) / 6))
    covariance = np.zeros((_N_BANDS, n_channels, n_channels))
    window = np.hanning(n_fft)
    for batch in np.split(starts, range(_BATCH, n_frames, _BATCH)):
        if not len(batch):
            continue
        frames = np.stack([x[:, start : start + n_fft] for start in batch], axis=1)
        spectra = np.fft.rfft(window * frames)
        for band in range(_N_BANDS):
            part = spectra[:, :, edges[band] : edges[band + 1]].reshape(n_channels, -1)
            covariance[band] += (part @ part.conj().T).real
    # Chance makes a few values correlate: one more of unrelated channels is added to each band.
    n_values = np.maximum(n_frames * np.diff(edges), 1)
    unrelated = np.trace(covariance, axis1=1, axis2=2) / n_values / n_channels
    return covariance + unrelated[:, None, None] * np.eye(n_channels)


def choose_mix(
    covariance: NDArray[np.float64], usable: Sequence[bool] | None = None
) -> NDArray[np.float64] | None:
    """Choose the weights of the channels in a mono mix.

    The power that a mix with weights w keeps in a band with the cross-spectra C is the Rayleigh
    quotient ``w' C w / (w' w tr C)``: 1 for equal channels, 1 / n_channels for unrelated ones, and
    0 where they cancel. If bands of the mean are cancelled, the mix that keeps most in its worst
    bands is chosen of the mean after inverting the channels that are opposite to the strongest
    one, and of each channel alone.

    Parameters
    ----------
    covariance : ndarray, shape (n_bands, n_channels, n_channels)
        Result of :func:`measure_covariance`.
    usable : sequence of bool, optional
        Channels that may be used, at least one. Default: all.

    Returns
    -------
    ndarray, shape (n_channels,), or None
        Weights, or None where the mean of all channels is right.

    Examples
    --------
    >>> left = np.random.default_rng(0).normal(size=16000)
    >>> choose_mix(measure_covariance([left, -left], 16000))
    array([ 0.5, -0.5])
    >>> choose_mix(measure_covariance([left, 0.5 * left], 16000)) is None
    True
    """
    n_channels = covariance.shape[1]
    used = np.ones(n_channels, bool) if usable is None else np.asarray(usable)
    n_used = np.count_nonzero(used)
    mean = used / n_used
    C = covariance * np.outer(used, used)
    power = np.trace(C, axis1=1, axis2=2)
    is_audible = power > _AUDIBLE * power.max(initial=0.0)
    C = C[is_audible] / power[is_audible, None, None]

    def least_kept(weights: NDArray[np.float64]) -> float:
        quotients = np.einsum("c,bcd,d->b", weights, C, weights) / (weights @ weights)
        return float(np.quantile(quotients, _WORST)) if quotients.size else 1.0

    if least_kept(mean) < _CANCELLED / n_used:
        total = C.sum(axis=0)
        strongest = int(np.argmax(np.diagonal(total)))
        inverted = np.where(total[strongest] < 0, -mean, mean)
        alone = [row for row, kept in zip(np.eye(n_channels), used, strict=True) if kept]
        return max([inverted, *alone], key=least_kept)
    return None if used.all() else mean


def apply_mix(samples: NDArray[np.float32], weights: NDArray[np.float64] | None) -> NDArray:
    """Mix channels to mono: (n_channels, n_samples) to (n_samples,); None is their mean."""
    if weights is None:
        return samples.mean(axis=0)
    return weights.astype(samples.dtype) @ samples


def describe_mix(weights: NDArray[np.float64]) -> str:
    """Describe a mix that is not the mean of all channels, for a warning.

    Examples
    --------
    >>> describe_mix(np.array([0.5, -0.5]))
    'channel 2 is inverted before they are averaged'
    >>> describe_mix(np.array([0.0, 1.0]))
    'only channel 2 is used'
    """

    def names(chosen: NDArray[np.bool_]) -> str:
        numbers = [str(i + 1) for i in np.flatnonzero(chosen)]
        return ("channels " if len(numbers) > 1 else "channel ") + ", ".join(numbers)

    parts = []
    if (weights == 0).any():
        is_used = weights != 0
        verb = "are" if np.count_nonzero(is_used) > 1 else "is"
        parts.append(f"only {names(is_used)} {verb} used")
    if (weights < 0).any():
        verb = "are" if np.count_nonzero(weights < 0) > 1 else "is"
        parts.append(f"{names(weights < 0)} {verb} inverted before they are averaged")
    return ", and ".join(parts)
