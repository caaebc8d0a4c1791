"""Write a page to listen to the hands of ten recordings, as they are separated.

::

    python -m benchmarks.listening_separation --data PATH/TO/data -o PAGE

The first is ``examples/example.flac``. The others are 15 s of evenly spaced performances in
``piano/performances_free``, played by the pianos of ``piano/notes`` in turn in a furnished room;
all of these may be distributed. Notes and hands are found in the recordings, as ``harmnmf
separate`` does without options; the dictionary and the network know the pianos. Nothing was
selected by its sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from harmnmf import Audio, SampledPiano, Transcriber, read_audio, read_notes, write_audio
from harmnmf.plotting.axes import draw_image
from harmnmf.score.hands import assign_hands
from harmnmf.separation.groups import RESIDUAL
from harmnmf.separation.separator import separate
from harmnmf.signal.spectrogram import STFT
from harmnmf.synthesis.variation import excerpt

from .data import (
    ROOM_REVERBERATION,
    SAMPLE_RATE,
    evenly_spaced,
    hall,
    isolated_notes,
)
from .faults import EXAMPLE
from .listening_page import picture, players, write_page
from .rendered_notes import render
from .report import data_option, help_text
from .separation_data import HANDS

N_RECORDINGS = 10
SECONDS = 15.0
HIGHEST, DPI = 4000.0, 80  # Hz in the pictures, and their dots per inch
ABOUT = """The mixture is the sum of the three other sounds. Notes and hands were found by the
transcriber, and the right and left hands separated with them; what is left over are the noises of
hammers, pedal and room, and notes that were not found. The first recording is the example of
harmnmf; the others are performances of GiantMIDI-Piano (CC BY 4.0), played by sampled pianos:
Splendid Grand Piano (public domain), Salamander Grand Piano by Alexander Holm (CC BY 3.0),
University of Iowa Musical Instrument Samples, Headroom Piano by Bengt Nilsson (CC BY 4.0), FreePats
Upright Piano KW (CC0), Yamaha Disklavier Pro by Zenph Studios for OLPC and Roberto Gordo Saez
(CC BY 3.0), and Fluid R3 by Frank Wen (MIT)."""


def recordings(data: Path) -> Iterator[tuple[str, Audio]]:
    """Yield ten recordings with their titles."""
    yield "harmnmf's example", read_audio(EXAMPLE, sample_rate=SAMPLE_RATE)
    pianos = list(isolated_notes(data))
    paths = sorted((data / "piano/performances_free").glob("*.mid"))
    for i, path in enumerate(evenly_spaced(paths, N_RECORDINGS - 1)):
        piano = pianos[i % len(pianos)]
        played = read_notes(path, offset="key").without_overlaps()
        notes = excerpt(played, np.random.default_rng(i), SECONDS)
        dry = render(SampledPiano.load(data / "piano/notes" / piano), notes)
        audio, _ = hall(ROOM_REVERBERATION)(dry, notes)
        yield f"{path.stem.replace('_', ' ')}, {piano}", audio


def draw(sounds: dict[str, Audio]) -> Figure:
    """Draw the spectrograms of a mixture and its parts, relative to the maximum of the mixture."""
    front_end = STFT(SAMPLE_RATE, hop_length=512, n_fft=2048)
    spectrograms = {name: front_end.transform(audio.samples) for name, audio in sounds.items()}
    figure = Figure(figsize=(9, 5), layout="constrained")
    maximum = max(float(spectrogram.values.max()) for spectrogram in spectrograms.values())
    all_axes = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    for axes, (name, spectrogram) in zip(all_axes, spectrograms.items(), strict=True):
        image = draw_image(
            axes,
            spectrogram.values,
            left=0.0,
            hop=spectrogram.hop_length / SAMPLE_RATE,
            bottom=0.0,
            step=float(spectrogram.axis.to_hz(1)),
            cmap="magma",
            maximum=maximum,
        )
        axes.set(title=name, ylim=(0, HIGHEST))
    figure.supxlabel("Time (s)")
    figure.supylabel("Frequency (Hz)")
    figure.colorbar(image, ax=figure.axes, label="Level (dB)", pad=0.01, aspect=40)
    return figure


@click.command(help=help_text(__doc__))
@data_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="PAGE")
def main(data: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    transcriber = Transcriber()
    sections = []
    for number, (title, audio) in enumerate(recordings(data), start=1):
        notes = transcriber.transcribe(audio)
        hand = assign_hands(notes)
        groups = {name: np.flatnonzero(hand == value) for name, value in HANDS.items()}
        parts = separate(audio, notes, groups)
        sounds = {
            "Mixture": audio,
            **{f"{name.capitalize()} hand": parts[name] for name in HANDS},
            "Residual": parts[RESIDUAL],
        }
        sounds = {name: sound.to_mono() for name, sound in sounds.items()}
        files = {name: f"{number}_{name.split()[0].lower()}.flac" for name in sounds}
        for name, sound in sounds.items():
            write_audio(output / files[name], sound)
        draw(sounds).savefig(output / f"{number}.png", dpi=DPI)
        heading = f"<h2>{number}: {escape(title)}</h2>\n"
        image = picture(f"{number}.png", "Spectrograms of the mixture and its parts")
        sections.append(heading + players(files) + image)
    click.echo(write_page(output, "Right and left hand, and what is left over", ABOUT, sections))


if __name__ == "__main__":
    main()
