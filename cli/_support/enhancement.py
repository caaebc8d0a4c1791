"""Options and pictures of the commands that enhance recordings."""

from __future__ import annotations

from pathlib import Path

import click

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
    from harmnmf.signal.audio import read_audio
    from harmnmf.signal.spectrogram import STFT

    sounds = [read_audio(path, duration=PLOTTED_SECONDS) for path in (noisy, enhanced)]
    n_fft = 2 * round(0.016 * sounds[0].sample_rate)
    front_end = STFT(sounds[0].sample_rate, hop_length=n_fft // 2, n_fft=n_fft)
    figure = plot_before_after(
        *(front_end.transform(sound.samples) for sound in sounds),
        title=click.format_filename(noisy.name),
    )
    save_figure(figure, picture)
