"""Resonance of all strings of a piano while its sustain pedal is down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.signal.harmonics import PIANO_PITCHES, HarmonicSeries, piano_inharmonicity, pitch_to_hz

from .envelopes import decay, fade

__all__ = ["resonance"]

_TIME = 3.0  # seconds
_PARTIALS = 16
_BANDS = 6
# Seconds in which strings of these frequencies decay by 60 dB.
_HZ, _DECAY = (30.0, 250.0, 2000.0, 6000.0), (12.0, 8.0, 2.5, 0.8)
_DAMPING = 0.15  # seconds in which dampers attenuate the strings by 30 dB
_BLOCK = 2**20  # samples convolved at once: a pedal may be down for an hour


def resonance(
    dry: NDArray[np.float32], pedal: NDArray[np.float64], level_db: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Compute the resonance of all strings while the pedal is down.

    Parameters
    ----------
    dry : ndarray, shape (n_samples,)
        Sound of the notes at 16 kHz.
    pedal : ndarray, shape (n_intervals, 2)
        First and last sample of each interval during which the pedal is down.
    level_db : float
        Energy of the resonance in dB, relative to that of `dry` while the pedal is down.
    rng : numpy.random.Generator
        Random number generator for the phases of the partials.

    Returns
    -------
    ndarray, shape (n_samples,)
        The resonance alone.

    Examples
    --------
    >>> dry = np.sin(0.2 * np.arange(16000, dtype=np.float32))
    >>> wet = resonance(dry, np.array([[4000.0, 12000.0]]), -30.0, np.random.default_rng(0))
    >>> bool(wet[:4000].any()), bool(wet[4000:12000].any())
    (False, True)
    """
    wet = np.zeros_like(dry)
    energy = 0.0
    response = _string_response(rng) if len(pedal) else np.zeros(1, np.float32)
    damping = _DAMPING * SAMPLE_RATE
    for down, up in np.rint(pedal).astype(int).tolist():
        exciting = fade(dry[down:up])
        if not exciting.any():
            continue
        end = min(len(dry), up + round(2 * damping))
        ringing = _convolve(exciting, response, end - down)
        fallen = max(0, end - up)
        ringing[len(ringing) - fallen :] *= decay(fallen, damping)
        wet[down : down + len(ringing)] += ringing
        energy += float(np.sum(exciting**2, dtype=np.float64))
    wet_energy = float(np.sum(wet**2, dtype=np.float64))
    return wet * np.float32(10 ** (level_db / 20) * np.sqrt(energy / max(wet_energy, 1e-30)))


def _convolve(
    samples: NDArray[np.float32], response: NDArray[np.float32], n_samples: int
) -> NDArray[np.float32]:
    """Compute the first samples of a convolution, block by block."""
    convolved = np.zeros(n_samples, np.float32)
    for start in range(0, len(samples), _BLOCK):
        part = oaconvolve(samples[start : start + _BLOCK], response)[: n_samples - start]
        convolved[start : start + len(part)] += part
    return convolved


def _string_response(rng: np.random.Generator) -> NDArray[np.float32]:
    """Impulse response of 88 undamped strings: decaying partials with random phases."""
    pitches = np.array(PIANO_PITCHES)
    strings = HarmonicSeries(_PARTIALS, piano_inharmonicity(pitches))
    hz = strings.frequencies(pitch_to_hz(pitches))
    amplitude = np.broadcast_to(1 / np.arange(1, _PARTIALS + 1), hz.shape)
    audible = hz < _HZ[-1]
    hz, amplitude = hz[audible], amplitude[audible]
    phase = np.exp(2j * np.pi * rng.random(hz.shape))
    # Partials of a band share a decay, so that one transform synthesises them.
    n_fft = 2 ** int(np.ceil(np.log2(_TIME * SAMPLE_RATE)))
    time = np.arange(round(_TIME * SAMPLE_RATE)) / SAMPLE_RATE
    response = np.zeros(len(time))
    for band in np.array_split(np.argsort(hz), _BANDS):
        spectrum = np.zeros(n_fft // 2 + 1, complex)
        bins = np.rint(hz[band] * n_fft / SAMPLE_RATE).astype(int)
        np.add.at(spectrum, bins, amplitude[band] * phase[band])
        seconds = np.interp(np.log(np.median(hz[band])), np.log(_HZ), _DECAY)
        response += np.fft.irfft(spectrum)[: len(time)] * 10 ** (-3 * time / seconds)
    return fade(response.astype(np.float32))
