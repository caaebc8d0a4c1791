"""Open a recording with the library that reads its content best, whatever its name says.

libsndfile reads uncompressed audio and FLAC, exactly as they were written. FFmpeg reads compressed
audio, the sound of videos, and WAV files that were never finished.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.storage.files import open_plain

from .headers import SoundData, first_byte, sound_data
from .libsndfile import LibsndfileSound

__all__ = ["Sound", "open_sound"]

# The first bytes of formats of libsndfile. Not Ogg and MPEG, of which it reads the first part only
# when files are joined.
_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b"fLaC", b".snd", b"dns."),
    *(b"NIST", b"Creative Voice", b"PVF1", b" paf", b"fap ", b"2BIT", b"ALaw", b"MATL", b"Exte"),
    *(b"\x64\xa3", b"\0\0\xa3\x64", b"\xf0\x7e"),
)


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
            if not file.read(1):
                raise AudioError(f"{path}: is empty (0 bytes); record or copy it again")
            file.seek(first_byte(file))
            is_for_libsndfile = file.read(16).startswith(_MAGIC)
            data = sound_data(file)
    except FileNotFoundError as error:
        if re.match(r"https?:/", os.fspath(path)):
            raise AudioError(
                f"{path}: is an address on the web; download it, and name the file"
            ) from error
        raise AudioError(f"{path}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise AudioError(f"{path}: is a folder; name an audio file") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from error
    sound = _open_with_libsndfile(path, data) if is_for_libsndfile else None
    if sound is not None:
        return sound
    from .ffmpeg import FFmpegSound  # FFmpeg is loaded for files that need it only

    return FFmpegSound(path, data)


def _open_with_libsndfile(
    path: str | os.PathLike[str], data: SoundData | None
) -> LibsndfileSound | None:
    """Open a file; None if libsndfile cannot read all of it."""
    try:
        sound = LibsndfileSound(path, data)
    except soundfile.SoundFileError:
        return None
    is_unfinished = data is not None and data.correction is not None
    if is_unfinished or sound.subtype.startswith("MPEG"):
        sound.close()
        return None
    return sound
