"""Open a recording with the library that reads its content best, whatever its name says.

libsndfile reads uncompressed audio and FLAC, exactly as they were written. FFmpeg reads compressed
audio, the sound of videos, and WAV files that were never finished.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.storage.files import open_plain

from .libsndfile import LibsndfileSound, is_for_libsndfile

__all__ = ["Sound", "open_sound"]


class Sound(Protocol):
    """A recording that is open for reading once, forwards.

    `n_samples` is the length that the file announces, which may be wrong, or None.
    """

    sample_rate: int
    n_channels: int
    n_samples: int | None

    def blocks(
        self, offset: float, duration: float | None, block_duration: float
    ) -> Iterator[NDArray[np.float32]]:
        """Read a part, in blocks of shape (n_samples, n_channels); times are in seconds.

        A file is read to its end, whatever length it announces, and a warning tells if it ends
        before. `duration` None reads all.
        """

    def close(self) -> None:
        """Close the file."""


def open_sound(path: str | os.PathLike[str]) -> Sound:
    """Open a recording, which the caller closes, or raise AudioError."""
    # The libraries report all these as "System error" or "Format not recognised".
    try:
        with open_plain(path) as file:
            is_empty = not file.read(1)
            file.seek(0)
            uses_libsndfile = is_for_libsndfile(file)
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise AudioError(f"{path}: is a folder; name an audio file") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from error
    if is_empty:
        raise AudioError(f"{path}: is empty (0 bytes); record or copy it again")
    if uses_libsndfile:
        sound = LibsndfileSound.open(path)
        if sound is not None:
            return sound
    from .ffmpeg import FFmpegSound  # loads FFmpeg only for files that need it

    return FFmpegSound(path)
