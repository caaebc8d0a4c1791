"""Raw samples from pipes: 16-bit, signed, little-endian, channels interleaved."""

from __future__ import annotations

import select
import warnings
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError

__all__ = ["FULL_SCALE", "PcmReader"]

FULL_SCALE = 32768
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
            If the input is an audio file.

        Warns
        -----
        UserWarning
            If the input ends within a sample, or before the samples of all channels.
        """
        n_frame = _BYTES * self._n_channels
        while True:
            data = self._file.read(max(n_max * n_frame - len(self._pending), _N_HEADER))
            if data is None:  # the file is set not to wait
                select.select([self._file], [], [])
                continue
            self._pending += data
            if not self._is_begun:
                if data and len(self._pending) < _N_HEADER:
                    continue
                self._check_header()
            n_whole = min(len(self._pending) // n_frame, n_max) * n_frame
            if n_whole:
                break
            if not data:
                self._warn_of_rest()
                return None
        whole, self._pending = self._pending[:n_whole], self._pending[n_whole:]
        samples = np.frombuffer(whole, "<i2").reshape(-1, self._n_channels).T
        return np.ascontiguousarray(samples / np.float32(FULL_SCALE))

    def _check_header(self) -> None:
        self._is_begun = True
        if self._pending.startswith(_HEADERS) or self._pending[4:].startswith(_MP4):
            raise AudioError(
                f"{self._name}: holds an audio file, not raw samples; name the file instead, or "
                f"decode it: ffmpeg -i FILE -f s16le -ac {self._n_channels} "
                f"-ar {self._sample_rate} -"
            )

    def _warn_of_rest(self) -> None:
        if self._pending:
            place = "a sample of 16 bits" if self._n_channels == 1 else "the samples of a frame"
            warnings.warn(
                f"{self._name}: ends within {place}: its last {len(self._pending)} bytes were left "
                "out",
                stacklevel=3,
            )
            self._pending = b""
