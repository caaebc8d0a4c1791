"""Options and pictures of the commands that enhance recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harmnmf.signal.front_end import Spectrogram

# A longer picture is too crowded to read.
PLOTTED_SECONDS = 60.0

output_option = click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="FILE|DIR",
    help="Output folder, or audio file for a single recording.  "
    "[default: song_enhanced.wav beside song.mp3]",
)


plot_option = click.option(
    "--plot",
    is_flag=True,
    help="Also save a picture (.png) of the spectrograms before and after, up to one minute.",
)


def save_before_after(noisy: Path, enhanced: Path, picture: Path) -> None:
    """Save the spectrograms of the first minute of two recordings."""
    from harmnmf.plotting.figures import plot_before_after, save_figure

    figure = plot_before_after(
        *map(_spectrogram, (noisy, enhanced)), title=click.format_filename(noisy.name)
    )
    save_figure(figure, picture)


def _spectrogram(path: Path) -> Spectrogram:
    """Compute the mean power spectrogram of the channels, whose sum may cancel."""
    import numpy as np

    from harmnmf.signal.reading import read_audio
    from harmnmf.signal.spectrogram import STFT

    audio = read_audio(path, duration=PLOTTED_SECONDS, mono=False)
    n_fft = 2 * round(0.016 * audio.sample_rate)
    front_end = STFT(audio.sample_rate, hop_length=n_fft // 2, n_fft=n_fft)
    channels = [front_end.transform(channel) for channel in np.atleast_2d(audio.samples)]
    power = sum(channel.values**2 for channel in channels) / len(channels)
    return replace(channels[0], values=np.sqrt(power))
