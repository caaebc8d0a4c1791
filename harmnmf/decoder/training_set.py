"""Training material for the learned decoder: performances, rendered, recorded and analysed.

Each excerpt is a part of a performance, varied, played by one of the pianos and recorded under
random conditions. It is factorised with a dictionary that was learned from the other pianos, as
the dictionary that users have was not learned from theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from harmnmf.dictionary.from_notes import learn_from_notes
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.convolutive import estimate_note_activations, room_bands
from harmnmf.notes.files import MIDI_SUFFIXES, read_notes
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.synthesis.microphone import RecordingConditions, simulate_recording
from harmnmf.synthesis.sampled_piano import SampledPiano
from harmnmf.synthesis.variation import excerpt, vary_performance

from .excerpts import NoteExcerpt
from .features import ONSET_FRONT_END, NoteFeatures, reference_level

__all__ = [
    "ExcerptSource", "learn_foreign_dictionaries", "split_performances", "write_excerpts"
]  # fmt: skip

# Semitones, standard deviation: what is left of the tuning when it has been estimated.
_MISTUNING = 0.04
# Decibels relative to the sound, of the resonance of open strings.
_RESONANCE_DB = (-38.0, -24.0)
_N_ITER = 30
# One performance in so many is kept from training.
_HELD_OUT = 20


@dataclass(frozen=True)
class ExcerptSource:
    """Renders excerpts.

    Parameters
    ----------
    pianos : mapping of str to Path
        Folders of isolated notes, as :meth:`harmnmf.SampledPiano.load` reads them.
    dictionaries : mapping of str to Path
        A dictionary for each piano that has not been learned from it.
    performances : sequence of Path
        MIDI files, with key offsets and the pedal.
    conditions : RecordingConditions, optional
        How the recordings are made.
    duration : float, default=20.0
        Seconds of an excerpt.
    seed : int, default=0
        Of all that is random.

    Raises
    ------
    ParameterError
        If there are no pianos, no performances, or a piano without a dictionary.
    """

    pianos: Mapping[str, Path]
    dictionaries: Mapping[str, Path]
    performances: Sequence[Path]
    conditions: RecordingConditions = field(default_factory=RecordingConditions)
    duration: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.pianos or not self.performances:
            raise ParameterError("training needs at least one piano and one performance")
        if missing := self.pianos.keys() - self.dictionaries.keys():
            raise ParameterError(f"the piano {min(missing)} has no dictionary")

    def render(self, index: int) -> NoteExcerpt:
        """Render one excerpt; the same index gives the same one.

        Parameters
        ----------
        index : int
            Not negative. Consecutive ones take pianos in turn.

        Returns
        -------
        NoteExcerpt
            Of `duration` seconds.

        Raises
        ------
        HarmnmfError
            If a file cannot be read.
        """
        rng = np.random.default_rng([self.seed, index])
        name = list(self.pianos)[index % len(self.pianos)]
        performance = self.performances[int(rng.integers(len(self.performances)))]
        # Longer than the excerpt, in case that it is played faster.
        part = excerpt(_performance(performance), rng, 1.25 * self.duration)
        notes = vary_performance(part, rng).slice(0.0, self.duration)
        sound = _piano(self.pianos[name]).render(
            notes,
            rng=rng,
            tuning=float(rng.normal(0, _MISTUNING)),
            resonance_db=float(rng.uniform(*_RESONANCE_DB)),
        )
        n_samples = round(self.duration * SAMPLE_RATE)
        sound = np.pad(sound, (0, max(0, n_samples - len(sound))))[:n_samples]
        return self._analyse(simulate_recording(sound, rng, self.conditions), name, notes)

    def _analyse(self, samples: np.ndarray, piano: str, notes: NoteList) -> NoteExcerpt:
        dictionary = _dictionary(self.dictionaries[piano])
        V = dictionary.front_end.transform(samples).values
        played = estimate_note_activations(
            torch.from_numpy(V),
            torch.tensor(dictionary.W),
            dictionary.n_attack,
            bands=room_bands(dictionary.axis),
            max_iter=_N_ITER,
        )
        onset_V = ONSET_FRONT_END.transform(samples).values
        features = NoteFeatures.measure(V, onset_V, played, reference_level(V))
        hop_duration = dictionary.front_end.hop_length / dictionary.front_end.sample_rate
        sounding = notes.pedalled()
        columns = (sounding.onset, sounding.offset, sounding.pitch, sounding.velocity)
        return NoteExcerpt(features, NoteList(*columns, notes.pedal), hop_duration)


def split_performances(folder: Path) -> tuple[list[Path], list[Path]]:
    """Find the MIDI files in a folder, and keep some of them from training.

    Parameters
    ----------
    folder : Path
        Folder, with folders inside.

    Returns
    -------
    training, validation : list of Path
        The files; every twentieth, and the first, is for validation.

    Raises
    ------
    ParameterError
        If there are fewer than two.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES)
    if len(files) < 2:
        raise ParameterError(f"{folder}: needs two MIDI files, one to train on and one to validate")
    validation = files[::_HELD_OUT]
    return [path for path in files if path not in set(validation)], validation


def learn_foreign_dictionaries(
    pianos: Mapping[str, Path], folder: Path, *, progress: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """Learn a dictionary for each piano from the notes of the others.

    Parameters
    ----------
    pianos : mapping of str to Path
        Folders of isolated notes; a piano that is alone learns from itself.
    folder : Path
        Where the dictionaries are kept; those that exist are not learned again.
    progress : callable, optional
        Called with the name of each piano whose dictionary is there.

    Returns
    -------
    dict of str to Path
        Files by piano.

    Raises
    ------
    AudioError
        If a note cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dictionaries = {}
    for name in pianos:
        path = dictionaries[name] = folder / f"{name}.npz"
        if not path.exists():
            others = {other: notes for other, notes in pianos.items() if other != name} or pianos
            files = {other: sorted(notes.glob("*_*.*")) for other, notes in others.items()}
            learn_from_notes(files, metadata={"name": f"all but {name}"}).save(path)
        if progress is not None:
            progress(name)
    return dictionaries


def write_excerpts(
    source: ExcerptSource,
    folder: Path,
    indices: Sequence[int],
    *,
    n_jobs: int = 1,
    progress: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Render excerpts to files, except those that exist.

    Parameters
    ----------
    source : ExcerptSource
        What renders them.
    folder : Path
        Where they are written, as ``<index>.npz``; made if missing.
    indices : sequence of int
        Which.
    n_jobs : int, default=1
        Processes, of one thread each.
    progress : callable, optional
        Called with the path of each that is there.

    Returns
    -------
    list of Path
        The files, in the order of `indices`.

    Raises
    ------
    HarmnmfError
        If one cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:06}.npz" for index in indices]
    missing = [(index, path) for index, path in zip(indices, paths, strict=True)
               if not path.exists()]  # fmt: skip
    # A forked process of one that has used threads may hang.
    pool = ProcessPoolExecutor(n_jobs, get_context("spawn"), torch.set_num_threads, (1,))
    try:
        pending = {path: pool.submit(_write, source, index, path) for index, path in missing}
        for path in paths:
            if path in pending:
                pending.pop(path).result()
            if progress is not None:
                progress(path)
    finally:
        # Who interrupts does not wait for hundreds of others.
        pool.shutdown(cancel_futures=True)
    return paths


def _write(source: ExcerptSource, index: int, path: Path) -> None:
    source.render(index).save(path)


_piano = cache(SampledPiano.load)
_dictionary = cache(TimbreDictionary.load)
_performance = cache(partial(read_notes, offset="key"))
