"""What a live transcription has heard so far: for its display, and for its closing line."""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harmnmf.live.events import Event, NoteOff, NoteOn
from harmnmf.notes.pitch_names import pitch_name

if TYPE_CHECKING:
    from harmnmf.live.following import Report
    from harmnmf.live.inputs import Source

_KEPT = 100  # events, more than a terminal has lines
_FALL = 30.0  # dB per second, of the level meter


@dataclass
class LiveState:
    """Counts, sounding keys and what else a display shows of a live transcription.

    Parameters
    ----------
    source : Source
        What is heard.
    look_ahead : float
        Seconds.
    """

    source: Source
    look_ahead: float
    time: float = 0.0
    level: float = 0.0  # peak of the last moments, full scale at 1
    peak: float = 0.0  # of all
    delay: float = 0.0  # seconds from the onset of the last note to its event
    n_lost: int = 0  # samples
    n_notes: int = 0
    keys: dict[int, bool] = field(default_factory=dict)  # sounding pitches; whether they are held
    is_pedal_down: bool = False
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_KEPT))
    messages: list[str] = field(default_factory=list)
    delays: array[float] = field(default_factory=lambda: array("f"))  # of all notes

    def update(self, report: Report) -> None:
        """Take in the next report."""
        fallen = self.level * 10 ** (-_FALL / 20 * (report.time - self.time))
        self.level = max(report.level, fallen)
        self.peak = max(report.level, self.peak)
        self.time, self.look_ahead, self.n_lost = report.time, report.look_ahead, report.n_lost
        self.messages += report.messages
        for event in report.events:
            self._add(event)
            if isinstance(event, NoteOn):
                # What waits has been heard, too.
                self.delay = report.time + report.delay - event.time
                self.delays.append(self.delay)

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
            return f"{heard}, {lost}, peak level {decibels(self.peak)} dB"
        if not self.source.is_live:
            return f"{heard}, {lost}"
        median, late = (round(1000 * x) for x in np.percentile(self.delays, (50, 99)))
        return f"{heard}, {lost}, delay {median} ms (99% within {late} ms)"


def decibels(level: float) -> int:
    """Convert a peak to decibels of full scale, from -100."""
    return round(20 * math.log10(max(level, 1e-5)))


def event_text(event: Event) -> str:
    """Write an event as a line of text: seconds, note, and what is known of it."""
    time = f"{event.time:10.3f}  "
    if isinstance(event, NoteOn):
        sound = f"velocity {event.velocity:3d}  confidence {event.confidence:.2f}"
        return f"{time}{pitch_name(event.pitch):<5}  on   {sound}"
    if isinstance(event, NoteOff):
        return f"{time}{pitch_name(event.pitch):<5}  off"
    return f"{time}pedal  {'down' if event.is_down else 'up'}"
