"""Reading with libsndfile: WAV, FLAC, AIFF and other uncompressed audio.

libsndfile trusts headers and stops decoding where a file is damaged.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError

__all__ = ["LARGEST_BLOCK", "TRUNCATION_TOLERANCE", "LibsndfileSound", "is_for_libsndfile"]

# libsndfile's `frames` of a file without a length.
_UNKNOWN_LENGTH = 2**63 - 1
# Limit on the values in one block: headers may announce thousands of channels at any rate.
LARGEST_BLOCK = 2**25
# Up to this many samples before the damage are not recovered.
_SMALLEST_BLOCK = 64
# Seconds that may be missing at the end before a file counts as truncated: lossy formats
# announce their length only to within a packet or two.
TRUNCATION_TOLERANCE = 0.1
# The first bytes of its formats. Not Ogg and MPEG, where it loses what follows a seam.
_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"fLaC"),
    *(b"NIST", b"Creative Voice", b"PVF1", b" paf", b"fap ", b"2BIT", b"ALaw", b"MATL", b"Exte"),
    *(b"\x64\xa3", b"\0\0\xa3\x64", b"SDS", b"\xf0\x7e"),
)


class _SoundFile(soundfile.SoundFile):
    """A file that is read in order.

    In seekable files, soundfile seeks to the current position after each block, which fails in
    FLAC without a length and in telephone codecs.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


def is_for_libsndfile(file: BinaryIO) -> bool:
    """Whether the content is in a format that libsndfile reads well."""
    return file.read(16).startswith(_MAGIC)


class LibsndfileSound:
    """A file of uncompressed audio, or FLAC."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        # soundfile cannot encode a name that is not in the encoding of the file system.
        self._file = _SoundFile(path if os.name == "nt" else os.fsencode(path))
        self.sample_rate: int = self._file.samplerate
        self.n_channels: int = self._file.channels
        is_known = self._file.frames != _UNKNOWN_LENGTH
        self.n_samples: int | None = self._file.frames if is_known else None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> LibsndfileSound | None:
        """Open a file; None if libsndfile cannot read it."""
        try:
            return cls(path)
        except soundfile.SoundFileError:
            return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def blocks(
        self, offset: float, duration: float | None, block_duration: float
    ) -> Iterator[NDArray[np.float32]]:
        """Read a part in blocks of shape (n_samples, n_channels); times are in seconds.

        A damaged file is read up to the damage, with a warning if it ends before the length in its
        header.
        """
        file, path, rate = self._file, self._path, self.sample_rate
        first = round(min(offset * rate, file.frames))
        n_expected = file.frames - first
        if duration is not None:
            n_expected = round(min(n_expected, duration * rate))
        n_largest = max(1, round(min(block_duration * rate, LARGEST_BLOCK // self.n_channels)))
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
                raise AudioError(
                    f"{path}: is corrupt and cannot be decoded; copy it again"
                ) from error
            is_intact = False
        is_short = n_expected - n_read > TRUNCATION_TOLERANCE * rate
        if n_read and self.n_samples is not None and (is_short or not is_intact):
            warnings.warn(
                f"{path}: is truncated: it ends after {(first + n_read) / rate:.1f} s of "
                f"{file.frames / rate:.1f} s",
                stacklevel=2,
            )
