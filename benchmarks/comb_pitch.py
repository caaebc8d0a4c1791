"""Pitch errors of harmonic combs on clean and noisy voices.

::

    python -m benchmarks.comb_pitch --data PATH/TO/data

The reference is pYIN (librosa) on the clean recordings of ``speech/voicebank_demand_dev``. "Off" is
the share of the frames with an estimated pitch in which it differs by more than 20 %; "none" is the
share of all frames without an estimate. Only frames that pYIN calls voiced count.

pYIN calls many frames voiced only because their neighbours are: half of them have a voiced
probability below 0.05, a third hardly more than the 0.01 of white noise. The columns "p ≥ 0.05"
leave these out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import librosa
import numpy as np
from numpy.typing import NDArray

from harmnmf import read_audio
from harmnmf.enhancement import comb_pitch
from harmnmf.signal.front_end import Spectrogram
from harmnmf.signal.spectrogram import STFT

from .data import SAMPLE_RATE, speech_pairs
from .report import Table, benchmark

FRONT_END = STFT(sample_rate=SAMPLE_RATE, hop_length=128, n_fft=512)
PYIN: dict[str, Any] = {
    "fmin": 60,
    "fmax": 419,
    "sr": SAMPLE_RATE,
    "frame_length": 1024,
    "hop_length": 128,
}
GROSS = 0.2
SURE = 0.05
# Exponent of the magnitudes, and options of comb_pitch, whose own exponent is 2.
SYSTEMS: dict[str, tuple[float, dict[str, Any]]] = {
    "published": (2.0, {"construction": "published", "normalize": False}),
    "published, unit rows": (2.0, {"construction": "published", "normalize": True}),
    "smooth": (2.0, {"construction": "smooth", "normalize": False}),
    "**smooth, unit rows**": (2.0, {"construction": "smooth", "normalize": True}),
    "smooth, unit rows, magnitudes to the 0.5": (0.5, {}),
    "smooth, unit rows, magnitudes to the 1": (1.0, {}),
    "smooth, unit rows, magnitudes to the 3": (3.0, {}),
}


class Voice(NamedTuple):
    """Spectrograms of a recording without and with noise, and the pitch estimated by pYIN.

    Attributes
    ----------
    clean, noisy : Spectrogram
        Magnitudes.
    pitch, probability : ndarray, shape (n_frames,)
        Pitch of the clean recording in Hz, NaN if unvoiced, and the voiced probability.
    noisy_pitch : ndarray, shape (n_frames,)
        Pitch of the noisy recording.
    """

    clean: Spectrogram
    noisy: Spectrogram
    pitch: NDArray[np.float64]
    probability: NDArray[np.float64]
    noisy_pitch: NDArray[np.float64]


def pitch_errors(found: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
    """Compare pitches in Hz, NaN where there is none, in the frames where the reference has one.

    Returns
    -------
    gross : float
        Share of the frames with a found pitch in which it is more than 20 % off.
    none : float
        Share of the frames without a found pitch.
    """
    found, reference = found[~np.isnan(reference)], reference[~np.isnan(reference)]
    none = np.isnan(found)
    gross = np.abs(found / reference - 1)[~none] > GROSS
    return float(gross.mean()), float(none.mean())


def read_voice(clean: Path, noisy: Path) -> Voice:
    """Read a recording and estimate its pitch by pYIN."""
    sounds = [read_audio(path, sample_rate=SAMPLE_RATE).samples for path in (clean, noisy)]
    pitch, _, probability = librosa.pyin(sounds[0], **PYIN)
    noisy_pitch = librosa.pyin(sounds[1], **PYIN)[0]
    spectrograms = [FRONT_END.transform(samples) for samples in sounds]
    return Voice(spectrograms[0], spectrograms[1], pitch, probability, noisy_pitch)


def find_pitch(spectrogram: Spectrogram, name: str) -> NDArray[np.float64]:
    """Estimate the pitch of each frame by one of the systems."""
    exponent, options = SYSTEMS[name]
    return comb_pitch(spectrogram.values ** (exponent / 2), spectrogram.axis, **options)


@benchmark()
@click.option("--files", default=24, show_default=True, help="Recordings, evenly spaced.")
def main(data: Path, files: int) -> Iterator[Table]:
    voices = [read_voice(clean, noisy) for clean, noisy in speech_pairs(data, files)]
    pitch, probability, noisy_pitch = (
        np.concatenate([getattr(voice, name) for voice in voices])
        for name in ("pitch", "probability", "noisy_pitch")
    )
    references = [pitch, np.where(probability >= SURE, pitch, np.nan)]

    def rows() -> Iterator[list[str]]:
        for name in SYSTEMS:
            clean = np.concatenate([find_pitch(voice.clean, name) for voice in voices])
            noisy = np.concatenate([find_pitch(voice.noisy, name) for voice in voices])
            row = [name]
            for reference in references:
                shares = (pitch_errors(clean, reference)[0], *pitch_errors(noisy, reference))
                row += [f"{share:.1%}" for share in shares]
            yield row
        row = ["pYIN"]
        for reference in references:
            row += ["", *(f"{share:.1%}" for share in pitch_errors(noisy_pitch, reference))]
        yield row

    columns = ["system"]
    for reference, suffix in zip(references, ("", f", p ≥ {SURE:g}"), strict=True):
        n_frames = np.isfinite(reference).sum()
        columns += [f"clean: off, {n_frames} frames{suffix}", "noisy: off", "noisy: none"]
    yield Table("comb_pitch", "Pitch by combs", columns, rows())


if __name__ == "__main__":
    main()
