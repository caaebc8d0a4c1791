"""What a live transcription has heard so far: for its display, and for its closing line."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harmnmf.live.events import Event, NoteOff, NoteOn
from harmnmf.notes.pitch_names import pitch_name

if TYPE_CHECKING:
    from harmnmf.live.following import Report

_KEPT = 100  # events, more than a terminal has lines


@dataclass
class LiveState:
    """Counts, sounding keys and what else a display shows of a live transcription.

    Parameters
    ----------
    source : str
        What is heard, in words.
    look_ahead : float
        Seconds.
    """

    source: str
    look_ahead: float
    time: float = 0.0
    level: float = 0.0  # peak, full scale at 1
    delay: float = 0.0  # seconds from the last event's samples to the event
    n_lost: int = 0  # samples
    n_notes: int = 0
    keys: dict[int, bool] = field(default_factory=dict)  # sounding pitches; whether they are held
    is_pedal_down: bool = False
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_KEPT))
    messages: list[str] = field(default_factory=list)
    delays: array[float] = field(default_factory=lambda: array("f"))

    def update(self, report: Report) -> None:
        """Take in the next report."""
        self.time, self.level, self.look_ahead = report.time, report.level, report.look_ahead
        self.n_lost += report.n_lost
        self.messages += report.messages
        if report.events:
            self.delay = report.delay
            self.delays.append(report.delay)
        for event in report.events:
            self._add(event)

    def _add(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, NoteOn):
            self.n_notes += 1
            self.keys[event.pitch] = True
        elif isinstance(event, NoteOff):
            if self.is_pedal_down:
                self.keys[event.pitch] = False
            else:
                self.keys.pop(event.pitch, None)
        else:
            self.is_pedal_down = event.is_down
            if not event.is_down:
                self.keys = {pitch: held for pitch, held in self.keys.items() if held}

    def describe(self) -> str:
        """Say in a line how much was heard, and how fast."""
        heard = f"{self.n_notes} note{'s' * (self.n_notes != 1)} in {self.time:.1f} s"
        lost = f"{self.n_lost or 'no'} sample{'s' * (self.n_lost != 1)} lost"
        if not self.delays:
            return f"{heard}, {lost}"
        median, late = (round(1000 * x) for x in np.percentile(self.delays, (50, 99)))
        return f"{heard}, {lost}, delay {median} ms (99% within {late} ms)"


def event_text(event: Event) -> str:
    """Write an event as a line of text: seconds, note, and what is known of it."""
    time = f"{event.time:10.3f}  "
    if isinstance(event, NoteOn):
        sound = f"velocity {event.velocity:3d}  confidence {event.confidence:.2f}"
        return f"{time}{pitch_name(event.pitch):<5}  on   {sound}"
    if isinstance(event, NoteOff):
        return f"{time}{pitch_name(event.pitch):<5}  off"
    return f"{time}pedal  {'down' if event.is_down else 'up'}"
