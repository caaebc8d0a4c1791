"""Read notes from files, and write them: MIDI files, tables and events.

A note has a *key* offset, where the key is released, and a *pedal* offset, where its sound ends,
which is later when the sustain pedal (MIDI controller 64) is down. :func:`read_notes` returns one
of them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from harmnmf.errors import FormatError, ParameterError
from harmnmf.storage.files import open_plain

from .event_lines import read_event_lines
from .midi import read_midi
from .midi_writing import write_midi
from .note_list import NoteList
from .suffixes import EVENT_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES
from .tables import read_table, write_csv

__all__ = ["read_file", "read_notes", "write_csv", "write_midi"]

# More than ten hours of playing.
_MAX_BYTES = 2**23
_MAX_EVENT_BYTES = 2**26


def read_notes(path: str | Path, *, offset: str = "pedal") -> NoteList:
    """Read notes from a MIDI file, a table or the events of a live transcription.

    All tracks and channels of a MIDI file (``.mid``, ``.midi``, ``.rmi``, ``.kar``) are merged,
    except drums; the pedal of a channel without notes is left out. A note-off ends the oldest
    sounding note of its key, since in automatic transcriptions a repeated note often begins just
    before the last is released; if that leaves a note without an end, each note-off ends all notes
    of its key. Notes that are never released end with the last event. What breaks the standard is
    passed over, and a file that was cut off is read to where it ends.

    A table (``.tsv``, ``.csv``, ``.txt``) has a line for each note, with cells separated by tabs,
    semicolons, commas or spaces. Its first line names the columns: ``onset`` (or ``start``),
    ``pitch`` (``note``, ``midi``), one or more of ``offset`` (``end``), ``key_offset``,
    ``pedal_offset`` and ``duration``, and ``velocity``, which may be missing; ``OnsetTime``,
    ``onset_sec`` and ``MidiPitch`` are understood, too, and other columns ignored. Without names
    they are onset, offset, pitch and velocity. Pitches are MIDI numbers or names (``C4``), or
    frequencies if the column is so named (``frequency``, ``hz``). Lines that begin with ``#`` are
    comments, and numbers may have decimal commas where commas do not separate them.

    Events (``.jsonl``) are lines of JSON as ``harmnmf listen`` prints them, and keeps them until a
    take ends; the last line may be cut off.

    A :class:`UserWarning` says what was changed, left out or could not be read.

    Parameters
    ----------
    path : str or Path
        File to read; its suffix determines the format.
    offset : {"pedal", "key"}
        Whether offsets include the sustain pedal, as in MAPS, or are key releases. With "key" the
        pedal of a MIDI file or of events is kept in `NoteList.pedal` and `NoteList.pedal_values`.
        A table with only one kind of offset gives that one.

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
    if offset not in ("pedal", "key"):
        raise ParameterError(f"offset must be 'pedal' or 'key', not {offset!r}")
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in MIDI_SUFFIXES:
        try:
            notes, remarks = read_midi(read_file(path))
        except ValueError as error:
            raise FormatError(f"{path}: cannot be read as MIDI ({error})") from error
    elif suffix in EVENT_SUFFIXES:
        notes, remarks = read_event_lines(path, read_file(path, _MAX_EVENT_BYTES))
    elif suffix in TABLE_SUFFIXES:
        notes, remarks = read_table(path, read_file(path), offset)
    else:
        if not path.exists():
            raise FormatError(f"{path}: cannot be read (No such file or directory)")
        known = ", ".join(MIDI_SUFFIXES + TABLE_SUFFIXES + EVENT_SUFFIXES)
        raise FormatError(f"{path}: not a note file; its suffix must be one of {known}")
    if remarks:
        warnings.warn(f"{path}: {'; '.join(remarks)}", stacklevel=2)
    if offset == "pedal" and suffix not in TABLE_SUFFIXES:
        return notes.pedalled()
    return notes


def read_file(path: Path, max_bytes: int = _MAX_BYTES) -> bytes:
    """Read the contents of a file with notes; FormatError if it cannot be read or is too large."""
    try:
        with open_plain(path) as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > max_bytes:
        raise FormatError(f"{path}: too large for notes, with more than {max_bytes} bytes")
    return data
