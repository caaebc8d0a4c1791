"""Write pianos for an enhancer to learn what it shall keep: a minute of every free performance.

::

    python -m benchmarks.rendered_pianos --data PATH/TO/data -o PIANOS

The pianos of isolated notes take turns. Each performance has a folder of its own, as a speaker has
where speech is trained with: ``harmnmf train harmonic-light --speech PIANOS ...``. Performances and
notes are free.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from harmnmf import Audio, read_notes, write_audio
from harmnmf.synthesis.sampled_piano import SAMPLE_RATE, SampledPiano
from harmnmf.synthesis.variation import excerpt

PEAK = 0.5


def render_pianos(data: Path, output: Path, duration: float) -> None:
    """Render an excerpt of each performance.

    Parameters
    ----------
    data : Path
        With ``piano/notes`` and ``piano/performances_free``.
    output : Path
        Folder to write to.
    duration : float
        Seconds of each.
    """
    folders = sorted(path for path in (data / "piano/notes").iterdir() if path.is_dir())
    pianos = [SampledPiano.load(folder) for folder in folders]
    for i, path in enumerate(sorted((data / "piano/performances_free").glob("*.mid"))):
        rng = np.random.default_rng(i)
        samples = pianos[i % len(pianos)].render(excerpt(read_notes(path), rng, duration), rng=rng)
        folder = output / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        write_audio(folder / "piano.flac", Audio(PEAK * samples / abs(samples).max(), SAMPLE_RATE))


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--duration", default=60.0, show_default=True, help="Seconds of each performance.")
def main(data: Path, output: Path, duration: float) -> None:
    render_pianos(data, output, duration)


if __name__ == "__main__":
    main()
