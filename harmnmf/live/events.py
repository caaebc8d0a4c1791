"""Events of a transcription while it is played: notes and the sustain pedal."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Event", "NoteOff", "NoteOn", "PedalEvent"]


@dataclass(frozen=True)
class NoteOn:
    """A note begins.

    Parameters
    ----------
    time : float
        Onset in seconds from the first sample of the stream.
    pitch : int
        MIDI number.
    velocity : int
        MIDI velocity, from 1 to 127.
    confidence : float
        Probability of the onset, from 0 to 1.
    """

    time: float
    pitch: int
    velocity: int
    confidence: float


@dataclass(frozen=True)
class NoteOff:
    """A note ends; `time` is in seconds from the first sample, `pitch` a MIDI number."""

    time: float
    pitch: int


@dataclass(frozen=True)
class PedalEvent:
    """The sustain pedal moves; `time` is in seconds from the first sample."""

    time: float
    is_down: bool


Event = NoteOn | NoteOff | PedalEvent
