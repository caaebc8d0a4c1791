"""Reading with libsndfile: WAV, FLAC, AIFF and other uncompressed audio, exactly as written."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError

from .headers import SoundData, first_byte, is_joined

__all__ = ["LibsndfileSound"]

# libsndfile's `frames` of a file without a length.
_UNKNOWN_LENGTH = 2**63 - 1
# Limit on the values in one block: headers may announce thousands of channels at any rate.
_LARGEST_BLOCK = 2**25
# Seconds that may be missing at the end before a file counts as truncated.
_TOLERANCE = 0.1


class _SoundFile(soundfile.SoundFile):
    """A file that is read in order.

    In seekable files, soundfile seeks to the current position after each block, which fails in
    FLAC without a length and in telephone codecs.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class LibsndfileSound:
    """A file of uncompressed audio, or FLAC; soundfile.SoundFileError if it cannot be opened."""

    def __init__(self, path: str | os.PathLike[str], data: SoundData | None) -> None:
        self._path, self._data = path, data
        # Not by its name: soundfile cannot encode all, and libsndfile trusts its suffix.
        self._bytes = open(path, "rb")  # noqa: SIM115 (closed by `close`)
        try:
            self._bytes.seek(first_byte(self._bytes))
            self._file = _SoundFile(self._bytes)
        except BaseException:
            self._bytes.close()
            raise
        self.sample_rate: int = self._file.samplerate
        self.n_channels: int = self._file.channels
        self.subtype: str = self._file.subtype
        is_known = self._file.frames != _UNKNOWN_LENGTH
        self.n_samples: int | None = self._file.frames if is_known else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._bytes.close()

    def blocks(
        self, offset: float, duration: float | None, block_duration: float
    ) -> Iterator[NDArray[np.float32]]:
        """Read a part in blocks of shape (n_samples, n_channels); times are in seconds.

        The rest of a damaged file, or of joined files, is read with FFmpeg.
        """
        rate, n_frames = self.sample_rate, self._file.frames
        position = first = round(min(offset * rate, 2**62))
        end = n_frames if duration is None else round(min(n_frames, first + duration * rate))
        n_block = max(1, round(min(block_duration * rate, _LARGEST_BLOCK // self.n_channels)))
        # libsndfile may find the sample in another part of joined files.
        is_intact = not (first > 0 and self._file.format == "FLAC" and self._is_joined())
        try:
            if is_intact and 0 < first < n_frames:
                self._file.seek(first)
            while is_intact and position < end:
                # Not preallocated from the header, which may announce more than there is.
                block = self._file.read(min(n_block, end - position), "float32", always_2d=True)
                if len(block) == 0:
                    break
                if not np.isfinite(block).all():
                    raise AudioError(
                        f"{self._path}: contains NaN or infinite samples; export it again"
                    )
                position += len(block)
                yield block
        except soundfile.SoundFileError:
            is_intact = False
        if not is_intact or (self._file.format == "FLAC" and self._goes_on(position, end)):
            rest = None if duration is None else duration - (position - first) / rate
            yield from self._rest(position, rest, block_duration)
        elif position > first:
            self._warn_of_truncation(position, end)

    def _is_joined(self) -> bool:
        with open(self._path, "rb") as file:
            return is_joined(file)

    def _goes_on(self, position: int, end: int) -> bool:
        """Whether a FLAC may hold more than libsndfile has read: it is damaged, or joined."""
        if position < end:
            return self.n_samples is not None
        size = os.fstat(self._bytes.fileno()).st_size
        return position >= self._file.frames and self._bytes.tell() < size

    def _rest(
        self, position: int, duration: float | None, block_duration: float
    ) -> Iterator[NDArray[np.float32]]:
        from .ffmpeg import FFmpegSound  # FFmpeg is loaded for files that need it only

        if duration is not None and duration <= 0:
            return
        try:
            sound = FFmpegSound(self._path)
        except AudioError as error:
            if position == 0:
                raise AudioError(
                    f"{self._path}: is corrupt and cannot be decoded; copy it again"
                ) from error
            self._warn_of_truncation(position, self._file.frames)
            return
        with closing(sound):
            yield from sound.blocks(position / self.sample_rate, duration, block_duration)

    def _warn_of_truncation(self, position: int, end: int) -> None:
        rate, n_announced, data = self.sample_rate, self.n_samples or 0, self._data
        is_truncated = n_announced > 0 and end - position > _TOLERANCE * rate
        if data is not None and data.available and position == n_announced:
            # libsndfile has counted the samples that are there.
            n_announced = round(n_announced * max(1.0, data.announced / data.available))
            is_truncated = n_announced - position > _TOLERANCE * rate
        if is_truncated:
            warnings.warn(
                f"{self._path}: is truncated or damaged: {position / rate:.1f} s of "
                f"{n_announced / rate:.1f} s were read",
                stacklevel=2,
            )
