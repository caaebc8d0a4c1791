"""Measure what the choice of the front end costs and brings.

::

    python -m benchmarks.front_end --data PATH/TO/data

For each front end, a dictionary is learned from the free isolated notes, and the first 30 s of
the recordings in ``piano/real`` are transcribed with it as it is. Times are those of the front
end alone, on 30 s of noise, beside librosa's variable-Q transform of the same bins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
import librosa
import numpy as np
import torch

from harmnmf import Transcriber, learn_from_notes
from harmnmf.signal.spectrogram import STFT, FrontEnd, LogFrequency

from .transcription import mean_f, score_recordings

FRONT_ENDS: dict[str, FrontEnd] = {
    "**default**: 100 periods, 60 ms to 0.5 s": LogFrequency(),
    "67 periods, 60 ms to 0.5 s": LogFrequency(n_cycles=200 / 3),
    "67 periods, 30 ms to 0.25 s": LogFrequency(n_cycles=200 / 3, min_window=0.03, max_window=0.25),
    "133 periods, 60 ms to 0.5 s": LogFrequency(n_cycles=400 / 3),
    "100 periods, 36 bins an octave": LogFrequency(bins_per_octave=36, n_bins=292),
    "128 ms for all bins": LogFrequency(min_window=0.128, max_window=0.128),
    "STFT, 128 ms": STFT(n_fft=2048),
}


def fastest(function: Callable[[], object], n: int = 5) -> float:
    """Time a function, and take the fastest of some runs in milliseconds."""
    times = []
    for _ in range(n + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
@click.option("--threads", default=2, show_default=True)
def main(data: Path, duration: float, threads: int) -> None:
    torch.set_num_threads(threads)
    folders = sorted(path for path in (data / "piano/notes").iterdir() if path.is_dir())
    instruments = {folder.name: sorted(folder.iterdir()) for folder in folders}
    noise = np.random.default_rng(0).standard_normal(30 * 16000).astype(np.float32)
    click.echo("| front end | bins | ENSTDkCl F | ENSTDkAm F | ms for 30 s |")
    click.echo("|---|---|---|---|---|")
    for name, front_end in FRONT_ENDS.items():
        dictionary = learn_from_notes(instruments, front_end=front_end)
        scores, _ = score_recordings(
            Transcriber(dictionary, decoder="nmf", adapt=False, device="cpu"), data, duration
        )
        cl, am = mean_f(scores)
        cost = fastest(lambda front_end=front_end: front_end.transform(noise))
        click.echo(f"| {name} | {front_end.axis.n_bins} | {cl:.3f} | {am:.3f} | {cost:.0f} |")
    default = LogFrequency()
    options = {"fmin": default.fmin, "n_bins": default.n_bins, "bins_per_octave": 48}
    cost = fastest(lambda: librosa.vqt(noise, sr=16000, hop_length=320, **options), n=2)
    click.echo(f"| librosa.vqt, the default's bins | {default.n_bins} | | | {cost:.0f} |")


if __name__ == "__main__":
    main()
