"""Notes and pedal of MIDI files."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .midi_events import CONTROLLER, NOTE_ON, MidiEvent, MidiEvents, read_events
from .note_list import NoteList, note_order

__all__ = [
    "PlayedNotes",
    "notes_of_events",
    "played_notes",
    "read_midi",
    "ticks_to_seconds",
]

_SUSTAIN, _RESET = 64, 121
# Controllers that end all notes of a channel; those from 124 on change its mode, too.
_ALL_OFF = (120, 123, 124, 125, 126, 127)
_DRUM_CHANNEL = 9
_BEAT = 500_000  # microseconds, until the first tempo of a file
_LAST_NOTE = 0.5  # seconds of a note that has no end in a file, at least
_MAX_DURATION = 24 * 3600  # seconds; longer times are those of damaged files

# A stroke of a key is a time and a velocity, or in place of the velocity one of these.
_RELEASED, _ALL_RELEASED = 0, -1
_Stroke = tuple[float, int]
# Onset, offset and velocity; the offset is infinite if the file has none.
_Note = tuple[float, float, int]
_Timed = tuple[float, MidiEvent]  # with the time in seconds


class PlayedNotes(NamedTuple):
    """Notes of a MIDI file, and where each of them is in it.

    `notes` are the notes and the pedal; `track` and `channel`, of shape (n_notes,), the numbers of
    each note's track and channel, from 0; and `remarks` say what was changed, left out, or could
    not be read.
    """

    notes: NoteList
    track: NDArray[np.int64]
    channel: NDArray[np.int64]
    remarks: list[str]


def read_midi(data: bytes) -> tuple[NoteList, list[str]]:
    """Read notes, with key offsets, and the sustain pedal from the contents of a MIDI file.

    Parameters
    ----------
    data : bytes
        Contents of the file.

    Returns
    -------
    notes : NoteList
        Notes and pedal of all tracks and channels, except drums.
    remarks : list of str
        What was changed, left out, or could not be read.

    Raises
    ------
    ValueError
        If nothing can be read.
    """
    return notes_of_events(read_events(data))


def notes_of_events(midi: MidiEvents) -> tuple[NoteList, list[str]]:
    """Make notes of the events of a MIDI file.

    Parameters
    ----------
    midi : MidiEvents
        Events.

    Returns
    -------
    notes : NoteList
        Notes and pedal, except drums.
    remarks : list of str
        As of :func:`read_midi`.

    Raises
    ------
    ValueError
        If nothing can be read.
    """
    played = played_notes(midi)
    return played.notes, played.remarks


def played_notes(midi: MidiEvents) -> PlayedNotes:
    """Make notes of the events of a MIDI file, with the track and the channel of each.

    Parameters
    ----------
    midi : MidiEvents
        Events.

    Returns
    -------
    PlayedNotes
        Notes, except drums, in the order of :func:`notes_of_events`.

    Raises
    ------
    ValueError
        If nothing can be read.
    """
    events, end = _timed_events(midi)
    if end > _MAX_DURATION:
        midi.damage.append(f"it lasts {end / 3600:.0f} hours: what comes after 24 is left out")
        events = [(time, event) for time, event in events if time <= _MAX_DURATION]
        end = events[-1][0] if events else 0.0
    piano = [(time, event) for time, event in events if event.channel != _DRUM_CHANNEL]
    played = _notes(piano)
    if midi.damage and not played:
        raise ValueError(midi.damage[0])
    columns = np.array(played, dtype=np.float64).reshape(-1, 6).T
    onset, offset, pitch, velocity, track, channel = columns
    is_endless = np.isinf(offset)
    offset = np.where(is_endless, np.maximum(end, onset + _LAST_NOTE), offset)
    kept = offset > onset
    values, ignored = _pedal(piano, end)
    notes = NoteList(onset[kept], offset[kept], pitch[kept], velocity[kept], pedal_values=values)
    order = note_order(onset[kept], offset[kept], pitch[kept], velocity[kept])
    places = np.stack([track, channel]).astype(np.int64)[:, kept][:, order]

    # Of velocity 0 are ends.
    n_drums = sum(
        event.channel == _DRUM_CHANNEL and event.kind == NOTE_ON and event.value > 0
        for _, event in events
    )
    remarks = [*midi.damage]
    remarks += [what if n == 1 else f"{what} ({n} times)" for what, n in midi.repairs.items()]
    if midi.format == 2 and len(midi.ends) > 1:
        remarks.append(f"its {len(midi.ends)} tracks are read one after another, as format 2 says")
    remarks += _remark(n_drums, "note of the drum channel is", "notes of the drum channel are")
    remarks += _remark(is_endless.sum(), "note is", "notes are", "not released before the end")
    remarks += _remark((~kept).sum(), "note of no length is", "notes of no length are")
    remarks += [
        f"the pedal of channel {channel + 1}, which has no notes, is left out"
        for channel in ignored
    ]
    return PlayedNotes(notes, places[0], places[1], remarks)


def _remark(n: int, one: str, more: str, what: str = "left out") -> list[str]:
    """Say that something is done to n notes, if there are any."""
    return [f"{n} {one if n == 1 else more} {what}"] if n else []


def _timed_events(midi: MidiEvents) -> tuple[list[_Timed], float]:
    """Sort the events by time, with their seconds, and return the end of the file, too."""
    if midi.division == 0 or (midi.division < 0 and midi.division & 0xFF == 0):
        raise ValueError("its beats or frames have no ticks")
    ticks = np.array([event.tick for event in midi.events], dtype=np.float64)
    tracks = np.array([event.track for event in midi.events], dtype=np.int64)
    times, end = np.zeros(len(ticks)), 0.0
    # In format 2 each track has its own tempi, and begins where the last one ends.
    groups = (
        [{n} for n in range(len(midi.ends))] if midi.format == 2 else [{*range(len(midi.ends))}]
    )
    for group in groups:
        tempi = [(tick, beat) for track, tick, beat in midi.tempi if track in group]
        own = np.isin(tracks, list(group))
        times[own] = end + ticks_to_seconds(ticks[own], tempi, midi.division)
        last = np.array([max((midi.ends[track] for track in group), default=0)])
        end += float(ticks_to_seconds(last, tempi, midi.division)[0])
    # Of events at one time those of the first track are the first.
    order = np.lexsort((tracks, times))
    return [(float(times[i]), midi.events[i]) for i in order], end


def ticks_to_seconds(
    ticks: NDArray[np.float64], tempi: list[tuple[int, int]], division: int
) -> NDArray[np.float64]:
    """Convert ticks to seconds.

    Parameters
    ----------
    ticks : ndarray, shape (n_ticks,)
        Ticks.
    tempi : list of tuple of int
        Tick and microseconds per beat of each change of tempo.
    division : int
        Ticks per beat; negative if times are in SMPTE frames, as in the file.

    Returns
    -------
    ndarray, shape (n_ticks,)
        Seconds.
    """
    if division < 0:  # the negative number of SMPTE frames per second, and ticks per frame
        frames, per_frame = -(division >> 8), division & 0xFF
        return ticks / ((30 / 1.001 if frames == 29 else frames) * per_frame)
    start, beat = np.array([(0, _BEAT), *sorted(tempi, key=lambda change: change[0])], float).T
    elapsed = np.concatenate([[0.0], np.cumsum(np.diff(start) * beat[:-1])])
    current = np.searchsorted(start, ticks, side="right") - 1
    microbeats = elapsed[current] + (ticks - start[current]) * beat[current]
    return np.asarray(microbeats / (1e6 * division))


def _notes(events: list[_Timed]) -> list[tuple[float, ...]]:
    """Onset, offset, pitch, velocity, track and channel of all notes."""
    keys: dict[tuple[int, int, int], list[_Stroke]] = defaultdict(list)
    # Keys of each channel that were struck since all were released.
    struck = defaultdict(set)
    for time, (_, track, kind, channel, number, value) in events:
        if kind != CONTROLLER:
            key = track, channel, number
            keys[key].append((time, value if kind == NOTE_ON else _RELEASED))
            struck[channel].add(key)
        elif number in _ALL_OFF:
            for key in struck.pop(channel, ()):
                keys[key].append((time, _ALL_RELEASED))
    return [
        (onset, offset, pitch, velocity, track, channel)
        for (track, channel, pitch), strokes in keys.items()
        for onset, offset, velocity in _first_in_first_out(strokes) or _all_at_once(strokes)
    ]


def _first_in_first_out(strokes: list[_Stroke]) -> list[_Note]:
    """End the oldest note of a key at each release; no notes if one has no end."""
    sounding: deque[_Stroke] = deque()
    notes = []
    for time, velocity in strokes:
        if velocity > 0:
            sounding.append((time, velocity))
        n_ended = min(len(sounding), {_RELEASED: 1, _ALL_RELEASED: len(sounding)}.get(velocity, 0))
        for _ in range(n_ended):
            onset, loudness = sounding.popleft()
            notes.append((onset, time, loudness))
    return [] if sounding else notes


def _all_at_once(strokes: list[_Stroke]) -> list[_Note]:
    """End all notes of a key at each release, except those that begin with it."""
    sounding: list[_Stroke] = []
    notes = []
    for time, velocity in strokes:
        if velocity > 0:
            sounding.append((time, velocity))
            continue
        n_before = sum(onset < time for onset, _ in sounding)
        n_ended = n_before or len(sounding)
        notes += [(onset, time, loudness) for onset, loudness in sounding[:n_ended]]
        sounding = sounding[n_ended:]
    following = [*(onset for onset, _ in sounding[1:]), np.inf]
    notes += [(on, off, loudness) for (on, loudness), off in zip(sounding, following, strict=False)]
    return notes


def _pedal(events: list[_Timed], end: float) -> tuple[list[tuple[float, int]], list[int]]:
    """Return the times and values of the sustain pedal, and the channels that are ignored.

    The channels with notes are one piano: its pedal is as far down as any of theirs.
    """
    current = {event.channel: 0 for _, event in events if event.kind != CONTROLLER}
    values = [(0.0, 0)]
    ignored = set()
    for time, (_, _, kind, channel, number, value) in events:
        if kind != CONTROLLER or number not in (_SUSTAIN, _RESET):
            continue
        position = value if number == _SUSTAIN else 0
        if channel in current:
            current[channel] = position
            if (deepest := max(current.values())) != values[-1][1]:
                values.append((time, deepest))
        elif current and position:
            ignored.add(channel)
    if values[-1][1] > 0:
        values.append((end, 0))
    return values[1:], sorted(ignored)
