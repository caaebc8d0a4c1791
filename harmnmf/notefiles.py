"""Note files: MIDI and tables (TSV, CSV), read and written.

A note has a *key* offset, where the key is released, and a *pedal* offset, where its sound ends,
which is later when the sustain pedal (MIDI controller 64) is down. A :class:`NoteList` holds one
offset for each note; :func:`read_notes` chooses which.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi

from .errors import FormatError, ParameterError
from .notes import NoteList
from .storage import atomic_path

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

# pretty_midi tabulates the time of every tick and refuses files with more ticks than this. Its own
# limit, 1e7, is 2.9 hours as we write them, and 2.5 minutes of MAPS with its 65534 ticks a second.
# Ours is 11 hours, or 10 minutes of MAPS; a damaged file takes 1 GB at most.
pretty_midi.pretty_midi.MAX_TICK = 4e7


def read_notes(path: str | Path, *, offset: str = "pedal") -> NoteList:
    """Read notes from a MIDI file or a table.

    The suffix tells the format. Of MIDI (``.mid``, ``.midi``) all tracks and channels are merged,
    without drums; a pedal on a channel of a track that has no notes is ignored. A table (``.tsv``,
    ``.csv``) has a header with the columns ``onset``, ``note`` or ``pitch``, ``velocity``, and one
    or more of ``offset``, ``key_offset`` and ``pedal_offset``, separated by tabs or commas; other
    columns are ignored.

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
        If the file is missing, of another kind or damaged; one line that names the file.
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
    rows = np.column_stack([onset, offset, notes.pitch, notes.velocity])
    header = "onset,offset,pitch,velocity"
    with atomic_path(path) as temporary:
        np.savetxt(temporary, rows, fmt="%.6f,%.6f,%d,%d", header=header, comments="")


def _read_midi(path: Path) -> NoteList:
    try:
        midi = pretty_midi.PrettyMIDI(str(path))
        players = [player for player in midi.instruments if not player.is_drum]
        end = midi.get_end_time()
        notes = [
            (note.start, note.end, note.pitch, note.velocity)
            for player in players
            for note in player.notes
        ]
        pedal = [held for player in players for held in _held(player.control_changes, end)]
        onset, offset, pitch, velocity = np.array(notes).reshape(-1, 4).T
        return NoteList(onset, offset, pitch, velocity, pedal)
    except Exception as error:  # damaged bytes raise nearly anything inside pretty_midi
        reason = getattr(error, "strerror", None) or str(error) or "it ends too early"
        raise FormatError(f"{path}: cannot be read as MIDI ({reason})") from error


def _held(changes: list[pretty_midi.ControlChange], end: float) -> list[tuple[float, float]]:
    """List the times between which the sustain pedal is down, at the latest until `end`."""
    held = []
    since = None
    for change in [*changes, pretty_midi.ControlChange(_SUSTAIN, 0, end)]:
        if change.number != _SUSTAIN:
            continue
        if change.value < 64:
            if since is not None and change.time > since:
                held.append((since, change.time))
            since = None
        elif since is None:
            since = change.time
    return held


def _read_table(path: Path, offset_columns: tuple[str, ...]) -> NoteList:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not a text file") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
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
