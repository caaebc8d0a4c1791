"""Note files: MIDI and tables (TSV, CSV), read and written.

A note has a *key* offset, where the key is released, and a *pedal* offset, where its sound ends,
which is later when the sustain pedal (MIDI controller 64) is down. A :class:`NoteList` holds one
offset for each note; :func:`read_notes` chooses which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray

from .errors import FormatError, ParameterError
from .notelist import NoteList, first_fault
from .storage import atomic_path

__all__ = ["MIDI_SUFFIXES", "TABLE_SUFFIXES", "NoteList", "read_notes", "write_csv", "write_midi"]

MIDI_SUFFIXES = (".mid", ".midi")
TABLE_SUFFIXES = (".tsv", ".csv")

_TICKS_PER_BEAT = 480
_TICKS_PER_SECOND = 960
_MICROSECONDS_PER_BEAT = 500_000
_SUSTAIN = 64
_DRUM_CHANNEL = 9
_OFFSET_COLUMNS = {
    "pedal": ("pedal_offset", "offset", "key_offset"),
    "key": ("key_offset", "offset", "pedal_offset"),
}


def read_notes(path: str | Path, *, offset: str = "pedal") -> NoteList:
    """Read notes from a MIDI file or a table.

    The suffix tells the format. Of MIDI (``.mid``, ``.midi``) all tracks and channels are merged
    except the drum channel. A table (``.tsv``, ``.csv``) has a header with the columns ``onset``,
    ``note`` or ``pitch``, ``velocity``, and one or more of ``offset``, ``key_offset`` and
    ``pedal_offset``, separated by tabs or commas; other columns are ignored.

    Parameters
    ----------
    path : str or Path
        The file.
    offset : {"pedal", "key"}
        Where notes end: with their sound, as published MAPS scores have it, or with the key. With
        "key" the pedal of a MIDI file is kept in `NoteList.pedal`. A table that has one kind of
        offset only gives that one for both.

    Returns
    -------
    NoteList
        Empty if the file is well formed and has no notes.

    Raises
    ------
    FormatError
        If the file is missing, of another kind or damaged; one line that names the file and, in a
        table, the line.
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
    try:
        if suffix in MIDI_SUFFIXES:
            notes = _read_midi(path)
            return notes.pedalled() if offset == "pedal" else notes
        if suffix in TABLE_SUFFIXES:
            return _read_table(path, _OFFSET_COLUMNS[offset])
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    known = ", ".join(MIDI_SUFFIXES + TABLE_SUFFIXES)
    raise FormatError(f"{path}: not a note file; its suffix must be one of {known}")


def write_midi(path: str | Path, notes: NoteList) -> None:
    """Write notes, and the sustain pedal, to a MIDI file that notation programs read.

    One piano track at 120 beats a minute and 480 ticks a beat, so times are rounded to 1/960 s.
    Notes of one pitch do not overlap (:meth:`NoteList.without_overlaps`).

    Parameters
    ----------
    path : str or Path
        The file; it is replaced in one step.
    notes : NoteList
        What to write.

    Raises
    ------
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_midi(Path(folder, "song.mid"), NoteList([0.5], [1.0], [60], [70]))
    ...     read_notes(Path(folder, "song.mid")).pitch
    array([60])
    """
    start = np.rint(notes.onset * _TICKS_PER_SECOND)
    end = np.maximum(np.rint(notes.offset * _TICKS_PER_SECOND), start + 1)
    # Only rounded onsets tell which notes would overlap, or coincide, in the file.
    rounded = NoteList(start, end, notes.pitch, notes.velocity).without_overlaps()
    # The middle number orders events of one tick: what ends, the pedal, then what begins.
    events = [(0, -1, mido.Message("program_change", program=0))]
    columns = (rounded.onset, rounded.offset, rounded.pitch, rounded.velocity)
    for on, off, pitch, velocity in np.column_stack(columns).astype(int).tolist():
        events.append((on, 3, mido.Message("note_on", note=pitch, velocity=velocity)))
        events.append((off, 0, mido.Message("note_off", note=pitch, velocity=64)))
    for down, up in np.rint(notes.pedal * _TICKS_PER_SECOND).astype(int).tolist():
        if up > down:
            events.append((down, 2, mido.Message("control_change", control=_SUSTAIN, value=127)))
            events.append((up, 1, mido.Message("control_change", control=_SUSTAIN, value=0)))
    events.sort(key=lambda event: event[:2])

    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=_MICROSECONDS_PER_BEAT))
    track.append(mido.MetaMessage("time_signature", numerator=4, denominator=4))
    now = 0
    for tick, _, message in events:
        track.append(message.copy(time=tick - now))
        now = tick
    midi = mido.MidiFile(type=0, ticks_per_beat=_TICKS_PER_BEAT, tracks=[track])
    with atomic_path(path) as temporary:
        midi.save(temporary)


def write_csv(path: str | Path, notes: NoteList) -> None:
    """Write notes to a table with the columns onset, offset, pitch and velocity.

    Times are rounded to a microsecond. The pedal is not written.

    Parameters
    ----------
    path : str or Path
        The file; it is replaced in one step.
    notes : NoteList
        What to write.

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
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("onset,offset,pitch,velocity\n")
        for on, off, pitch, velocity in zip(
            onset, offset, notes.pitch, notes.velocity, strict=True
        ):
            file.write(f"{on:.6f},{off:.6f},{pitch},{velocity}\n")


def _read_midi(path: Path) -> NoteList:
    try:
        midi = mido.MidiFile(path, clip=True)
    except OSError as error:
        # mido raises a bare OSError for a file that is not MIDI, the system one with a number.
        if error.errno is not None:
            raise
        raise FormatError(f"{path}: not a MIDI file, or a damaged one ({error})") from error
    except Exception as error:  # damaged bytes raise nearly anything inside mido
        reason = str(error) or "it ends too early"
        raise FormatError(f"{path}: not a MIDI file, or a damaged one ({reason})") from error
    if midi.ticks_per_beat <= 0:
        raise FormatError(f"{path}: MIDI in SMPTE time is not supported; export it in beats")

    tempo = [(0, _MICROSECONDS_PER_BEAT)]
    notes: list[tuple[int, int, int, int]] = []
    sustain = defaultdict(list)
    last_tick = 0
    for track in midi.tracks:
        tick = 0
        sounding = defaultdict(list)
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                tempo.append((tick, message.tempo))
            elif message.is_meta or getattr(message, "channel", _DRUM_CHANNEL) == _DRUM_CHANNEL:
                continue
            elif message.type == "control_change" and message.control == _SUSTAIN:
                sustain[message.channel].append((tick, message.value >= 64))
            elif message.type == "note_on" and message.velocity > 0:
                sounding[message.channel, message.note].append((tick, message.velocity))
            elif message.type in ("note_on", "note_off"):
                key = message.channel, message.note
                # One release ends every note of its key. A note that begins at this very tick
                # is the next one, whose onset the file lists before the release of the last.
                ends = [(on, tick, message.note, v) for on, v in sounding[key] if on < tick]
                notes += ends
                sounding[key] = [(on, v) for on, v in sounding[key] if ends and on == tick]
        for (_, pitch), begun in sounding.items():
            notes += [(on, tick, pitch, v) for on, v in begun if on < tick]
        last_tick = max(last_tick, tick)

    on, off, pitches, velocities = np.array(notes, dtype=np.int64).reshape(-1, 4).T
    pedal = np.array([i for c in sustain.values() for i in _held(c, last_tick)], dtype=np.int64)
    to_seconds = _tick_clock(tempo, midi.ticks_per_beat)
    try:
        return NoteList(
            to_seconds(on), to_seconds(off), pitches, velocities, to_seconds(pedal.reshape(-1, 2))
        )
    except ParameterError as error:
        raise FormatError(f"{path}: damaged MIDI file ({error})") from error


def _held(changes: list[tuple[int, bool]], end: int) -> list[tuple[int, int]]:
    """Turn positions of a pedal (tick, down) into the ticks between which it is down."""
    held = []
    since = None
    for tick, down in [*sorted(changes, key=lambda change: change[0]), (end, False)]:
        if down and since is None:
            since = tick
        elif not down and since is not None:
            if tick > since:
                held.append((since, tick))
            since = None
    return held


def _tick_clock(
    tempo: list[tuple[int, int]], ticks_per_beat: int
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Make the function from ticks to seconds under (tick, microseconds per beat) changes."""
    change, beat = np.array(sorted(tempo, key=lambda change: change[0])).T
    scale = beat / (1e6 * ticks_per_beat)
    elapsed = np.concatenate([[0.0], np.cumsum(np.diff(change) * scale[:-1])])

    def to_seconds(ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        i = np.searchsorted(change, ticks, side="right") - 1
        return elapsed[i] + (ticks - change[i]) * scale[i]

    return to_seconds


def _read_table(path: Path, offset_columns: tuple[str, ...]) -> NoteList:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not a text file") from error
    header = lines[0] if lines else ""
    delimiter = "\t" if "\t" in header else ","
    names = [name.strip().lower() for name in header.split(delimiter)]
    wanted = []
    for choices in (("onset",), offset_columns, ("note", "pitch"), ("velocity",)):
        found = [names.index(name) for name in choices if name in names]
        if not found:
            raise FormatError(f"{path}, line 1: the header has no column {' or '.join(choices)}")
        wanted.append(found[0])

    rows: list[list[float]] = []
    numbers = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.split(delimiter)
        try:
            rows.append([float(cells[column]) for column in wanted])
        except (IndexError, ValueError) as error:
            expected = ", ".join(names[column] for column in wanted)
            raise FormatError(f"{path}, line {number}: no numbers for {expected}") from error
        numbers.append(number)
    columns = np.array(rows).reshape(-1, 4).T
    fault = first_fault(*columns)
    if fault is not None:
        raise FormatError(f"{path}, line {numbers[fault[0]]}: {fault[1]}")
    return NoteList(*columns)
