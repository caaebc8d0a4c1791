"""Find audio files in folders."""

from __future__ import annotations

from pathlib import Path

from .errors import HarmnmfError

__all__ = ["AUDIO_SUFFIXES", "audio_files"]

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
        If there are none, or no such folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "song.FLAC").touch()
    ...     [path.name for path in audio_files(Path(folder))]
    ['song.FLAC']
    """
    if not folder.is_dir():
        raise HarmnmfError(f"{folder}: no such folder; check the name")
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
