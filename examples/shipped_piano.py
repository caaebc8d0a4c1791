"""Make the small piano that is shipped, of notes of the Splendid Grand Piano.

::

    python examples/shipped_piano.py NOTES_DIR OUTPUT_DIR

writes the chosen notes of NOTES_DIR, ``<MIDI number>_<layer>.flac`` at 16 kHz, to OUTPUT_DIR as
Ogg Vorbis. harmnmf/data/pianos/default.md describes the result.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import soundfile

from harmnmf import read_audio
from harmnmf.signal.audio import SAMPLE_RATE

# Keys three to five semitones apart that are even in timbre, each with layers from soft to loud.
# Above key 80, some layers are missing, are noisy or decay too fast.
LAYERS = {
    **dict.fromkeys(
        (23, 27, 31, 33, 37, 40, 43, 47, 50, 53, 57, 60, 64, 69, 71, 74, 77), ("PP", "Mp", "FF")
    ),
    **dict.fromkeys((81, 85), ("PP", "Mf", "FF")),
    **dict.fromkeys((89, 92, 95, 98, 101, 104), ("Mp", "Mf")),
    107: ("PP", "Mf"),
}
# The layers come at one level; on a piano, loud notes are louder.
STEP_DB = 6.0
LEVEL_TIME = 0.3  # seconds after the attack
FADE_OUT = 2.0  # seconds, or half of a shorter note
COMPRESSION = 0.3  # of Vorbis, from 0, the best, to 1: about 47 kbit/s


def read_layers(folder: Path, key: int) -> list[np.ndarray]:
    """Read the layers of a key, scale each to be louder than the last, and fade them out."""
    samples = []
    for layer in LAYERS[key]:
        sample = read_audio(folder / f"{key:03}_{layer}.flac", sample_rate=SAMPLE_RATE).samples
        n_fade = min(round(FADE_OUT * SAMPLE_RATE), len(sample) // 2)
        fade = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, n_fade))
        samples.append(sample * np.concatenate([np.ones(len(sample) - n_fade), fade]))
    first = [sample[: round(LEVEL_TIME * SAMPLE_RATE)] for sample in samples]
    level = [np.sqrt(np.mean(part**2)) for part in first]
    steps = STEP_DB * np.arange(1 - len(samples), 1)
    gains = level[-1] / level * 10 ** (steps / 20)
    return [gain * sample for gain, sample in zip(gains, samples, strict=True)]


@click.command()
@click.argument("notes_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(notes_dir: Path, output_dir: Path) -> None:
    """Write the notes of the shipped piano to OUTPUT_DIR, from those in NOTES_DIR."""
    paths, ratios = [], []
    for key in LAYERS:
        for layer, sample in zip(LAYERS[key], read_layers(notes_dir, key), strict=True):
            path = output_dir / f"{key:03}_{layer.lower()}.ogg"
            options = {"format": "OGG", "subtype": "VORBIS", "compression_level": COMPRESSION}
            soundfile.write(path, sample, SAMPLE_RATE, **options)
            error = read_audio(path).samples - sample
            ratios.append(10 * np.log10(np.sum(sample**2) / np.sum(error**2)))
            paths.append(path)
    size = sum(path.stat().st_size for path in paths)
    click.echo(
        f"{len(paths)} notes of {len(LAYERS)} keys, {size / 1e6:.2f} MB, "
        f"signal-to-noise ratio {np.median(ratios):.1f} dB (median), {min(ratios):.1f} dB (lowest)"
    )


if __name__ == "__main__":
    main()
