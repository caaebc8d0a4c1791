"""Training mixtures of speech and noise from folders of recordings."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import soxr
from numpy.typing import NDArray

from harmnmf.errors import AudioError, ParameterError
from harmnmf.signal.acoustics import FRAME_LENGTH
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.signal.audio_folders import audio_files
from harmnmf.signal.reading import read_audio
from harmnmf.training.settings import describe_files
from harmnmf.validation import check_integer, check_number

from .mixing import Mixture, MixtureConditions, active_frames, mix_speech

__all__ = ["Material", "Mixtures", "Sound", "SpeechMixtures", "load_samples", "split_material"]

_VALIDATION_SHARE = 0.1
# Names of clips in UrbanSound8K and ESC-50, with the number of the Freesound recording.
_CLIP = re.compile(r"(\d+)-\d-\d+-\d+|(?:.*_)?[1-5]-(\d+)-[A-Z](?:-\d+)?")
_MIN_DURATION = 0.1  # seconds
_SILENCE = 1e-4  # peak of a silent file
_FULL_SCALE = 32767
_FADE = 160  # samples
_MAX_SPEED = 1.15


class Material(NamedTuple):
    """Audio files of speech by speaker, and of noise."""

    speech: dict[str, list[Path]]
    noise: list[Path]


def split_material(speech: Path, noise: Sequence[Path]) -> tuple[Material, Material]:
    """Find speech and noise in folders, and hold out a tenth of each for validation.

    Speakers and recordings of noise are never divided, so that the validation has voices and noises
    that the training has not. The choice depends on a hash of the names, so that more files change
    little of it.

    - Each folder in `speech` is a speaker, and so is each file that is directly in it.
    - A folder of noise that has its files in ten folders or more, such as the 16 channels of each
      place in DEMAND, is divided by them: each is a recording. With fewer, each file is one.
    - Clips that are named after one Freesound recording, as in UrbanSound8K
      (``<recording>-<class>-<occurrence>-<slice>``) and ESC-50 (``<fold>-<recording>-<take>``),
      belong together wherever they are.

    Parameters
    ----------
    speech : Path
        Folder with a folder or a file for each speaker, searched recursively.
    noise : sequence of Path
        Folders, searched recursively.

    Returns
    -------
    training, validation : Material
        Files of each part.

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
        speakers.setdefault(path.relative_to(speech).parts[0], []).append(path)
    if len(speakers) < 2:
        raise ParameterError(
            f"{speech}: needs a folder or a file for each of at least two speakers, one for"
            f" training and one for validation; it has {len(speakers)}"
        )
    recordings: dict[str, list[Path]] = {}
    for folder in noise:
        files = audio_files(folder)
        by_folder = len({path.parent for path in files}) >= 1 / _VALIDATION_SHARE
        for path in files:
            clip = _CLIP.fullmatch(path.stem)
            place = path.parent if by_folder and path.parent != folder else path
            name = clip[clip.lastindex or 0] if clip else str(place.relative_to(folder))
            recordings.setdefault(name, []).append(path)
    if len(recordings) < 2:
        raise ParameterError(
            f"{', '.join(map(str, noise)) or 'noise'}: needs at least two recordings of noise, one"
            " for training and one for validation; clips of one recording, by their names, count as"
            f" one, and there are {len(recordings)}"
        )
    training, validation = Material({}, []), Material({}, [])
    held_out = _hold_out(speakers)
    for speaker, files in speakers.items():
        (validation if speaker in held_out else training).speech[speaker] = files
    held_out = _hold_out(recordings)
    for recording, files in recordings.items():
        (validation if recording in held_out else training).noise.extend(files)
    return training, validation


def _hold_out(names: Iterable[str]) -> set[str]:
    ordered = sorted(names, key=lambda name: (crc32(os.fsencode(name)), name))
    return set(ordered[: max(1, round(len(ordered) * _VALIDATION_SHARE))])


class Sound:
    """A sound, int16 (..., n_samples), to draw parts from where its last channel is active."""

    def __init__(self, samples: NDArray[np.int16]) -> None:
        self._samples = samples
        last = samples.reshape(-1, samples.shape[-1])[-1]
        self._active = np.flatnonzero(active_frames(last.astype(np.float32)))

    def __len__(self) -> int:
        return self._samples.shape[-1]

    def draw(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw a part, (..., n_samples), that contains an active frame at a random position.

        The sound is repeated if it is shorter.
        """
        frame = int(self._active[rng.integers(len(self._active))])
        first = frame * FRAME_LENGTH - int(rng.integers(n_samples))
        part = self._samples.take(np.arange(first, first + n_samples), axis=-1, mode="wrap")
        return np.asarray(part / np.float32(_FULL_SCALE), np.float32)


def load_samples(path: Path, *, mono: bool = True) -> NDArray[np.int16]:
    """Read a file at 16 kHz, normalised to its peak and with short fades.

    The result, (n_samples,) if `mono`, else (n_channels, n_samples), is int16 to save memory. Files
    that cannot be read, are silent, or shorter than 0.1 s raise AudioError.
    """
    audio = read_audio(path, sample_rate=SAMPLE_RATE, mono=mono)
    if audio.duration < _MIN_DURATION:
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
    """Endless sequence of mixtures, each determined by the seed and its index."""

    def __init__(self, duration: float, seed: int) -> None:
        check_number("duration", duration, _MIN_DURATION)
        check_integer("seed", seed, 0)
        self.n_samples = round(duration * SAMPLE_RATE)
        self.seed = seed
        #: What the mixtures depend on, as JSON data.
        self.settings: dict[str, Any] = {"duration": duration, "seed": seed}

    def __getitem__(self, index: int) -> Mixture:
        """Make the mixture at a non-negative index."""
        if index < 0:
            raise ParameterError(f"the index of a mixture must not be negative, but is {index}")
        return self._mix(np.random.default_rng([self.seed, index]))

    @abstractmethod
    def _mix(self, rng: np.random.Generator) -> Mixture:
        """Make a random mixture."""


class SpeechMixtures(Mixtures):
    """Endless sequence of random mixtures of speech and noise.

    All files are kept in memory: 115 MB per hour. All speakers are equally frequent, and so are all
    seconds of noise. The utterances of a speaker are concatenated.

    Parameters
    ----------
    speech : mapping of str to sequence of Path
        Files by speaker.
    noise : sequence of Path
        Files of noise.
    duration : float, default=2.0
        Duration of a mixture in seconds, at least 0.1.
    conditions : MixtureConditions, optional
        Random conditions of the mixtures.
    seed : int, default=0
        Random seed.

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
            raise ParameterError("mixtures need files of speech for each speaker, and of noise")
        self._conditions = conditions or MixtureConditions()
        with ThreadPoolExecutor() as pool:
            self._speakers = [
                Sound(np.concatenate(list(pool.map(load_samples, files))))
                for files in speech.values()
            ]
            self._noises = [Sound(samples) for samples in pool.map(load_samples, noise)]
        lengths = np.array([len(noise) for noise in self._noises])
        self._shares = lengths / lengths.sum()
        named = ((f"{name}/{path.name}", path) for name, paths in speech.items() for path in paths)
        self.settings |= {
            "speech": describe_files(named),
            "noise": describe_files((path.name, path) for path in noise),
            "conditions": asdict(self._conditions),
        }

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
        """Draw a part of a sound, resampled to a random speed."""
        if rng.random() >= self._conditions.speed:
            return sound.draw(self.n_samples, rng)
        speed = _MAX_SPEED ** rng.uniform(-1, 1)
        part = sound.draw(math.ceil(speed * self.n_samples) + 1, rng)
        faster: NDArray[np.float32] = soxr.resample(part, speed * SAMPLE_RATE, SAMPLE_RATE)
        return faster[: self.n_samples]
