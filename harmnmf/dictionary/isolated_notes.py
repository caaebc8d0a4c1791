"""Recordings of isolated notes: attack, pitch, and what makes them useless."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.notes.pitch_names import pitch_name
from harmnmf.signal.reading import read_audio

from .keys import DECAY, SILENCE
from .pitch import HeardNote, hear_note

__all__ = ["EmptyNoteError", "IsolatedNote", "find_attack", "read_note"]

# The attack begins where the magnitude first comes within this many dB of its maximum.
_ATTACK_THRESHOLD = -20.0
# A click does not last: from 10 to 60 ms after its peak it is this far below it. Of 898 notes of
# seven pianos none is more than 19 dB below.
_CLICK = (0.01, 0.06)
_CLICK_LEVEL = -26.0
# A second note rises by this many dB above the last frames, of so many seconds, to so many dB below
# the first note. Rises of single notes are of their own pitch, or rumble after those of high keys.
_RISE, _RISE_DEPTH = 2.5, 18.0
_RISE_FRAME, _RISE_FRAMES = 0.05, 4
_HIGHEST_LASTING = 96
_SHORTEST = 0.05  # seconds
_MAX_CLICKS = 20
# Seconds kept before the attack and after the decay.
_BEFORE, _AFTER = 0.1, 1.2


class EmptyNoteError(AudioError):
    """The recording of a note is silent, or too short to learn from."""


class IsolatedNote(NamedTuple):
    """Samples of a note, the first one of its attack, and the pitch that is heard.

    `duration` is in seconds from the attack.
    """

    samples: NDArray[np.float32]
    attack: int
    duration: float
    heard: HeardNote


def read_note(path: Path, sample_rate: int) -> IsolatedNote:
    """Read the recording of a note, from 0.1 s before its attack to the end of its decay.

    Parameters
    ----------
    path : Path
        Audio file; channels are averaged.
    sample_rate : int
        Sample rate of the note in Hz.

    Returns
    -------
    IsolatedNote
        The note.

    Raises
    ------
    AudioError
        If the file cannot be read, is silent or too short (EmptyNoteError), or holds two notes.
    """
    samples = read_audio(path, sample_rate=sample_rate).samples
    try:
        attack = find_attack(samples, sample_rate)
    except EmptyNoteError as error:
        raise EmptyNoteError(f"{path}: {error}") from error
    note = samples[attack:]
    duration = len(note) / sample_rate
    if duration < _SHORTEST:
        raise EmptyNoteError(f"{path}: lasts only {1000 * duration:.1f} ms; record the note again")
    heard = hear_note(note, sample_rate)
    # The sound of the highest keys ends before the rumble of their keys.
    if heard.is_clear and heard.pitch < _HIGHEST_LASTING:
        _check_single(path, heard, note, sample_rate)
    begin = max(0, attack - round(_BEFORE * sample_rate))
    end = attack + round((DECAY[1] + _AFTER) * sample_rate)
    return IsolatedNote(samples[begin:end], attack - begin, duration, heard)


def find_attack(samples: NDArray[np.float32], sample_rate: int) -> int:
    """Return the first sample of an isolated note whose magnitude is within 20 dB of the maximum.

    Clicks are passed over, as of a switch before or after the note.

    Examples
    --------
    >>> find_attack(np.r_[np.zeros(500), np.ones(5000)], 16000)
    500
    """
    magnitude = np.abs(samples)
    if magnitude.max(initial=0.0) < SILENCE:
        raise EmptyNoteError("the recording is silent; record the note again")
    start, end = (round(seconds * sample_rate) for seconds in _CLICK)
    first = None
    for _ in range(_MAX_CLICKS):
        peak = magnitude.max()
        if peak < SILENCE:
            break
        attack = int(np.argmax(magnitude >= peak * 10 ** (_ATTACK_THRESHOLD / 20)))
        first = attack if first is None else first
        after = magnitude[attack + start : attack + end]
        if len(after) and np.sqrt(np.mean(after**2)) >= peak * 10 ** (_CLICK_LEVEL / 20):
            return attack
        magnitude[attack : attack + start] = 0
    assert first is not None
    return first  # nothing lasts


def _check_single(
    path: Path, heard: HeardNote, samples: NDArray[np.float32], sample_rate: int
) -> None:
    """Raise AudioError if a note of another key follows."""
    for start in _rises(samples, sample_rate):
        later = hear_note(samples[start:], sample_rate)
        if later.is_clear and heard.differs_from(later.pitch) and later.differs_from(heard.pitch):
            first, second = (pitch_name(round(note.pitch)) for note in (heard, later))
            raise AudioError(
                f"{path}: holds two notes, {first} and {second}; cut it after the first, or leave "
                "it out"
            )


def _rises(samples: NDArray[np.float32], sample_rate: int) -> list[int]:
    """Find the samples at which the sound rises again after the attack."""
    frame = round(_RISE_FRAME * sample_rate)
    n_frames = len(samples) // frame
    power = np.square(samples[: n_frames * frame], dtype=np.float64).reshape(n_frames, frame)
    level = 10 * np.log10(power.mean(axis=1) + np.finfo(float).tiny)
    return [
        frame * n
        for n in range(_RISE_FRAMES, n_frames)
        if level[n] > level.max() - _RISE_DEPTH
        and level[n] - level[n - _RISE_FRAMES : n - 1].max() > _RISE
    ]
