"""Sampled piano: renders note lists with recorded notes.

A note is a mixture of the two recorded layers around its velocity, at the level that belongs to
the velocity. It begins when the key is struck and ends when its damper falls; while the sustain
pedal is down, all strings resonate. :mod:`harmnmf.synthesis.microphone` adds the room and the
recording equipment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray
from scipy.signal import correlate, lfilter

from harmnmf.errors import FormatError, ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.signal.harmonics import PIANO_PITCHES, pitch_to_hz
from harmnmf.signal.reading import read_audio
from harmnmf.validation import check_number, real_array

from .envelopes import FADE_IN, decay, fade
from .layer_names import layer_ranks
from .resonance import resonance

__all__ = ["SampledPiano", "shipped_pianos"]

_SUFFIXES = (".flac", ".ogg", ".wav")
_LEAD = 0.02  # seconds from the beginning of a prepared sample to its attack
_MAX_DURATION = 12.0  # seconds of a note
_TAIL = 1.0  # seconds after the last damper has fallen
_LEVEL_TIME = 0.3  # seconds after the attack in which levels are measured
_MAX_LAG = 0.002  # seconds
_MAX_CACHED = 100  # transposed samples, which take 80 MB at most

# Sound pressure grows with about this power of the velocity: 20 dB from 30 to 110. The recorded
# levels of the layers are ignored: collections normalise them in different ways.
_VELOCITY_POWER = 1.75
_FULL_VELOCITY_DB = -20.0  # RMS after the attack
# Standard deviation in keys of the smoothing of recorded levels, which vary from key to key.
_LEVEL_SMOOTHING = 4.0

# Softer layers of a key with a single one: low-pass filters above these partials.
_SOFTER_PARTIALS = (3.0, 9.0)
_SOFTER_RANGE = (500.0, 5000.0)  # Hz

# Seconds in which dampers attenuate by 30 dB, on the lowest key and on the highest with a damper.
_DAMPING = (0.15, 0.08)
_DAMPED_KEYS = (21, 88)


@dataclass(frozen=True, eq=False)
class _Key:
    """Layers of a key from soft to loud, with attacks at `_LEAD`, in phase, RMS 1."""

    layers: list[NDArray[np.float32]]
    correlations: list[float]  # correlation of each layer with the next
    level_db: float  # level of the loudest layer before scaling


class SampledPiano:
    """Piano of isolated notes, each recorded at one or more velocities.

    Layer i of n stands for the velocity ``127 (i + ½) / n``; between these, layers are mixed in
    phase. A single layer is low-pass filtered for softer notes. Missing keys are resampled from the
    nearest recorded key, which keeps the inharmonicity of its string.

    Parameters
    ----------
    samples : mapping of int to sequence of array_like
        Layers of each recorded MIDI number, 21 to 108, from soft to loud: mono at 16 kHz, with the
        attack within the first 0.1 s.

    Raises
    ------
    ParameterError
        If there are no samples, a key is not on a piano, or a sample is silent or not mono.

    Notes
    -----
    Transposed samples are cached, 80 MB at most. `detuning` needs new ones, `tuning` does not.

    Examples
    --------
    >>> seconds = np.arange(16000) / 16000
    >>> string = np.exp(-3 * seconds) * np.sin(2 * np.pi * 440 * seconds)
    >>> piano = SampledPiano({69: [string]})
    >>> song = NoteList([0.1, 0.6], [0.5, 1.0], [69, 71], [60, 90])
    >>> piano.render(song).shape
    (32000,)

    The piano that is shipped:

    >>> SampledPiano.load("default").render(song).shape
    (32000,)
    """

    def __init__(self, samples: Mapping[int, Sequence[ArrayLike]]) -> None:
        if not samples:
            raise ParameterError("a sampled piano needs samples")
        for pitch in samples:
            if pitch not in PIANO_PITCHES:
                raise ParameterError(f"a piano has no key {pitch}, only 21 to 108")
        self._keys = {pitch: _prepare(pitch, layers) for pitch, layers in sorted(samples.items())}
        self._level_db = _smooth_levels(self._keys)
        # A cache per piano, which is freed with it.
        self._transposed = lru_cache(_MAX_CACHED)(self._transpose)

    @classmethod
    def load(cls, source: str | Path) -> SampledPiano:
        """Load a piano from a folder of notes, or a shipped one by name.

        Parameters
        ----------
        source : str or Path
            ``"default"``, the piano that is shipped, or a folder with files named
            ``<MIDI number>_<layer>.<flac, ogg or wav>``, such as ``060_ff.flac``. Other suffixes
            are ignored.

            The names of the layers of a key, in either case, tell their order: dynamics (``pp``,
            ``mf``, ...), ``soft``, ``medium`` and ``loud``, ``L``, ``M`` and ``H``, or names that
            differ in a number (``v030``, ``v096``). Other layers are ordered by level.

        Raises
        ------
        FormatError
            If there is no such folder, it has no such file, a file has another name, is silent, or
            is of a key that is not on a piano.
        AudioError
            If a file cannot be read.
        """
        folder = shipped_pianos().get(str(source), Path(source))
        if not folder.is_dir():
            names = ", ".join(shipped_pianos())
            raise FormatError(f"{folder}: no such piano (shipped: {names}; or give a folder)")
        layers: dict[int, list[tuple[str, NDArray[np.float32]]]] = defaultdict(list)
        for path in sorted(folder.glob("*")):
            if path.suffix.lower() in _SUFFIXES:
                number, _, layer = path.stem.partition("_")
                if not (number.isdecimal() and layer):
                    raise FormatError(f"{path}: a note is called <MIDI number>_<layer>")
                samples = read_audio(path, sample_rate=SAMPLE_RATE).samples
                layers[int(number)].append((layer, samples))
        if not layers:
            raise FormatError(f"{folder}: has no notes called <MIDI number>_<layer>")
        try:
            return cls({pitch: _soft_to_loud(named) for pitch, named in layers.items()})
        except ParameterError as error:
            raise FormatError(f"{folder}: {error}") from error

    def render(
        self,
        notes: NoteList,
        *,
        rng: np.random.Generator | None = None,
        tuning: float = 0.0,
        detuning: ArrayLike | None = None,
        resonance_db: float | None = -30.0,
    ) -> NDArray[np.float32]:
        """Render notes.

        Parameters
        ----------
        notes : NoteList
            Notes 21 to 108 with key offsets, and the sustain pedal in `notes.pedal`.
        rng : numpy.random.Generator, optional
            Random number generator for the phases of the resonance. Default: one of seed 0, with
            which the same notes give the same sound.
        tuning : float, default=0.0
            Tuning relative to the samples, in semitones.
        detuning : array_like, shape (88,), optional
            Additional tuning of each key in cents, rounded to integers.
        resonance_db : float or None, default=-30.0
            Level in dB of the resonance of all strings while the pedal is down, relative to the
            sound that excites it; None for no resonance.

        Returns
        -------
        ndarray, shape (n_samples,)
            Samples at 16 kHz, until a second after the last damper has fallen. Attacks are within
            3 ms of the onsets, those of soft low notes within 10 ms. A note of velocity 127 has an
            RMS of about -20 dBFS; loud chords may exceed full scale.

        Raises
        ------
        ParameterError
            If a note is not on a piano, or a parameter is outside its domain.
        """
        outside = [pitch for pitch in notes.pitch.tolist() if pitch not in PIANO_PITCHES]
        if outside:
            raise ParameterError(f"a piano has no key {outside[0]}, only 21 to 108")
        check_number("tuning", tuning)
        if resonance_db is not None:
            check_number("resonance_db", resonance_db)
        cents = real_array(
            "detuning", np.zeros(len(PIANO_PITCHES)) if detuning is None else detuning
        )
        if cents.shape != (len(PIANO_PITCHES),) or not np.isfinite(cents).all():
            raise ParameterError("detuning must be 88 finite numbers")
        # Samples played at another rate have another tuning: everything is rendered at that rate.
        rate = SAMPLE_RATE * 2.0 ** (tuning / 12)
        sounding = notes.pedalled()
        duration = sounding.offset.max(initial=0.0) + _TAIL
        audio = np.zeros(int(np.ceil(duration * rate)), np.float32)
        for (onset, offset), pitch, velocity in zip(
            sounding.intervals.tolist(),
            sounding.pitch.tolist(),
            sounding.velocity.tolist(),
            strict=True,
        ):
            note = self._strike(pitch, velocity, (offset - onset) * rate / SAMPLE_RATE, cents)
            start = round(onset * rate) - round(_LEAD * SAMPLE_RATE)
            begin, end = max(start, 0), min(start + len(note), len(audio))
            audio[begin:end] += note[begin - start : end - start]
        if resonance_db is not None:
            rng = rng or np.random.default_rng(0)
            audio += resonance(audio, notes.pedal * rate, resonance_db, rng)
        if tuning:
            audio = soxr.resample(audio, rate, SAMPLE_RATE)
        n_samples = int(np.ceil(duration * SAMPLE_RATE))
        audio = np.pad(audio, (0, max(0, n_samples - len(audio))))[:n_samples]
        return fade(audio, n_in=0)  # the first note may begin with the recording

    def _strike(
        self, pitch: int, velocity: int, held: float, cents: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Render one note, whose damper falls `held` seconds after its attack."""
        key = min(self._keys, key=lambda recorded: abs(recorded - pitch))
        correlations = self._keys[key].correlations
        n_layers = len(correlations) + 1
        position = float(np.clip(velocity / 127 * n_layers - 0.5, 0, n_layers - 1))
        soft = min(int(position), n_layers - 2)
        loud_part = position - soft
        soft_part = 1 - loud_part
        semitones = pitch - key + round(float(cents[pitch - PIANO_PITCHES[0]])) / 100

        level_db = _FULL_VELOCITY_DB + self._level_db[pitch - PIANO_PITCHES[0]]
        gain = 10 ** (level_db / 20) * (velocity / 127) ** _VELOCITY_POWER
        # Layers that are not in phase add up to less.
        gain /= np.sqrt(1 - 2 * soft_part * loud_part * (1 - correlations[soft]))
        layers = (
            self._transposed(key, soft, semitones) if soft_part else None,
            self._transposed(key, soft + 1, semitones) if loud_part else None,
        )
        n_samples = max(len(layer) for layer in layers if layer is not None)

        fall = round((_LEAD + held) * SAMPLE_RATE)
        if pitch <= _DAMPED_KEYS[1]:
            damping = np.interp(pitch, _DAMPED_KEYS, _DAMPING) * SAMPLE_RATE
            n_samples = min(n_samples, fall + round(3 * damping))
        note = np.zeros(n_samples, np.float32)
        for layer, part in zip(layers, (soft_part, loud_part), strict=True):
            if layer is not None:
                note[: len(layer)] += np.float32(gain * part) * layer[:n_samples]
        if pitch <= _DAMPED_KEYS[1] and fall < n_samples:
            note[fall:] *= decay(n_samples - fall, damping)
        return note

    def _transpose(self, key: int, layer: int, semitones: float) -> NDArray[np.float32]:
        """Resample a layer of a key, with the attack still at `_LEAD`."""
        sample = self._keys[key].layers[layer]
        if semitones:
            ratio = 2.0 ** (semitones / 12)
            sample = soxr.resample(sample, SAMPLE_RATE * ratio, SAMPLE_RATE)
            lead = _LEAD * SAMPLE_RATE
            sample = _shifted(sample, round(lead) - round(lead / ratio))
        return fade(sample[: round(_MAX_DURATION * SAMPLE_RATE)])


def shipped_pianos() -> dict[str, Path]:
    """Return the folders of the pianos that are shipped with harmnmf, by name.

    Examples
    --------
    >>> sorted(shipped_pianos())
    ['default']
    """
    pianos = Path(str(resources.files("harmnmf"))) / "data" / "pianos"
    return {folder.name: folder for folder in sorted(pianos.iterdir()) if folder.is_dir()}


def _soft_to_loud(layers: Sequence[tuple[str, NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """Order the named layers of a key, by level if their names tell no order.

    Collections may normalise each layer by itself.
    """
    names, samples = zip(*layers, strict=True)
    ranks = layer_ranks(names)
    if ranks is None:
        ranks = [_level(_aligned(sample)) for sample in samples]
    return [samples[i] for i in np.argsort(ranks, kind="stable")]


def _prepare(pitch: int, layers: Sequence[ArrayLike]) -> _Key:
    """Scale and align the layers of a key; derive softer ones from a single layer."""
    if not layers:
        raise ParameterError(f"key {pitch} has no samples")
    samples = []
    for layer in layers:
        sample = np.asarray(layer, np.float32)
        if sample.ndim != 1 or not np.any(sample):
            raise ParameterError(f"a sample of key {pitch} is not mono, or silent")
        sample = _aligned(sample)
        level = _level(sample)
        samples.append(sample / np.float32(level))
    level_db = 20 * np.log10(level)
    if len(samples) == 1:
        samples = [*(_softened(samples[0], pitch, n) for n in _SOFTER_PARTIALS), samples[0]]
    samples = [*(_in_phase(sample, samples[-1]) for sample in samples[:-1]), samples[-1]]
    correlations = [float(np.mean(_first(soft) * _first(loud))) for soft, loud in pairwise(samples)]
    return _Key(samples, correlations, level_db)


def _smooth_levels(keys: Mapping[int, _Key]) -> NDArray[np.float64]:
    """Smooth the levels in dB of the recorded keys over all 88 keys, relative to the loudest."""
    recorded = np.array(list(keys))
    distance = np.array(PIANO_PITCHES)[:, None] - recorded
    # Relative to the nearest key, so that far from all others its level remains.
    nearest = np.abs(distance).min(axis=1, keepdims=True)
    weights = np.exp(-0.5 * (distance**2 - nearest**2) / _LEVEL_SMOOTHING**2)
    levels = weights @ np.array([key.level_db for key in keys.values()]) / weights.sum(axis=1)
    return np.asarray(levels - levels.max())


def _softened(sample: NDArray[np.float32], pitch: int, n_partials: float) -> NDArray[np.float32]:
    """Attenuate the partials of a note above the n-th by 6 dB per octave."""
    cutoff = float(np.clip(n_partials * pitch_to_hz(pitch), *_SOFTER_RANGE))
    pole = np.exp(-2 * np.pi * cutoff / SAMPLE_RATE)
    softer = lfilter([1 - pole], [1, -pole], sample).astype(np.float32)
    return np.asarray(softer / np.sqrt(np.mean(_first(softer) ** 2)))


def _aligned(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut or pad the beginning of a sample so that its attack is at `_LEAD`."""
    lead, attack = round(_LEAD * SAMPLE_RATE), _attack(sample)
    begin = max(0, attack - lead)
    faded = fade(sample[begin:], n_in=min(FADE_IN, attack))
    return _shifted(faded, lead - (attack - begin))


def _level(sample: NDArray[np.float32]) -> float:
    """RMS of the beginning of an aligned sample."""
    return float(np.sqrt(np.mean(_first(sample) ** 2, dtype=np.float64)))


def _attack(sample: NDArray[np.float32]) -> int:
    """Find where the slope of a sample first comes within 20 dB of its peak, averaged over 1 ms.

    The slope emphasises the high partials, which in low strings arrive up to 15 ms early.
    """
    window = SAMPLE_RATE // 1000
    slope = np.diff(sample[: SAMPLE_RATE // 10], prepend=sample[:1])
    power = np.convolve(slope**2, np.ones(window), mode="same")
    return int(np.argmax(power > 0.01 * power.max()))


def _in_phase(sample: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift a sample by up to 2 ms to maximise its correlation with another layer.

    Mixed out of phase, partials would cancel.
    """
    longest = round(_MAX_LAG * SAMPLE_RATE)
    compared, centre = _first(reference), len(_first(sample)) - 1
    correlation = correlate(compared, _first(sample))[centre - longest : centre + longest + 1]
    return _shifted(sample, int(np.argmax(correlation)) - longest)


def _first(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the part of a sample in which levels and correlations are measured."""
    n_samples = round((_LEAD + _LEVEL_TIME) * SAMPLE_RATE)
    return np.pad(sample[:n_samples], (0, max(0, n_samples - len(sample))))


def _shifted(sample: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    """Shift a sample later, or earlier if negative."""
    return np.pad(sample, (shift, 0)) if shift > 0 else sample[-shift:]
