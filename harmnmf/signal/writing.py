"""Write audio files with libsndfile; a failure leaves no partial file.

libsndfile does not report that the end of a file could not be written, and crashes where an encoder
gets what it cannot hold.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.storage.files import atomic_path

from .audio import Audio
from .formats import FORMATS, check_format

__all__ = ["write_audio", "write_blocks"]

# libsndfile's error code of system calls, which most often means a full disk.
_SYSTEM_ERROR = 2
# Formats whose sizes have 32 bits, and the bytes that fit, with some left for headers.
_SMALL_FORMATS = ("WAV", "AIFF", "AU")
_LARGEST_SMALL = 2**32 - 2**16
# Values written or read at once: libsndfile's Vorbis encoder crashes on some millions.
_BLOCK_VALUES = 2**18


def write_audio(path: str | os.PathLike[str], audio: Audio, *, subtype: str | None = None) -> None:
    """Write audio to a file; a failure leaves no partial file.

    Float files keep the samples exactly. In all others, samples are rounded to the nearest integer
    without dither, or compressed, and cannot exceed ±1: if some do, the whole file is scaled so
    that the largest one is at full scale.

    Parameters
    ----------
    path : str or os.PathLike
        File to write or replace; its suffix names the format: .wav, .flac, .mp3, .ogg (Vorbis),
        .opus, .aiff, .caf, .au, .w64 or .rf64.
    audio : Audio
        Samples to write.
    subtype : {"FLOAT", "PCM_16", "PCM_24", "PCM_32"}, optional
        Format of the samples, as in soundfile. Default: FLOAT, 32 bits, or PCM_24 in FLAC, which
        holds PCM_16 and PCM_24.

    Raises
    ------
    AudioError
        If the suffix is unknown, or the format cannot hold this rate, number of channels or
        subtype.
    HarmnmfError
        If the folder is not writable.

    Warns
    -----
    UserWarning
        If the samples were scaled.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import read_audio
    >>> audio = Audio(np.array([0.0, 0.5, -0.25]), 8000)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/three.wav", audio, subtype="PCM_16")
    ...     read_audio(f"{folder}/three.wav").samples
    array([ 0.  ,  0.5 , -0.25], dtype=float32)
    """
    write_blocks(
        path,
        [audio.samples],
        audio.sample_rate,
        subtype=subtype,
        n_samples=audio.samples.shape[-1],
    )


def write_blocks(
    path: str | os.PathLike[str],
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    *,
    subtype: str | None = None,
    n_samples: int | None = None,
) -> float:
    """Write audio block by block, in memory that does not grow with its length.

    Unless the file holds floats, the blocks are kept in a temporary file beside it first, since
    their peak decides whether all must be scaled.

    Parameters
    ----------
    path : str or os.PathLike
        As in `write_audio`.
    blocks : iterable of ndarray, shape=(n_samples,) or (n_channels, n_samples)
        Consecutive blocks of samples.
    sample_rate : int
        Samples per second.
    subtype : {"FLOAT", "PCM_16", "PCM_24", "PCM_32"}, optional
        As in `write_audio`.
    n_samples : int, optional
        Approximate total, for WAV in floats: more than 4 GB are written as RF64, which has to be
        decided before the first block.

    Returns
    -------
    float
        Factor by which all samples were scaled: 1, or less if some exceeded full scale.

    Raises
    ------
    AudioError, HarmnmfError
        As in `write_audio`, and if there are no blocks, a block is not valid as `Audio`, or the
        format cannot hold as many samples.

    Warns
    -----
    UserWarning
        As in `write_audio`.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import read_audio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gain = write_blocks(f"{folder}/2.wav", (np.full(2, x) for x in (0.5, 0.25)), 8000)
    ...     read_audio(f"{folder}/2.wav").samples
    array([0.5 , 0.5 , 0.25, 0.25], dtype=float32)
    """
    subtype = check_format(path, subtype=subtype)
    with atomic_path(path) as temporary:
        checked = _check_blocks(path, blocks, sample_rate)
        first = next(checked)
        n_channels, rate = first.n_channels, first.sample_rate
        check_format(path, rate, n_channels)
        frames = _cut(chain([first], checked))
        if subtype == "FLOAT":
            _encode(temporary, path, frames, rate, n_channels, subtype, n_samples or 0)
            return 1.0
        with tempfile.TemporaryFile(dir=temporary.parent) as file:
            spool = _Spool(file, frames)
            gain = 1 / max(spool.peak, 1.0)
            scaled = (block * np.float32(gain) for block in spool.read(n_channels))
            _encode(temporary, path, scaled, rate, n_channels, subtype, spool.n_samples)
    if gain < 1:
        warnings.warn(
            f"{path}: peaks of {20 * np.log10(spool.peak):+.1f} dB over full scale: the whole file "
            f"was scaled by {gain:.3g}; a WAV file of floats keeps its level",
            stacklevel=2,
        )
    return gain


def _check_blocks(
    path: str | os.PathLike[str], blocks: Iterable[np.ndarray], sample_rate: int
) -> Iterator[Audio]:
    """Check blocks, of which there must be one, and which must have the same channels."""
    n_channels = None
    for block in blocks:
        audio = Audio(block, sample_rate)
        n_channels = n_channels or audio.n_channels
        if audio.n_channels != n_channels:
            raise AudioError(
                f"{path}: all blocks must have the same number of channels, not {n_channels} and "
                f"{audio.n_channels}"
            )
        yield audio
    if n_channels is None:
        raise AudioError(f"{path}: there are no samples to write")


def _cut(blocks: Iterable[Audio]) -> Iterator[NDArray[np.float32]]:
    """Cut blocks into short ones of shape (n_samples, n_channels)."""
    for audio in blocks:
        samples = np.atleast_2d(audio.samples).T
        n_block = max(1, _BLOCK_VALUES // audio.n_channels)
        for start in range(0, len(samples), n_block):
            yield samples[start : start + n_block]


class _Spool:
    """Samples in a temporary file without a name, which no failure leaves behind."""

    def __init__(self, file: BinaryIO, blocks: Iterable[NDArray[np.float32]]) -> None:
        self._file = file
        self.peak = 0.0
        self.n_samples = 0
        for block in blocks:
            self.peak = max(self.peak, float(np.abs(block).max()))
            self.n_samples += len(block)
            file.write(block.tobytes())

    def read(self, n_channels: int) -> Iterator[NDArray[np.float32]]:
        """Yield blocks of shape (n_samples, n_channels)."""
        self._file.seek(0)
        n_bytes = 4 * n_channels * max(1, _BLOCK_VALUES // n_channels)
        while data := self._file.read(n_bytes):
            yield np.frombuffer(data, np.float32).reshape(-1, n_channels)


def _encode(
    path: Path,
    target: str | os.PathLike[str],
    blocks: Iterable[NDArray[np.float32]],
    sample_rate: int,
    n_channels: int,
    subtype: str,
    n_samples: int,
) -> None:
    """Write blocks of shape (n_samples, n_channels) to `path`, and check that it is complete.

    The suffix of `target`, its final name, decides the format; the approximate length `n_samples`
    decides whether WAV must be RF64. Raises AudioError if the format cannot hold the samples, and
    OSError if the disk is full, for example.
    """
    container = FORMATS[Path(target).suffix.lower()].container
    n_bytes = {"PCM_16": 2, "PCM_24": 3}.get(subtype, 4) * n_channels * n_samples
    if container == "WAV" and n_bytes > _LARGEST_SMALL:
        container = "RF64"
    n_written = 0
    try:
        with soundfile.SoundFile(
            path, "w", sample_rate, n_channels, subtype, format=container
        ) as file:
            for block in blocks:
                file.write(_quantize(block, subtype) if subtype.startswith("PCM") else block)
                n_written += len(block)
                if container in _SMALL_FORMATS and path.stat().st_size > _LARGEST_SMALL:
                    raise AudioError(f"{target}: holds no more than 4 GB; use .w64 or .flac")
    except soundfile.SoundFileError as error:
        if getattr(error, "code", None) == _SYSTEM_ERROR:
            raise OSError(str(error)) from error
        raise AudioError(
            f"{target}: cannot write {n_channels} channels at {sample_rate} Hz to a file of this "
            f"name ({error}); use .wav"
        ) from error
    _check_end(path, n_written)


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
