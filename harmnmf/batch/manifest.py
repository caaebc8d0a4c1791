"""A log of finished recordings, so that an interrupted run can be resumed.

JSON lines, one for each event (started, done, failed). Lines are only appended, and the last line
of a recording counts, so that the file stays readable however a run ends. Outputs that the
manifest lists for a recording may be replaced by new ones of that recording; other existing files
may not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from harmnmf.errors import FormatError, HarmnmfError
from harmnmf.storage.files import try_lock

from .task import Outcome, Task, file_hash

__all__ = ["Manifest"]

_FIELDS = {"input": str, "settings": dict, "outputs": list, "status": str}


class Manifest:
    """Log of what was written for which recording; one run at a time can use it.

    The file is created with its folder at the first `begin`. `settings` are those that the outputs
    depend on, as JSON; `version` is that of the program, for information. An existing file that is
    not a manifest raises FormatError; one in use by another run raises HarmnmfError.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], version: str) -> None:
        self.path = path
        self._settings = json.loads(json.dumps(dict(settings)))  # as they are read again
        self._version = version
        self._records: dict[str, dict[str, Any]] = {}
        self._file: BinaryIO | None = None
        if path.exists():
            self._open()

    def is_done(self, task: Task) -> bool:
        """Tell whether a task's outputs exist, made from this recording with these settings."""
        record = self._records.get(_key(task), {})
        state = _state(task.source)
        return (
            record.get("status") == "done"
            and record["settings"] == self._settings
            and record["outputs"] == self._relative_outputs(task)
            and record.get("companions", []) == list(map(file_hash, task.companions))
            and all(path.exists() for path in task.outputs)
            and state is not None
            and (state == record.get("state") or file_hash(task.source) == record.get("sha256"))
        )

    def own_outputs(self, task: Task) -> set[str]:
        """Real paths that runs have written or begun for a recording, and nobody modified since."""
        record = self._records.get(_key(task))
        if record is None:
            return set()
        paths = [self.path.parent / name for name in record["outputs"]]
        # The state of an interrupted task's outputs is unknown.
        if record["status"] == "done" and record.get("made") != list(map(_state, paths)):
            return set()
        return set(map(os.path.realpath, paths))

    def begin(self, task: Task) -> None:
        """Record the start of a task, whose existing outputs may be replaced from now on."""
        self._write(
            {
                "input": _key(task),
                "state": _state(task.source),
                "companions": list(map(file_hash, task.companions)),
                "settings": self._settings,
                "outputs": self._relative_outputs(task),
                "status": "started",
                "harmnmf": self._version,
            }
        )

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Record the end of a task that was begun."""
        record = {**self._records[_key(task)], **asdict(outcome)}
        record["status"] = "failed" if outcome.error else "done"
        if not outcome.error:
            record["made"] = list(map(_state, task.outputs))
        self._write(record)

    def __enter__(self) -> Manifest:
        """Return the manifest."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file, so that other runs can use it."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> BinaryIO:
        """Open and lock the file, and read its records."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise HarmnmfError(f"{self.path}: cannot be opened ({error.strerror})") from error
        if not try_lock(file):
            file.close()
            raise HarmnmfError(f"{self.path}: in use by another run; wait for it to end")
        self._file = file
        file.seek(0)
        lines = file.read().split(b"\n")
        for line in lines:
            try:
                record = json.loads(line)
                if _is_record(record):
                    self._records[record["input"]] = record
            except (KeyError, RecursionError, TypeError, ValueError):
                continue  # an incomplete line
        if not self._records and any(lines):
            file.close()
            raise FormatError(f"{self.path}: is not a manifest; choose another folder")
        if lines[-1]:
            self._append(b"\n")
        return file

    def _write(self, record: dict[str, Any]) -> None:
        self._append(json.dumps(record).encode() + b"\n")
        self._records[record["input"]] = record

    def _append(self, data: bytes) -> None:
        file = self._file or self._open()
        try:
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror
            raise HarmnmfError(f"{self.path}: cannot be written ({reason}); make room") from error

    def _relative_outputs(self, task: Task) -> list[str]:
        """Paths relative to the manifest, so that they can be moved together."""
        return [os.path.relpath(path, self.path.parent) for path in task.outputs]


def _is_record(record: dict[str, Any]) -> bool:
    return all(isinstance(record[name], kind) for name, kind in _FIELDS.items()) and all(
        isinstance(name, str) and "\0" not in name for name in record["outputs"]
    )


def _key(task: Task) -> str:
    return os.path.abspath(task.source)


def _state(path: Path) -> list[int] | None:
    """Size and modification time of a file, or of those in a folder; None if it cannot be read."""
    try:
        paths = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [path.stat() for path in paths]
    except OSError:
        return None
    return [sum(x.st_size for x in stats), max((x.st_mtime_ns for x in stats), default=0)]
