"""Render pianos to train an enhancer with: a minute of every free performance.

::

    python -m benchmarks.rendered_pianos --data PATH/TO/data -o PIANOS

The pianos of isolated notes take turns. Each performance has its own folder, like a speaker in the
speech that ``harmnmf train harmonic-light --speech PIANOS ...`` reads.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from harmnmf import Audio, read_notes, write_audio
from harmnmf.synthesis.sampled_piano import SAMPLE_RATE, SampledPiano
from harmnmf.synthesis.variation import excerpt

from .data import isolated_notes
from .report import data_option, help_text

PEAK = 0.5


def render_pianos(data: Path, output: Path, duration: float) -> None:
    """Render an excerpt of each performance in ``piano/performances_free``."""
    pianos = [SampledPiano.load(data / "piano/notes" / name) for name in isolated_notes(data)]
    for i, path in enumerate(sorted((data / "piano/performances_free").glob("*.mid"))):
        rng = np.random.default_rng(i)
        samples = pianos[i % len(pianos)].render(excerpt(read_notes(path), rng, duration), rng=rng)
        folder = output / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        write_audio(folder / "piano.flac", Audio(PEAK * samples / abs(samples).max(), SAMPLE_RATE))


@click.command(help=help_text(__doc__))
@data_option
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--duration", default=60.0, show_default=True, help="Seconds of each performance.")
def main(data: Path, output: Path, duration: float) -> None:
    render_pianos(data, output, duration)


if __name__ == "__main__":
    main()
