"""Events of a transcription while it is played: notes and the sustain pedal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harmnmf.decoder.onsets import SHORTEST_NOTE
from harmnmf.notes.note_list import NoteList

__all__ = ["Event", "NoteOff", "NoteOn", "PedalEvent", "notes_from_events"]


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


def notes_from_events(events: Iterable[Event], end: float | None = None) -> NoteList:
    """Convert events to notes and intervals of the sustain pedal.

    Parameters
    ----------
    events : iterable of Event
        Events in the order in which they were returned.
    end : float, optional
        Seconds at which the pedal goes up and notes end that have no :class:`NoteOff`, though 40 ms
        after their onset at the earliest. Default: the time of the last event.

    Returns
    -------
    NoteList
        The notes. Those held by the pedal end where their sound does;
        :meth:`~harmnmf.NoteList.pedalled` extends them.

    Examples
    --------
    >>> events = [NoteOn(0.5, 60, 70, 0.9), PedalEvent(0.6, True), NoteOff(1.0, 60)]
    >>> notes = notes_from_events(events, end=2.0)
    >>> notes.intervals, notes.pedal
    (array([[0.5, 1. ]]), array([[0.6, 2. ]]))
    """
    sounding: dict[int, NoteOn] = {}
    ended: list[tuple[NoteOn, float]] = []
    pedal: list[tuple[float, float]] = []
    down: float | None = None
    last = 0.0
    for event in events:
        last = max(last, event.time)
        if isinstance(event, PedalEvent):
            if down is not None:
                pedal.append((down, event.time))
            down = event.time if event.is_down else None
            continue
        if event.pitch in sounding:
            ended.append((sounding.pop(event.pitch), event.time))
        if isinstance(event, NoteOn):
            sounding[event.pitch] = event
    if end is None:
        end = last
    ended += [(note, max(end, note.time + SHORTEST_NOTE)) for note in sounding.values()]
    if down is not None:
        pedal.append((down, end))
    # A latency that was subtracted from the times may have moved both ends to 0.
    ended = [(note, offset) for note, offset in ended if offset > note.time]
    return NoteList(
        [note.time for note, _ in ended],
        [offset for _, offset in ended],
        [note.pitch for note, _ in ended],
        [note.velocity for note, _ in ended],
        [(start, stop) for start, stop in pedal if stop > start],
    )
