"""Sources of samples for live transcription: a pipe, and a recording that is played."""

from __future__ import annotations

import os
import time
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from harmnmf.signal.audio import Audio, check_rate
from harmnmf.signal.pcm import PcmReader
from harmnmf.signal.reading import audio_info, audio_name, stream_audio
from harmnmf.validation import check_integer

from .clock import Clock

__all__ = ["FileInput", "PipeInput", "Source"]

_BLOCK = 0.01  # seconds that a played recording delivers at once
_FAST_BLOCK = 0.5
_LONGEST_READ = 0.1  # seconds that are read from a pipe at once
# If the first seconds from a pipe come in less than a third of their time, they are from a file. A
# pipe may hold some when it is first read, and a wrong number of channels doubles the speed.
_TRIAL = 10.0
_FILE_SPEED = 3.0
_STOPPED = 1.0  # seconds of delay from which a process was stopped, and a recording goes on then


class Source(Protocol):
    """Samples for :func:`harmnmf.live.following.follow`."""

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        ...

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        ...

    @property
    def name(self) -> str:
        """Name in messages."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether samples come when they are played, and are lost if they are not read in time."""
        ...

    @property
    def n_lost(self) -> int:
        """Number of samples per channel that were lost so far; zeros stand in their place."""
        ...

    def read(self) -> NDArray[np.float32] | None:
        """Wait for the next samples, (n_channels, n_samples); None at the end."""
        ...


class PipeInput:
    """Raw samples from a pipe: 16-bit little-endian, channels interleaved.

    Parameters
    ----------
    file : file object
        Binary, for reading, as ``sys.stdin.buffer``.
    sample_rate : int
        Samples per second.
    n_channels : int, default=1
        Number of channels.
    name : str, default="standard input"
        Name in messages.
    clock : Clock, optional
        Default: the module `time`.

    Raises
    ------
    ParameterError
        If the sample rate or the number of channels is out of range.

    Examples
    --------
    >>> import io
    >>> with PipeInput(io.BytesIO(bytes(8)), 44100, 2) as source:
    ...     source.read().shape
    (2, 2)
    """

    n_lost = 0

    def __init__(
        self,
        file: BinaryIO,
        sample_rate: int,
        n_channels: int = 1,
        name: str = "standard input",
        *,
        clock: Clock = time,
    ) -> None:
        self.sample_rate = check_rate(sample_rate)
        check_integer("n_channels", n_channels)
        self.n_channels = n_channels
        self.name = name
        self._reader = PcmReader(file, self.sample_rate, n_channels, name)
        self._clock = clock
        self._start: float | None = None
        self._n_read = 0
        self._is_live: bool | None = None

    def __enter__(self) -> PipeInput:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the file open: it is not this object's."""

    @property
    def is_live(self) -> bool:
        """Whether the program that writes is known to record, not to decode a file.

        It is known after 10 s of samples, from the time that they took to come.
        """
        return bool(self._is_live)

    def read(self) -> NDArray[np.float32] | None:
        """Return the next samples as soon as there are some.

        Returns
        -------
        ndarray, shape (n_channels, n_samples), or None
            None at the end.

        Raises
        ------
        AudioError
            If the input is an audio file, or has no samples.

        Warns
        -----
        UserWarning
            If the input ends within the samples of a frame.
        """
        samples = self._reader.read(round(_LONGEST_READ * self.sample_rate))
        if samples is not None and self._is_live is None:
            now = self._clock.monotonic()
            if self._start is None:
                self._start = now
            self._n_read += samples.shape[1]
            if self._n_read >= _TRIAL * self.sample_rate:
                self._is_live = now - self._start > _TRIAL / _FILE_SPEED
        return samples


class FileInput:
    """A recording, in blocks as if it were played now.

    Parameters
    ----------
    source : Audio, str or os.PathLike
        Samples, or a file in any format that :func:`harmnmf.read_audio` reads.
    fast : bool, default=False
        Deliver as fast as blocks are read, not in real time.
    clock : Clock, optional
        Default: the module `time`.

    Raises
    ------
    AudioError
        If the file cannot be read as audio.

    Examples
    --------
    >>> with FileInput(Audio(np.zeros((2, 8000)), 8000), fast=True) as source:
    ...     source.read().shape
    (2, 4000)
    """

    n_lost = 0

    def __init__(
        self,
        source: Audio | str | os.PathLike[str],
        fast: bool = False,
        *,
        clock: Clock = time,
    ) -> None:
        info = audio_info(source)
        self.sample_rate = info.sample_rate
        self.n_channels = info.n_channels
        self.name = audio_name(source)
        self.is_live = not fast
        self._blocks = stream_audio(
            source, mono=False, block_duration=_FAST_BLOCK if fast else _BLOCK
        )
        self._clock = clock
        self._due: float | None = None  # time at which the last block was played
        self._is_closed = False

    def __enter__(self) -> FileInput:
        return self

    def __exit__(self, *error: object) -> None:
        # A thread may be reading: the file is closed with the generator.
        self._is_closed = True

    def read(self) -> NDArray[np.float32] | None:
        """Wait until the next samples are played.

        Returns
        -------
        ndarray, shape (n_channels, n_samples), or None
            None at the end.

        Raises
        ------
        AudioError
            If the recording has NaN or infinite samples, or none.
        """
        block = None if self._is_closed else next(self._blocks, None)
        if block is None or not self.is_live:
            return block
        now = self._clock.monotonic()
        due = now if self._due is None else self._due
        if now - due > _STOPPED:
            due = now
        # From when the last block was due, not from now, so that delays do not add up.
        self._due = due + block.shape[1] / self.sample_rate
        self._clock.sleep(max(0.0, self._due - now))
        return block
