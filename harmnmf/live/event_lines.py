"""Events as lines of JSON: what `harmnmf listen --json` prints and a take keeps."""

from __future__ import annotations

import json

from harmnmf.notes.event_lines import parse_event_line

from .events import Event, NoteOff, NoteOn, PedalEvent

__all__ = ["event_from_line", "event_to_line"]


def event_to_line(event: Event) -> str:
    """Write an event as a JSON object, without a line break.

    Times are rounded to 0.1 ms, the confidence to 0.001. :func:`harmnmf.read_notes` reads files of
    such lines.

    Examples
    --------
    >>> event_to_line(NoteOn(1.234, 60, 80, 0.93))
    '{"event":"note_on","time":1.234,"pitch":60,"velocity":80,"confidence":0.93}'
    >>> event_to_line(PedalEvent(1.5, True))
    '{"event":"pedal","time":1.5,"down":true}'
    """
    time = round(float(event.time), 4)
    if isinstance(event, NoteOn):
        values = {
            "event": "note_on",
            "time": time,
            "pitch": int(event.pitch),
            "velocity": int(event.velocity),
            "confidence": round(float(event.confidence), 3),
        }
    elif isinstance(event, NoteOff):
        values = {"event": "note_off", "time": time, "pitch": int(event.pitch)}
    else:
        values = {"event": "pedal", "time": time, "down": bool(event.is_down)}
    return json.dumps(values, separators=(",", ":"))


def event_from_line(line: str) -> Event:
    """Parse an event that :func:`event_to_line` wrote; raise ValueError if it is none.

    Examples
    --------
    >>> event_from_line('{"event":"note_off","time":1.5,"pitch":60}')
    NoteOff(time=1.5, pitch=60)
    """
    values = parse_event_line(line)
    time = float(values["time"])
    if values["event"] == "note_on":
        return NoteOn(time, values["pitch"], values["velocity"], values["confidence"])
    if values["event"] == "note_off":
        return NoteOff(time, values["pitch"])
    return PedalEvent(time, values["down"])
