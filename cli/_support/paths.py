"""What commands read and write: audio files in folders, and outputs that may be there already."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from harmnmf.errors import HarmnmfError
from harmnmf.signal.audio_folders import audio_files


def find_recordings(arguments: Iterable[str]) -> list[tuple[Path, Path]]:
    """Find the audio files that arguments name: files, folders, and patterns.

    Parameters
    ----------
    arguments : iterable of str
        As given. A file need not exist: that it is missing is found when it is read, and does
        not stop the others.

    Returns
    -------
    list of (Path, Path)
        Each file once, and its place in a folder of outputs.

    Raises
    ------
    HarmnmfError
        If a folder holds no audio.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for argument in arguments:
        # A name may look like a pattern.
        names = [] if Path(argument).exists() else sorted(glob.glob(argument, recursive=True))
        for path in map(Path, names or [argument]):
            for file in audio_files(path) if path.is_dir() else [path]:
                place = file.relative_to(path) if path.is_dir() else Path(file.name)
                found.setdefault(os.path.abspath(file), (file, place))
    return list(found.values())


def check_output(path: Path, *, overwrite: bool, folder_may_be_missing: bool = False) -> None:
    """Refuse an output that could not be written, or must not be, before the work is done.

    Parameters
    ----------
    path : Path
        File to be written.
    overwrite : bool
        Whether it may exist.
    folder_may_be_missing : bool, default=False
        Whether its folder is going to be made.

    Raises
    ------
    HarmnmfError
        If its folder is missing or cannot be written to, or it exists and must not be overwritten.
    """
    folder = path.parent
    if folder_may_be_missing:
        folder = next(parent for parent in path.parents if parent.exists())
    if not folder.exists():
        raise HarmnmfError(f"{path}: there is no folder {folder}; make it first")
    if not folder.is_dir():
        raise HarmnmfError(f"{path}: {folder} is not a folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise HarmnmfError(f"{path}: cannot write to the folder {folder}; choose another place")
    if path.is_dir():
        raise HarmnmfError(f"{path}: is a folder; name a file to write")
    if path.exists() and not overwrite:
        raise HarmnmfError(f"{path}: exists already; choose another name, or use --overwrite")


def check_plan(
    plan: Mapping[Path, Sequence[Path]],
    *,
    overwrite: bool,
    own: Collection[str] = (),
) -> None:
    """Refuse outputs that collide, exist or cannot be written, before any work is done.

    Parameters
    ----------
    plan : mapping of Path to sequence of Path
        Outputs of each input, whose folders are going to be made.
    overwrite : bool
        Whether they may exist.
    own : collection of str, optional
        Real paths of outputs that may exist in any case.

    Raises
    ------
    HarmnmfError
        If two inputs give the same output, or `check_output` refuses one.
    """
    origin: dict[str, Path] = {}
    for source, outputs in plan.items():
        for path in outputs:
            other = origin.setdefault(os.path.realpath(path), source)
            if other != source:
                raise HarmnmfError(f"{path}: would be written for both {other} and {source}")
    for source, outputs in plan.items():
        # One that is missing gives no outputs.
        for path in outputs if source.exists() else []:
            may_exist = overwrite or os.path.realpath(path) in own
            check_output(path, overwrite=may_exist, folder_may_be_missing=True)
