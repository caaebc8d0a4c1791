"""Reading with FFmpeg, through PyAV: compressed audio, and the sound of videos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import BinaryIO

import av
import numpy as np
from av import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from harmnmf.errors import AudioError

from .libsndfile import LARGEST_BLOCK
from .resampling import resample_blocks

__all__ = ["FFmpegSound"]

# Formats that hold sound and never name other files: playlists (HLS, concat, SDP) do.
_FORMATS = (
    *("aac", "ac3", "adts", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf"),
    *("dsf", "dts", "eac3", "flac", "flv", "loas", "matroska", "webm", "mov", "mp4", "m4a"),
    *("3gp", "3g2", "mj2", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "ogg", "oma", "rm", "tak"),
    *("truehd", "tta", "voc", "w64", "wav", "wv", "xwma"),
)
# Errors of a container, without a packet between them, after which its rest is given up.
_MOST_ERRORS = 100


class FFmpegSound:
    """The best audio stream of a file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._file = open(path, "rb")  # noqa: SIM115 (closed by `close`)
        try:
            self._container = _open(self._file, path)
            self._stream = self._container.streams.best("audio")
            if self._stream is None:
                raise AudioError(f"{path}: has no sound; name a file that has")
            self._frames = _decode(self._container, self._stream)
            self._first = next(self._frames, None)
            if self._first is None:
                raise AudioError(f"{path}: is corrupt and cannot be decoded; copy it again")
        except BaseException:
            self._file.close()
            raise
        # The header may be wrong: HE-AAC announces half of the rate.
        self.sample_rate, self.n_channels = _layout(self._first)
        self.n_samples = None
        if self._stream.duration:
            seconds = self._stream.duration * self._stream.time_base
            self.n_samples = round(seconds * self.sample_rate)

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()

    def blocks(
        self, offset: float, duration: float | None, block_duration: float
    ) -> Iterator[NDArray[np.float32]]:
        """Read a part, in blocks of shape (n_samples, n_channels); times are in seconds."""
        rate = self.sample_rate
        first = round(min(offset * rate, 2**62))
        end = 2**62 if duration is None else first + round(min(duration * rate, 2**62))
        n_largest = max(1, round(min(block_duration * rate, LARGEST_BLOCK // self.n_channels)))
        position = 0
        for block in self._decoded(chain([self._first], self._frames)):
            start, position = position, position + len(block)
            part = block[max(0, first - start) : max(0, end - start)]
            for index in range(0, len(part), n_largest):
                yield part[index : index + n_largest]
            if position >= end:
                return

    def _decoded(self, frames: Iterable[AudioFrame]) -> Iterator[NDArray[np.float32]]:
        """Convert frames to arrays; joined files may change rate and channels."""
        for (rate, n_channels), part in groupby(frames, _layout):
            blocks = map(_to_array, part)
            if n_channels != self.n_channels:
                blocks = (
                    np.tile(block.mean(axis=1, keepdims=True), self.n_channels) for block in blocks
                )
            if rate != self.sample_rate:
                blocks = resample_blocks(blocks, rate, self.sample_rate)
            yield from blocks


def _open(file: BinaryIO, path: str | os.PathLike[str]) -> InputContainer:
    try:
        return av.open(
            file,
            metadata_errors="replace",
            options={"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": ""},
        )
    except FFmpegError as error:
        raise AudioError(
            f"{path}: is not audio in a format that can be read; convert it to WAV or FLAC"
        ) from error


def _decode(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decode all frames, passing over packets that cannot be decoded."""
    n_errors = 0
    while n_errors < _MOST_ERRORS:
        try:
            for packet in container.demux(stream):
                n_errors = 0
                try:
                    frames = packet.decode()
                except FFmpegError:  # where files are joined, or damaged
                    continue
                yield from frames
            return
        except FFmpegError:
            n_errors += 1


def _layout(frame: AudioFrame) -> tuple[int, int]:
    return frame.sample_rate, frame.layout.nb_channels


def _to_array(frame: AudioFrame) -> NDArray[np.float32]:
    """Return samples of shape (n_samples, n_channels), with full scale at ±1."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / 2.0 ** (8 * samples.itemsize - 1)
    return samples.astype(np.float32)
