"""Pictures of recordings before and after enhancement."""

from __future__ import annotations

from pathlib import Path

import click

# A longer picture is too crowded to read.
PLOTTED_SECONDS = 60.0


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
