"""Separate mixtures of two real recordings of one piano, whose sounds are known.

::

    python -m benchmarks.separation_pairs --data PATH/TO/data

No real recording of a piano has its hands apart. So 20 s of two recordings of each Disklavier in
``piano/real`` are added at the same level, and separated again with the annotated notes of both,
moved to the sound by one constant. This is harder than hands: both recordings have notes of the
same keys at the same time, and all systems are told that each ends when the other begins.

SDR, SIR and SAR are those of mir_eval, means over both recordings of all pairs, without
permutation. Other methods (``benchmarks/separation_peers.py``) have the same notes, and the oracle
the true shares in the power spectrogram.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harmnmf import Audio, NoteList, Separator, read_audio
from harmnmf.notes.note_list import note_order

from .data import PIANOS, SAMPLE_RATE, notes_of, on_sound, real_recordings
from .report import Table, benchmark
from .separation import WINDOW, joined
from .separation_data import Samples
from .separation_peers import PEERS, Groups, oracle
from .separation_scores import MEASURES, BssEval

START, DURATION = 5.0, 20.0  # seconds
NAMES = ("first", "second")


def pairs(data: Path, piano: str) -> Iterator[tuple[Path, Path]]:
    """Pairs of recordings of a piano, by name, each in one pair."""
    paths = [path for path in real_recordings(data) if path.parent.name == piano]
    yield from zip(paths[::2], paths[1::2], strict=False)


def read_pair(paths: tuple[Path, Path]) -> tuple[dict[str, Samples], NoteList, Groups]:
    """Read two recordings at the same level, the notes of both, and which are whose."""
    parts, notes = {}, []
    for name, path in zip(NAMES, paths, strict=True):
        audio = read_audio(path, sample_rate=SAMPLE_RATE, offset=START, duration=DURATION)
        parts[name] = audio.samples / np.sqrt(np.mean(audio.samples**2))
        notes.append(on_sound(notes_of(path)).slice(START, START + audio.duration).shift(-START))
    columns = [
        np.concatenate([getattr(part, name) for part in notes])
        for name in ("onset", "offset", "pitch", "velocity")
    ]
    owner = np.repeat([0, 1], [len(part) for part in notes])[note_order(*columns)]
    both = NoteList(*columns)
    kept = both.next_onset > both.onset
    groups = {name: np.flatnonzero(owner[kept] == i) for i, name in enumerate(NAMES)}
    peak = np.abs(sum(parts.values())).max()
    parts = {name: 0.5 * part / peak for name, part in parts.items()}
    return parts, both.without_overlaps(), groups


def score_pair(paths: tuple[Path, Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each system and the mean of its SDR, SIR and SAR over both recordings."""
    parts, notes, groups = read_pair(paths)
    mixture = sum(parts.values()).astype(np.float32)
    audio = Audio(mixture, SAMPLE_RATE)
    estimates = {"oracle ratio mask": oracle(mixture, parts)}
    for name, adapt in (("**harmnmf**", True), ("**harmnmf**, no adaptation", False)):
        estimates[name] = joined(Separator(adapt=adapt, device="cpu").prepare(audio, notes), groups)
    estimates |= {name: separate(mixture, notes, groups) for name, separate in PEERS.items()}
    estimates["mixture"] = dict.fromkeys(NAMES, mixture)
    bss_eval = BssEval([parts[name] for name in NAMES], WINDOW)
    for system, estimate in estimates.items():
        whole, _ = bss_eval([estimate[name] for name in NAMES])
        yield system, np.mean(whole, axis=0)


@benchmark()
def main(data: Path) -> Iterator[Table]:
    rows = []
    for piano in PIANOS:
        scored = [dict(score_pair(paths)) for paths in pairs(data, piano)]
        for system in scored[0]:
            means = np.mean([scores[system] for scores in scored], axis=0)
            cells = ["–" if x > 100 else f"{x:.2f}" for x in means]
            rows.append([piano, str(len(scored)), system, *cells])
    columns = ["piano", "pairs", "system", *MEASURES]
    yield Table("separation_pairs", "Mixtures of two real recordings", columns, rows)


if __name__ == "__main__":
    main()
