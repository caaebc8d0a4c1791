"""Read the events of MIDI files, damaged ones as far as possible.

Only what notes and bars depend on is kept of Standard MIDI Files 1.0: notes, controllers, tempi,
time and key signatures, and names of tracks.
Libraries refuse a file for a byte that breaks the standard; many programs write such files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    *("CONTROLLER", "NOTE_OFF", "NOTE_ON", "KEY_SIGNATURE", "TIME_SIGNATURE", "TRACK_NAME"),
    *("MetaEvent", "MidiEvent", "MidiEvents", "read_events"),
]

NOTE_OFF, NOTE_ON, CONTROLLER = 0x80, 0x90, 0xB0
_KEPT = (NOTE_OFF, NOTE_ON, CONTROLLER)
_ONE_DATA_BYTE = (0xC0, 0xD0)  # other channel messages have two
_N_SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}
_META, _SYSTEM_EXCLUSIVE = 0xFF, (0xF0, 0xF7)
_END_OF_TRACK, _TEMPO = 0x2F, 0x51
TRACK_NAME, TIME_SIGNATURE, KEY_SIGNATURE = 0x03, 0x58, 0x59
_LONGEST_NUMBER = 4  # bytes


class MidiEvent(NamedTuple):
    """A note or a controller; `kind` is NOTE_OFF, NOTE_ON or CONTROLLER."""

    tick: int
    track: int
    kind: int
    channel: int
    number: int
    value: int


class MetaEvent(NamedTuple):
    """What is said of the music; `kind` is TRACK_NAME, TIME_SIGNATURE or KEY_SIGNATURE."""

    tick: int
    track: int
    kind: int
    content: bytes


@dataclass
class MidiEvents:
    """Events of a MIDI file.

    Parameters
    ----------
    format : int
        1 if its tracks are played together, 2 if one after another.
    division : int
        Ticks per beat; negative if times are in SMPTE frames, as in the file.
    events : list of MidiEvent
        Notes and controllers of each track in turn.
    tempi : list of tuple of int
        Track, tick and microseconds per beat of each change of tempo.
    meta : list of MetaEvent
        Names of tracks, and valid time and key signatures.
    ends : list of int
        Last tick of each track.
    repairs : Counter of str
        What was passed over or changed, and how often.
    damage : list of str
        Why the rest of a track could not be read.
    """

    format: int
    division: int
    events: list[MidiEvent] = field(default_factory=list)
    tempi: list[tuple[int, int, int]] = field(default_factory=list)
    meta: list[MetaEvent] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)


def read_events(data: bytes) -> MidiEvents:
    """Read the events of a MIDI file, which may lie in a RIFF file.

    Parameters
    ----------
    data : bytes
        Contents of the file.

    Returns
    -------
    MidiEvents
        What can be read of it.

    Raises
    ------
    ValueError
        If it has no header or no events.
    """
    start = data.find(b"MThd")
    if start < 0:
        raise ValueError("it has no MIDI header")
    header = data[start : start + 14]
    if len(header) < 14:
        raise ValueError("it ends in its header")
    length, kind, n_tracks = (
        int.from_bytes(header[i:j], "big") for i, j in ((4, 8), (8, 10), (10, 12))
    )
    midi = MidiEvents(2 if kind == 2 else 1, int.from_bytes(header[12:14], "big", signed=True))
    if kind > 2:
        midi.repairs[f"the unknown format {kind} is read as format 1"] += 1
    if start and data[:4] != b"RIFF":
        midi.repairs[f"{start} bytes before the header are passed over"] += 1
    place = start + 8 + length
    if length < 6 or place > len(data):
        midi.repairs[f"the wrong length of the header, {length} bytes, is passed over"] += 1
        place = start + 14
    while (place := _next_track(data, place, midi)) < len(data):
        place = _read_track(data, place, midi)
    if not (any(midi.ends) or midi.events or midi.tempi or midi.damage):
        raise ValueError("it has no events")
    if len(midi.ends) < n_tracks:
        midi.repairs[f"{n_tracks - len(midi.ends)} of {n_tracks} tracks are missing"] += 1
    return midi


def _next_track(data: bytes, place: int, midi: MidiEvents) -> int:
    """Find the next track from the end of a chunk on; the length of the data if there is none."""
    start = place
    while place + 8 <= len(data) and data[place : place + 4] != b"MTrk":
        end = place + 8 + int.from_bytes(data[place + 4 : place + 8], "big")
        if _is_name(data[place : place + 4]) and end <= len(data):
            start = place = end
        else:
            place = data.find(b"MTrk", place + 1)
            place = place if place >= 0 else len(data)
    if place + 8 > len(data):
        place = len(data)
    # A RIFF file goes on, and some programs append zeros.
    if any(data[start:place]) and not (place == len(data) and data[:4] == b"RIFF"):
        midi.repairs[f"{place - start} bytes outside of tracks are passed over"] += 1
    return place


def _is_name(name: bytes) -> bool:
    """Whether bytes can be the name of a chunk."""
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _read_track(data: bytes, place: int, midi: MidiEvents) -> int:
    """Read the track at a place, and return the place after it."""
    end = place + 8 + int.from_bytes(data[place + 4 : place + 8], "big")
    midi.ends.append(0)
    number = len(midi.ends)
    try:
        place = _read_track_events(data, place + 8, end, midi)
    except IndexError:
        midi.damage.append(f"track {number} is cut off")
    except ValueError as error:
        midi.damage.append(f"track {number} cannot be read to its end, as {error}")
    else:
        if place < end and (end == len(data) or data[end : end + 4] == b"MTrk"):
            midi.repairs[
                f"{end - place} bytes after the end of track {number} are passed over"
            ] += 1
            return end
        return place
    # The next track may be whole.
    following = end if data[end : end + 4] == b"MTrk" else data.find(b"MTrk", place + 8)
    return following if following >= 0 else len(data)


def _read_track_events(data: bytes, place: int, end: int, midi: MidiEvents) -> int:
    """Read events until the end of a track, and return the place after it.

    Raises IndexError where the data end, and ValueError where they cannot be events.
    """
    track = len(midi.ends) - 1
    tick = status = 0
    is_long = False
    while True:
        if place >= end:
            following = data[place : place + 4]
            if following == b"MTrk" or (place == end and (not following or _is_name(following))):
                return place  # without the event that ends a track
            if not is_long:
                midi.repairs[f"the wrong length of track {track + 1} is passed over"] += 1
            is_long = True
        delta, place = _read_number(data, place)
        tick += delta
        midi.ends[track] = tick
        byte = data[place]
        if byte == _META:
            kind = data[place + 1]
            length, place = _read_number(data, place + 2)
            content = _take(data, place, length)
            place += length
            if kind == _END_OF_TRACK:
                return place
            if kind == _TEMPO and _is_valid_tempo(content, midi):
                midi.tempi.append((track, tick, int.from_bytes(content, "big")))
            elif kind == KEY_SIGNATURE and not _is_key_signature(content):
                midi.repairs["an invalid key signature is passed over"] += 1
            elif kind in (TRACK_NAME, KEY_SIGNATURE) or (
                kind == TIME_SIGNATURE and _is_time_signature(content)
            ):
                midi.meta.append(MetaEvent(tick, track, kind, content))
            continue
        if byte in _SYSTEM_EXCLUSIVE:
            length, place = _read_number(data, place + 1)
            _take(data, place, length)
            place += length
            continue
        if byte > 0xF0:
            place += 1 + _N_SYSTEM_BYTES.get(byte, 0)
            continue
        if byte >= 0x80:
            status = byte
            place += 1
        elif not status:
            raise ValueError("an event has no status")
        # Events of other kinds do not end a running status, although they should.
        kind = status & 0xF0
        if kind in _ONE_DATA_BYTE:
            place += 1
            continue
        values = _take(data, place, 2)
        place += 2
        if kind in _KEPT:
            if values[0] > 127:
                what = "controller" if kind == CONTROLLER else "note"
                midi.repairs[f"a {what} with a number above 127 is passed over"] += 1
                continue
            if values[1] > 127:
                midi.repairs["a value above 127 is taken for 127"] += 1
            midi.events.append(
                MidiEvent(tick, track, kind, status & 0x0F, values[0], min(values[1], 127))
            )


def _read_number(data: bytes, place: int) -> tuple[int, int]:
    """Read a number of variable length, and return it with the place after it."""
    number = 0
    for last in range(place, place + _LONGEST_NUMBER):
        number = number << 7 | data[last] & 0x7F
        if data[last] < 0x80:
            return number, last + 1
    raise ValueError(f"a number has more than {_LONGEST_NUMBER} bytes")


def _take(data: bytes, place: int, length: int) -> bytes:
    """Take bytes from a place on; IndexError if there are not as many."""
    if place + length > len(data):
        raise IndexError
    return data[place : place + length]


def _is_valid_tempo(content: bytes, midi: MidiEvents) -> bool:
    is_valid = len(content) == 3 and any(content)
    if not is_valid:
        midi.repairs["an invalid tempo is passed over"] += 1
    return is_valid


def _is_key_signature(content: bytes) -> bool:
    if len(content) != 2:
        return False
    n_sharps = int.from_bytes(content[:1], "big", signed=True)
    return abs(n_sharps) <= 7 and content[1] <= 1


def _is_time_signature(content: bytes) -> bool:
    """Whether it has an upper number, and an exponent of 2 for a lower number up to 32."""
    return len(content) >= 2 and content[0] > 0 and content[1] <= 5
