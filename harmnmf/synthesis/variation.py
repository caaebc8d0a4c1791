"""Random variation of performances: data augmentation for training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList
from harmnmf.signal.harmonics import PIANO_PITCHES

__all__ = ["excerpt", "vary_performance"]

_TRANSPOSITION = (-5, 6)  # semitones
_STRETCH = (0.8, 1.25)
_MEAN_VELOCITY = (35.0, 95.0)
_VELOCITY_POWER = (0.7, 1.5)
_VELOCITY_SPREAD = (0.6, 1.4)  # factor
_JITTER = 0.005  # seconds
_SHORTEST = 0.02  # seconds; shorter notes are errors of automatic transcription

_PEDAL_REMOVED = 0.1
_PEDAL_ADDED = 0.5
_PEDAL_CHANGE = (0.4, 3.0)  # seconds
_PEDAL_DELAY = (0.05, 0.25)  # seconds from the release of the pedal until it is down again


def excerpt(notes: NoteList, rng: np.random.Generator, duration: float) -> NoteList:
    """Draw a random excerpt of some seconds, shifted to time zero.

    It lies between the first onset and the last offset. A shorter performance is returned whole,
    from its first onset.
    """
    # Some files begin with minutes of silence.
    earliest = notes.onset[0] if len(notes) else 0.0
    latest = notes.offset.max(initial=0.0) - duration
    start = rng.uniform(earliest, max(latest, earliest))
    return notes.slice(start, start + duration).shift(-start)


def vary_performance(notes: NoteList, rng: np.random.Generator) -> NoteList:
    """Vary key, tempo, dynamics and pedalling of a performance at random.

    Notes are transposed by -5 to 6 semitones (those off the keyboard are dropped), stretched in
    time by 0.8 to 1.25 and scaled to a mean velocity of 35 to 95, with 0.6 to 1.4 of the spread.
    Each onset moves by up to 5 ms; notes that sound for less than 20 ms are dropped. The pedal is
    removed from one performance in ten; half of those without one get a legato pedal, changed at
    some of the onsets.

    `notes` have key offsets; the result has no overlaps.
    """
    notes = notes.without_overlaps()
    sounding = notes.pedalled()
    is_played = sounding.offset - sounding.onset >= _SHORTEST
    pitch = notes.pitch + rng.integers(*_TRANSPOSITION, endpoint=True)
    stretch = rng.uniform(*_STRETCH)
    velocity = _vary_velocity(notes.velocity, rng)
    onset = stretch * notes.onset + rng.uniform(-_JITTER, _JITTER, len(notes))
    onset = np.maximum(onset, 0.0)
    offset = np.maximum(stretch * notes.offset, onset + _SHORTEST)
    pedal = stretch * notes.pedal
    if len(pedal) and rng.random() < _PEDAL_REMOVED:
        pedal = pedal[:0]
    elif not len(pedal) and rng.random() < _PEDAL_ADDED:
        pedal = _legato_pedal(stretch * notes.onset, offset.max(initial=0.0), rng)
    kept = is_played & np.isin(pitch, PIANO_PITCHES)
    return NoteList(
        onset[kept], offset[kept], pitch[kept], velocity[kept], pedal
    ).without_overlaps()


def _vary_velocity(velocity: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Raise velocities to a power, then change their mean and spread."""
    power, spread = rng.uniform(*_VELOCITY_POWER), rng.uniform(*_VELOCITY_SPREAD)
    mean = rng.uniform(*_MEAN_VELOCITY)
    if not velocity.size:
        return velocity.astype(np.float64)
    bent = (velocity / 127) ** power
    scale = spread * velocity.std() / max(bent.std(), 1e-9)
    return np.clip(np.rint(mean + scale * (bent - bent.mean())), 1, 127)


def _legato_pedal(
    onset: NDArray[np.float64], end: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Pedal that is released at some of the onsets and pressed soon after."""
    changes = []
    latest = -np.inf
    for time in onset.tolist():
        if time > latest:
            changes.append(time)
            latest = time + rng.uniform(*_PEDAL_CHANGE)
    released = np.array([*changes[1:], end])
    pressed = np.array(changes) + rng.uniform(*_PEDAL_DELAY, len(changes))
    held = np.column_stack([pressed, released[: len(changes)]])
    return held[held[:, 1] > held[:, 0]]
