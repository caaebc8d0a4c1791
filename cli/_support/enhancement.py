"""Options and pictures of the commands that enhance recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.errors import AudioError

from .paths import file_suffix

if TYPE_CHECKING:
    from harmnmf.signal.spectrogram import Spectrogram

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


class Subtype(click.ParamType):
    """Bits of a sample, or float; also libsndfile's names, such as PCM_16."""

    name = "subtype"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        names = {"16": "PCM_16", "24": "PCM_24", "32": "PCM_32", "FLOAT": "FLOAT"}
        subtype = names.get(value.upper().removeprefix("PCM_"))
        if subtype is None:
            self.fail(f"{value!r} is not 16, 24, 32 or float.", param, ctx)
        return subtype


subtype_option = click.option(
    "--subtype",
    type=Subtype(),
    metavar="16|24|32|float",
    help="Bits of the samples in WAV, FLAC, AIFF, ...  [default: 16 or 24 if the recording has "
    "them, else float; in FLAC 24]",
)


def check_subtype(output: str | None, subtype: str | None) -> None:
    """Raise click.UsageError if the file that `-o` names cannot have a subtype."""
    from harmnmf.signal.formats import check_format

    if output is None or file_suffix(output) is None:
        return
    try:
        check_format(output, subtype=subtype)
    except AudioError as error:
        raise click.UsageError(f"--subtype: {error}") from error


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
