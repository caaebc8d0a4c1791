"""Arrays with metadata in one file.

The array format is a NumPy ``.npz`` archive (``numpy.load`` reads it) with one more entry,
``metadata``, which holds JSON as bytes. Nothing is ever pickled or evaluated, and sizes are
checked before memory is taken, so that a file from elsewhere can be opened without trust.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from harmnmf.errors import FormatError, ParameterError

from .files import atomic_path, open_plain
from .npz import MAX_METADATA, read_npz

__all__ = ["load_arrays", "save_arrays"]

FORMAT = "harmnmf"
VERSION = 1


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
        What JSON can hold in a megabyte, with the kind of content under ``"kind"``
        (`load_arrays` checks it). ``"format"`` and ``"version"`` are added in the file.

    Raises
    ------
    ParameterError
        If `metadata` or an array cannot be stored.
    HarmnmfError
        If the file cannot be written.

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
    if len(text) > MAX_METADATA:
        raise ParameterError(f"metadata takes {len(text)} bytes, above the limit {MAX_METADATA}")
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
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)


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
        file = open_plain(path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        with file:
            arrays, metadata = read_npz(file, max_bytes)
        if metadata.pop("format") != FORMAT:
            raise ValueError("an archive of some other program")
        version, found = metadata.pop("version"), metadata["kind"]
    except FormatError as error:
        raise FormatError(f"{path}: {error}; choose another file") from error
    except Exception as error:  # damaged bytes raise nearly anything inside zipfile
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
