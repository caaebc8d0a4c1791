"""Raw samples from pipes: 16-bit, signed, little-endian, channels interleaved."""

from __future__ import annotations

import select
import warnings
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError

__all__ = ["PcmReader", "to_pcm"]

_FULL_SCALE = 32768
_BYTES = 2  # per sample
# First bytes of files that are no raw samples.
_HEADERS = (
    b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b".snd", b"fLaC", b"OggS",
    b"ID3", b"\x1a\x45\xdf\xa3",
)  # fmt: skip
_MP4 = b"ftyp"  # after the size of this first box, in 4 bytes
_N_HEADER = 8


class PcmReader:
    """Reader of raw samples, as soon as they arrive.

    Parameters
    ----------
    file : file object
        Binary, for reading. Of a buffered file, the buffer is bypassed: a thread that waits in it
        would hold its lock, with which Python cannot end.
    sample_rate : int
        Samples per second.
    n_channels : int
        Number of channels.
    name : str
        Name of the file in messages.

    Examples
    --------
    >>> import io
    >>> reader = PcmReader(io.BytesIO(np.array([0, 16384, -32768, 0], "<i2").tobytes()), 8000, 2)
    >>> reader.read(100)
    array([[ 0. , -1. ],
           [ 0.5,  0. ]], dtype=float32)
    >>> reader.read(100) is None
    True
    """

    def __init__(
        self, file: BinaryIO, sample_rate: int, n_channels: int, name: str = "standard input"
    ) -> None:
        self._file = getattr(file, "raw", file)
        self._sample_rate = sample_rate
        self._n_channels = n_channels
        self._name = name
        self._pending = b""
        self._is_begun = False

    def read(self, n_max: int) -> NDArray[np.float32] | None:
        """Return the next samples as soon as there are some; None at the end.

        Parameters
        ----------
        n_max : int
            Number of samples per channel to return at most.

        Returns
        -------
        ndarray, shape (n_channels, n_samples), or None

        Raises
        ------
        AudioError
            If the input is an audio file, or has no samples.

        Warns
        -----
        UserWarning
            If the input ends within a frame, which is a sample of each channel.
        """
        n_frame = _BYTES * self._n_channels
        data = b" "
        while data and len(self._pending) < max(n_frame, _N_HEADER * (not self._is_begun)):
            data = self._wait_for(n_max * n_frame)
            self._pending += data
        if not self._is_begun:
            self._is_begun = True
            self._check_begin(n_frame)
        n_samples = min(len(self._pending) // n_frame, n_max)
        if n_samples == 0:
            self._warn_of_rest()
            return None
        end = n_samples * n_frame
        samples = np.frombuffer(self._pending[:end], "<i2").reshape(-1, self._n_channels).T
        self._pending = self._pending[end:]
        return np.ascontiguousarray(samples / np.float32(_FULL_SCALE))

    def _wait_for(self, n_max: int) -> bytes:
        """Return the next bytes; none at the end."""
        while (data := self._file.read(n_max)) is None:  # the file is set not to wait
            select.select([self._file], [], [])
        return data

    def _check_begin(self, n_frame: int) -> None:
        if len(self._pending) < n_frame:
            raise AudioError(f"{self._name}: there are no samples in the input")
        if self._pending.startswith(_HEADERS) or self._pending[4:].startswith(_MP4):
            raise AudioError(
                f"{self._name}: the input is an audio file, not raw samples; name the file "
                f"instead, or decode it: ffmpeg -i FILE -f s16le -ac {self._n_channels} "
                f"-ar {self._sample_rate} -"
            )

    def _warn_of_rest(self) -> None:
        if n := len(self._pending):
            rest = "last byte was" if n == 1 else f"last {n} bytes were"
            warnings.warn(
                f"{self._name}: the input ends within a frame of {_BYTES * self._n_channels} bytes:"
                f" its {rest} left out",
                stacklevel=3,
            )
            self._pending = b""


def to_pcm(samples: NDArray[np.float32]) -> tuple[NDArray[np.int16], int]:
    """Convert samples with full scale at ±1 to little-endian integers.

    Returns them, and the number of samples beyond full scale, which are clipped.

    Examples
    --------
    >>> to_pcm(np.array([0.5, 1.0, -2.0], np.float32))
    (array([ 16384,  32767, -32768], dtype=int16), 1)
    """
    scaled = np.rint(samples * _FULL_SCALE)
    # +1 is full scale, and no integer.
    n_clipped = int((np.abs(scaled) > _FULL_SCALE).sum())
    return scaled.clip(-_FULL_SCALE, _FULL_SCALE - 1).astype("<i2"), n_clipped
