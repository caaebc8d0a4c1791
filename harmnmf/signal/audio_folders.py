"""Find audio files in folders."""

from __future__ import annotations

import os
from pathlib import Path

from harmnmf.errors import HarmnmfError

__all__ = ["AUDIO_SUFFIXES", "audio_files"]

# Names of audio, and of videos, which hold sound too.
AUDIO_SUFFIXES = (
    *(".3g2", ".3ga", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".amr", ".ape"),
    *(".asf", ".au", ".avi", ".awb", ".bwf", ".caf", ".dts", ".eac3", ".flac", ".flv", ".m2ts"),
    *(".m4a", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".qt", ".rf64", ".spx", ".tta"),
    *(".w64", ".wav", ".wave", ".weba", ".webm", ".wma", ".wmv", ".wv"),
)


def audio_files(folder: Path) -> list[Path]:
    """List the audio files in a folder and its subfolders, sorted; HarmnmfError if there are none.

    Hidden files are left out: macOS writes one, ``._song.wav``, beside each file that it copies.
    So are folders that are links, which may be circular. Other names with an audio suffix are
    listed, broken links and pipes too, which fail when they are read.
    """
    if not folder.is_dir():
        raise HarmnmfError(f"{folder}: no such folder; check the name")
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES
        ]
    if not found:
        raise HarmnmfError(f"{folder}: no audio files in this folder")
    return sorted(found)


def _raise_unreadable(error: OSError) -> None:
    raise HarmnmfError(
        f"{error.filename}: this folder cannot be read ({error.strerror}); allow it, or name the "
        "files to work on"
    ) from error
