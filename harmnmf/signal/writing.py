"""Write audio files with libsndfile; a failure leaves no partial file.

libsndfile does not report that the end of a file could not be written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.storage.files import atomic_path

from .audio import Audio

__all__ = ["write_audio", "write_blocks"]

# libsndfile's error code of system calls, which most often means a full disk.
_SYSTEM_ERROR = 2
_SUBTYPES = {".wav": "FLOAT", ".flac": "PCM_24"}
# Formats whose sizes have 32 bits, and the bytes that fit, with some left for headers.
_SMALL_FORMATS = ("WAV", "AIFF")
_LARGEST_SMALL = 2**32 - 2**16


def write_audio(path: str | os.PathLike[str], audio: Audio) -> None:
    """Write audio to a file; a failure leaves no partial file.

    Parameters
    ----------
    path : str or os.PathLike
        File to write or replace; its suffix names the format. WAV is written as 32-bit float,
        which keeps the samples exactly; FLAC as 24-bit, where samples beyond ±1 are clipped.
    audio : Audio
        Samples to write.

    Raises
    ------
    AudioError
        If the suffix is unknown, or the format cannot hold this rate or number of channels.
    HarmnmfError
        If the folder is not writable.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import read_audio
    >>> audio = Audio(np.array([0.0, 0.5, -0.25]), 8000)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/three.wav", audio)
    ...     read_audio(f"{folder}/three.wav").samples
    array([ 0.  ,  0.5 , -0.25], dtype=float32)
    """
    write_blocks(path, [audio.samples], audio.sample_rate, n_samples=audio.samples.shape[-1])


def write_blocks(
    path: str | os.PathLike[str],
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    *,
    n_samples: int | None = None,
) -> None:
    """Write audio block by block, in memory that does not grow with its length.

    Parameters
    ----------
    path : str or os.PathLike
        As in `write_audio`.
    blocks : iterable of ndarray, shape=(n_samples,) or (n_channels, n_samples)
        Consecutive blocks of samples.
    sample_rate : int
        Samples per second.
    n_samples : int, optional
        Approximate total. WAV of more than 4 GB is written as RF64, which has to be decided before
        the first block.

    Raises
    ------
    AudioError, HarmnmfError
        As in `write_audio`, and if there are no blocks, a block is not valid as `Audio`, or the
        format cannot hold as many samples.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import read_audio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_blocks(f"{folder}/two.wav", (np.full(2, level) for level in (0.5, 0.25)), 8000)
    ...     read_audio(f"{folder}/two.wav").samples
    array([0.5 , 0.5 , 0.25, 0.25], dtype=float32)
    """
    with (
        atomic_path(path) as temporary,
        _sound_writer(temporary, path, sample_rate, n_samples) as write,
    ):
        for block in blocks:
            write(Audio(block, sample_rate).samples)


@contextmanager
def _sound_writer(
    path: Path, target: str | os.PathLike[str], sample_rate: int, n_samples: int | None
) -> Iterator[Callable[[NDArray[np.float32]], None]]:
    """Write an audio file, and check that it is complete.

    The suffix of `target`, its final name, decides the format; the approximate length `n_samples`
    decides whether WAV must be RF64. Yields a function that writes a block, of shape (n_samples,)
    or (n_channels, n_samples). Raises AudioError if the format cannot hold the samples or there are
    none, and OSError if the disk is full, for example.
    """
    suffix = Path(target).suffix.lower()
    file: soundfile.SoundFile | None = None
    n_written = 0

    def write(samples: NDArray[np.float32]) -> None:
        nonlocal file, n_written
        n_channels = 1 if samples.ndim == 1 else len(samples)
        try:
            if file is None:
                is_large = 4 * n_channels * (n_samples or 0) > _LARGEST_SMALL
                form = "RF64" if suffix == ".wav" and is_large else None
                subtype = _SUBTYPES.get(suffix)
                file = soundfile.SoundFile(path, "w", sample_rate, n_channels, subtype, format=form)
            file.write(samples.T)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            if getattr(error, "code", None) == _SYSTEM_ERROR:
                raise OSError(str(error)) from error
            raise AudioError(
                f"{target}: cannot write {n_channels} channels at {sample_rate} Hz to a file of "
                f"this name ({error}); use .wav"
            ) from error
        n_written += samples.shape[-1]
        if file.format in _SMALL_FORMATS and path.stat().st_size > _LARGEST_SMALL:
            raise AudioError(f"{target}: holds no more than 4 GB; use .w64 or .flac")

    try:
        yield write
    finally:
        if file is not None:
            _close(file)
    if file is None:
        raise AudioError(f"{target}: there are no samples to write")
    _check_end(path, n_written)


def _close(file: soundfile.SoundFile) -> None:
    try:
        file.close()
    except soundfile.SoundFileError as error:
        raise OSError(str(error)) from error


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
