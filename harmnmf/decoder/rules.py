"""Decode notes from activations by rules: onsets, offsets and velocities.

An onset is a peak of a key's attack activation. Whether it is a note depends on more than its
height: a real note sounds after its attack and not before; a spurious one usually accompanies
louder notes, and the ends of the keyboard are seldom played. The evidence for
an onset weighs these levels, all in decibels relative to the recording's own loud attacks::

    evidence[k, n] = attack[k, n] - 0.25 mixture[n] - 16 overtone[k, n]
                     - 0.1 sustain[k, n - 60 ms]
                     + 0.15 sustain[k, n + 100 ms] + 0.05 sustain[k, n + 240 ms]
                     - 46 ((pitch[k] - 64) / 88)²

A key struck together with a stronger note an octave below may be an overtone of it: `overtone`
rises from 0 if that note is up to 2 dB stronger to 1 if it is at least 6 dB stronger. This rule
and the threshold were set by hand; the weights are rounded from a logistic regression of right and
wrong peaks in performances rendered with a sampled piano that the dictionary was not learned from,
as examples/render.py renders them. One setting serves all recordings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.reverberation import Reverberation
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.front_end import FrontEnd
from harmnmf.storage.files import atomic_path
from harmnmf.validation import check_integer, check_number

from .analysis import AnalysedBlock, Recording
from .features import typical_room
from .levels import reference_level

__all__ = [
    "N_ITER", "PianoActivations", "RuleDecoder", "check_thresholds", "decode_notes", "note_ends",
    "onset_evidence",
]  # fmt: skip

# Iterations of the solver with which the rules and their threshold were set.
N_ITER = 30

# Seconds. An attack activation may be spread over neighbouring frames; two onsets of a key are
# further apart than a quick repetition.
_ATTACK_WIDTH = 0.06
_NEARBY = 0.1
_TOGETHER = 0.06
_REPETITION = 0.08
_BEFORE = 0.06
_AFTER = ((0.1, 0.15), (0.24, 0.05))
_SHORTEST_NOTE = 0.04
# Decibels. Below the floor levels make no difference.
_FLOOR = -60.0
# Levels of the octave below, relative to a note, between which the penalty for an overtone rises
# from 0 to its maximum; and this maximum.
_OCTAVE_GAP = (2.0, 6.0)
_OVERTONE = 16.0
# MIDI velocity of an attack as strong as the loud ones, and its change per decibel, from a
# regression on recordings of sampled pianos.
_LOUD_VELOCITY = 65.0
_VELOCITY_PER_DB = 1.3


@dataclass(frozen=True, eq=False)
class PianoActivations:
    """Activations of a piano's keys.

    Parameters
    ----------
    attack : ndarray, shape (n_pitches, n_frames)
        Attack activations.
    sustain : ndarray, shape (n_pitches, n_frames)
        Activations of the sustained timbres, summed over timbres.
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    hop_duration : float
        Seconds from frame to frame.
    n_attack : int
        Frames of an attack.
    attack_lead : float
        Seconds from an attack activation to the start of the sound.
    """

    attack: NDArray[np.float32]
    sustain: NDArray[np.float32]
    pitches: NDArray[np.int64]
    hop_duration: float
    n_attack: int
    attack_lead: float

    def __post_init__(self) -> None:
        shapes = [np.shape(self.attack), np.shape(self.sustain), np.shape(self.pitches)]
        if len(shapes[0]) != 2 or shapes[0] != shapes[1] or shapes[0][:1] != shapes[2]:
            raise ParameterError(
                "attack {}, sustain {} and pitches {} have shapes that disagree".format(*shapes)
            )
        for name in ("attack", "sustain"):
            values = getattr(self, name)
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise ParameterError(f"{name} must be finite and not negative")
        check_number("hop_duration", self.hop_duration, above=0)
        check_number("attack_lead", self.attack_lead)
        check_integer("n_attack", self.n_attack)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the activations to an .npz file, which `numpy.load` reads."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def join(cls, parts: Iterable[PianoActivations]) -> PianoActivations:
        """Concatenate consecutive parts, at least one."""
        parts = list(parts)
        attack = np.concatenate([part.attack for part in parts], axis=1)
        sustain = np.concatenate([part.sustain for part in parts], axis=1)
        return replace(parts[0], attack=attack, sustain=sustain)

    @property
    def level(self) -> NDArray[np.float32]:
        """Magnitude that each key contributes to each frame, shape (n_pitches, n_frames)."""
        total = np.cumsum(self.attack, axis=1, dtype=np.float64)
        total[:, self.n_attack :] -= total[:, : -self.n_attack].copy()
        return (total + self.sustain).astype(np.float32)


class RuleDecoder:
    """Decode notes by rules while a recording is analysed.

    Thresholds, those of :func:`decode_notes`, are relative to the recording's loud attacks: all
    activations are kept until the end.
    """

    def __init__(self, recording: Recording, **thresholds: float) -> None:
        self.recording = recording
        self.thresholds = thresholds
        self._parts: list[PianoActivations] = []

    @property
    def front_ends(self) -> list[FrontEnd]:
        """Front ends of the spectra in a block."""
        return [self.recording.dictionary.front_end]

    @property
    def reverberation(self) -> Reverberation:
        """Decay of the room that the recording is analysed with."""
        return typical_room(self.recording.hop_duration)

    def push(self, block: AnalysedBlock) -> PianoActivations:
        """Take the next block; return its activations without the context."""
        dictionary, inner = self.recording.dictionary, block.inner
        part = PianoActivations(
            block.activations.A[:, inner].cpu().numpy(),
            block.activations.S.sum(dim=1)[:, inner].cpu().numpy(),
            dictionary.pitches,
            self.recording.hop_duration,
            dictionary.n_attack,
            dictionary.attack_lead,
        )
        self._parts.append(part)
        return part

    def finish(self) -> NoteList:
        """Decode the notes, after the last block."""
        return decode_notes(PianoActivations.join(self._parts), **self.thresholds)

    def analyse(self, blocks: Iterable[AnalysedBlock]) -> PianoActivations:
        """Compute the activations of a whole recording."""
        return PianoActivations.join(map(self.push, blocks))


def onset_evidence(activations: PianoActivations) -> tuple[NDArray[np.float32], ...]:
    """Compute attack levels and the evidence for an onset of each key in each frame.

    Both have shape (n_pitches, n_frames). The levels are in dB relative to the loud attacks of the
    recording, at least -60; the evidence, in dB too, is defined in the module's docstring.
    """
    frames = partial(_whole_frames, activations.hop_duration)
    width = frames(_ATTACK_WIDTH)
    strength = width * ndimage.uniform_filter1d(activations.attack, width, axis=1)
    reference = reference_level(strength)

    def decibels(level: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.float32(20) * np.log10(level / reference + np.float32(10 ** (_FLOOR / 20)))

    attack, sustain = decibels(strength), decibels(activations.sustain)
    nearby = ndimage.maximum_filter1d(strength, frames(_NEARBY), axis=1)
    together = ndimage.maximum_filter1d(strength, frames(_TOGETHER), axis=1)
    octave_below = np.zeros_like(together)
    pitches = activations.pitches
    rows, below = np.nonzero(pitches[:, None] - pitches == 12)
    octave_below[rows] = together[below]
    low, high = _OCTAVE_GAP
    overtone = (decibels(octave_below) - attack - low) / (high - low)

    evidence = attack - np.float32(0.25) * decibels(nearby.sum(axis=0))
    evidence -= np.float32(_OVERTONE) * overtone.clip(0, 1)
    evidence -= np.float32(0.1) * _moved(sustain, frames(_BEFORE))
    for delay, weight in _AFTER:
        evidence += np.float32(weight) * _moved(sustain, -frames(delay))
    evidence -= (46 * ((pitches[:, None] - 64) / 88) ** 2).astype(np.float32)
    return attack, evidence


def decode_notes(
    activations: PianoActivations,
    *,
    onset_threshold: float = -20.0,
    offset_threshold: float = -26.0,
    latency: float = -0.006,
) -> NoteList:
    """Decode notes from the activations of a whole recording.

    Parameters
    ----------
    activations : PianoActivations
        Activations.
    onset_threshold : float, default=-20.0
        Minimum evidence of an onset in dB. Higher values give fewer, more certain notes.
    offset_threshold : float, default=-26.0
        A note ends when its level has fallen by this many dB from its maximum, and at the
        latest when its key is struck again.
    latency : float, default=-0.006
        Seconds subtracted from all onsets. By default they lie where the sound begins: attack
        activations are 6 ms early, in the median of performances rendered with seven pianos.

    Returns
    -------
    NoteList
        The notes; velocities grow with the level of the attacks.

    Raises
    ------
    ParameterError
        If a threshold or the latency is not finite.

    Examples
    --------
    >>> attack, sustain = np.zeros((2, 88, 100), dtype=np.float32)
    >>> attack[39, 50], sustain[39, 60:80] = 1.0, 0.2
    >>> piano = PianoActivations(attack, sustain, np.arange(21, 109), 0.02, 10, 0.02)
    >>> notes = decode_notes(piano)
    >>> notes.pitch, notes.onset.round(3), notes.offset.round(3)
    (array([60]), array([1.026]), array([1.6]))
    """
    check_thresholds(
        onset_threshold=onset_threshold, offset_threshold=offset_threshold, latency=latency
    )
    frames = partial(_whole_frames, activations.hop_duration)
    attack, evidence = onset_evidence(activations)
    highest = ndimage.maximum_filter1d(attack, 2 * frames(_REPETITION) + 1, axis=1)
    keys, peaks = np.nonzero((attack == highest) & (attack > _FLOOR))
    # A plateau is one onset, at its middle, with the largest evidence along it.
    first = np.flatnonzero((np.diff(keys, prepend=-1) != 0) | (np.diff(peaks, prepend=-1) != 1))
    last = np.append(first[1:], len(keys))[: len(first)] - 1
    is_onset = np.maximum.reduceat(evidence[keys, peaks], first) > onset_threshold
    keys, peaks = keys[first][is_onset], ((peaks[first] + peaks[last]) // 2)[is_onset]

    hop, lead = activations.hop_duration, activations.attack_lead
    onsets = (_refined(activations.attack, keys, peaks) * hop + lead - latency).clip(min=0.0)
    level = activations.level
    loudest = np.array(
        [
            level[key, peak : peak + activations.n_attack].max()
            for key, peak in zip(keys, peaks, strict=True)
        ],
        level.dtype,
    )
    quiet = loudest * 10 ** (offset_threshold / 20)
    ends = note_ends(level, quiet, keys, peaks, frames(_SHORTEST_NOTE))
    offsets = np.maximum(ends * hop, onsets + _SHORTEST_NOTE)
    velocities = _LOUD_VELOCITY + _VELOCITY_PER_DB * attack[keys, peaks]
    notes = NoteList(
        onsets,
        offsets,
        activations.pitches[keys],
        np.clip(np.round(velocities), 1, 127).astype(np.int64),
    )
    return notes.without_overlaps()


def check_thresholds(**values: float) -> None:
    """Raise ParameterError if a threshold is not finite."""
    for name, value in values.items():
        check_number(name, value)


def note_ends(
    level: NDArray[np.generic],
    quiet: NDArray[np.generic],
    keys: NDArray[np.int64],
    peaks: NDArray[np.int64],
    shortest: int,
) -> NDArray[np.int64]:
    """Find the first frame after each onset that is quiet, or in which the key is struck again.

    `level` has a row for each key; `quiet`, `keys` and `peaks` have the level below which a note
    has ended, its row and its first frame, sorted; `shortest` is the minimum length in frames.
    """
    ends = np.full(len(keys), level.shape[1])
    ends[:-1] = np.where(np.diff(keys) == 0, peaks[1:], ends[:-1])
    for i, (key, peak) in enumerate(zip(keys, peaks, strict=True)):
        is_quiet = level[key, peak + shortest : ends[i]] < quiet[i]
        if is_quiet.any():
            ends[i] = peak + shortest + is_quiet.argmax()
    return ends


def _whole_frames(hop_duration: float, seconds: float) -> int:
    return max(1, round(seconds / hop_duration))


def _moved(levels: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
    """Shift to later frames (earlier if negative), repeating the first or last frame."""
    source = np.arange(levels.shape[1]) - n_frames
    return levels[:, source.clip(0, max(0, levels.shape[1] - 1))]


def _refined(
    attack: NDArray[np.float32], keys: NDArray[np.int64], peaks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Vertex of the parabola through the levels of each peak and its neighbours, in frames."""
    padded = np.pad(attack, ((0, 0), (2, 2))).astype(np.float64)
    # Averaging may have moved the maximum by a frame.
    around = np.stack([padded[keys, peaks + 2 + d] for d in (-1, 0, 1)])
    peaks = peaks + around.argmax(axis=0) - 1
    levels = np.stack([padded[keys, peaks + 2 + d] for d in (-1, 0, 1)])
    before, at, after = np.log(levels + np.finfo(np.float32).eps * levels.max(axis=0))
    curvature = before - 2 * at + after
    return peaks + 0.5 * (before - after) / np.where(curvature < 0, curvature, -np.inf)
