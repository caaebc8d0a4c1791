"""Synthetic pianos of isolated notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harmnmf import Audio, write_audio


def write_piano(folder: Path, brightness: float) -> Path:
    """Write a piano of decaying harmonic tones, one per octave."""
    folder.mkdir(parents=True)
    seconds = np.arange(24000) / 16000
    for pitch in (36, 48, 60, 72, 84):
        f0 = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(
            h**-brightness * np.sin(2 * np.pi * h * f0 * seconds)
            for h in range(1, 9)
            if h * f0 < 7000
        )
        write_audio(folder / f"{pitch:03}_mf.wav", Audio(0.1 * tone * np.exp(-2 * seconds), 16000))
    return folder
