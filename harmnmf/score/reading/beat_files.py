"""Read beats from text files."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError
from harmnmf.storage.files import open_plain

__all__ = ["read_beats"]

_MAX_BYTES = 2**20
_LABELS = {"db": 1.0, "downbeat": 1.0, "b": 2.0, "beat": 2.0, "br": 2.0}


def read_beats(path: str | Path) -> NDArray[np.float64]:
    r"""Read the times of beats from a text file, and which of them begin bars.

    A line has the time of a beat in seconds, and perhaps, after a tab, comma or space, its number
    in the bar, where 1 begins a bar; or a label, "db" for a downbeat and "b" for another beat, as
    in A-MAPS and ASAP. Other cells beside a label, names of columns, and lines that begin with
    ``#`` or ``%`` are skipped.

    Parameters
    ----------
    path : str or Path
        File.

    Returns
    -------
    ndarray, shape (n_beats,) or (n_beats, 2)
        Times in seconds, and the numbers if the file has them; other beats than downbeats are 2
        where the file has labels.

    Raises
    ------
    FormatError
        If the file cannot be read, is a table of notes, has fewer than two beats, the times do not
        ascend, or there are numbers and none is 1.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "beats.txt")
    ...     _ = path.write_text("0.5 1\n1.0 2\n")
    ...     read_beats(path)
    array([[0.5, 1. ],
           [1. , 2. ]])
    """
    path = Path(path)
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        cells = [cell for cell in re.split(r"[\s,;]+", line.strip()) if cell]
        if not cells or line.lstrip().startswith(("#", "%")):
            continue
        try:
            row = float(cells[0]), _number(cells[1:])
        except ValueError:
            if rows or _is_number(cells[0]):
                raise FormatError(
                    f"{path}, line {number}: {line.strip()!r} is not the time of a beat in "
                    "seconds, and perhaps its number in the bar"
                ) from None
            if re.search("pitch|note|velocity", line.lower()):
                raise FormatError(
                    f"{path}: has notes, which do not tell the beats; give a text file with the "
                    "time of a beat in each line"
                ) from None
            continue
        if not math.isfinite(row[0]) or (rows and row[0] <= rows[-1][0]):
            raise FormatError(
                f"{path}, line {number}: {line.strip()!r} is not later than the beat before; times "
                "of beats are seconds that ascend, with a decimal point"
            )
        rows.append(row)
    beats = np.array(rows).reshape(-1, 2)
    if len(beats) < 2:
        raise FormatError(
            f"{path}: has fewer than two times of beats; write one a line, in seconds"
        )
    if np.isnan(beats[:, 1]).all():
        return beats[:, 0]
    if not (beats[:, 1] == 1).any():
        raise FormatError(
            f"{path}: no beat has the number 1, which begins a bar; leave all numbers out to have "
            "the bars found"
        )
    return beats


def _text(path: Path) -> str:
    try:
        with open_plain(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > _MAX_BYTES or b"\0" in data:
        raise FormatError(f"{path}: is not a text file with times of beats")
    return data.decode("utf-8-sig", errors="replace")


def _number(cells: list[str]) -> float:
    """Find the number of a beat in its bar, or NaN; ValueError if there is another text."""
    labels = [_LABELS[cell.lower()] for cell in cells if cell.lower() in _LABELS]
    if labels or not cells:
        return labels[0] if labels else np.nan
    number = float(cells[-1])
    if number % 1:
        raise ValueError("not a whole number")
    return number


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?[\d.]+", cell))
