"""What commands read and write: audio files in folders, and outputs that may be there already."""

from __future__ import annotations

import os
from pathlib import Path

from harmnmf.errors import HarmnmfError

# What libsndfile reads without being told more than the name.
AUDIO_SUFFIXES = (
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3"),
    *(".oga", ".ogg", ".opus", ".rf64", ".w64", ".wav"),
)


def audio_files(folder: Path) -> list[Path]:
    """List the audio files in a folder and the folders inside it, sorted.

    Hidden files are left out: macOS writes one, ``._song.wav``, beside each file that it copies.

    Parameters
    ----------
    folder : Path
        Where to look.

    Returns
    -------
    list of Path
        Never empty.

    Raises
    ------
    HarmnmfError
        If there are none.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise HarmnmfError(f"{folder}: no audio files in this folder")
    return found


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
