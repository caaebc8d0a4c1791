"""Find audio files in folders."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harmnmf.errors import HarmnmfError

__all__ = ["AUDIO_SUFFIXES", "FolderContents", "audio_files", "list_folder"]

# Names of audio, and of videos, which hold sound too.
AUDIO_SUFFIXES = (
    *(".3g2", ".3ga", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".amr", ".ape"),
    *(".asf", ".au", ".avi", ".awb", ".bwf", ".caf", ".dts", ".eac3", ".flac", ".flv", ".m2ts"),
    *(".m4a", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".qt", ".rf64", ".spx", ".tta"),
    *(".w64", ".wav", ".wave", ".weba", ".webm", ".wma", ".wmv", ".wv"),
)


@dataclass(frozen=True)
class FolderContents:
    """Files in a folder and its subfolders, sorted, and errors of those that cannot be read."""

    found: list[Path]
    others: list[Path]
    errors: list[str]


def list_folder(folder: Path, suffixes: Collection[str] = AUDIO_SUFFIXES) -> FolderContents:
    """List the files with some suffixes and the other files in a folder and its subfolders.

    Hidden files are left out: macOS writes one, ``._song.wav``, beside each file that it copies.
    So are folders that are links, which may be circular. Other names with such a suffix are
    listed, broken links and pipes too, which fail when they are read.
    """
    contents = FolderContents([], [], [])

    def report(error: OSError) -> None:
        contents.errors.append(
            f"{error.filename}: this folder cannot be read ({error.strerror}); allow it, or name "
            "the files to work on"
        )

    for parent, folders, names in os.walk(folder, onerror=report):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                is_found = Path(name).suffix.lower() in suffixes
                (contents.found if is_found else contents.others).append(Path(parent, name))
    contents.found.sort()
    contents.others.sort()
    return contents


def audio_files(folder: Path) -> list[Path]:
    """List the audio files in a folder and its subfolders, sorted.

    They are those of `list_folder`. HarmnmfError if there are none, or a folder cannot be read.
    """
    if not folder.is_dir():
        raise HarmnmfError(f"{folder}: no such folder; check the name")
    contents = list_folder(folder)
    if contents.errors:
        raise HarmnmfError(contents.errors[0])
    if not contents.found:
        raise HarmnmfError(f"{folder}: no audio files in this folder")
    return contents.found
