"""Read .npz archives from elsewhere in no more memory than is allowed.

An archive says of itself how large it is, four times: its table of contents, the entries there,
the header of each array, and what its bytes decompress to. Each of these may lie.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from typing import Any, BinaryIO

import numpy as np

from harmnmf.errors import FormatError

__all__ = ["MAX_METADATA", "read_npz"]

# Limits on what says what a file holds: in memory it takes many times its size.
MAX_METADATA = 2**20  # bytes
_MAX_DIRECTORY = 2**20  # bytes
_MAX_LEVELS = 64  # of lists and objects inside each other

# How NumPy's format 1.0 begins, before the length of its header in two bytes.
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufcSU]\d{1,9})', 'fortran_order': (True|False), "
    rb"'shape': \(([\d, ]{0,999})\), \} *\n"
)


def read_npz(file: BinaryIO, max_bytes: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read all arrays, and the metadata among them.

    Parameters
    ----------
    file : binary file
        The archive.
    max_bytes : int
        Limit on the decompressed size, with that of the headers.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays by name.
    metadata : dict
        What its JSON says.

    Raises
    ------
    FormatError
        If it is larger than the limit.
    Exception
        Nearly anything, if it is damaged or something else.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf.storage.arrays import save_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_arrays(f"{folder}/a.npz", {"W": np.eye(2)}, {"kind": "example"})
    ...     with open(f"{folder}/a.npz", "rb") as file:
    ...         arrays, metadata = read_npz(file, max_bytes=1000)
    >>> arrays["W"].shape, metadata["kind"]
    ((2, 2), 'example')
    """
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        n_bytes = sum(info.file_size for info in archive.infolist())
        if n_bytes > max_bytes:
            raise FormatError(f"holds {n_bytes} bytes, above the limit {max_bytes}")
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        arrays = {name: _read_entry(archive, info) for name, info in entries.items()}
    metadata = arrays.pop("metadata")
    if metadata.nbytes > MAX_METADATA:
        raise FormatError(f"has {metadata.nbytes} bytes of metadata, above {MAX_METADATA}")
    said = json.loads(metadata.tobytes(), parse_float=_finite, parse_constant=_finite)
    if _is_deeper(said, _MAX_LEVELS):
        raise FormatError(f"has metadata of more than {_MAX_LEVELS} levels")
    return arrays, said


def _check_directory(file: BinaryIO) -> None:
    """Refuse a table of contents that zipfile would read at any size."""
    # The record at the end says where the table is; before it stands, if archives are larger than
    # these may be, what says where another such record is.
    end, before_end = 22, 20
    file.seek(-before_end - end, os.SEEK_END)
    other, record = file.read(before_end), file.read(end)
    has_comment = record[-2:] != b"\0\0"
    if record[:4] != b"PK\5\6" or has_comment or other[:4] == b"PK\6\7":
        raise ValueError("not an archive as save_arrays writes them")
    if int.from_bytes(record[12:16], "little") > _MAX_DIRECTORY:
        raise ValueError("too many entries")


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read one array; the size in its own header must be that in the table of contents."""
    # Of the other methods, zipfile decompresses whole chunks without a limit.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a compression that save_arrays does not use")
    with archive.open(info) as entry:
        # Each read says how much it wants: this, and not info.file_size, bounds what zipfile
        # decompresses.
        prefix = entry.read(len(_MAGIC) + 2)
        header = entry.read(int.from_bytes(prefix[len(_MAGIC) :], "little"))
        # NumPy would evaluate the header, and warn if it could repair it.
        found = _HEADER.fullmatch(header)
        if not prefix.startswith(_MAGIC) or found is None:
            raise ValueError("not an array of numbers, booleans or strings")
        dtype = np.dtype(found[1].decode())
        shape = [int(length) for length in found[3].split(b",") if length.strip()]
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes != info.file_size - len(prefix) - len(header):
            raise ValueError("a header that lies")
        # A copy, because what frombuffer gives cannot be written to.
        array = np.frombuffer(entry.read(n_bytes), dtype).copy()
        return array.reshape(shape, order="F" if found[2] == b"True" else "C")


def _finite(text: str) -> float:
    """Read a number of JSON, which Python takes to be of any size, or NaN."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that save_arrays does not write")
    return number


def _is_deeper(value: object, n_levels: int) -> bool:
    """Tell whether lists and objects stand inside each other at more than so many levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return n_levels < 0 or any(_is_deeper(item, n_levels - 1) for item in inner)
