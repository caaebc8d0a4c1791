"""Named arrays and JSON metadata in one safetensors file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from harmnmf.errors import FormatError, ParameterError

from .files import atomic_path, open_plain

__all__ = ["load_arrays", "save_arrays"]

# Version 1 was an .npz archive.
_VERSION = 2
# The header of a file (names, shapes, metadata) takes many times its size once parsed.
_MAX_HEADER = 2**21  # bytes
_MAX_LEVELS = 64  # nested lists and objects in the metadata


def save_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and metadata to a safetensors file, atomically.

    The metadata are JSON data of up to about 1 MB. Their ``"kind"``, a string, names the kind of
    content, which `load_arrays` checks; ``"version"`` is reserved. Raises ParameterError if arrays
    or metadata cannot be stored.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_arrays(f"{folder}/a.safetensors", {"W": np.eye(2)}, {"kind": "dictionary"})
    ...     arrays, metadata = load_arrays(f"{folder}/a.safetensors", kind="dictionary")
    >>> arrays["W"].shape, metadata
    ((2, 2), {'kind': 'dictionary'})
    """
    if not isinstance(metadata.get("kind"), str) or "version" in metadata:
        raise ParameterError('metadata needs a string under "kind", and nothing under "version"')
    try:
        text = json.dumps({"version": _VERSION, **metadata}, allow_nan=False)
        # safetensors ignores strides.
        tensors = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        data = save(tensors, {"harmnmf": text})
    except (SafetensorError, TypeError, ValueError) as error:
        raise ParameterError(f"cannot be stored as arrays with JSON metadata: {error}") from error
    if _header_length(data) > _MAX_HEADER:
        raise ParameterError(
            f"names and metadata take {_header_length(data)} bytes, above the limit {_MAX_HEADER}"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def load_arrays(
    path: str | os.PathLike[str], *, kind: str, max_bytes: int = 2**30
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays by name and metadata that `save_arrays` wrote.

    Raises FormatError if the file is missing, corrupt, larger than `max_bytes`, of another kind, or
    of another version.
    """
    try:
        with open_plain(path) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            start = file.read(8)
    except OSError as error:
        raise FormatError(f"{path}: cannot be opened ({error.strerror})") from error
    if n_bytes > max_bytes:
        raise FormatError(
            f"{path}: takes {n_bytes} bytes, above the limit {max_bytes}; choose another file"
        )
    if start.startswith(b"PK"):
        raise FormatError(
            f"{path}: is an .npz archive; if an older harmnmf wrote it, convert it with "
            f'`harmnmf convert "{path}"`'
        )
    try:
        if _header_length(start) > _MAX_HEADER:
            raise ValueError("the header is too long")
        arrays, metadata = _read(path)
        version, found = metadata.pop("version"), metadata["kind"]
    # AttributeError and TypeError: a data type that NumPy lacks.
    except (
        SafetensorError, AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError
    ) as error:  # fmt: skip
        raise FormatError(
            f"{path}: is corrupt or not a harmnmf file; make it again or copy it again"
        ) from error
    if version != _VERSION:
        raise FormatError(
            f"{path}: has format version {version}, and this harmnmf reads {_VERSION}; update it"
        )
    if found != kind:
        raise FormatError(f"{path}: holds {found}, where {kind} is needed; choose another file")
    return arrays, metadata


def _header_length(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with safe_open(path, framework="np") as file:
        text = (file.metadata() or {})["harmnmf"]
        metadata = json.loads(text, parse_float=_finite, parse_constant=_finite)
        if _depth(metadata) > _MAX_LEVELS:
            raise ValueError(f"the metadata has more than {_MAX_LEVELS} levels")
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # Other packages may register more, for example bfloat16.
    if any(array.dtype.isbuiltin != 1 for array in arrays.values()):
        raise ValueError("an array has a data type that is not NumPy's own")
    return arrays, metadata


def _finite(text: str) -> float:
    """Parse a number; raise ValueError if it is NaN or too large."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _depth(value: object) -> int:
    """Count levels of nested lists and objects."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)
