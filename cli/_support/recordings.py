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


@dataclass(frozen=True)
class InputKind:
    """Kind of files that a command takes, with its names in messages."""

    noun: str  # one of them, as in "1 recording"
    content: str  # as in "no audio files in this folder"
    suffixes: Collection[str]  # of those that folders are searched for
    named: Collection[str] = ()  # suffixes of others, which must be named
    endings: Sequence[str] = ()  # of outputs that have one of the suffixes, or are folders


# What `harmnmf separate` takes recordings apart into, and the ends of the names of its folders.
PART_FOLDERS = {
    "hand": "_hands/",
    "note": "_notes/",
    "pitch": "_pitches/",
    "range": "_ranges/",
    "track": "_tracks/",
}
AUDIO = InputKind("recording", "audio", AUDIO_SUFFIXES, endings=tuple(PART_FOLDERS.values()))

# The path of each recording, and its path relative to the folder that was named.
Recordings = dict[Path, Path]


@dataclass(frozen=True)
class Found:
    """Recordings that arguments name, errors of arguments that name none, and remarks."""

    recordings: Recordings
    errors: list[str]
    remarks: list[str]


def find_recordings(
    arguments: Iterable[str], endings: Sequence[str], kind: InputKind = AUDIO
) -> Found:
    """Find the recordings that files, folders and glob patterns name, each of them once.

    Missing files are kept: they fail when they are read, without stopping the others. Outputs of
    other recordings, written by earlier runs, are left out; `endings` are those of their names, as
    in :func:`plan_outputs`.
    """
    found: dict[str, tuple[Path, Path]] = {}
    folders: dict[Path, FolderContents] = {}
    errors: list[str] = []
    for argument in arguments:
        paths = _matching(argument)
        if not paths:
            errors.append(f"{argument}: {_reason(argument)}")
        for path in paths:
            places = {path: Path(path.name)}
            if os.path.isdir(path):
                contents = folders[path] = list_folder(path, kind.suffixes)
                errors += contents.errors or _missing(path, contents, kind)
                places = {file: file.relative_to(path) for file in contents.found}
            for file, place in places.items():
                # A file has one name in each folder, and a folder may have several.
                key = os.path.join(os.path.realpath(file.parent), file.name)
                found.setdefault(key, (file, place))
    is_output = _output_test([file for file, _ in found.values()], endings, kind)
    recordings = {file: place for file, place in found.values() if not is_output(file)}
    remarks = []
    for path, contents in folders.items():
        if n_taken := sum(file in recordings for file in contents.found):
            others = [file for file in contents.others if not is_output(file)]
            remarks.append(
                f"{path}: {n_taken} {kind.noun}{'s' * (n_taken != 1)}"
                + (f"; not {kind.content}: {_names(others, path)}" if others else "")
            )
    if left_out := [file for file, _ in found.values() if is_output(file)]:
        remarks.append(
            f"left out {_names(left_out)}, which earlier runs have written; to process "
            f"{'it' if len(left_out) == 1 else 'one'}, name it alone"
        )
    return Found(recordings, errors, remarks)


def _matching(argument: str) -> list[Path]:
    # An existing file may have a name like a pattern.
    if os.path.exists(argument):
        return [Path(argument)]
    if glob.has_magic(argument):
        return list(map(Path, sorted(glob.glob(argument, recursive=True))))
    return [] if _URL.match(argument) else [Path(argument)]


def _reason(argument: str) -> str:
    """Say why an argument names nothing."""
    if _URL.match(argument):
        return "is an address; download the file, or give its path"
    return "no file matches this pattern; check the spelling"


def _missing(folder: Path, contents: FolderContents, kind: InputKind) -> list[str]:
    if contents.found:
        return []
    others = f", but {_names(contents.others, folder)}" if contents.others else ""
    return [f"{folder}: no {kind.content} files in this folder{others}"]


def _output_test(
    files: Collection[Path], endings: Sequence[str], kind: InputKind
) -> Callable[[Path], bool]:
    """Make a function that tells whether a file is an output of one of `files`."""
    bases = {name for file in files for name in (file.name, stem(file.name, kind))}

    def is_output(file: Path) -> bool:
        return file.name == MANIFEST or any(
            # The last: an output may have been written in another format.
            _base(f"{file.parent.name}/", ending) in bases
            or _base(file.name, ending) in bases
            or _base(stem(file.name, kind), ending.rpartition(".")[0]) in bases
            for ending in (*endings, *kind.endings)
        )

    return is_output


def _names(files: Sequence[Path], folder: Path | None = None) -> str:
    """Name the first files of many, in a folder."""
    names = [str(file if folder is None else file.relative_to(folder)) for file in files[:3]]
    rest = len(files) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def stem(name: str, kind: InputKind) -> str:
    """Remove the suffix of a recording; ``Sonata Op.27 No.2`` has none."""
    base, suffix = os.path.splitext(name)
    return base if suffix.lower() in (*kind.suffixes, *kind.named) else name


def _base(name: str, ending: str) -> str | None:
    return name[: -len(ending)] if ending and name.endswith(ending) else None
