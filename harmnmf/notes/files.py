"""Read and write notes: MIDI files and tables (TSV, CSV).

A note has a *key* offset, where the key is released, and a *pedal* offset, where its sound ends,
which is later when the sustain pedal (MIDI controller 64) is down. :func:`read_notes` returns one
of them.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict, deque
from pathlib import Path

import mido
import numpy as np
import pretty_midi
from numpy.typing import NDArray

from harmnmf.errors import FormatError, ParameterError
from harmnmf.storage.files import atomic_path, open_plain

from .note_list import NoteList

__all__ = ["MIDI_SUFFIXES", "TABLE_SUFFIXES", "read_notes", "write_csv", "write_midi"]

MIDI_SUFFIXES = (".mid", ".midi")
TABLE_SUFFIXES = (".tsv", ".csv")

_TICKS_PER_BEAT = 480
_BEATS_PER_MINUTE = 120
_TICKS_PER_SECOND = _TICKS_PER_BEAT * _BEATS_PER_MINUTE / 60
_SUSTAIN = 64
_OFFSET_COLUMNS = {
    "pedal": ("pedal_offset", "offset", "key_offset"),
    "key": ("key_offset", "offset", "pedal_offset"),
}

_DRUM_CHANNEL = 9
_MAX_DURATION = 24 * 3600  # seconds; longer times are those of damaged files
_MAX_BYTES = 2**23  # more than ten hours of playing; mido takes 180 times as much memory
# mido is very slow with variable-length numbers of this many bytes.
_ENDLESS_NUMBER = re.compile(rb"[\x80-\xff]{10000}")


def read_notes(path: str | Path, *, offset: str = "pedal") -> NoteList:
    """Read notes from a MIDI file or a table.

    All tracks and channels of a MIDI file (``.mid``, ``.midi``) are merged, except drums; the pedal
    of a channel without notes is ignored. A note-off ends the oldest sounding note of its key,
    since in automatic transcriptions a repeated note often begins just before the last is released;
    if that left a note without an end, each note-off ends all notes of its key.

    A table (``.tsv``, ``.csv``) has a header with the columns ``onset``, ``note`` or ``pitch``,
    ``velocity``, and one or more of ``offset``, ``key_offset`` and ``pedal_offset``, separated by
    tabs or commas; other columns are ignored.

    Parameters
    ----------
    path : str or Path
        File to read; its suffix determines the format.
    offset : {"pedal", "key"}
        Whether offsets include the sustain pedal, as in MAPS, or are key releases. With "key" the
        pedal of a MIDI file is kept in `NoteList.pedal`. A table with only one kind of offset
        gives that one.

    Returns
    -------
    NoteList
        Empty if the file is valid and has no notes.

    Raises
    ------
    FormatError
        If the file is missing, damaged or not a note file.
    ParameterError
        If `offset` is neither "pedal" nor "key".

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_midi(Path(folder, "song.mid"), NoteList([0.5], [1.0], [60], [70]))
    ...     read_notes(Path(folder, "song.mid")).onset
    array([0.5])
    """
    if offset not in _OFFSET_COLUMNS:
        raise ParameterError(f"offset must be 'pedal' or 'key', not {offset!r}")
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in MIDI_SUFFIXES:
        notes = _read_midi(path)
        return notes.pedalled() if offset == "pedal" else notes
    if suffix in TABLE_SUFFIXES:
        return _read_table(path, _OFFSET_COLUMNS[offset])
    known = ", ".join(MIDI_SUFFIXES + TABLE_SUFFIXES)
    raise FormatError(f"{path}: not a note file; its suffix must be one of {known}")


def write_midi(path: str | Path, notes: NoteList) -> None:
    """Write notes and the sustain pedal to a MIDI file.

    The file has one piano track at 120 beats per minute and 480 ticks per beat, so times are
    rounded to 1/960 s. Overlapping notes of one pitch are cut (:meth:`NoteList.without_overlaps`).

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    notes : NoteList
        Notes.

    Raises
    ------
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_midi(Path(folder, "song.mid"), NoteList([0.5], [1.0], [60], [70]))
    """
    start = np.rint(notes.onset * _TICKS_PER_SECOND)
    end = np.maximum(np.rint(notes.offset * _TICKS_PER_SECOND), start + 1)
    # Rounding can make notes overlap or coincide.
    rounded = NoteList(start, end, notes.pitch, notes.velocity).without_overlaps()
    pedal = np.rint(notes.pedal * _TICKS_PER_SECOND) / _TICKS_PER_SECOND

    piano = pretty_midi.Instrument(program=0)
    columns = (rounded.velocity, rounded.pitch, *rounded.intervals.T / _TICKS_PER_SECOND)
    piano.notes = [
        pretty_midi.Note(*row) for row in zip(*(column.tolist() for column in columns), strict=True)
    ]
    for down, up in pedal[pedal[:, 1] > pedal[:, 0]].tolist():
        piano.control_changes += [
            pretty_midi.ControlChange(_SUSTAIN, 127, down),
            pretty_midi.ControlChange(_SUSTAIN, 0, up),
        ]
    midi = pretty_midi.PrettyMIDI(resolution=_TICKS_PER_BEAT, initial_tempo=_BEATS_PER_MINUTE)
    midi.instruments.append(piano)
    with atomic_path(path) as temporary:
        midi.write(str(temporary))


def write_csv(path: str | Path, notes: NoteList) -> None:
    """Write notes to a table with the columns onset, offset, pitch and velocity.

    Times are rounded to a microsecond. The pedal is not written.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    notes : NoteList
        Notes.

    Raises
    ------
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(Path(folder, "song.csv"), NoteList([0.5], [1.0], [60], [70]))
    ...     print(Path(folder, "song.csv").read_text(), end="")
    onset,offset,pitch,velocity
    0.500000,1.000000,60,70
    """
    onset = np.round(notes.onset, 6)
    offset = np.maximum(np.round(notes.offset, 6), onset + 1e-6)
    rows = np.column_stack([onset, offset, notes.pitch, notes.velocity])
    header = "onset,offset,pitch,velocity"
    with atomic_path(path) as temporary:
        np.savetxt(temporary, rows, fmt="%.6f,%.6f,%d,%d", header=header, comments="")


def _read(path: Path) -> bytes:
    try:
        with open_plain(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > _MAX_BYTES:
        raise FormatError(f"{path}: too large for notes, with more than {_MAX_BYTES} bytes")
    return data


def _read_midi(path: Path) -> NoteList:
    data = _read(path)
    try:
        if _ENDLESS_NUMBER.search(data):
            raise ValueError("a variable-length number does not end")
        midi = mido.MidiFile(file=io.BytesIO(data))
        if not any(midi.tracks):
            raise ValueError("it has no events")
        if midi.ticks_per_beat <= 0:
            raise ValueError("times in SMPTE frames are not supported")
        return _merged_tracks(midi)
    except Exception as error:  # mido raises nearly anything on damaged bytes
        reason = str(error) or "it ends too early"
        raise FormatError(f"{path}: cannot be read as MIDI ({reason})") from error


def _merged_tracks(midi: mido.MidiFile) -> NoteList:
    channels = defaultdict(list)  # ticks and messages by track and channel
    tempi = [(0, 6e7 / _BEATS_PER_MINUTE)]
    for number, track in enumerate(midi.tracks):
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                tempi.append((tick, message.tempo))
            elif (
                not message.is_meta and getattr(message, "channel", _DRUM_CHANNEL) != _DRUM_CHANNEL
            ):
                channels[number, message.channel].append((tick, message))
    end = max((events[-1][0] for events in channels.values()), default=0)
    notes, pedal = [], []
    for events in channels.values():
        played = _notes(events)
        if played:
            notes += played
            pedal += _pedal(events, end)
    onset, offset, pitch, velocity = np.array(notes).reshape(-1, 4).T
    onset, offset, down, up = (
        _seconds(ticks, tempi, midi.ticks_per_beat)
        for ticks in (onset, offset, *np.array(pedal).reshape(-1, 2).T)
    )
    if offset.max(initial=0.0) > _MAX_DURATION:
        raise ValueError(f"it lasts {offset.max() / 3600:.0f} hours")
    return NoteList(onset, offset, pitch, velocity, np.column_stack([down, up]))


def _seconds(
    ticks: NDArray[np.float64], tempi: list[tuple[int, float]], ticks_per_beat: int
) -> NDArray[np.float64]:
    """Convert ticks to seconds; tempi are pairs of a tick and microseconds per beat."""
    start, tempo = np.array(sorted(tempi, key=lambda change: change[0])).T
    elapsed = np.concatenate([[0.0], np.cumsum(np.diff(start) * tempo[:-1])])
    current = np.searchsorted(start, ticks, side="right") - 1
    microbeats = elapsed[current] + (ticks - start[current]) * tempo[current]
    return np.asarray(microbeats / (1e6 * ticks_per_beat))


def _notes(events: list[tuple[int, mido.Message]]) -> list[tuple[int, int, int, int]]:
    """Onset, offset, pitch and velocity of the notes of a channel."""
    keys = defaultdict(list)
    for tick, message in events:
        if message.type in ("note_on", "note_off"):
            velocity = message.velocity if message.type == "note_on" else 0
            keys[message.note].append((tick, velocity))
    return [
        (onset, offset, pitch, velocity)
        for pitch, strokes in keys.items()
        for onset, offset, velocity in _first_in_first_out(strokes) or _all_at_once(strokes)
    ]


def _first_in_first_out(strokes: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """End the oldest note of a key at each note-off; no notes if one has no note-off."""
    sounding: deque[tuple[int, int]] = deque()
    notes = []
    for tick, velocity in strokes:
        if velocity:
            sounding.append((tick, velocity))
        elif sounding:
            onset, loudness = sounding.popleft()
            notes.append((onset, tick, loudness))
    return [] if sounding else [note for note in notes if note[1] > note[0]]


def _all_at_once(strokes: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """End all notes of a key at each note-off, except those that begin with it."""
    sounding: list[tuple[int, int]] = []
    notes = []
    for tick, velocity in strokes:
        if velocity:
            sounding.append((tick, velocity))
        else:
            ended = [(onset, tick, loudness) for onset, loudness in sounding if onset < tick]
            sounding = [note for note in sounding if ended and note[0] == tick]
            notes += ended
    return notes


def _pedal(events: list[tuple[int, mido.Message]], end: int) -> list[tuple[int, int]]:
    """Ticks between which the sustain pedal of a channel is down, until `end` at the latest."""
    intervals = []
    down = None
    positions = [(tick, message.value) for tick, message in events if message.is_cc(_SUSTAIN)]
    for tick, position in [*positions, (end, 0)]:
        if position >= 64:
            down = tick if down is None else down
        elif down is not None:
            intervals.append((down, tick))
            down = None
    return [interval for interval in intervals if interval[1] > interval[0]]


def _read_table(path: Path, offset_columns: tuple[str, ...]) -> NoteList:
    try:
        lines = _read(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not a text file") from error
    header = lines[0] if lines else ""
    delimiter = "\t" if "\t" in header else ","
    names = [name.strip().lower() for name in header.split(delimiter)]
    wanted = []
    for choices in (("onset",), offset_columns, ("note", "pitch"), ("velocity",)):
        found = [names.index(name) for name in choices if name in names]
        if not found:
            raise FormatError(f"{path}: the first line names no column {' or '.join(choices)}")
        wanted.append(found[0])

    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            cells = line.split(delimiter)
            try:
                rows.append([float(cells[column]) for column in wanted])
            except (IndexError, ValueError) as error:
                expected = ", ".join(names[column] for column in wanted)
                raise FormatError(f"{path}, line {number}: no numbers for {expected}") from error
    try:
        return NoteList(*np.array(rows).reshape(-1, 4).T)
    except ParameterError as error:
        raise FormatError(f"{path}: {error}") from error
