"""Signals with the envelope and the resonances of speech, and noise for them."""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import lfilter

RATE = 16000


def syllables(seconds=1.5, sample_rate=RATE, seed=0):
    """Make noise with two resonances, modulated at 4 Hz."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=int(seconds * sample_rate))
    for hz, radius in ((600, 0.97), (1800, 0.93)):
        angle = 2 * np.pi * hz / sample_rate
        x = lfilter([1], [1, -2 * radius * math.cos(angle), radius**2], x)
    x *= 1.02 - np.cos(2 * np.pi * 4 * np.arange(len(x)) / sample_rate)
    return 0.5 * x / np.abs(x).max()


def noise_for(speech, snr, seed=1):
    """Make noise at an SNR, orthogonal to the speech."""
    noise = np.random.default_rng(seed).normal(size=len(speech))
    noise -= (noise @ speech) / (speech @ speech) * speech
    return noise * np.sqrt((speech @ speech) / (noise @ noise)) * 10 ** (-snr / 20)


SPEECH = syllables()
NOISY = SPEECH + noise_for(SPEECH, 10)
