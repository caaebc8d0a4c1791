"""Noisy speech to train on, mixed when it is asked for, from folders of speech and of noise."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import soxr
from numpy.typing import NDArray

from harmnmf.errors import AudioError, ParameterError
from harmnmf.signal.acoustics import FRAME_LENGTH
from harmnmf.signal.audio import SAMPLE_RATE, read_audio
from harmnmf.signal.audio_folders import audio_files

from .mixing import Mixture, MixtureConditions, active_frames, mix_speech

__all__ = ["Material", "Mixtures", "Sound", "SpeechMixtures", "load_samples", "split_material"]

# One speaker and one recording of noise in so many are kept from training.
_HELD_OUT = 10
_SHORTEST = 0.1  # seconds
# Peak below which a file is taken for silent.
_SILENCE = 1e-4
_FULL_SCALE = 32767
_FADE = 160  # samples
_FASTEST = 1.15


class Material(NamedTuple):
    """Audio files to make noisy speech of.

    Attributes
    ----------
    speech : dict of str to list of Path
        Files by speaker.
    noise : list of Path
        Files.
    """

    speech: dict[str, list[Path]]
    noise: list[Path]


def split_material(speech: Path, noise: Sequence[Path]) -> tuple[Material, Material]:
    """Find speech and noise in folders, and keep a tenth of both from training.

    No speaker and no recording of noise is on both sides. Files of noise are of one recording if
    they share the largest number in their names, as the clips of one Freesound recording do in
    UrbanSound (``<recording>-<class>-...``) and ESC (``<fold>-<recording>-...``); a name without
    a number is a recording of its own. What is chosen depends on a hash of the names, so that
    more files change little of it.

    Parameters
    ----------
    speech : Path
        Folder with a folder for each speaker, which may have folders inside.
    noise : sequence of Path
        Folders, which may have folders inside.

    Returns
    -------
    training, validation : Material
        The files.

    Raises
    ------
    HarmnmfError
        If a folder is missing or without audio files, or there are fewer than two speakers or
        two recordings of noise.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("speech/ann/1.wav", "speech/bob/1.wav", "noise/1.wav", "noise/2.wav"):
    ...         path = Path(folder, name)
    ...         path.parent.mkdir(parents=True, exist_ok=True)
    ...         path.touch()
    ...     training, validation = split_material(Path(folder, "speech"), [Path(folder, "noise")])
    >>> len(training.speech), len(validation.speech), len(training.noise), len(validation.noise)
    (1, 1, 1, 1)
    """
    speakers: dict[str, list[Path]] = {}
    for path in audio_files(speech):
        if path.parent != speech:
            speakers.setdefault(path.relative_to(speech).parts[0], []).append(path)
    if len(speakers) < 2:
        raise ParameterError(
            f"{speech}: needs a folder for each of at least two speakers, one to train on and one "
            f"to validate; it has {len(speakers)}"
        )
    recordings: dict[str, list[Path]] = {}
    for folder in noise:
        for path in audio_files(folder):
            recordings.setdefault(_recording(path), []).append(path)
    if len(recordings) < 2:
        raise ParameterError(
            f"{', '.join(map(str, noise)) or 'noise'}: needs at least two recordings of noise, one "
            "to train on and one to validate; files that share the largest number in their names "
            f"count as one, and there are {len(recordings)}"
        )
    training, validation = Material({}, []), Material({}, [])
    held_out = _hold_out(speakers)
    for speaker, files in speakers.items():
        (validation if speaker in held_out else training).speech[speaker] = files
    held_out = _hold_out(recordings)
    for recording, files in recordings.items():
        (validation if recording in held_out else training).noise.extend(files)
    return training, validation


def _recording(path: Path) -> str:
    return max(re.findall(r"\d+", path.stem), key=int, default=path.stem)


def _hold_out(names: Iterable[str]) -> set[str]:
    ordered = sorted(names, key=lambda name: (crc32(os.fsencode(name)), name))
    return set(ordered[: max(1, round(len(ordered) / _HELD_OUT))])


class Sound:
    """A sound in memory, from which parts are drawn at random.

    Parameters
    ----------
    samples : ndarray of int16, shape (..., n_samples)
        At 16 kHz; the last channel tells where there is something to hear.
    """

    def __init__(self, samples: NDArray[np.int16]) -> None:
        self._samples = samples
        last = samples.reshape(-1, samples.shape[-1])[-1]
        self._active = np.flatnonzero(active_frames(last.astype(np.float32)))

    def __len__(self) -> int:
        return self._samples.shape[-1]

    def draw(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw a part that has at least 10 ms which are no pause, at any place in it.

        Parameters
        ----------
        n_samples : int
            How long; beyond the end follows the beginning.
        rng : numpy.random.Generator
            Source of the place.

        Returns
        -------
        ndarray, shape (..., n_samples)
            With full scale at ±1.
        """
        frame = int(self._active[rng.integers(len(self._active))])
        first = frame * FRAME_LENGTH - int(rng.integers(n_samples))
        part = self._samples.take(np.arange(first, first + n_samples), axis=-1, mode="wrap")
        return np.asarray(part / np.float32(_FULL_SCALE), np.float32)


def load_samples(path: Path, *, mono: bool = True) -> NDArray[np.int16]:
    """Read a file to join to others: at 16 kHz, faded at its ends, and as loud as it can be.

    Parameters
    ----------
    path : Path
        Audio file, of any rate.
    mono : bool, default=True
        Average the channels.

    Returns
    -------
    ndarray of int16, shape (n_samples,) if `mono`, else (n_channels, n_samples)
        Half the memory of float32; the noise of rounding is 90 dB below the peak.

    Raises
    ------
    AudioError
        If the file cannot be read, is silent, or shorter than 0.1 s.
    """
    audio = read_audio(path, sample_rate=SAMPLE_RATE, mono=mono)
    if audio.duration < _SHORTEST:
        raise AudioError(f"{path}: lasts {audio.duration:.3f} s; leave out files below 0.1 s")
    peak = np.abs(audio.samples).max()
    if peak < _SILENCE:
        raise AudioError(f"{path}: is silent; leave it out")
    samples = audio.samples * np.float32(_FULL_SCALE / peak)
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    samples[..., :_FADE] *= ramp
    samples[..., -_FADE:] *= ramp[::-1]
    return np.rint(samples).astype(np.int16)


class Mixtures(ABC):
    """An endless sequence of mixtures; what is at an index depends on that and the seed alone.

    Parameters
    ----------
    duration : float
        Seconds of each, at least 0.1.
    seed : int
        Of all that is random; not negative.

    Raises
    ------
    ParameterError
        If a parameter is out of range.
    """

    def __init__(self, duration: float, seed: int) -> None:
        if not _SHORTEST <= duration < np.inf:
            raise ParameterError(f"duration must be at least {_SHORTEST} s, not {duration}")
        if seed < 0:
            raise ParameterError(f"seed must not be negative, as {seed} is")
        self.n_samples = round(duration * SAMPLE_RATE)
        self.seed = seed

    def __getitem__(self, index: int) -> Mixture:
        """Make the mixture of an index, which is not negative."""
        if index < 0:
            raise ParameterError(f"the index of a mixture must not be negative, as {index} is")
        return self._mix(np.random.default_rng([self.seed, index]))

    @abstractmethod
    def _mix(self, rng: np.random.Generator) -> Mixture:
        """Make a mixture of what the source of chance says."""


class SpeechMixtures(Mixtures):
    """Noisy speech, as much as is asked for.

    All files are read at once and kept in memory: 115 MB an hour. Every speaker is as frequent as
    any other, and so is every second of noise. Utterances of a speaker follow one another, so that
    short ones are no obstacle.

    Parameters
    ----------
    speech : mapping of str to sequence of Path
        Files by speaker.
    noise : sequence of Path
        Files.
    duration : float, default=2.0
        Seconds of each mixture, at least 0.1.
    conditions : MixtureConditions, optional
        How they are mixed; by default as the class says.
    seed : int, default=0
        Of all that is random; not negative.

    Raises
    ------
    AudioError
        If a file cannot be read, is silent, or shorter than 0.1 s.
    ParameterError
        If there is no speech or no noise, or a parameter is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import Audio, write_audio
    >>> sound = Audio(np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/sound.wav", sound)
    ...     path = Path(folder, "sound.wav")
    ...     mixtures = SpeechMixtures({"ann": [path]}, [path], duration=1.5)
    >>> mixtures[1000].noisy.shape
    (24000,)
    """

    def __init__(
        self,
        speech: Mapping[str, Sequence[Path]],
        noise: Sequence[Path],
        *,
        duration: float = 2.0,
        conditions: MixtureConditions | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(duration, seed)
        if not speech or not all(speech.values()) or not noise:
            raise ParameterError("mixtures need files of speech, of each speaker, and of noise")
        self._conditions = conditions or MixtureConditions()
        with ThreadPoolExecutor() as pool:
            self._speakers = [
                Sound(np.concatenate(list(pool.map(load_samples, files))))
                for files in speech.values()
            ]
            self._noises = [Sound(samples) for samples in pool.map(load_samples, noise)]
        lengths = np.array([len(noise) for noise in self._noises])
        self._shares = lengths / lengths.sum()

    def _mix(self, rng: np.random.Generator) -> Mixture:
        speaker = self._speakers[rng.integers(len(self._speakers))]
        speech = self._draw(speaker, rng)
        n_noises = 1 + int(rng.random() < self._conditions.second_noise)
        noises = [
            self._draw(self._noises[i], rng)
            for i in rng.choice(len(self._noises), n_noises, p=self._shares)
        ]
        return mix_speech(speech, noises, rng, self._conditions)

    def _draw(self, sound: Sound, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw a part of a sound, faster or slower than it was, which changes its pitch, too."""
        if rng.random() >= self._conditions.speed:
            return sound.draw(self.n_samples, rng)
        speed = _FASTEST ** rng.uniform(-1, 1)
        part = sound.draw(math.ceil(speed * self.n_samples) + 1, rng)
        faster: NDArray[np.float32] = soxr.resample(part, speed * SAMPLE_RATE, SAMPLE_RATE)
        return faster[: self.n_samples]
