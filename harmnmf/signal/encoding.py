"""Encode audio with libsndfile, to temporary files that other names replace later.

libsndfile does not report that the end of a file could not be written, and crashes where an encoder
gets what it cannot hold.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError

from .audio import Audio
from .formats import FORMATS, check_format

__all__ = ["NewFile", "write_files"]

# libsndfile's error code of system calls, which most often means a full disk.
_SYSTEM_ERROR = 2
# Formats whose sizes have 32 bits, and the bytes that fit, with some left for headers.
_SMALL_FORMATS = ("WAV", "AIFF", "AU")
_LARGEST_SMALL = 2**32 - 2**16
# Values written or read at once: libsndfile's Vorbis encoder crashes on some millions.
_BLOCK_VALUES = 2**18


class NewFile(NamedTuple):
    """A temporary file to write, and the name that it gets, which is in messages."""

    path: Path
    target: Path


def write_files(
    files: Sequence[NewFile],
    blocks: Iterable[Sequence[np.ndarray]],
    sample_rate: int,
    subtype: str,
    n_samples: int | None,
) -> float:
    """Write files in step, in memory that does not grow with their length.

    Parameters
    ----------
    files : sequence of NewFile
        Files to write, of one format.
    blocks : iterable of sequence of ndarray, shape (n_samples,) or (n_channels, n_samples)
        Consecutive blocks of samples, one for each file.
    sample_rate : int
        Samples per second.
    subtype : str
        Format of the samples, from `check_format`.
    n_samples : int, optional
        Approximate total, for WAV in floats.

    Returns
    -------
    float
        The largest absolute sample if it exceeded full scale and all were divided by it, else 1.

    Raises
    ------
    AudioError
        If there are no blocks, a block is not valid as `Audio`, or the format cannot hold them.
    OSError
        If the disk is full, for example.
    """
    checked = _check_blocks(files, blocks, sample_rate)
    first = next(checked)
    n_channels, rate = first[0].n_channels, first[0].sample_rate
    check_format(files[0].target, rate, n_channels)
    all_blocks = chain([first], checked)
    with ExitStack() as stack:
        if subtype == "FLOAT":
            encoders = [
                stack.enter_context(_Encoder(file, rate, n_channels, subtype, n_samples or 0))
                for file in files
            ]
            for parts in all_blocks:
                for encoder, audio in zip(encoders, parts, strict=True):
                    for block in _cut(audio):
                        encoder.write(block)
            return 1.0
        spools = [stack.enter_context(_Spool(file.path.parent)) for file in files]
        for parts in all_blocks:
            for spool, audio in zip(spools, parts, strict=True):
                for block in _cut(audio):
                    spool.write(block)
        peak = max(1.0, *(spool.peak for spool in spools))
        for file, spool in zip(files, spools, strict=True):
            with spool, _Encoder(file, rate, n_channels, subtype, spool.n_samples) as encoder:
                for block in spool.read(n_channels):
                    encoder.write(block * np.float32(1 / peak))
    return peak


def _check_blocks(
    files: Sequence[NewFile], blocks: Iterable[Sequence[np.ndarray]], sample_rate: int
) -> Iterator[list[Audio]]:
    """Check blocks, of which there must be one, and which must have the same channels."""
    n_channels = None
    for block in blocks:
        parts = [Audio(samples, sample_rate) for samples in block]
        for file, audio in zip(files, parts, strict=True):
            n_channels = n_channels or audio.n_channels
            if audio.n_channels != n_channels:
                raise AudioError(
                    f"{file.target}: all blocks must have the same number of channels, not "
                    f"{n_channels} and {audio.n_channels}"
                )
        yield parts
    if n_channels is None:
        raise AudioError(f"{files[0].target}: there are no samples to write")


def _cut(audio: Audio) -> Iterator[NDArray[np.float32]]:
    """Cut a block into short ones of shape (n_samples, n_channels)."""
    samples = np.atleast_2d(audio.samples).T
    n_block = max(1, _BLOCK_VALUES // audio.n_channels)
    for start in range(0, len(samples), n_block):
        yield samples[start : start + n_block]


class _Spool:
    """Samples in a temporary file without a name, which no failure leaves behind."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (__exit__ closes it)
        self.peak = 0.0
        self.n_samples = 0

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, block: NDArray[np.float32]) -> None:
        """Append a block of shape (n_samples, n_channels)."""
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.n_samples += len(block)
        if block.any():
            self._file.write(block.tobytes())
        else:  # takes no room on most disks: most pitches are silent most of the time
            self._file.seek(block.nbytes, os.SEEK_CUR)

    def read(self, n_channels: int) -> Iterator[NDArray[np.float32]]:
        """Yield blocks of shape (n_samples, n_channels)."""
        self._file.truncate(4 * n_channels * self.n_samples)
        self._file.seek(0)
        n_bytes = 4 * n_channels * max(1, _BLOCK_VALUES // n_channels)
        while data := self._file.read(n_bytes):
            yield np.frombuffer(data, np.float32).reshape(-1, n_channels)


class _Encoder:
    """Encode blocks of shape (n_samples, n_channels) to a file, and check that it is complete.

    The suffix of its final name decides the format; the approximate length `n_samples` decides
    whether WAV must be RF64. Raises AudioError if the format cannot hold the samples, and OSError
    if the disk is full, for example.
    """

    def __init__(
        self, file: NewFile, sample_rate: int, n_channels: int, subtype: str, n_samples: int
    ) -> None:
        container = FORMATS[file.target.suffix.lower()].container
        n_bytes = {"PCM_16": 2, "PCM_24": 3}.get(subtype, 4) * n_channels * n_samples
        if container == "WAV" and n_bytes > _LARGEST_SMALL:
            container = "RF64"
        self._is_small = container in _SMALL_FORMATS
        self._path, self._target = file
        self._subtype = subtype
        self._n_written = 0
        with self._translated_errors(f"{n_channels} channels at {sample_rate} Hz"):
            self._sound = soundfile.SoundFile(
                self._path, "w", sample_rate, n_channels, subtype, format=container
            )

    def __enter__(self) -> _Encoder:
        return self

    def __exit__(self, *error: object) -> None:
        with self._translated_errors():
            self._sound.close()
        if error[0] is None:
            _check_end(self._path, self._n_written)

    def write(self, block: NDArray[np.float32]) -> None:
        """Append a block."""
        is_pcm = self._subtype.startswith("PCM")
        with self._translated_errors():
            self._sound.write(_quantize(block, self._subtype) if is_pcm else block)
        self._n_written += len(block)
        if self._is_small and self._path.stat().st_size > _LARGEST_SMALL:
            raise AudioError(f"{self._target}: holds no more than 4 GB; use .w64 or .flac")

    @contextmanager
    def _translated_errors(self, what: str = "these samples") -> Iterator[None]:
        try:
            yield
        except soundfile.SoundFileError as error:
            if getattr(error, "code", None) == _SYSTEM_ERROR:
                raise OSError(str(error)) from error
            raise AudioError(
                f"{self._target}: cannot write {what} to a file of this name ({error}); use .wav"
            ) from error


def _quantize(samples: NDArray[np.float32], subtype: str) -> NDArray[np.signedinteger]:
    """Round to integers. libsndfile scales by one less, so that what it reads would change."""
    n_bits = int(subtype.removeprefix("PCM_"))
    full_scale = 2.0 ** (n_bits - 1)
    integers = np.rint(samples.astype(np.float64) * full_scale).clip(-full_scale, full_scale - 1)
    if n_bits == 16:
        return integers.astype(np.int16)
    return integers.astype(np.int32) << (32 - n_bits)


def _check_end(path: Path, n_samples: int) -> None:
    """Read the last sample: libsndfile may not have reported that it could not be written."""
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(n_samples - 1)
            is_whole = len(file.read(1)) == 1
    except soundfile.SoundFileError:
        is_whole = False
    if not is_whole:
        raise OSError("its end is missing")
