"""Recordings that the arguments of a command name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from harmnmf.errors import HarmnmfError
from harmnmf.signal.audio_folders import AUDIO_SUFFIXES, audio_files

# The path of each recording, and its path relative to the folder that was named.
Recordings = dict[Path, Path]

# The log of a run, in its output folder.
MANIFEST = "manifest.jsonl"
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def find_recordings(arguments: Iterable[str]) -> tuple[Recordings, list[str]]:
    """Find the audio files that files, folders and glob patterns name, each of them once.

    Returns them with errors for arguments that name none. Missing files are kept: they fail when
    they are read, without stopping the others.
    """
    found: dict[str, tuple[Path, Path]] = {}
    errors = []
    for argument in arguments:
        try:
            for path in _matching(argument):
                for file in audio_files(path) if os.path.isdir(path) else [path]:
                    place = file.relative_to(path) if file != path else Path(file.name)
                    # A file has one name in each folder, and a folder may have several.
                    key = os.path.join(os.path.realpath(file.parent), file.name)
                    found.setdefault(key, (file, place))
        except HarmnmfError as error:
            errors.append(str(error))
    return dict(found.values()), errors


def _matching(argument: str) -> list[Path]:
    if not os.path.exists(argument):  # an existing file may have a name like a pattern
        if _URL.match(argument):
            raise HarmnmfError(f"{argument}: is an address; download the file, or give its path")
        if glob.has_magic(argument):
            if names := sorted(glob.glob(argument, recursive=True)):
                return list(map(Path, names))
            raise HarmnmfError(f"{argument}: no file matches this pattern; check the spelling")
    return [Path(argument)]


def split_outputs(
    recordings: Recordings, endings: Sequence[str]
) -> tuple[Recordings, Collection[Path]]:
    """Split recordings from those that are outputs of others, made by an earlier run.

    `endings` are those of the outputs' names, as of :func:`plan_outputs`.
    """
    bases = {name for file in recordings for name in (file.name, stem(file.name))}
    outputs = {
        file
        for file in recordings
        for ending in endings
        if file.name == MANIFEST
        or _base(file.name, ending) in bases
        or _base(stem(file.name), _tag(ending)) in bases
    }
    return {file: place for file, place in recordings.items() if file not in outputs}, outputs


def stem(name: str) -> str:
    """Remove the suffix of an audio file; ``Sonata Op.27 No.2`` has none."""
    base, suffix = os.path.splitext(name)
    return base if suffix.lower() in AUDIO_SUFFIXES else name


def _tag(ending: str) -> str:
    """Return the part before the suffix: an output may have been written in another format."""
    return ending.rpartition(".")[0]


def _base(name: str, ending: str) -> str | None:
    return name[: -len(ending)] if ending and name.endswith(ending) else None
