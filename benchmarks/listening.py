"""Write a page to listen to ten recordings before and after enhancement.

::

    python -m benchmarks.listening --data PATH/TO/data -o PAGE [--model NAME|FILE]

Speech of LibriSpeech (CC BY 4.0) is mixed with noise of DEMAND (CC BY-SA 3.0) and ESC-10 (CC BY
3.0), all of which may be distributed. The shipped networks were not trained on these speakers or
recordings of noise, and nothing was selected by its sound. ``PAGE/index.html`` plays the files
beside it and shows their spectrograms, and for networks with harmonic integration the pitches.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from harmnmf import Audio, write_audio
from harmnmf.enhancement.enhancer import Enhancer
from harmnmf.enhancement.metrics.scores import si_sdr
from harmnmf.enhancement.mixtures.mixing import Mixture, MixtureConditions
from harmnmf.enhancement.mixtures.speech import SpeechMixtures, split_material
from harmnmf.enhancement.plotting import plot_integration
from harmnmf.enhancement.transform import ShortTimeFourier
from harmnmf.plotting.figures import plot_before_after, save_figure
from harmnmf.signal.spectrogram import STFT

from .data import SAMPLE_RATE
from .listening_page import picture, players, write_page
from .report import data_option, help_text

N_PAIRS = 10
SECONDS = 6.0
SNRS_DB = np.linspace(0, 18, N_PAIRS)
NOISES = ("demand", "esc10")

ABOUT = """Speech: LibriSpeech, CC BY 4.0. Noise: DEMAND, CC BY-SA 3.0, and ESC-10, CC BY 3.0. The
shipped networks were not trained on these speakers or recordings of noise."""
_HEAD = """<h2>{number}: noise {snr:.0f} dB below the speech</h2>
<p>SI-SDR {before:.1f} dB before, {after:.1f} dB after</p>
"""


def draw_mixtures(data: Path) -> list[Mixture]:
    """Mix held-out speech with held-out noise at SNRs from 0 to 18 dB."""
    _, held_out = split_material(
        data / "speech/clean", [data / "speech/noise" / name for name in NOISES]
    )
    mixtures = []
    for number, snr in enumerate(SNRS_DB):
        conditions = MixtureConditions(
            snr_db=(snr, snr), level_db=(-6, -6), clean_only=0, noise_only=0, clipping=0, codec=0
        )
        source = SpeechMixtures(
            held_out.speech, held_out.noise, duration=SECONDS, conditions=conditions
        )
        mixtures.append(source[number])
    return mixtures


@torch.inference_mode()
def draw_harmonics(model: nn.Module, mixture: Mixture) -> Figure:
    """Draw the pitches and harmonics that a network finds in a mixture."""
    transform: ShortTimeFourier = model.transform
    significance, harmonics = model.integrate(
        transform.analyze(torch.from_numpy(mixture.noisy)[None])
    )
    front_end = STFT(SAMPLE_RATE, hop_length=transform.hop_length, n_fft=transform.n_fft)
    spectrogram = front_end.transform(mixture.noisy)
    return plot_integration(spectrogram, significance[0], harmonics[0], model.candidates)


@click.command(help=help_text(__doc__))
@data_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="PAGE")
@click.option("--model", default="harmonic-light", show_default=True, help="Name or file.")
def main(data: Path, output: Path, model: str) -> None:
    enhance = Enhancer.load(model)
    front_end = STFT(SAMPLE_RATE, hop_length=256, n_fft=512)
    output.mkdir(parents=True, exist_ok=True)
    sections = []
    for number, (snr, mixture) in enumerate(
        zip(SNRS_DB, draw_mixtures(data), strict=True), start=1
    ):
        enhanced = enhance(mixture.noisy, SAMPLE_RATE)
        sounds = {"Before": mixture.noisy, "After": enhanced, "Clean": mixture.clean}
        files = {
            name: f"{number}_{file}.flac"
            for name, file in zip(sounds, ("noisy", "enhanced", "clean"), strict=True)
        }
        for name, samples in sounds.items():
            write_audio(output / files[name], Audio(samples, SAMPLE_RATE))
        figure = plot_before_after(*map(front_end.transform, (mixture.noisy, enhanced)))
        save_figure(figure, output / f"{number}.png")
        before, after = (si_sdr(mixture.clean, x) for x in (mixture.noisy, enhanced))
        section = _HEAD.format(number=number, snr=snr, before=before, after=after)
        section += players(files) + picture(f"{number}.png", "Spectrograms before and after")
        if hasattr(enhance.model, "integrate"):
            save_figure(draw_harmonics(enhance.model, mixture), output / f"{number}_harmonics.png")
            section += picture(f"{number}_harmonics.png", "Pitches and harmonics")
        sections.append(section)
    click.echo(write_page(output, f"Before and after: {Path(model).stem}", ABOUT, sections))


if __name__ == "__main__":
    main()
