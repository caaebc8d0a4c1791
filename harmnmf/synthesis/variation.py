"""Random variation of performances: data augmentation for training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList
from harmnmf.signal.harmonics import PIANO_PITCHES

__all__ = ["excerpt", "vary_performance"]

_TRANSPOSITION = (-5, 6)  # semitones
_ENDS = 0.1  # share of performances moved to either end of the keyboard
_ENDS_TRANSPOSITION = (12, 24)
# Shares of performances with octaves and with trills, and of the notes in these.
_DOUBLED, _DOUBLED_NOTES = 0.1, (0.2, 0.8)
_TRILLED, _TRILLED_NOTES = 0.1, (0.05, 0.3)
_TRILL_HZ, _TRILL_STEPS = (4.0, 15.0), (0, 1, 2)  # notes per second; semitones
_STRETCH = (0.8, 1.25)
_MEAN_VELOCITY = (32.0, 96.0)
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
    """Vary key, tempo, dynamics, pedalling and texture of a performance at random.

    Notes are transposed by -5 to 6 semitones, in one performance in ten by another one to two
    octaves up or down (those off the keyboard are dropped), stretched in time by 0.8 to 1.25 and
    scaled to a mean velocity of 32 to 96, with 0.6 to 1.4 of the spread. Each onset moves by up to
    5 ms; notes that sound for less than 20 ms are dropped. In one performance in ten, some notes
    are doubled by octaves; in as many, some become trills or repeated notes. The pedal is removed
    from one performance in ten; half of those without one get a legato pedal, changed at some of
    the onsets.

    `notes` have key offsets; the result has no overlaps.
    """
    notes = notes.without_overlaps()
    sounding = notes.pedalled()
    is_played = sounding.offset - sounding.onset >= _SHORTEST
    pitch = notes.pitch + _transposition(rng)
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
    columns = np.stack([onset, offset, pitch, velocity])[:, is_played]
    if rng.random() < _DOUBLED:
        columns = _with_octaves(columns, rng)
    if rng.random() < _TRILLED:
        columns = _with_trills(columns, rng)
    onset, offset, pitch, velocity = columns[:, np.isin(columns[2], PIANO_PITCHES)]
    return NoteList(onset, offset, pitch, velocity, pedal).without_overlaps()


def _transposition(rng: np.random.Generator) -> int:
    """Draw a transposition in semitones."""
    semitones = int(rng.integers(*_TRANSPOSITION, endpoint=True))
    if rng.random() < _ENDS:
        semitones += int(rng.choice([-1, 1]) * rng.integers(*_ENDS_TRANSPOSITION, endpoint=True))
    return semitones


def _with_octaves(columns: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Double some notes by an octave above or below, with velocities of their own."""
    doubled = columns[:, rng.random(columns.shape[1]) < rng.uniform(*_DOUBLED_NOTES)]
    n_notes = doubled.shape[1]
    onset, offset, pitch, velocity = doubled
    onset = np.maximum(onset + rng.uniform(-_JITTER, _JITTER, n_notes), 0.0)
    pitch = pitch + 12 * rng.choice([-1, 1], n_notes)
    velocity = np.clip(np.rint(velocity * rng.uniform(0.6, 1.3, n_notes)), 1, 127)
    octaves = np.stack([onset, np.maximum(offset, onset + _SHORTEST), pitch, velocity])
    return np.concatenate([columns, octaves], axis=1)


def _with_trills(columns: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Strike some notes again and again, or in turn with a neighbouring key."""
    rate, step = rng.uniform(*_TRILL_HZ), float(rng.choice(_TRILL_STEPS))
    share = rng.uniform(*_TRILLED_NOTES)
    parts = []
    for note, is_trilled in zip(columns.T, rng.random(len(columns.T)) < share, strict=True):
        onset, offset, pitch, velocity = note
        n_strikes = max(1, int((offset - onset) * rate)) if is_trilled else 1
        onsets = onset + np.arange(n_strikes) / rate
        loudness = np.full(n_strikes, velocity)
        loudness[1:] = np.rint(velocity * rng.uniform(0.7, 1.1, n_strikes - 1)).clip(1, 127)
        pitches = pitch + step * (np.arange(n_strikes) % 2)
        parts.append(np.stack([onsets, np.append(onsets[1:], offset), pitches, loudness]))
    return np.concatenate(parts, axis=1) if parts else columns


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
