"""Files that are written whole or not at all, and arrays with metadata in one file.

The array format is a NumPy ``.npz`` archive (``numpy.load`` reads it) with one more entry,
``metadata``, which holds JSON as bytes. Nothing is ever pickled, and sizes are checked before
memory is taken, so that a file from elsewhere can be opened without trust.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FormatError, HarmnmfError, ParameterError

__all__ = ["atomic_path", "load_arrays", "save_arrays"]

FORMAT = "harmnmf"
VERSION = 1

# All that zipfile, NumPy and json raise on bytes that are not what they should be.
_CORRUPTION = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    OSError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    r"""Replace a file in one step, so that no reader ever sees half of it.

    Parameters
    ----------
    path : str or os.PathLike
        File to write. Its folder must exist; a symbolic link is followed.

    Yields
    ------
    pathlib.Path
        An empty temporary file in the same folder and with the same suffix. It takes the
        place of `path` when the block ends, and is removed when the block raises.

    Raises
    ------
    HarmnmfError
        If the folder is missing or not writable, or `path` exists and is not a plain file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder, "notes.csv")) as temporary:
    ...         _ = temporary.write_text("onset,offset\n")
    ...     Path(folder, "notes.csv").read_text()
    'onset,offset\n'
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise HarmnmfError(f"{path}: is not a plain file; name a file to write")
    temporary = target.with_name(f".harmnmf-{secrets.token_hex(8)}{target.suffix}")
    try:
        # Not tempfile.mkstemp: its files are private (mode 0600), and would stay so.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise HarmnmfError(
            f"{target.parent}: cannot write to this folder ({error.strerror}); choose another"
        ) from error
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def save_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and metadata to one file, which appears whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        File to write or replace; ``.npz`` by convention.
    arrays : mapping of str to ndarray
        Numbers, booleans or strings, of any shape. The name ``metadata`` is taken.
    metadata : mapping
        What JSON can hold, with the kind of content under ``"kind"`` (`load_arrays` checks
        it). ``"format"`` and ``"version"`` are added in the file.

    Raises
    ------
    ParameterError
        If `metadata` or an array cannot be stored.
    HarmnmfError
        If the folder is not writable.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_arrays(f"{folder}/a.npz", {"W": np.eye(2)}, {"kind": "dictionary"})
    ...     arrays, metadata = load_arrays(f"{folder}/a.npz", kind="dictionary")
    >>> arrays["W"].shape, metadata
    ((2, 2), {'kind': 'dictionary'})
    """
    if not isinstance(metadata.get("kind"), str):
        raise ParameterError('metadata needs the kind of content, a string, under "kind"')
    if taken := {"format", "version"} & metadata.keys():
        raise ParameterError(f"metadata cannot use the names {sorted(taken)}")
    try:
        text = json.dumps({"format": FORMAT, "version": VERSION, **metadata}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"metadata is not JSON ({error})") from error
    entries = {"metadata": np.frombuffer(text.encode(), np.uint8)}
    for name, array in arrays.items():
        if name in entries or not name.isidentifier():
            raise ParameterError(f"{name!r} cannot be the name of an array")
        entries[name] = np.asarray(array)
        if entries[name].dtype.kind not in "biufcSU":
            raise ParameterError(f"array {name!r} has dtype {entries[name].dtype}: not stored")
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, array in entries.items():
            # The fixed date of a bare ZipInfo gives equal bytes for equal content.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def load_arrays(
    path: str | os.PathLike[str], *, kind: str | None = None, max_bytes: int = 2**30
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and metadata that `save_arrays` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        File to read.
    kind : str, optional
        Kind of content that the file must have.
    max_bytes : int
        Limit on the decompressed size, checked before memory is taken: a small file can
        announce, or decompress to, more than a machine has.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays by name.
    metadata : dict
        As given to `save_arrays`.

    Raises
    ------
    FormatError
        If the file is missing, corrupt, too large, of another kind, or of a newer version.

    Examples
    --------
    >>> load_arrays("missing.npz")
    Traceback (most recent call last):
        ...
    harmnmf.errors.FormatError: missing.npz: cannot be opened (No such file or directory)
    """
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(info.file_size for info in archive.infolist())
            if n_bytes > max_bytes:
                raise FormatError(f"{path}: holds {n_bytes} bytes, above the limit {max_bytes}")
            arrays = {
                info.filename.removesuffix(".npy"): _read_entry(archive, info)
                for info in archive.infolist()
            }
        metadata = json.loads(arrays.pop("metadata").tobytes())
        if metadata.pop("format") != FORMAT:
            raise ValueError("an archive of some other program")
        version, found = metadata.pop("version"), metadata["kind"]
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise FormatError(f"{path}: cannot be opened ({error.strerror})") from error
    except _CORRUPTION as error:
        raise FormatError(
            f"{path}: is corrupt or not a harmnmf file; make it again or copy it again"
        ) from error
    if version != VERSION:
        raise FormatError(
            f"{path}: has format version {version}, and this harmnmf reads {VERSION}; update it"
        )
    if kind not in (None, found):
        raise FormatError(f"{path}: holds {found}, where {kind} is needed; choose another file")
    return arrays, metadata


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read one array of an archive; the size in its own header must be that in the archive's."""
    # Of the other methods, zipfile decompresses whole chunks without a limit.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a compression that save_arrays does not use")
    with archive.open(info) as entry:
        major, _ = np.lib.format.read_magic(entry)
        read_header = {
            1: np.lib.format.read_array_header_1_0,
            2: np.lib.format.read_array_header_2_0,
        }[major]
        shape, is_fortran, dtype = read_header(entry)
        n_bytes = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "biufcSU" or n_bytes != info.file_size - entry.tell():
            raise ValueError("an object array, or a header that lies")
        # A copy, because what frombuffer gives cannot be written to.
        array = np.frombuffer(entry.read(), dtype).copy()
        return array.reshape(shape, order="F" if is_fortran else "C")
