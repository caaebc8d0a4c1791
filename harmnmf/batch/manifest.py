"""A file that remembers what was made of which recording, so that a run can be resumed.

JSON, a line for each event: a recording has been begun, is done, or has failed. Lines are only ever
added, and the last one of a recording counts, so that whatever stops a run leaves a manifest that
can be read. What has been begun or done is the run's own to replace; no other file is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from harmnmf.errors import FormatError, HarmnmfError
from harmnmf.storage.files import try_lock

from .task import Outcome, Task, file_hash

__all__ = ["Manifest"]

_FIELDS = {"input": str, "settings": dict, "outputs": list, "status": str}


class Manifest:
    """What was made of which recording, in a file that nobody else writes meanwhile.

    Parameters
    ----------
    path : Path
        The file, in the folder of the outputs. Both are made when there is something to say.
    settings : mapping
        What else the outputs depend on, as JSON.
    version : str
        Of the program, for the reader; a newer one does not make outputs outdated.

    Raises
    ------
    FormatError
        If the file is something else.
    HarmnmfError
        If it cannot be written, or another run is writing it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     song, notes = Path(folder, "song.wav"), Path(folder, "song.mid")
    ...     _ = song.write_text("sound"), notes.write_text("notes")
    ...     task = Task(song, (notes,))
    ...     with Manifest(Path(folder, "manifest.jsonl"), {}, version="1") as manifest:
    ...         manifest.is_done(task)
    ...         manifest.begin(task)
    ...         manifest.finish(task, Outcome("12 notes"))
    ...     with Manifest(Path(folder, "manifest.jsonl"), {}, version="1") as manifest:
    ...         manifest.is_done(task)
    False
    True
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], version: str) -> None:
        self.path = path
        self._settings = dict(settings)
        self._version = version
        self._records: dict[str, dict[str, Any]] = {}
        # It is not made before there is something to say.
        self._file: BinaryIO | None = None
        if path.exists():
            self._open()

    def is_done(self, task: Task) -> bool:
        """Tell whether a task need not be done again.

        Parameters
        ----------
        task : Task
            The task.

        Returns
        -------
        bool
            Whether its outputs were made, with these settings, from what the recording holds now,
            and are there.
        """
        record = self._records.get(_key(task))
        if record is None or record["status"] != "done":
            return False
        if record["settings"] != self._settings or record["outputs"] != self._outputs(task):
            return False
        if not all(path.exists() for path in task.outputs):
            return False
        state = _states([task.source])[0]
        if state is None:
            return False
        return state == record.get("state") or file_hash(task.source) == record.get("sha256")

    def made(self) -> set[str]:
        """List the files that runs with this manifest have made or begun.

        Returns
        -------
        set of str
            Real paths. These may be replaced. What somebody has changed since is not among them.
        """
        own: set[str] = set()
        for record in self._records.values():
            paths = [self.path.parent / name for name in record["outputs"]]
            # Whether there are others, and what they hold, is not known of what was interrupted.
            if record["status"] != "done" or record.get("made") == _states(paths):
                own.update(map(os.path.realpath, paths))
        return own

    def begin(self, task: Task) -> None:
        """Note that a task is begun.

        Parameters
        ----------
        task : Task
            The task, of which all that exists is from now on this run's own.

        Raises
        ------
        HarmnmfError
            If the manifest cannot be written.
        """
        self._write({
            "input": _key(task), "state": _states([task.source])[0], "settings": self._settings,
            "outputs": self._outputs(task), "status": "started", "harmnmf": self._version,
        })  # fmt: skip

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Note what came of a task that was begun.

        Parameters
        ----------
        task : Task
            The task.
        outcome : Outcome
            What came of it.

        Raises
        ------
        HarmnmfError
            If the manifest cannot be written.
        """
        result: dict[str, Any] = {
            "status": "failed" if outcome.error else "done", "sha256": outcome.sha256,
            "summary": outcome.summary, "error": outcome.error, "warnings": outcome.warnings,
            "seconds": round(outcome.seconds, 3), "elapsed": round(outcome.elapsed, 3),
        }  # fmt: skip
        if outcome.trace:
            result["trace"] = outcome.trace
        if not outcome.error:
            result["made"] = _states(task.outputs)
        self._write({**self._records[_key(task)], **result})

    def close(self) -> None:
        """Let other runs write the manifest."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Manifest:
        """Use as a context, which closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _open(self) -> BinaryIO:
        """Open the file for this run alone, and read what there is."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, and to be added to: a line is there, or is not.
            file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise HarmnmfError(f"{self.path}: cannot be opened ({error.strerror})") from error
        if not try_lock(file):
            file.close()
            raise HarmnmfError(f"{self.path}: another run is at work here; wait for it to end")
        self._file = file
        file.seek(0)
        lines = file.read().split(b"\n")
        for line in lines:
            try:
                record = json.loads(line)
                if _is_record(record):
                    self._records[record["input"]] = record
            except (KeyError, RecursionError, TypeError, ValueError):
                continue  # it was cut off
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

    def _outputs(self, task: Task) -> list[str]:
        """Name outputs from the manifest's folder, which can be moved with them."""
        return [os.path.relpath(path, self.path.parent) for path in task.outputs]


def _is_record(record: dict[str, Any]) -> bool:
    return all(isinstance(record[name], kind) for name, kind in _FIELDS.items()) and all(
        isinstance(name, str) and "\0" not in name for name in record["outputs"]
    )


def _key(task: Task) -> str:
    return os.path.abspath(task.source)


def _states(paths: Iterable[Path]) -> list[list[int] | None]:
    """Tell size and time of modification, by which files are told from what they were."""
    states: list[list[int] | None] = []
    for path in paths:
        try:
            stat = path.stat()
            states.append([stat.st_size, stat.st_mtime_ns])
        except OSError:  # what is wrong is found when it is read
            states.append(None)
    return states
