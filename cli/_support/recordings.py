"""Recordings that the arguments of a command name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmnmf.signal.audio_folders import AUDIO_SUFFIXES, FolderContents, list_folder

# The log of a run, in its output folder.
MANIFEST = "manifest.jsonl"
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

# The path of each recording, and its path relative to the folder that was named.
Recordings = dict[Path, Path]


@dataclass(frozen=True)
class Found:
    """Recordings that arguments name, errors of arguments that name none, and remarks."""

    recordings: Recordings
    errors: list[str]
    remarks: list[str]


def find_recordings(arguments: Iterable[str], endings: Sequence[str]) -> Found:
    """Find the audio files that files, folders and glob patterns name, each of them once.

    Missing files are kept: they fail when they are read, without stopping the others. Outputs of
    other recordings, written by earlier runs, are left out; `endings` are those of their names, as
    in :func:`plan_outputs`.
    """
    found: dict[str, tuple[Path, Path]] = {}
    folders: dict[Path, FolderContents] = {}
    errors: list[str] = []
    for argument in arguments:
        matching = _matching(argument)
        if not matching:
            errors.append(f"{argument}: no file matches this pattern; check the spelling")
        for path in matching:
            if os.path.isdir(path):
                contents = folders[path] = list_folder(path)
                errors += contents.errors
                if not contents.audio and not contents.errors:
                    only = f", but {_names(contents.others, path)}" if contents.others else ""
                    errors.append(f"{path}: no audio files in this folder{only}")
                places = {file: file.relative_to(path) for file in contents.audio}
            elif _URL.match(argument) and not os.path.exists(path):
                errors.append(f"{argument}: is an address; download the file, or give its path")
                continue
            else:
                places = {path: Path(path.name)}
            for file, place in places.items():
                # A file has one name in each folder, and a folder may have several.
                key = os.path.join(os.path.realpath(file.parent), file.name)
                found.setdefault(key, (file, place))
    is_output = _output_test([file for file, _ in found.values()], endings)
    recordings = {file: place for file, place in found.values() if not is_output(file)}
    remarks = [
        remark
        for path, contents in folders.items()
        if (remark := _describe(path, contents, recordings, is_output))
    ]
    if left_out := [file for file, _ in found.values() if is_output(file)]:
        remarks.append(
            f"left out {_names(left_out)}, which earlier runs have written; to process "
            f"{'it' if len(left_out) == 1 else 'one'}, name it alone"
        )
    return Found(recordings, errors, remarks)


def _matching(argument: str) -> list[Path]:
    # An existing file may have a name like a pattern.
    if os.path.exists(argument) or _URL.match(argument) or not glob.has_magic(argument):
        return [Path(argument)]
    return list(map(Path, sorted(glob.glob(argument, recursive=True))))


def _output_test(files: Collection[Path], endings: Sequence[str]) -> Callable[[Path], bool]:
    """Make a function that tells whether a file is an output of one of `files`."""
    bases = {name for file in files for name in (file.name, stem(file.name))}

    def is_output(file: Path) -> bool:
        return file.name == MANIFEST or any(
            # The second: an output may have been written in another format.
            _base(file.name, ending) in bases
            or _base(stem(file.name), ending.rpartition(".")[0]) in bases
            for ending in endings
        )

    return is_output


def _describe(
    folder: Path,
    contents: FolderContents,
    recordings: Recordings,
    is_output: Callable[[Path], bool],
) -> str | None:
    """Say how many recordings a folder has, and which other files."""
    n_found = sum(file in recordings for file in contents.audio)
    if not n_found:
        return None
    text = f"{folder}: {n_found} recording{'s' * (n_found != 1)}"
    if others := [file for file in contents.others if not is_output(file)]:
        text += f"; not audio: {_names(others, folder)}"
    return text


def _names(files: Sequence[Path], folder: Path | None = None) -> str:
    """Name the first files of many, in a folder."""
    names = [str(file if folder is None else file.relative_to(folder)) for file in files[:3]]
    rest = len(files) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def stem(name: str) -> str:
    """Remove the suffix of an audio file; ``Sonata Op.27 No.2`` has none."""
    base, suffix = os.path.splitext(name)
    return base if suffix.lower() in AUDIO_SUFFIXES else name


def _base(name: str, ending: str) -> str | None:
    return name[: -len(ending)] if ending and name.endswith(ending) else None
