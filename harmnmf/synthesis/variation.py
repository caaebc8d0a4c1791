"""Performances varied at random, so that a few hundred of them make training material."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList

__all__ = ["excerpt", "vary_performance"]

_KEYS = (21, 108)
_TRANSPOSITION = (-5, 6)  # semitones
_STRETCH = (0.8, 1.25)
_MEAN_VELOCITY = (35.0, 95.0)
_VELOCITY_POWER = (0.7, 1.5)
_VELOCITY_SPREAD = (0.6, 1.4)  # factor
_JITTER = 0.005  # seconds
# Seconds. What sounds shorter nobody played: the program was wrong that transcribed the recording.
_SHORTEST = 0.02

_PEDAL_REMOVED = 0.1
_PEDAL_ADDED = 0.5
_PEDAL_CHANGE = (0.4, 3.0)  # seconds
# Seconds from a chord until the pedal, which was released with it, is down again.
_PEDAL_DELAY = (0.05, 0.25)


def excerpt(notes: NoteList, rng: np.random.Generator, duration: float) -> NoteList:
    """Choose a part of a performance.

    Parameters
    ----------
    notes : NoteList
        The performance.
    rng : numpy.random.Generator
        Source of the choice.
    duration : float
        Seconds, positive.

    Returns
    -------
    NoteList
        What begins within `duration` seconds, moved to time zero and cut at `duration`. They lie
        between the first onset and the last offset, or begin with the first onset if the
        performance is shorter.

    Raises
    ------
    ParameterError
        If `duration` is not positive.

    Examples
    --------
    >>> scale = NoteList(np.arange(8), np.arange(8) + 0.9, np.arange(60, 68), [70] * 8)
    >>> len(excerpt(scale, np.random.default_rng(0), 3.0))
    3
    """
    if not duration > 0:
        raise ParameterError(f"duration must be positive seconds, not {duration}")
    # Files that were cut out of a recording may begin after minutes of silence.
    earliest = notes.onset[0] if len(notes) else 0.0
    latest = notes.offset.max(initial=0.0) - duration
    start = rng.uniform(earliest, max(latest, earliest))
    return notes.slice(start, start + duration).shift(-start)


def vary_performance(notes: NoteList, rng: np.random.Generator) -> NoteList:
    """Play the same otherwise: in another key, tempo and loudness, and with another pedal.

    All of it is transposed by -5 to 6 semitones, without what falls off the keyboard, stretched
    in time by 0.8 to 1.25 and set to a mean velocity of 35 to 95, with 0.6 to 1.4 of the spread.
    Each onset moves by up to 5 ms; what sounds for less than 20 ms is left out. One pedal in ten
    is left out, too; half of the performances without one get a legato pedal, changed at some of
    the onsets.

    Parameters
    ----------
    notes : NoteList
        A performance with key offsets.
    rng : numpy.random.Generator
        Source of the variation.

    Returns
    -------
    NoteList
        Without overlaps.

    Examples
    --------
    >>> song = NoteList([0, 1], [1, 2], [60, 64], [70, 80])
    >>> varied = vary_performance(song, np.random.default_rng(0))
    >>> int(varied.pitch[1] - varied.pitch[0])
    4
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
    kept = is_played & (pitch >= _KEYS[0]) & (pitch <= _KEYS[1])
    return NoteList(
        onset[kept], offset[kept], pitch[kept], velocity[kept], pedal
    ).without_overlaps()


def _vary_velocity(velocity: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bend velocities by a power, then give them another mean and spread."""
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
    """Change the pedal at some onsets: release it with the note, and press it soon after."""
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
