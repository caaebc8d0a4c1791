"""Files of tones at 16 kHz, and the frequency of a tone."""

from __future__ import annotations

import numpy as np
import soundfile

from harmnmf.signal.audio import SAMPLE_RATE


def tone(hz, duration=1.0, sample_rate=SAMPLE_RATE):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(duration * sample_rate)) / sample_rate)


def write(path, *channels, sample_rate=SAMPLE_RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack(channels, 1), sample_rate, subtype="FLOAT")
    return path


def main_frequency(samples, choices):
    """Frequency of `choices` near which is nearly all energy."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    shares = {hz: power[np.abs(frequencies - hz) < 30].sum() / power.sum() for hz in choices}
    found = max(shares, key=shares.get)
    assert shares[found] > 0.99
    return found
