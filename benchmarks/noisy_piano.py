"""Measure whether taking noise out of a piano recording helps to transcribe it.

::

    python -m benchmarks.noisy_piano --data PATH/TO/data

Adds noise to the real recordings, 10 dB below their mean power: white noise, and noise of rooms and
streets from DEMAND, a file a piece. Transcribes them as they are, after an enhancement that was
trained for speech, and after the same with what it takes away limited to 6 and to 12 dB. Scores are
onset-only note F at 50 ms.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf import Audio, NoteList, Transcriber, read_audio
from harmnmf.enhancement.enhancer import Enhancer
from harmnmf.signal.audio_folders import audio_files

from .data import SEED, Change, unchanged
from .error_report import table
from .transcription import mean_f, score_pieces, transcribe_recordings

SNR_DB = 10.0
LIMITS_DB = (None, 12.0, 6.0)

Noise = Callable[[int], NDArray[np.floating]]


def with_noise(noise: Noise, enhance: Callable[[Audio], Audio] | None = None) -> Change:
    """Make what adds noise to a recording, and enhances it if it shall.

    Parameters
    ----------
    noise : callable
        From a number of samples to as many samples of noise.
    enhance : callable, optional
        From the noisy recording to what is transcribed.

    Returns
    -------
    callable
        From a recording and its notes to both as they are then.
    """

    def change(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
        added = noise(len(audio.samples))
        power, added_power = (np.mean(np.square(x, dtype=float)) for x in (audio.samples, added))
        gain = np.sqrt(power / added_power) * 10 ** (-SNR_DB / 20)
        noisy = Audio(audio.samples + gain * added, audio.sample_rate)
        return enhance(noisy) if enhance else noisy, notes

    return change


def white_noise() -> Noise:
    """Make white noise, other for each piece and the same in every run."""
    rng = np.random.default_rng(SEED)
    return lambda n_samples: rng.standard_normal(n_samples)


def recorded_noise(paths: Sequence[Path], sample_rate: int) -> Noise:
    """Take the noise of one file after another."""
    remaining = iter(paths)

    def noise(n_samples: int) -> NDArray[np.floating]:
        samples = read_audio(next(remaining), sample_rate=sample_rate).samples
        return np.resize(samples, n_samples)

    return noise


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--model", default="harmonic-light", show_default=True, help="Name or file.")
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
def main(data: Path, model: str, duration: float) -> None:
    torch.set_num_threads(1)
    transcriber = Transcriber(device="cpu")
    demand = audio_files(data / "speech/noise/demand")
    noises: dict[str, Callable[[], Noise]] = {
        "white": white_noise,
        "rooms and streets": lambda: recorded_noise(demand, 16_000),
    }

    def row(noise: str, enhancement: str, change: Change) -> list[str]:
        pieces, _ = transcribe_recordings(transcriber, data, duration, change)
        return [noise, enhancement, *(f"{mean:.3f}" for mean in mean_f(score_pieces(pieces)))]

    rows = [row("none", "none", unchanged)]
    for name, make in noises.items():
        rows.append(row(name, "none", with_noise(make())))
        for limit in LIMITS_DB:
            enhancer = Enhancer.load(model, attenuation_limit=limit, device="cpu")

            def enhance(noisy: Audio, enhancer: Enhancer = enhancer) -> Audio:
                return Audio(enhancer(noisy.samples, noisy.sample_rate), noisy.sample_rate)

            label = f"{Path(model).stem}, " + (f"at most {limit:.0f} dB" if limit else "no limit")
            rows.append(row(name, label, with_noise(make(), enhance)))
    click.echo(f"{platform.machine()}, {date.today()}, first {duration:g} s\n")
    click.echo(table(["noise", "enhancement", "ENSTDkCl", "ENSTDkAm"], rows))


if __name__ == "__main__":
    main()
