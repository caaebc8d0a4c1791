"""Spectra of keys on the linear frequency axis of a short-time Fourier transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.nmf.templates import main_lobe
from harmnmf.signal.harmonics import (
    FrequencyAxis,
    HarmonicSeries,
    piano_inharmonicity,
    pitch_to_hz,
)

__all__ = ["N_TIMBRES", "key_spectra"]

# Attack, sustain and decay.
N_TIMBRES = 3
# Frames of an attack in the dictionary before it has risen.
_RISING = 2
_N_PARTIALS = 100
# Partials are drawn wider than the window makes them, as the inharmonicity of the piano is not
# known. Learning from the recording makes them narrower.
_WIDTH = 2.0
# Share of the mean magnitude of an attack that lies between its partials.
_NOISE = 0.1
# Hz below which a piano has no sound, but recordings have offsets and rumble.
_LOWEST = 20.0
# Slope in decibels per octave beyond the last bin of the dictionary.
_SLOPE_DB = -12.0


def key_spectra(
    dictionary: TimbreDictionary,
    pitches: NDArray[np.int64],
    axis: FrequencyAxis,
    window_duration: float,
    *,
    tuning: float = 0.0,
) -> NDArray[np.float32]:
    """Compute spectra of the attack, sustain and decay of keys from a dictionary.

    Each partial is the main lobe of the analysis window, drawn twice as wide, with the magnitude
    that the dictionary has at its frequency::

        W[f, k, j] = Σ_h e[h, k, j] L((f − f_h) T / 2)

    with the partials f_h of :class:`~harmnmf.signal.harmonics.HarmonicSeries`, the duration T of
    the Hann window, and the magnitude L of its transform. The noise of the hammer is added to the
    attack, the same in all bins. Below 20 Hz all spectra are zero.

    Parameters
    ----------
    dictionary : TimbreDictionary
        Dictionary on any frequency axis, with two timbres besides the frames of the attack.
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of keys in the dictionary.
    axis : FrequencyAxis
        Linear axis of the result.
    window_duration : float
        Duration in seconds of the Hann window.
    tuning : float, default=0.0
        Semitones by which the recording is sharper than the dictionary.

    Returns
    -------
    ndarray, shape (n_bins, n_pitches, 3)
        Magnitudes, each column with a sum of 1; zero for keys above the axis.

    Examples
    --------
    >>> dictionary = TimbreDictionary.load("default")
    >>> axis = FrequencyAxis.linear(n_fft=2048, sample_rate=16000)
    >>> W = key_spectra(dictionary, np.array([69]), axis, window_duration=0.128)
    >>> W.shape, int(axis.frequencies[W[:, 0, 1].argmax()].round(-1))
    ((1025, 1, 3), 440)
    """
    keys = np.searchsorted(dictionary.pitches, pitches)
    deviation = np.asarray(dictionary.tuning)[keys] - dictionary.overall_tuning
    series = HarmonicSeries(_N_PARTIALS, piano_inharmonicity(pitches))
    f0 = pitch_to_hz(pitches, deviation)
    partials = series.frequencies(f0)
    in_tune, _ = series.positions(f0, dictionary.axis)
    magnitudes = _magnitudes(dictionary, keys, in_tune)
    magnitudes *= 10 ** (_SLOPE_DB / 20 * _octaves_beyond(dictionary.axis, partials))[..., None]
    positions, is_valid = series.positions(f0 * 2 ** (tuning / 12), axis)
    magnitudes[~is_valid] = 0.0

    lobe_bins = 2 * _WIDTH * axis.resolution / window_duration
    offsets = np.arange(-int(lobe_bins) - 1, int(lobe_bins) + 2)
    bins = np.rint(positions).astype(int)[..., None] + offsets
    inside = (bins >= 0) & (bins < axis.n_bins)
    shift = (bins - positions[..., None]) / axis.resolution * window_duration / _WIDTH
    lobes = main_lobe(shift) * inside
    W = np.zeros((axis.n_bins, len(pitches), N_TIMBRES))
    key = np.broadcast_to(np.arange(len(pitches))[:, None, None], bins.shape)
    np.add.at(W, (bins.clip(0, axis.n_bins - 1), key), lobes[..., None] * magnitudes[:, :, None])
    W[..., 0] += _NOISE * W[..., 0].mean(axis=0)
    W[axis.frequencies < _LOWEST] = 0.0
    total = W.sum(axis=0)
    return np.divide(W, total, out=W, where=total > 0).astype(np.float32)


def _magnitudes(
    dictionary: TimbreDictionary, keys: NDArray[np.int64], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Magnitudes of the partials of keys, (n_pitches, n_partials, 3), at fractional bins."""
    W, n_attack = dictionary.W, dictionary.n_attack
    first = min(_RISING, n_attack - 1)
    timbres = np.concatenate(
        [W[:, :, first:n_attack].mean(axis=2, keepdims=True), W[:, :, n_attack:]], axis=2
    )
    last = dictionary.axis.n_bins - 1
    bins = np.rint(positions).astype(int)[..., None] + np.arange(-1, 2)
    near = timbres[bins.clip(0, last), keys[:, None, None]]
    return near.max(axis=2).astype(np.float64)


def _octaves_beyond(axis: FrequencyAxis, hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log2(np.maximum(hz / axis.frequencies[-1], 1.0))
