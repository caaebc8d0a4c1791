"""Recordings that are written while they are made."""

from __future__ import annotations

import shutil
import warnings
import wave
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.signal.audio import check_rate
from harmnmf.signal.pcm import to_pcm
from harmnmf.validation import check_integer

__all__ = ["WavRecording"]

_BYTES = 2  # per sample
_MAX_CHANNELS = 1024
_DELAY = 0.25  # seconds of samples that are collected before they are written
_HEADER = 44  # bytes
# Sizes in the header have 32 bits; files on FAT32 are smaller, too.
_MAX_BYTES = 4_000_000_000
_RESERVE = 2**22  # bytes of the disk that are left free, for hours of notes


class WavRecording:
    """WAV files with samples of 16 bits that can be read at any time while they grow.

    At most the last quarter of a second is not yet on the disk. A file that has reached `max_bytes`
    is followed by another, named ``take-2.wav`` after ``take.wav``, with a warning; existing files
    are passed over then. When the disk is full or a file cannot be written, a warning says so, what
    was written stays, and later samples are only counted.

    Parameters
    ----------
    path : str or Path
        File to write.
    sample_rate : int
        Samples per second.
    n_channels : int
        Number of channels.
    overwrite : bool, default=False
        Whether to replace the file if it exists.
    max_bytes : int, default=4_000_000_000
        Largest size of a file.

    Raises
    ------
    OSError
        If the file cannot be created, or exists.
    ParameterError
        If a parameter is out of range.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recording = WavRecording(Path(folder, "take.wav"), 44100, 2)
    ...     recording.write(np.zeros((2, 4410)))
    ...     recording.close()
    ...     recording.duration, Path(folder, "take.wav").stat().st_size
    (0.1, 17684)
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        n_channels: int,
        *,
        overwrite: bool = False,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        check_integer("n_channels", n_channels, 1, _MAX_CHANNELS)
        self.path = Path(path)
        self.sample_rate = check_rate(sample_rate)
        self.n_channels = n_channels
        frame = _BYTES * n_channels
        check_integer("max_bytes", max_bytes, _HEADER + frame, _MAX_BYTES)
        self._max_frames = (max_bytes - _HEADER) // frame
        self._n_frames = self._n_clipped = 0
        self._pending: list[NDArray[np.int16]] = []
        self._n_pending = 0
        self._files = 1
        self._open(self.path, "wb" if overwrite else "xb")

    @property
    def duration(self) -> float:
        """Seconds of samples that were given."""
        return self._n_frames / self.sample_rate

    def write(self, samples: ArrayLike) -> None:
        """Append samples, full scale at ±1.

        Parameters
        ----------
        samples : array_like, shape (n_channels, n_samples) or (n_samples,)
            The latter for a single channel.

        Raises
        ------
        ParameterError
            If the shape is another.
        """
        x = np.atleast_2d(np.asarray(samples, np.float32))
        if x.ndim != 2 or len(x) != self.n_channels:
            raise ParameterError(
                f"samples must have shape ({self.n_channels}, n_samples), not {np.shape(samples)}"
            )
        self._n_frames += x.shape[1]
        if self._wave is None:
            return
        data, n_clipped = to_pcm(x.T)
        self._n_clipped += n_clipped
        self._pending.append(data)
        self._n_pending += x.shape[1]
        if self._n_pending >= _DELAY * self.sample_rate:
            self._write_pending()

    def fileno(self) -> int:
        """Descriptor of the file that is written; ValueError if it is closed."""
        return self._file.fileno()

    def close(self) -> None:
        """Write what was not yet written, and close the file."""
        if self._pending:
            self._write_pending()
        self._close_file()
        if self._n_clipped:
            warnings.warn(
                f"{self.path}: {self._n_clipped} samples beyond full scale were clipped",
                stacklevel=2,
            )
            self._n_clipped = 0

    def _open(self, path: Path, mode: str) -> None:
        self._current = path
        self._file: BinaryIO = open(path, mode)  # type: ignore[assignment]  # noqa: SIM115
        self._wave: wave.Wave_write | None = wave.open(self._file, "wb")  # noqa: SIM115
        self._wave.setnchannels(self.n_channels)
        self._wave.setsampwidth(_BYTES)
        self._wave.setframerate(self.sample_rate)
        self._room = self._max_frames
        try:
            self._append(b"")  # the header
        except OSError:
            self._close_file()
            path.unlink()
            raise

    def _append(self, data: bytes) -> None:
        assert self._wave is not None
        self._wave.writeframes(data)  # corrects the header, too
        self._file.flush()

    def _write_pending(self) -> None:
        frames = np.concatenate(self._pending)
        self._pending, self._n_pending = [], 0
        try:
            while len(frames):
                if not self._room:
                    self._open_next()
                free = shutil.disk_usage(self._current.parent).free
                if free < frames.nbytes + _RESERVE:
                    self._stop("the disk is nearly full")
                    return
                part, frames = frames[: self._room], frames[self._room :]
                self._append(part.tobytes())
                self._room -= len(part)
        except OSError as error:
            self._stop(error.strerror or str(error))

    def _open_next(self) -> None:
        """Go on in another file, the first that does not exist."""
        full = self._current
        self._close_file()
        while True:
            self._files += 1
            path = self.path.with_stem(f"{self.path.stem}-{self._files}")
            try:
                self._open(path, "xb")
            except FileExistsError:
                continue
            break
        warnings.warn(
            f"{full}: has reached the largest size of a WAV file; the recording goes on in {path}",
            stacklevel=2,
        )

    def _stop(self, reason: str) -> None:
        minutes, seconds = divmod(int(self.duration), 60)
        warnings.warn(
            f"{self._current}: the recording stops at {minutes}:{seconds:02} ({reason}); what is "
            "written stays, and notes are still transcribed; make room on the disk",
            stacklevel=2,
        )
        self._close_file()

    def _close_file(self) -> None:
        if self._wave is None:
            return
        # What could not be written cannot be flushed either; the header tells what was.
        with suppress(OSError):
            self._wave.close()
        self._wave = None
        with suppress(OSError):
            self._file.close()
