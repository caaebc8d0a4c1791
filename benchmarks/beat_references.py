"""Performances whose beats are known, of A-MAPS and ASAP.

Both are for measuring only, and nothing is trained on them. A-MAPS annotates beats before the first
note, and bars of 1/4 that fill the time before it: they are left out. ASAP marks some beats of
free passages as ``bR``, which count as beats; some beats are shifted or missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from harmnmf import NoteList, read_notes
from harmnmf.score.reading.annotations import Annotations
from harmnmf.score.score import Key

_UPBEAT = 0.05  # seconds that a beat may precede the first note


class BeatReference(NamedTuple):
    """Notes of a performance, and what is known of its beats.

    Each of the time signatures has the time in seconds from which it holds.
    """

    name: str
    notes: NoteList
    annotations: Annotations
    time_signatures: tuple[tuple[float, tuple[int, int]], ...]


def asap_names(data: Path) -> list[str]:
    """Names of the performances of ASAP."""
    paths = sorted((data / "scores/asap").glob("*.beats.tsv"))
    return [path.name.removesuffix(".beats.tsv") for path in paths]


def amaps_names(data: Path) -> list[str]:
    """Names of the recordings of A-MAPS: piano and piece, with a slash between."""
    paths = sorted((data / "scores/amaps").glob("*/*.beats.tsv"))
    return [f"{path.parent.name}/{path.name.removesuffix('.beats.tsv')}" for path in paths]


def asap_reference(data: Path, name: str) -> BeatReference:
    """Read a performance of ASAP, with releases of keys."""
    notes = read_notes(data / f"piano/performances/{name}.mid", offset="key")
    return _reference(name, notes, data / f"scores/asap/{name}.beats.tsv")


def asap_score(data: Path, name: str) -> Path:
    """Path of the printed score of a performance of ASAP."""
    return data / f"scores/asap/scores/{name.rpartition('__')[0]}.mxl"


def amaps_reference(data: Path, name: str) -> BeatReference:
    """Read the notes of a recording of A-MAPS, with releases of keys.

    The recordings, and the notes, are the first minute; beats after the last note are left out.
    """
    notes = read_notes(data / f"piano/real/{name}.tsv", offset="key")
    return _reference(name, notes, data / f"scores/amaps/{name}.beats.tsv")


def _reference(name: str, notes: NoteList, path: Path) -> BeatReference:
    beats, downbeats, keys, signatures = [], [], [], []
    first, last = notes.onset[0] - _UPBEAT, notes.onset[-1] + _UPBEAT
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        time = float(cells[0])
        label, signature, key = (*cells[-1].split(","), "", "")[:3]
        if time > last:
            break
        is_before = time < first
        if signature and not (is_before and signature == "1/4"):
            upper, lower = signature.split("/")
            signatures.append((time, (int(upper), int(lower))))
        if key:
            keys.append((time, Key(0, int(key))))
        if not is_before:
            beats.append(time)
            if label == "db":
                downbeats.append(time)
    times = np.array(beats), np.array(downbeats)
    return BeatReference(name, notes, Annotations(*times, tuple(keys)), tuple(signatures))
