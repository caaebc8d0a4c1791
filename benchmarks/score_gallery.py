r"""Pictures of scores found in recordings, each below the printed score.

::

    python -m benchmarks.score_gallery --data PATH/TO/data -o docs/scores

Piano parts of ten songs of composers that the training holds out: each is played in a manner
drawn at random (tempo, rubato, articulation), rendered with a sampled piano in a small
hall, transcribed, and engraved. The pictures have the first line of both. The network that
transcribes knows the sound of these pianos.

The lines that are printed tell what was found, beside the printed score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import typst

from harmnmf import ParameterError, SampledPiano, Transcriber
from harmnmf.score.engraving.musicxml import to_musicxml
from harmnmf.score.engraving.pages import engrave
from harmnmf.score.from_notes import transcribe_score
from harmnmf.score.key_names import key_name
from harmnmf.score.score import Score
from harmnmf.score.training.simulation import simulate_performance
from harmnmf.score.training.training_set import ScoreFile, find_scores

from .data import SEED, evenly_spaced, hall
from .rendered_notes import render

N_PIECES = 10
PIANOS = ("splendid", "headroom", "kw", "salamander")
N_BARS, HALL = 40, 1.0  # seconds of reverberation
SILENCE = 0.5
_WIDTH = 2400  # tenths of a millimetre


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--pieces", default=N_PIECES, show_default=True)
def main(data: Path, output: Path, pieces: int) -> None:
    """Make the pictures."""
    output.mkdir(parents=True, exist_ok=True)
    _, held_out = find_scores([data / "scores/lieder"], data / "scores/pop909")
    transcriber = Transcriber()
    for index, printed in enumerate(evenly_spaced(list(engravable(held_out)), pieces)):
        rng = np.random.default_rng([SEED, index])
        played = simulate_performance(printed, rng, n_bars=N_BARS).notes.shift(SILENCE)
        piano = SampledPiano.load(data / "piano/notes" / PIANOS[index % len(PIANOS)])
        audio, _ = hall(HALL)(render(piano, played), played)
        found = transcribe_score(transcriber.transcribe(audio))
        name = f"{index + 1:02}.png"
        (output / name).write_bytes(picture(printed, found))
        click.echo(f"{name} {printed.title}: {describe(printed)}; found: {describe(found)}")


def engravable(songs: Sequence[ScoreFile]) -> Iterator[Score]:
    """Read piano parts of songs; those with more than two voices a staff cannot be engraved."""
    for song in songs:
        if song.number is None and (read := song.read()):
            try:
                to_musicxml(read.piano)
            except ParameterError:
                continue
            yield read.piano


def describe(score: Score) -> str:
    """Name the key and the time signature of the first bar."""
    numerator, denominator = score.bars.time_signatures[0]
    pickup = ", pickup" if score.bars.pickup else ""
    return f"{key_name(score.keys[0])}, {numerator}/{denominator}{pickup}"


def first_line(score: Score) -> str:
    """Engrave the first system, in SVG."""
    options = {"pageWidth": _WIDTH, "header": "none", "systemMaxPerPage": 1}
    return engrave(score, adjustPageHeight=True, **options)[0]


def picture(printed: Score, found: Score) -> bytes:
    """Draw the first line of a score found below that of the printed one, in PNG."""
    document = f"#set page(width: {_WIDTH / 10}mm, height: auto, margin: 4mm)\n#set text(12pt)\n"
    for title in ("Printed", "Found"):
        document += f'{title}\n#image(bytes(sys.inputs.at("{title}")), width: 100%)\n'
    inputs = {"Printed": first_line(printed), "Found": first_line(found)}
    png: bytes = typst.compile(document.encode(), format="png", ppi=110, sys_inputs=inputs)
    return png


if __name__ == "__main__":
    main()
