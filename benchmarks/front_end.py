"""Accuracy and speed of front ends.

::

    python -m benchmarks.front_end --data PATH/TO/data

For each front end a dictionary is learned from the same isolated notes, and the first 30 s of the
recordings in ``piano/real`` are transcribed with it, without adaptation or network. Times are those
of the front end alone on 30 s of noise, compared with librosa's variable-Q transform.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import librosa
import numpy as np

from harmnmf import Transcriber, learn_from_notes
from harmnmf.signal.front_end import FrontEnd
from harmnmf.signal.spectrogram import STFT, LogFrequency

from .data import PIANOS, SAMPLE_RATE, isolated_notes
from .report import Table, benchmark, decimals
from .transcription import means, score_recordings

FRONT_ENDS: dict[str, FrontEnd] = {
    "**default**: 100 periods, 60 ms to 0.5 s": LogFrequency(),
    "67 periods, 60 ms to 0.5 s": LogFrequency(n_cycles=200 / 3),
    "67 periods, 30 ms to 0.25 s": LogFrequency(n_cycles=200 / 3, min_window=0.03, max_window=0.25),
    "133 periods, 60 ms to 0.5 s": LogFrequency(n_cycles=400 / 3),
    "100 periods, 36 bins per octave": LogFrequency(bins_per_octave=36, n_bins=292),
    "128 ms for all bins": LogFrequency(min_window=0.128, max_window=0.128),
    "STFT, 128 ms": STFT(n_fft=2048),
}


def fastest(function: Callable[[], object], n: int = 5) -> float:
    """Shortest of n run times in milliseconds, after one run that does not count."""
    times = []
    for _ in range(n + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


@benchmark()
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each recording.")
def main(data: Path, duration: float) -> Iterator[Table]:
    noise = np.random.default_rng(0).standard_normal(30 * SAMPLE_RATE).astype(np.float32)

    def rows() -> Iterator[list[str]]:
        for name, front_end in FRONT_ENDS.items():
            dictionary = learn_from_notes(isolated_notes(data), front_end=front_end)
            transcriber = Transcriber(dictionary, decoder="nmf", adapt=False, device="cpu")
            scores = decimals(means(score_recordings(transcriber, data, duration), "F"))
            cost = fastest(partial(front_end.transform, noise))
            yield [name, str(front_end.axis.n_bins), *scores, f"{cost:.0f}"]
        default = LogFrequency()
        vqt = partial(
            librosa.vqt,
            noise,
            sr=SAMPLE_RATE,
            hop_length=default.hop_length,
            fmin=default.fmin,
            n_bins=default.n_bins,
            bins_per_octave=default.bins_per_octave,
        )
        name = "librosa.vqt, the default's bins"
        yield [name, str(default.n_bins), "", "", f"{fastest(vqt, n=2):.0f}"]

    columns = ["front end", "bins", *(f"{piano} F" for piano in PIANOS), "ms for 30 s"]
    yield Table("front_end", "Choice of the front end", columns, rows())


if __name__ == "__main__":
    main()
