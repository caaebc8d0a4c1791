"""Effect of denoising on the transcription of noisy piano recordings.

::

    python -m benchmarks.noisy_piano --data PATH/TO/data

Adds noise 10 dB below the mean power of the real recordings: white noise, or noise of rooms and
streets from DEMAND, one file per piece. Transcribes them as they are, and enhanced with attenuation
unlimited or limited to 12 or 6 dB. Scores are onset-only note F at 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from harmnmf import Audio, NoteList, Transcriber, read_audio
from harmnmf.enhancement.enhancer import Enhancer
from harmnmf.signal.audio_folders import audio_files

from .data import PIANOS, SAMPLE_RATE, SEED, Change, add_noise, unchanged
from .report import Table, benchmark, decimals
from .transcription import means, score_recordings

SNR_DB = 10.0
LIMITS_DB = (None, 12.0, 6.0)

Noise = Callable[[int], NDArray[np.floating]]


def with_noise(noise: Noise, enhance: Callable[[Audio], Audio] | None = None) -> Change:
    """Change that adds noise to a recording, and enhances the sum.

    Parameters
    ----------
    noise : callable
        From a number of samples to as many samples of noise.
    enhance : callable, optional
        From the noisy recording to the enhanced one.

    Returns
    -------
    callable
        From a recording and its notes to both after the change.
    """

    def change(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
        samples = add_noise(audio.samples, noise(len(audio.samples)), SNR_DB)
        noisy = Audio(samples, audio.sample_rate)
        return enhance(noisy) if enhance else noisy, notes

    return change


def white_noise() -> Noise:
    """White noise, different for each piece and the same in every run."""
    rng = np.random.default_rng(SEED)
    return lambda n_samples: rng.standard_normal(n_samples)


def recorded_noise(paths: Sequence[Path], sample_rate: int) -> Noise:
    """Noise from one file after another, each repeated to the length needed."""
    remaining = iter(paths)

    def noise(n_samples: int) -> NDArray[np.floating]:
        samples = read_audio(next(remaining), sample_rate=sample_rate).samples
        return np.resize(samples, n_samples)

    return noise


@benchmark(threads=1)
@click.option("--model", default="harmonic-light", show_default=True, help="Name or file.")
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
def main(data: Path, model: str, duration: float) -> Iterator[Table]:
    transcriber = Transcriber(device="cpu")
    demand = audio_files(data / "speech/noise/demand")
    noises: dict[str, Callable[[], Noise]] = {
        "white": white_noise,
        "rooms and streets": lambda: recorded_noise(demand, SAMPLE_RATE),
    }

    def row(noise: str, enhancement: str, change: Change) -> list[str]:
        scores = score_recordings(transcriber, data, duration, change)
        return [noise, enhancement, *decimals(means(scores, "F"))]

    def rows() -> Iterator[list[str]]:
        yield row("none", "none", unchanged)
        for name, make in noises.items():
            yield row(name, "none", with_noise(make()))
            for limit in LIMITS_DB:
                enhancer = Enhancer.load(model, attenuation_limit=limit, device="cpu")
                limited = f"at most {limit:.0f} dB" if limit else "no limit"
                label = f"{Path(model).stem}, {limited}"
                yield row(name, label, with_noise(make(), enhancer.enhance))

    columns = ["noise", "enhancement", *PIANOS]
    yield Table("noisy_piano", "Transcription of noisy pianos", columns, rows())


if __name__ == "__main__":
    main()
