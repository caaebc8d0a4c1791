"""Times, scaling and interpolation of timbres that are learned from notes or from scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harmnmf.signal.harmonics import FrequencyAxis, HarmonicSeries, piano_inharmonicity, pitch_to_hz

__all__ = ["DECAY", "FLOOR", "SILENCE", "SUSTAIN", "fill_keys", "scale_timbres"]

# Seconds after the attack over which the two free timbres are averaged.
SUSTAIN = (0.24, 0.6)
DECAY = (0.6, 1.6)
# Envelopes are interpolated between keys in decibels, down to this level below the maximum.
FLOOR = 10 ** (-80 / 20)
# A recording that peaks below -80 dB of full scale holds dither, hum or a muted channel only.
SILENCE = 1e-4


def scale_timbres(W: NDArray[np.float64], n_attack: int) -> NDArray[np.float64]:
    """Scale timbres to a sum over the bins of 1, on average over the frames of an attack.

    W has shape (n_bins, ..., n_timbres); silent timbres stay silent.

    Examples
    --------
    >>> scale_timbres(np.array([[1.0, 2.0, 5.0], [1.0, 4.0, 3.0]]), n_attack=2)
    array([[0.25 , 0.5  , 0.625],
           [0.25 , 1.   , 0.375]])
    """
    sums = W.sum(axis=0)
    sums[..., :n_attack] = sums[..., :n_attack].mean(axis=-1, keepdims=True)
    return W / np.where(sums > 0, sums, 1.0)


def fill_keys(
    sampled: Mapping[int, NDArray[np.float64]], keys: Sequence[int], axis: FrequencyAxis
) -> NDArray[np.float64]:
    """Interpolate timbres between the nearest sampled keys, partial by partial.

    `sampled` has the timbres of some keys, (n_bins, n_timbres), by MIDI number; the result, those
    of `keys`, (n_bins, n_pitches, n_timbres), down to 80 dB below the maximum of each key. Keys
    beyond the sampled ones get the timbres of the nearest.

    Examples
    --------
    >>> axis = FrequencyAxis.logarithmic(fmin=110.0, bins_per_octave=12, n_bins=25)
    >>> W = fill_keys({57: np.eye(25)[:, 12:13]}, [57, 59], axis)
    >>> W[:, :, 0].argmax(axis=0)
    array([12, 14])
    """
    available = np.array(sorted(sampled))
    columns = []
    for key in keys:
        below = available[available <= key].max(initial=-1)
        above = available[available >= key].min(initial=128)
        low, high = int(below if below >= 0 else above), int(above if above <= 127 else below)
        weight = (key - low) / (high - low) if high > low else 0.0
        # Partial h of the key is partial h of its neighbours: interpolate their levels in dB.
        levels = [
            np.log(np.maximum(moved, FLOOR * moved.max() + np.finfo(float).tiny))
            for moved in (_move(sampled[pitch], pitch, key, axis) for pitch in (low, high))
        ]
        columns.append(np.exp((1 - weight) * levels[0] + weight * levels[1]))
    return np.stack(columns, axis=1)


def _move(
    timbres: NDArray[np.float64], source: int, target: int, axis: FrequencyAxis
) -> NDArray[np.float64]:
    """Move the spectra of a key in frequency so that its partials lie on those of another key."""
    if source == target:
        return timbres
    n_partials = int(axis.frequencies[-1] / pitch_to_hz(min(source, target))) + 1

    def positions(pitch: int) -> NDArray[np.float64]:
        series = HarmonicSeries(n_partials, piano_inharmonicity(pitch))
        return series.positions(pitch_to_hz(pitch), axis)[0]

    bins = np.arange(axis.n_bins, dtype=np.float64)
    origin = bins + np.interp(bins, positions(target), positions(source) - positions(target))
    moved = [np.interp(origin, bins, timbre, left=0.0, right=0.0) for timbre in timbres.T]
    return np.stack(moved, axis=1)
