"""Read and write tables of notes: CSV, TSV and text."""

from __future__ import annotations

import codecs
import csv
import itertools
import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError, ParameterError
from harmnmf.storage.files import atomic_path, open_plain

from .note_list import NoteList
from .pitch_names import parse_pitch

__all__ = ["is_table", "read_table", "write_csv"]

# Names of columns in lower case, without what is no letter or digit, and without the unit.
_ONSET = ("onset", "onsettime", "start", "starttime", "begin", "begintime", "time")
_OFFSET = ("offset", "offsettime", "end", "endtime", "stop", "stoptime")
_KEY_OFFSET, _PEDAL_OFFSET = ("keyoffset", "keyoffsettime"), ("pedaloffset", "pedaloffsettime")
_DURATION = ("duration", "dur", "length")
_PITCH = (
    *("note", "pitch", "midi", "midipitch", "pitchmidi", "midinote", "notenumber", "midinumber"),
    *("midinotenumber", "notename", "pitchname", "key"),
)
_HZ = ("hz", "frequency", "frequencyhz", "freq", "freqhz", "f0", "f0hz", "pitchhz")
_VELOCITY = ("velocity", "vel", "midivelocity")
_ENDS = {
    "pedal": (*_PEDAL_OFFSET, *_OFFSET, *_KEY_OFFSET, *_DURATION),
    "key": (*_KEY_OFFSET, *_OFFSET, *_PEDAL_OFFSET, *_DURATION),
}
_KNOWN = {*_ONSET, *_ENDS["key"], *_PITCH, *_HZ, *_VELOCITY}
_UNIT = re.compile(r"(?<!m)(s|sec|secs|seconds)$")
_BEGINNING = 4096  # bytes
_COMMENTS = ("#", "%")
_UNKNOWN_VELOCITY = 64


class _Columns(NamedTuple):
    """Where the values of a note stand in a line; `end` is a duration if so named."""

    onset: int
    end: int
    pitch: int
    velocity: int | None
    is_duration: bool
    is_hz: bool


def read_table(path: Path, data: bytes, offset: str) -> tuple[NoteList, list[str]]:
    """Read notes from the contents of a table.

    Parameters
    ----------
    path : Path
        Name of the file, for messages.
    data : bytes
        Its contents.
    offset : {"pedal", "key"}
        Which offsets to prefer.

    Returns
    -------
    notes : NoteList
        Notes.
    remarks : list of str
        What was assumed or left out.

    Raises
    ------
    FormatError
        If it is not a table of notes.
    """
    lines = _lines(path, data)
    delimiter, names = _layout(path, lines)
    rows = [(number, _cells(line, delimiter)) for number, line in lines[bool(names) :]]
    columns = _named_columns(path, names, offset) if names else _usual_columns(rows)
    numbers = [number for number, _ in rows]
    values = np.array([_row(path, *row, columns) for row in rows]).reshape(-1, 4)
    remarks = []
    if columns.velocity is None and rows:
        remarks.append(f"it has no velocities: {_UNKNOWN_VELOCITY} is taken for all")
    if columns.is_hz and rows:
        remarks.append("its pitches are taken for frequencies in Hz")
    is_empty = values[:, 0] == values[:, 1]
    if n := int(is_empty.sum()):
        first = f"line {numbers[int(is_empty.argmax())]}"
        notes = f"1 note of no length is left out ({first})"
        more = f"{n} notes of no length are left out ({first} is the first)"
        remarks.append(notes if n == 1 else more)
    kept = np.flatnonzero(~is_empty)
    try:
        return NoteList(*values[kept].T), remarks
    except ParameterError as error:
        for i in kept:
            _check_row(path, numbers[i], values[i])
        raise FormatError(f"{path}: {error}") from error


def is_table(path: Path) -> bool:
    """Whether a text file begins like a table of notes."""
    try:
        with open_plain(path) as file:
            lines = _lines(path, file.read(_BEGINNING).rpartition(b"\n")[0])
        return bool(_layout(path, lines))
    except (FormatError, OSError):
        return False


def write_csv(path: str | Path, notes: NoteList) -> None:
    """Write notes to a table with the columns onset, offset, pitch, velocity and pedal_offset.

    Times are rounded to a microsecond. The last column is the end of the sound, which the sustain
    pedal prolongs (:meth:`NoteList.pedalled`); the pedal itself is not written.

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
    >>> notes = NoteList([0.5], [1.0], [60], [70], pedal=[[0.8, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(Path(folder, "song.csv"), notes)
    ...     print(Path(folder, "song.csv").read_text(), end="")
    onset,offset,pitch,velocity,pedal_offset
    0.500000,1.000000,60,70,2.000000
    """
    onset = np.round(notes.onset, 6)
    offset, pedal_offset = (
        np.maximum(np.round(end, 6), onset + 1e-6)
        for end in (notes.offset, notes.pedalled().offset)
    )
    rows = np.column_stack([onset, offset, notes.pitch, notes.velocity, pedal_offset])
    header = "onset,offset,pitch,velocity,pedal_offset"
    with atomic_path(path) as temporary:
        np.savetxt(temporary, rows, fmt="%.6f,%.6f,%d,%d,%.6f", header=header, comments="")


def _lines(path: Path, data: bytes) -> list[tuple[int, str]]:
    """Numbers and contents of the lines that are neither empty nor comments, but for a header."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # only comments can have accents
    if "\0" in text:
        raise FormatError(f"{path}: not a text file")
    lines = [(number, line.strip(" ")) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    is_row = [not line.startswith(_COMMENTS) for _, line in lines]
    rows = list(itertools.compress(lines, is_row))
    if rows and _is_header(rows[0][1]):
        return rows
    # The header may be written as a comment, as NumPy does.
    comments = lines[: is_row.index(True)] if rows else lines
    bare = [(number, line.lstrip("#% ")) for number, line in comments]
    return [(number, line) for number, line in bare if _is_header(line)][-1:] + rows


def _layout(path: Path, lines: list[tuple[int, str]]) -> tuple[str, list[str]]:
    """Delimiter of a table and names of its columns; none if its first line has numbers."""
    layout = _layout_of(lines[0][1]) if lines else None
    if layout is None:
        raise FormatError(
            f"{path}: the first line names no columns; it must name onset, offset and pitch"
        )
    return layout


def _layout_of(line: str) -> tuple[str, list[str]] | None:
    for delimiter in ("\t", ";", ",", " "):
        cells = _split(line, delimiter)
        names = [_UNIT.sub("", re.sub("[^a-z0-9]", "", cell.lower())) for cell in cells]
        if len(_KNOWN.intersection(names)) >= 2:
            return delimiter, names
        if len(cells) >= 3 and all(_is_number(cell) for cell in cells[:2]):
            return delimiter, []
    return None


def _is_header(line: str) -> bool:
    layout = _layout_of(line)
    return layout is not None and bool(layout[1])


def _cells(line: str, delimiter: str) -> list[str]:
    """Split a line, at spaces if it has no delimiter."""
    cells = _split(line, delimiter)
    return cells if len(cells) > 1 else line.split()


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:  # a cell is too long
        return [line]


def _named_columns(path: Path, names: list[str], offset: str) -> _Columns:
    found = {name: i for i, name in reversed(list(enumerate(names)))}

    def first(choices: tuple[str, ...]) -> int | None:
        return next((found[name] for name in choices if name in found), None)

    onset, end, pitch, hz = map(first, (_ONSET, _ENDS[offset], _PITCH, _HZ))
    wanted = {"onset": onset, "offset": end, "pitch": hz if pitch is None else pitch}
    missing = [name for name, column in wanted.items() if column is None]
    if onset is None or end is None or (column := wanted["pitch"]) is None:
        raise FormatError(f"{path}: the first line names no column {' and no '.join(missing)}")
    is_duration = names[end] in _DURATION
    return _Columns(onset, end, column, first(_VELOCITY), is_duration, pitch is None)


def _usual_columns(rows: list[tuple[int, list[str]]]) -> _Columns:
    """Onset, offset, pitch and perhaps velocity; pitches that no key has are frequencies."""
    pitches = [cells[2] for _, cells in rows if len(cells) > 2]
    is_hz = any(_is_number(cell) and not _is_whole(cell, 0, 127) for cell in pitches)
    has_velocity = all(len(cells) > 3 and _is_whole(cells[3], 0, 127) for _, cells in rows)
    return _Columns(0, 1, 2, 3 if has_velocity else None, False, is_hz)


def _number(cell: str) -> float:
    """Convert a number, which may have a decimal comma."""
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        raise ParameterError(f"{cell!r} is not a number") from None


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(_number(cell))
    except ParameterError:
        return False


def _is_whole(cell: str, low: int, high: int) -> bool:
    return _is_number(cell) and low <= _number(cell) <= high and _number(cell) % 1 == 0


def _row(path: Path, number: int, cells: list[str], columns: _Columns) -> list[float]:
    """Onset, offset, pitch and velocity of a line."""
    needed = 1 + max(columns.onset, columns.end, columns.pitch, columns.velocity or 0)
    if len(cells) < needed:
        raise FormatError(f"{path}, line {number}: has {len(cells)} of {needed} columns")
    try:
        onset, end = _number(cells[columns.onset]), _number(cells[columns.end])
        velocity = float(_UNKNOWN_VELOCITY)
        if columns.velocity is not None:
            velocity = _number(cells[columns.velocity])
        pitch = _pitch(cells[columns.pitch], is_hz=columns.is_hz)
    except ParameterError as error:
        raise FormatError(f"{path}, line {number}: {error}") from error
    return [onset, onset + end if columns.is_duration else end, pitch, velocity]


def _pitch(cell: str, *, is_hz: bool) -> float:
    if not _is_number(cell):
        return parse_pitch(cell)
    value = _number(cell)
    if not is_hz:
        return value
    if value <= 0:
        raise ParameterError(f"{cell} Hz is not a pitch")
    return round(69 + 12 * math.log2(value / 440))


def _check_row(path: Path, number: int, row: NDArray[np.float64]) -> None:
    """Raise FormatError if a line's values are out of range."""
    try:
        NoteList(*row[:, None])
    except ParameterError as error:
        reason = str(error).removeprefix("note 0: ")
        raise FormatError(f"{path}, line {number}: {reason}") from error
