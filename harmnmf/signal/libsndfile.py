"""Reading with libsndfile, and clear errors for damaged files.

libsndfile trusts headers and stops decoding where a file is damaged. Its MP3 decoder prints
messages on damaged files to stderr.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.storage.files import open_plain

__all__ = ["UNKNOWN_LENGTH", "decode_blocks", "open_sound"]

# libsndfile's `frames` of a file without a length.
UNKNOWN_LENGTH = 2**63 - 1
# Limit on the values in one block: headers may announce thousands of channels at any rate.
_LARGEST_BLOCK = 2**25
# Up to this many samples before the damage are not recovered.
_SMALLEST_BLOCK = 64
# Seconds that may be missing at the end before a file counts as truncated: lossy formats
# announce their length only to within a packet or two.
_TRUNCATION_TOLERANCE = 0.1


class _Sound(soundfile.SoundFile):
    """A file that is read in order.

    In seekable files, soundfile seeks to the current position after each block. That is slow in
    Opus, and fails in FLAC without a length and in telephone codecs.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


def open_sound(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    """Open an audio file for reading, which the caller closes, or raise AudioError."""
    # libsndfile reports all these as "System error" or "Format not recognised".
    try:
        with open_plain(path) as file:
            is_empty = not file.read(1)
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise AudioError(f"{path}: is a folder; name an audio file") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from error
    if is_empty:
        raise AudioError(f"{path}: is empty (0 bytes); record or copy it again")
    try:
        # TypeError: soundfile asks for the rate of headerless (.raw) files.
        # soundfile cannot encode a name that is not in the encoding of the file system.
        return _Sound(path if os.name == "nt" else os.fsencode(path))
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioError(
            f"{path}: is not audio in a format that can be read; convert it to WAV or FLAC"
        ) from error


def decode_blocks(
    file: soundfile.SoundFile,
    path: str | os.PathLike[str],
    offset: float,
    duration: float | None,
    block_duration: float,
) -> Iterator[NDArray[np.float32]]:
    """Read a part of a file in blocks of shape (n_samples, n_channels).

    A damaged file is read up to the damage, with a warning if it ends before the length in its
    header. `offset`, `duration` (None for all) and `block_duration` are in seconds.
    """
    rate = file.samplerate
    first = round(min(offset * rate, file.frames))
    n_expected = file.frames - first
    if duration is not None:
        n_expected = round(min(n_expected, duration * rate))
    n_largest = max(1, round(min(block_duration * rate, _LARGEST_BLOCK // file.channels)))
    n_block, n_read = n_largest, 0
    is_intact = True
    try:
        if first:
            file.seek(first)
        while n_read < n_expected:
            # Not preallocated from the header, which may announce more than there is.
            try:
                n_wanted = min(n_block, n_expected - n_read)
                block = file.read(n_wanted, "float32", always_2d=True)
            except soundfile.SoundFileError:
                # Smaller blocks recover more of the samples before the damage.
                if n_block <= _SMALLEST_BLOCK:
                    raise
                n_block //= 2
                file.seek(first + n_read)
                continue
            if len(block) == 0:
                break
            if not np.isfinite(block).all():
                raise AudioError(f"{path}: contains NaN or infinite samples; export it again")
            n_read += len(block)
            n_block = min(2 * n_block, n_largest)
            yield block
    except soundfile.SoundFileError as error:
        if n_read == 0:
            raise AudioError(f"{path}: is corrupt and cannot be decoded; copy it again") from error
        is_intact = False
    is_short = n_expected - n_read > _TRUNCATION_TOLERANCE * rate
    if n_read and file.frames != UNKNOWN_LENGTH and (is_short or not is_intact):
        warnings.warn(
            f"{path}: is truncated: it ends after {(first + n_read) / rate:.1f} s of "
            f"{file.frames / rate:.1f} s",
            stacklevel=2,
        )
