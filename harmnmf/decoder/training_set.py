"""Training data of the note network: rendered performances and their features.

Each excerpt is a random variation of a part of a performance, rendered with one of the pianos and
recorded under random simulated conditions. Its features are measured with a dictionary learned
from the other pianos, as the shipped dictionary was not learned from the user's piano. A few
excerpts are two performances at once, or other sounds without a piano.
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
from numpy.typing import NDArray

from harmnmf.dictionary.from_notes import learn_from_notes
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.notes.files import read_notes
from harmnmf.notes.note_list import NoteList
from harmnmf.notes.suffixes import MIDI_SUFFIXES
from harmnmf.signal.acoustics import applause, equalize
from harmnmf.signal.audio import SAMPLE_RATE, Audio
from harmnmf.signal.front_end import FrontEnd
from harmnmf.signal.harmonics import PIANO_PITCHES
from harmnmf.signal.reading import audio_info, read_audio
from harmnmf.signal.tuning import transform_in_tune
from harmnmf.synthesis.mechanics import mechanical_noise
from harmnmf.synthesis.microphone import RecordingConditions, simulate_recording
from harmnmf.synthesis.sampled_piano import SampledPiano
from harmnmf.synthesis.variation import excerpt, vary_performance
from harmnmf.validation import check_integer, check_number

from .analysis import Recording, measure_features
from .excerpts import NoteExcerpt
from .features import FeatureSettings, NoteFeatures
from .stream_analysis import measure_stream

__all__ = [
    "ExcerptSource", "learn_leave_one_out", "split_performances", "write_excerpts"
]  # fmt: skip

# Standard deviations in semitones of the error of the tuning's estimate, and in cents of the tuning
# of keys: of each key, and of the stretch at either end of the keyboard.
_MISTUNING = 0.06
_KEY_CENTS, _STRETCH_CENTS = 2.0, 5.0
# Level range in dB of the resonance of open strings, relative to the notes.
_RESONANCE_DB = (-38.0, -22.0)
# Keys fall into groups at random, each with an equaliser of its own: pianos differ key by key.
_N_GROUPS, _GROUP_DB = 3, 2.0
# Shares of excerpts with two performances at once and of those without a piano, and of applause
# among the other sounds.
_DENSE, _WITHOUT_PIANO, _APPLAUSE = 0.04, 0.04, 0.15
# Every twentieth performance is held out for validation.
_HELD_OUT = 20


@dataclass(frozen=True)
class ExcerptSource:
    """Renders training excerpts.

    Parameters
    ----------
    pianos : mapping of str to Path
        Folders of isolated notes for :meth:`harmnmf.SampledPiano.load`.
    dictionaries : mapping of str to Path
        For each piano, a dictionary learned from other pianos.
    performances : sequence of Path
        MIDI files, with key offsets and the pedal.
    backgrounds : sequence of Path, optional
        Audio files of sounds other than music: speech, rooms, streets. If there are any, some
        recordings have them in the background, or applause; a few have nothing else, and no notes.
    conditions : RecordingConditions, optional
        Distributions of the recording conditions.
    duration : float, default=20.0
        Length of an excerpt in seconds.
    seed : int, default=0
        Random seed.
    settings : FeatureSettings, optional
        How features are measured.
    """

    pianos: Mapping[str, Path]
    dictionaries: Mapping[str, Path]
    performances: Sequence[Path]
    backgrounds: Sequence[Path] = ()
    conditions: RecordingConditions = field(default_factory=RecordingConditions)
    duration: float = 20.0
    seed: int = 0
    settings: FeatureSettings = field(default_factory=FeatureSettings)

    def __post_init__(self) -> None:
        check_number("duration", self.duration, above=0)
        check_integer("seed", self.seed, 0)
        if not self.pianos or not self.performances:
            raise ParameterError("training needs at least one piano and one performance")
        if missing := self.pianos.keys() - self.dictionaries.keys():
            raise ParameterError(f"the piano {min(missing)} has no dictionary")

    def render(self, index: int) -> NoteExcerpt:
        """Render one excerpt, which depends on the seed and the index only.

        Consecutive indices, from 0 on, take the pianos in turn.
        """
        rng = np.random.default_rng([self.seed, index])
        name = list(self.pianos)[index % len(self.pianos)]
        notes = self._play(rng)
        n_samples = round(self.duration * SAMPLE_RATE)
        background = self._background(n_samples, rng)
        if background.any() and rng.random() < _WITHOUT_PIANO:
            notes, sound = NoteList([], [], [], []), background
        else:
            sound = _render(_piano(self.pianos[name]), notes, n_samples, rng)
        recorded = simulate_recording(sound, rng, self.conditions, background=background)
        dictionary = _dictionary(self.dictionaries[name])
        sounding = notes.pedalled()
        columns = (sounding.onset, sounding.offset, sounding.pitch, sounding.velocity)
        return NoteExcerpt(
            self._measure(recorded, dictionary),
            NoteList(*columns, notes.pedal),
            dictionary.front_end.hop_length / dictionary.front_end.sample_rate,
            self.settings,
        )

    def _measure(self, samples: NDArray[np.float32], dictionary: TimbreDictionary) -> NoteFeatures:
        """Measure features without tuning, as users' recordings are tuned before the analysis."""
        if self.settings.sliding is not None:
            return measure_stream(samples, dictionary, self.settings)
        audio = Audio(samples, SAMPLE_RATE)
        spectrogram = transform_in_tune(audio, dictionary.front_end, 0.0)
        return measure_features(Recording(audio, dictionary, 0.0, spectrogram), self.settings)

    def _play(self, rng: np.random.Generator) -> NoteList:
        """Draw a variation of a part of a performance, or of two parts at once."""
        parts = []
        for _ in range(1 + (rng.random() < _DENSE)):
            performance = self.performances[int(rng.integers(len(self.performances)))]
            # Longer than the excerpt, as the variation may be faster.
            part = excerpt(_performance(performance), rng, 1.25 * self.duration)
            parts.append(vary_performance(part, rng).slice(0.0, self.duration))
        columns = zip(*((x.onset, x.offset, x.pitch, x.velocity) for x in parts), strict=True)
        onset, offset, pitch, velocity = map(np.concatenate, columns)
        return NoteList(onset, offset, pitch, velocity, parts[0].pedal).without_overlaps()

    def _background(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw sounds other than music; silence if there are no recordings of such."""
        if not self.backgrounds:
            return np.zeros(n_samples, np.float32)
        if rng.random() < _APPLAUSE:
            return applause(n_samples, rng)
        sound = np.zeros(0, np.float32)
        while len(sound) < n_samples:
            path = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
            latest = max(0.0, audio_info(path).duration - self.duration)
            part = read_audio(
                path,
                sample_rate=SAMPLE_RATE,
                offset=rng.uniform(0, latest),
                duration=self.duration,
            )
            sound = np.append(sound, part.samples)
        return sound[:n_samples]


def _render(
    piano: SampledPiano, notes: NoteList, n_samples: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Render notes with a piano whose tuning, timbre and mechanics are drawn at random."""
    keys = np.arange(len(PIANO_PITCHES))
    stretch = rng.normal(0, _STRETCH_CENTS, 2)
    bend = (2 * keys / keys[-1] - 1) ** 3
    cents = np.where(bend < 0, -bend * stretch[0], bend * stretch[1])
    cents += rng.normal(0, _KEY_CENTS, len(keys))
    tuning, resonance_db = rng.normal(0, _MISTUNING), rng.uniform(*_RESONANCE_DB)
    group = rng.integers(_N_GROUPS, size=128)[notes.pitch]
    sound = mechanical_noise(notes, n_samples, rng)
    for i in range(_N_GROUPS):
        own = group == i
        part = piano.render(
            NoteList(
                notes.onset[own],
                notes.offset[own],
                notes.pitch[own],
                notes.velocity[own],
                notes.pedal,
            ),
            rng=rng,
            tuning=float(tuning),
            detuning=cents,
            resonance_db=float(resonance_db),
        )[:n_samples]
        sound[: len(part)] += equalize(part, rng, max_gain_db=_GROUP_DB)
    return sound


def split_performances(folder: Path) -> tuple[list[Path], list[Path]]:
    """Find the MIDI files in a folder and its subfolders, for training and for validation.

    The first and every twentieth after it are for validation. Raises ParameterError if there are
    fewer than two.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES)
    if len(files) < 2:
        raise ParameterError(f"{folder}: needs two MIDI files, one to train on and one to validate")
    validation = files[::_HELD_OUT]
    return [path for path in files if path not in set(validation)], validation


def learn_leave_one_out(
    pianos: Mapping[str, Path],
    folder: Path,
    *,
    front_end: FrontEnd | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Learn a dictionary for each piano from the notes of the others.

    `pianos` are folders of isolated notes; a single piano learns from itself. Dictionaries that
    exist in `folder` are kept. `front_end` is that of
    :func:`harmnmf.dictionary.from_notes.learn_from_notes`. `progress` is called with the name of
    each piano whose dictionary is done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dictionaries = {}
    for name in pianos:
        path = dictionaries[name] = folder / f"{name}.safetensors"
        if not path.exists():
            others = {other: notes for other, notes in pianos.items() if other != name} or pianos
            files = {other: sorted(notes.glob("*_*.*")) for other, notes in others.items()}
            learned = learn_from_notes(
                files, front_end=front_end, metadata={"name": f"all but {name}"}
            )
            learned.save(path)
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
        Renders the excerpts.
    folder : Path
        Folder of the files ``<index>.safetensors``, created if missing.
    indices : sequence of int
        Indices of the excerpts.
    n_jobs : int, default=1
        Processes, of one thread each.
    progress : callable, optional
        Called with the path of each file that is done.

    Returns
    -------
    list of Path
        The files, in the order of `indices`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:06}.safetensors" for index in indices]
    if n_jobs == 1:
        for path, index in zip(paths, indices, strict=True):
            if not path.exists():
                _write(source, index, path)
            if progress is not None:
                progress(path)
        return paths
    # Forking a process that has used threads may hang.
    pool = ProcessPoolExecutor(n_jobs, get_context("spawn"), torch.set_num_threads, (1,))
    try:
        pending = {
            path: pool.submit(_write, source, index, path)
            for path, index in zip(paths, indices, strict=True)
            if not path.exists()
        }
        for path in paths:
            if path in pending:
                pending.pop(path).result()
            if progress is not None:
                progress(path)
    finally:
        # After an interrupt, do not wait for the pending excerpts.
        pool.shutdown(cancel_futures=True)
    return paths


def _write(source: ExcerptSource, index: int, path: Path) -> None:
    source.render(index).save(path)


_piano = cache(SampledPiano.load)
_dictionary = cache(TimbreDictionary.load)
_performance = cache(partial(read_notes, offset="key"))
