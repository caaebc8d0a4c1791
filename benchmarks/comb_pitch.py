"""Measure how well combs find the pitch of clean and noisy voices.

::

    python -m benchmarks.comb_pitch --data PATH/TO/data

The reference is pYIN (librosa) on the clean recordings of ``speech/voicebank_demand_dev``. Errors
are the pitches that are more than 20 % off, among the frames that pYIN calls voiced and for which
there is a pitch at all; "none" are those for which there is none.

pYIN calls many frames voiced for the sake of their neighbours: half of them have a voiced
probability below 0.05, a third hardly more than the 0.01 of white noise. The second half of the
table leaves out those below 0.05.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click
import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf import read_audio
from harmnmf.enhancement import comb_pitch
from harmnmf.signal.spectrogram import STFT, Spectrogram

RATE = 16000
FRONT_END = STFT(sample_rate=RATE, hop_length=128, n_fft=512)
PYIN: dict[str, Any] = {
    "fmin": 60,
    "fmax": 419,
    "sr": RATE,
    "frame_length": 1024,
    "hop_length": 128,
}
GROSS = 0.2
SURE = 0.05
COMBS = {
    "published": {"construction": "published", "normalize": False},
    "published, unit rows": {"construction": "published", "normalize": True},
    "smooth": {"construction": "smooth", "normalize": False},
    "**smooth, unit rows**": {"construction": "smooth", "normalize": True},
}
# Of magnitudes, beside the 2 of comb_pitch.
EXPONENTS = (0.5, 1.0, 3.0)


class Voice(NamedTuple):
    """A recording with and without noise.

    Attributes
    ----------
    clean, noisy : Spectrogram
        Magnitudes.
    pitch, probability : ndarray, shape (n_frames,)
        What pYIN hears in the clean one: Hz or NaN, and how probably it is voiced.
    noisy_pitch : ndarray, shape (n_frames,)
        What pYIN hears in the noisy one.
    """

    clean: Spectrogram
    noisy: Spectrogram
    pitch: NDArray[np.float64]
    probability: NDArray[np.float64]
    noisy_pitch: NDArray[np.float64]


def pitch_errors(found: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
    """Compare pitches in the frames where the reference has one.

    Parameters
    ----------
    found, reference : ndarray, shape (n_frames,)
        Pitches in Hz, NaN where there is none.

    Returns
    -------
    gross : float
        Part of the frames with a found pitch in which it is more than 20 % off.
    none : float
        Part of the frames without a found pitch.
    """
    found, reference = found[~np.isnan(reference)], reference[~np.isnan(reference)]
    none = np.isnan(found)
    gross = np.abs(found / reference - 1)[~none] > GROSS
    return float(gross.mean()), float(none.mean())


def evenly_spaced(paths: list[Path], n: int) -> list[Path]:
    """Choose some paths from the first to the last."""
    return [
        paths[i] for i in np.linspace(0, len(paths) - 1, min(n, len(paths))).round().astype(int)
    ]


def read_voice(clean: Path, noisy: Path) -> Voice:
    """Read a recording, and let pYIN find its pitch."""
    sounds = [read_audio(path, sample_rate=RATE).samples for path in (clean, noisy)]
    pitch, _, probability = librosa.pyin(sounds[0], **PYIN)
    noisy_pitch = librosa.pyin(sounds[1], **PYIN)[0]
    spectrograms = [FRONT_END.transform(samples) for samples in sounds]
    return Voice(spectrograms[0], spectrograms[1], pitch, probability, noisy_pitch)


def find_pitch(
    spectrogram: Spectrogram, exponent: float, options: dict[str, Any]
) -> NDArray[np.float64]:
    """Find the pitch in magnitudes that are raised to an exponent, as comb_pitch does with 2."""
    return comb_pitch(spectrogram.values ** (exponent / 2), spectrogram.axis, **options)


def percent(part: float) -> str:
    """Write a part of something for a table."""
    return f"{100 * part:.1f} %"


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--files", default=24, show_default=True, help="Recordings, evenly spaced.")
@click.option("--threads", default=2, show_default=True)
def main(data: Path, files: int, threads: int) -> None:
    torch.set_num_threads(threads)
    folder = data / "speech/voicebank_demand_dev"
    paths = evenly_spaced(sorted((folder / "clean").iterdir()), files)
    voices = [read_voice(path, folder / "noisy" / path.name) for path in paths]

    systems = {name: (2.0, options) for name, options in COMBS.items()}
    for exponent in EXPONENTS:
        systems[f"smooth, unit rows, magnitudes to the {exponent:g}"] = exponent, {}
    found = {}
    for name, (exponent, options) in systems.items():
        found[name] = [
            np.concatenate([find_pitch(spectrogram, exponent, options) for spectrogram in kind])
            for kind in ([v.clean for v in voices], [v.noisy for v in voices])
        ]
    pitch = np.concatenate([v.pitch for v in voices])
    probability = np.concatenate([v.probability for v in voices])
    noisy_pitch = np.concatenate([v.noisy_pitch for v in voices])

    click.echo("| frames | system | clean: off | noisy: off | noisy: none |")
    click.echo("|---|---|---|---|---|")
    for surest in (0.0, SURE):
        reference = np.where(probability >= surest, pitch, np.nan)
        frames = f"{np.isfinite(reference).sum()} voiced" + f", p ≥ {surest:g}" * (surest > 0)
        for name, (clean, noisy) in found.items():
            clean_off = percent(pitch_errors(clean, reference)[0])
            off, none = map(percent, pitch_errors(noisy, reference))
            click.echo(f"| {frames} | {name} | {clean_off} | {off} | {none} |")
        off, none = map(percent, pitch_errors(noisy_pitch, reference))
        click.echo(f"| {frames} | pYIN | | {off} | {none} |")


if __name__ == "__main__":
    main()
