"""Settings of a training, by which a run in a folder is known again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from harmnmf.errors import FormatError, ParameterError
from harmnmf.storage.files import atomic_path

__all__ = ["ADVICE", "check_settings", "describe_files", "keep_settings"]

# What to do about a run that cannot go on.
ADVICE = "train anew with --restart, or choose another folder"


def check_settings(path: Path, before: object, now: Mapping[str, Any]) -> None:
    """Raise ParameterError, which names what differs, unless a run was begun with these settings.

    `path` is the file that keeps the settings `before`; both are JSON data. A file without
    settings raises FormatError.
    """
    if not isinstance(before, dict):
        raise FormatError(f"{path}: does not say how the training was begun; {ADVICE}")
    old, new = dict(_flat(before)), dict(_flat(now))
    changes = [
        f"{name} was {_text(old, name)} and is {_text(new, name)}"
        for name in {**old, **new}
        if old.get(name, _text) != new.get(name, _text)
    ]
    if changes:
        raise ParameterError(
            f"{path.parent}: holds a training with other settings ({'; '.join(changes)}); give the "
            f"same, {ADVICE}"
        )


def keep_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings to a JSON file, or check them if it exists."""
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        before = None
    check_settings(path, before, settings)


def describe_files(files: Iterable[tuple[str, Path]]) -> str:
    """Describe files by their number, size, and a checksum of names and sizes.

    Files have a name each, and may move to another folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     describe_files([("song.mid", Path(file.name))])
    '1 files, 0 bytes, checksum 1f947490'
    """
    sizes = sorted((name, path.stat().st_size) for name, path in files)
    total = sum(size for _, size in sizes)
    checksum = crc32(json.dumps(sizes).encode())
    return f"{len(sizes)} files, {total} bytes, checksum {checksum:08x}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Entries of nested mappings, by names joined with dots."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name]) if name in settings else "not given"
