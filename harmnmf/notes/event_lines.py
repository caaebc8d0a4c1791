"""Read notes from the events that `harmnmf listen` prints and keeps: a JSON object a line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harmnmf.errors import FormatError
from harmnmf.storage.files import open_plain

from .midi import notes_of_events
from .midi_events import CONTROLLER, NOTE_OFF, NOTE_ON, MidiEvent, MidiEvents
from .note_list import NoteList

__all__ = ["is_event_lines", "parse_event_line", "read_event_lines"]

_NAMES = {
    "note_on": ("time", "pitch", "velocity"),
    "note_off": ("time", "pitch"),
    "pedal": ("time", "down"),
}
_LATEST = 1e9  # seconds
_BEGINNING = 4096  # bytes
_SUSTAIN, _DOWN = 64, 127
# A tick is a microsecond at 120 beats per minute, the tempo of MIDI events without one.
_TICKS_PER_SECOND = 1_000_000
_TICKS_PER_BEAT = _TICKS_PER_SECOND // 2


def parse_event_line(line: str) -> dict[str, Any]:
    """Parse a line with an event.

    Parameters
    ----------
    line : str
        A JSON object with ``"event"`` and ``"time"`` in seconds. A ``"note_on"`` has ``"pitch"``,
        a MIDI number, and ``"velocity"``, a ``"note_off"`` has ``"pitch"``, and a ``"pedal"`` has
        ``"down"``, true or false.

    Returns
    -------
    dict
        The values by name, with others that the line may have.

    Raises
    ------
    ValueError
        If the line is not such an object, or a value is missing or out of range.

    Examples
    --------
    >>> parse_event_line('{"event":"note_off","time":1.5,"pitch":60}')
    {'event': 'note_off', 'time': 1.5, 'pitch': 60}
    """
    try:
        values = json.loads(line)
    except (RecursionError, ValueError):
        raise ValueError("is not a JSON object") from None
    if not isinstance(values, dict):
        raise ValueError("is not a JSON object")
    event = values.get("event")
    if not isinstance(event, str) or event not in _NAMES:
        raise ValueError(f'has no "event" that is one of {", ".join(_NAMES)}')
    for name in _NAMES[event]:
        if name not in values:
            raise ValueError(f'has no "{name}"')
        is_valid, needed = _VALUES[name]
        if not is_valid(values[name]):
            raise ValueError(f'its "{name}", {values[name]!r}, is not {needed}')
    return values


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LATEST


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_VALUES: dict[str, tuple[Callable[[object], bool], str]] = {
    "time": (_is_time, "a time in seconds from 0 on"),
    "pitch": (lambda value: _is_whole(value, 0, 127), "a whole number from 0 to 127"),
    "velocity": (lambda value: _is_whole(value, 1, 127), "a whole number from 1 to 127"),
    "down": (lambda value: isinstance(value, bool), "true or false"),
}


def read_event_lines(path: Path, data: bytes) -> tuple[NoteList, list[str]]:
    """Read notes, with key offsets, and the sustain pedal from lines with events.

    Parameters
    ----------
    path : Path
        Name of the file, for messages.
    data : bytes
        Its contents. The last line may be cut off, as when the program was killed.

    Returns
    -------
    notes : NoteList
        Notes and pedal.
    remarks : list of str
        What was changed or left out.

    Raises
    ------
    FormatError
        If another line is not an event.
    """
    lines = _lines(data)
    last = len(lines)
    midi = MidiEvents(1, _TICKS_PER_BEAT, ends=[0])
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            midi.events.append(_midi_event(parse_event_line(line)))
        except ValueError as error:
            if number < last or last == 1:
                raise FormatError(
                    f"{path}, line {number}: {error}; lines must be events as `harmnmf listen` "
                    "writes them"
                ) from None
            midi.repairs[f"its last line, {number}, is cut off and left out"] += 1
    midi.ends[0] = max((event.tick for event in midi.events), default=0)
    return notes_of_events(midi)


def is_event_lines(path: Path) -> bool:
    """Whether a file begins with an event."""
    try:
        with open_plain(path) as file:
            parse_event_line(_lines(file.read(_BEGINNING))[0])
    except (OSError, ValueError):
        return False
    return True


def _lines(data: bytes) -> list[str]:
    """Lines; the last one, behind the last line break, is empty or cut off."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's
    # A line that is cut off or damaged may not be text.
    return data.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace").split("\n")


def _midi_event(values: dict[str, Any]) -> MidiEvent:
    tick = round(values["time"] * _TICKS_PER_SECOND)
    if values["event"] == "pedal":
        return MidiEvent(tick, 0, CONTROLLER, 0, _SUSTAIN, _DOWN * values["down"])
    kind = NOTE_ON if values["event"] == "note_on" else NOTE_OFF
    return MidiEvent(tick, 0, kind, 0, values["pitch"], values.get("velocity", 0))
