"""Training data of the network of beats: scores in folders, and excerpts of them in files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.errors import FormatError, ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import BeatGrid
from harmnmf.score.reading.musicxml import MUSICXML_SUFFIXES, read_musicxml, read_pop909
from harmnmf.score.score import Key, Score, ScoreNotes
from harmnmf.storage.arrays import load_arrays, save_arrays

from .beat_excerpts import BeatExcerpt, draw_excerpt

__all__ = [
    "ScoreFile", "TrainingScore", "draw_chances", "draw_score", "find_scores", "read_excerpts",
    "read_scores", "score_of_song", "write_excerpts",
]  # fmt: skip

_KIND = "beat-excerpts"
_HELD_OUT = 20  # one composer or song in so many
_FEWEST = 30  # onsets of a score, of half as many beats
_PER_FILE = 50  # excerpts
_WITH_VOICE = 0.5
_STEP = 20  # ticks, to which songs are rounded
# Songs are thinner than piano works: scores with more onsets a beat are drawn more often.
_DENSITIES = (0.8, 6.0)


class TrainingScore(NamedTuple):
    """A piano part, and the same with the part of the voice if there is one."""

    piano: Score
    whole: Score


class ScoreFile(NamedTuple):
    """A MusicXML file, or a song of POP909 by its folder and number."""

    path: Path
    number: int | None = None

    def read(self) -> TrainingScore | None:
        """Read the score; None if it has no part for the piano, or hardly a note."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the choice of parts
            if self.number is not None:
                piano = score_of_song(*read_pop909(self.path, self.number))
                scores = TrainingScore(piano, piano)
            else:
                try:
                    piano = read_musicxml(self.path)
                except FormatError:
                    return None
                scores = TrainingScore(piano, _with_voice(piano, self.path))
        n_onsets = len(np.unique(scores.piano.notes.onset))
        n_beats = len(scores.piano.bars.beats())
        return scores if n_onsets >= _FEWEST and n_beats >= _FEWEST // 2 else None


def find_scores(
    scores: Sequence[Path], songs: Path | None
) -> tuple[list[ScoreFile], list[ScoreFile]]:
    """Find MusicXML files in folders, and songs of POP909, for training and for validation.

    One composer of twenty, by the file names up to two underscores, and one song of twenty are for
    validation. Raises ParameterError if there is none for either.
    """
    files = sorted(
        path
        for folder in scores
        for path in folder.rglob("*")
        if path.suffix.lower() in MUSICXML_SUFFIXES
    )
    groups: dict[str, list[ScoreFile]] = {}
    for path in files:
        groups.setdefault(path.name.split("__")[0], []).append(ScoreFile(path))
    if songs is not None:
        for path in sorted(songs.glob("[0-9][0-9][0-9].mid")):
            groups[path.stem] = [ScoreFile(songs, int(path.stem))]
    names = sorted(groups)
    held_out = set(names[_HELD_OUT // 3 :: _HELD_OUT] or names[:1])
    training, validation = (
        [file for name in names if (name in held_out) == held for file in groups[name]]
        for held in (False, True)
    )
    if not training or not validation:
        raise ParameterError("training needs scores of two composers, or two songs")
    return training, validation


def score_of_song(notes: NoteList, grid: BeatGrid, keys: tuple[Key, ...]) -> Score:
    """Make a score of notes and their beats: positions are rounded to a 24th of a beat."""
    onset, offset = (
        _STEP * np.round(grid.position(x) / _STEP).astype(np.int64)
        for x in (notes.onset, notes.offset)
    )
    kept = (onset >= 0) & (onset < grid.bars.starts[-1])
    onset, pitch = onset[kept], notes.pitch[kept]
    offset = np.clip(offset[kept], onset + _STEP, grid.bars.starts[-1])
    staff = np.where(pitch >= 60, 1, 2)
    order = np.lexsort((pitch, staff, onset))
    onset, offset, pitch, staff = (x[order] for x in (onset, offset, pitch, staff))
    columns = (onset, offset - onset, pitch, staff, np.ones_like(pitch), 7 * pitch % 12)
    return Score(ScoreNotes(*columns, np.full(len(pitch), "")), grid.bars, keys)


def _with_voice(piano: Score, path: Path) -> Score:
    """Add the first part of a file to its piano part, if it has the same bars."""
    try:
        voice = read_musicxml(path, part="P1")
    except FormatError:
        return piano
    if not np.array_equal(voice.bars.starts, piano.bars.starts) or (voice.notes.staff != 1).any():
        return piano
    columns = {
        name: np.concatenate([column, getattr(voice.notes, name)])
        for name, column in vars(piano.notes).items()
    }
    order = np.lexsort([columns[name] for name in ("pitch", "voice", "staff", "onset")])
    notes = ScoreNotes(**{name: column[order] for name, column in columns.items()})
    return Score(notes, piano.bars, piano.keys, piano.title)


def write_excerpts(
    scores: Sequence[ScoreFile],
    folder: Path,
    n_excerpts: int,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Play parts of scores to files of excerpts, except those files that exist.

    Parameters
    ----------
    scores : sequence of ScoreFile
        Scores; those without a piano part are left out.
    folder : Path
        Folder of the files, created if missing.
    n_excerpts : int
        Number of excerpts, rounded up to whole files of 50.
    seed : int, default=0
        Random seed.
    n_jobs : int, default=1
        Processes.
    progress : callable, optional
        Called with the number of excerpts that are done.

    Returns
    -------
    list of Path
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:05}.safetensors" for i in range(-(-n_excerpts // _PER_FILE))]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if missing:
        read = read_scores(scores, n_jobs)
        if not read:
            raise ParameterError("no score has a piano part of two staves")
        chance = draw_chances(read)
        for i in missing:
            rng = np.random.default_rng([seed, i])
            excerpts = [draw_excerpt(draw_score(read, chance, rng), rng) for _ in range(_PER_FILE)]
            columns = zip(BeatExcerpt._fields, zip(*excerpts, strict=True), strict=True)
            arrays = {name: np.stack(column) for name, column in columns}
            save_arrays(paths[i], arrays, {"kind": _KIND})
            if progress is not None:
                progress((i + 1) * _PER_FILE)
    return paths


def read_excerpts(paths: Sequence[Path]) -> list[BeatExcerpt]:
    """Read the excerpts in files."""
    excerpts = []
    for path in paths:
        arrays, _ = load_arrays(path, kind=_KIND)
        columns = (arrays[name] for name in BeatExcerpt._fields)
        excerpts += [BeatExcerpt(*values) for values in zip(*columns, strict=True)]
    return excerpts


def read_scores(files: Sequence[ScoreFile], n_jobs: int) -> list[TrainingScore]:
    """Read the scores that have a part for the piano."""
    if n_jobs == 1:
        scores = [file.read() for file in files]
    else:
        # Forking a process that has used threads may hang.
        with ProcessPoolExecutor(n_jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            scores = list(pool.map(ScoreFile.read, files, chunksize=8))
    return [score for score in scores if score is not None]


def draw_chances(scores: Sequence[TrainingScore]) -> NDArray[np.float64]:
    """Probability to draw each score."""
    density = [
        len(np.unique(score.whole.notes.onset)) / len(score.whole.bars.beats()) for score in scores
    ]
    weight = np.clip(density, *_DENSITIES)
    return np.asarray(weight / weight.sum())


def draw_score(
    scores: Sequence[TrainingScore], chance: NDArray[np.float64], rng: np.random.Generator
) -> Score:
    """Draw a score, with the part of the voice or without."""
    score = scores[int(rng.choice(len(scores), p=chance))]
    return score.whole if rng.random() < _WITH_VOICE else score.piano
