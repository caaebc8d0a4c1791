"""Reading with FFmpeg, through PyAV: compressed audio, and the sound of videos."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, groupby
from typing import Any, BinaryIO

import av
import numpy as np
from av import AudioFifo, AudioFrame, AudioResampler, Packet
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from harmnmf.errors import AudioError

from .headers import SoundData, first_byte, has_end_mark, is_joined, n_mpeg_frames, next_ogg_part
from .resampling import resample_blocks

__all__ = ["FFmpegSound"]

# Formats that hold sound and never name other files, as playlists (HLS, concat, SDP) do.
_FORMATS = (
    *("aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dsf"),
    *("dts", "dtshd", "eac3", "flac", "flv", "iff", "loas", "matroska", "mov", "mp3", "mpc"),
    *("mpc8", "mpeg", "mpegts", "ogg", "oma", "rm", "tak", "truehd", "tta", "voc", "w64", "wav"),
    *("wv", "xwma"),
)
# Those that announce no length: FFmpeg estimates it from the size of the file.
_WITHOUT_LENGTH = ("aac", "ac3", "amr", "dts", "eac3", "loas", "mpeg", "truehd")
# Those in which tags and pictures between joined files look like sound.
_WITHOUT_FRAMING = (*_WITHOUT_LENGTH, "mp3")
# Limit on the values in one block: headers may announce any number of channels, and any rate.
_LARGEST_BLOCK = 2**25
# Samples that are converted at once: PyAV takes longer for many short frames.
_N_CONVERTED = 2**15
# Errors of a container without a packet between them, after which its rest is given up.
_MOST_ERRORS = 100
# Seconds to decode before the part to read: frames depend on those before.
_PREROLL = 1.0
# Seconds from the beginning that are decoded and not passed over: AAC fills bands with noise, which
# differs in the part behind.
_FAR = 60.0
# Seconds that may be missing: encoders fill the last packet, and decoders remove their delay.
_TOLERANCE = 0.25
# Seconds in a row without a frame that are damage: a packet is lost where files are joined.
_DAMAGE = 0.1


class FFmpegSound:
    """The best audio stream of a file."""

    def __init__(self, path: str | os.PathLike[str], data: SoundData | None = None) -> None:
        self._path, self._data = path, data
        self._file = open(path, "rb")  # noqa: SIM115 (closed by `close`)
        self._damaged_seconds = 0.0
        self._end_of_other_streams = 0.0
        try:
            self._open_part(first_byte(self._file))
            self._frames = self._decode()
            self._first = self._first_frame()
        except BaseException:
            self._file.close()
            raise
        # Not from the header, which may be wrong: HE-AAC announces half of its rate.
        self.sample_rate: int = self._first.sample_rate
        self.n_channels: int = self._first.layout.nb_channels
        seconds = self._header_seconds()
        self.n_samples: int | None = round(seconds * self.sample_rate) if seconds else None

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()

    def blocks(
        self, offset: float, duration: float | None, block_duration: float
    ) -> Iterator[NDArray[np.float32]]:
        """Read a part in blocks of shape (n_samples, n_channels); times are in seconds.

        Packets that cannot be decoded are passed over, with a warning unless they are few.
        """
        rate = self.sample_rate
        first = round(min(offset * rate, 2**62))
        end = 2**62 if duration is None else first + round(min(duration * rate, 2**62))
        n_block = max(1, round(min(block_duration * rate, _LARGEST_BLOCK // self.n_channels)))
        position, frames = self._seek(first)
        # So that the blocks to yield begin at `first`.
        n_lead = (first - position) % n_block or n_block
        for block in self._convert(frames, n_lead, n_block):
            if not np.isfinite(block).all():
                raise AudioError(f"{self._path}: contains NaN or infinite samples; export it again")
            start, position = position, position + len(block)
            if position > first:
                yield block[max(0, first - start) : end - start]
            if position >= end:
                return
        if position > first:
            self._warn_of_loss(position / rate)

    def _seek(self, first: int) -> tuple[int, Iterator[AudioFrame]]:
        """Go to a sample, or some way before it; return the position and the frames from there."""
        name, codec = self._container.format.name, self._stream.codec_context.name
        # In other formats, times are rounded, or estimated from the size of the file.
        counts_samples = (
            name.startswith("mov") or (name == "wav" and codec.startswith("pcm"))
        ) and self._stream.time_base == Fraction(1, self.sample_rate)
        start = self._first.pts
        if (
            not counts_samples
            or start is None
            or not _FAR * self.sample_rate < first < (self.n_samples or 0)
        ):
            return 0, chain([self._first], self._frames)
        target = first - round(_PREROLL * self.sample_rate)
        self._container.seek(start + target, stream=self._stream)
        frames = self._decode()
        frame = next(frames, None)
        if frame is None or frame.pts is None:
            return 0, frames
        return frame.pts - start, chain([frame], frames)

    def _open_part(self, start: int) -> None:
        container = _open_container(self._file, self._path, start, self._data)
        self._stream = _best_stream(container, self._path)
        self._container, self._start, self._last = container, start, start

    def _decode(self) -> Iterator[AudioFrame]:
        yield from self._decode_part()
        # FFmpeg leaves out the parts of a chained Ogg that have another rate or other channels.
        while self._container.format.name == "ogg":
            start = next_ogg_part(self._file, self._last)
            if start is None:
                return
            try:
                self._open_part(start)
            except AudioError:
                return
            yield from self._decode_part()

    def _decode_part(self) -> Iterator[AudioFrame]:
        failed = 0.0
        for packet in self._packets():
            if packet.stream.index != self._stream.index:
                self._end_of_other_streams = max(self._end_of_other_streams, _end(packet))
                continue
            try:
                frames = self._stream.decode(packet)
            except FFmpegError:
                failed += float((packet.duration or 0) * packet.time_base)
                continue
            self._count_damage(failed)
            failed = 0.0
            self._last = max(self._last, self._start + (packet.pos or 0))
            yield from frames
        self._count_damage(failed)
        with suppress(FFmpegError):
            yield from self._stream.decode(None)

    def _count_damage(self, seconds: float) -> None:
        if seconds > _DAMAGE:
            self._damaged_seconds += seconds

    def _packets(self) -> Iterator[Packet]:
        """Read the packets of all streams, and go on after errors."""
        n_errors = 0
        while n_errors < _MOST_ERRORS:
            try:
                for packet in self._container.demux():
                    if packet.size:  # PyAV ends with empty packets
                        n_errors = 0
                        yield packet
                return
            except IndexError:  # PyAV's, at the end of files with streams that begin later
                return
            except FFmpegError:
                n_errors += 1

    def _first_frame(self) -> AudioFrame:
        frame = next(self._frames, None)
        if frame is None:
            raise AudioError(
                f"{self._path}: holds no sound that can be decoded: it is corrupt, or protected "
                "against copying; export it again"
            )
        return frame

    def _convert(
        self, frames: Iterable[AudioFrame], n_lead: int, n_block: int
    ) -> Iterator[NDArray[np.float32]]:
        """Convert frames to blocks; in joined files, all have the layout of the first part."""
        for (rate, n_channels, _), part in groupby(frames, _layout):
            blocks = _join(part, n_lead, n_block)
            if n_channels != self.n_channels:
                blocks = (
                    np.tile(block.mean(axis=1, keepdims=True), self.n_channels) for block in blocks
                )
            if rate != self.sample_rate:
                blocks = resample_blocks(blocks, rate, self.sample_rate)
            yield from blocks

    def _header_seconds(self) -> float:
        """Length in the header, or FFmpeg's estimate, or 0."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return (self._container.duration or 0) / av.time_base

    def _announced_seconds(self) -> float:
        """Length in the header, or 0 if there is none."""
        name = self._container.format.name
        if name.startswith(_WITHOUT_LENGTH):
            return 0.0
        seconds = self._header_seconds()
        if name == "mp3":
            n_frames = n_mpeg_frames(self._file) or 0
            spf = self._stream.codec_context.frame_size or 1152
            # FFmpeg estimates the length of joined files.
            if abs(n_frames * spf / self.sample_rate - seconds) > _TOLERANCE:
                return 0.0
        if self._data is not None and self._data.available:
            return seconds * max(1.0, self._data.announced / self._data.available)
        return seconds

    def _warn_of_loss(self, seconds: float) -> None:
        """Warn if the file ends after fewer seconds than it announces, or is damaged."""
        name = self._container.format.name
        announced = self._announced_seconds()
        end = seconds
        if not self._stream.duration:  # of the longest stream
            end = max(end, self._end_of_other_streams)
        if end < announced - _TOLERANCE:
            message = f"is truncated or damaged: {seconds:.1f} s of {announced:.1f} s were read"
        elif self._damaged_seconds and not name.startswith(_WITHOUT_FRAMING):
            message = (
                f"is damaged: {self._damaged_seconds:.1f} s could not be decoded; "
                f"{seconds:.1f} s were read"
            )
        elif name == "ogg" and not has_end_mark(self._file):
            message = f"is truncated: it has no last page; {seconds:.1f} s were read"
        elif end <= announced + _TOLERANCE and is_joined(self._file):
            message = (
                f"another recording follows in the same file, and is left out: {seconds:.1f} s "
                "were read; split it"
            )
        else:
            return
        warnings.warn(f"{self._path}: {message}", stacklevel=2)


class _View:
    """A file without its first bytes, with a corrected header.

    It has no name, by which FFmpeg would choose the format.
    """

    def __init__(self, file: BinaryIO, start: int, correction: tuple[int, bytes]) -> None:
        self._file, self._start, self._correction = file, start, correction
        self.seek(0)

    def read(self, size: int) -> bytes:
        position = self._file.tell()
        content = self._file.read(size)
        place, correct = self._correction
        if correct and position <= place and place + len(correct) <= position + len(content):
            place -= position
            content = content[:place] + correct + content[place + len(correct) :]
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            offset += self._start
        try:
            return self._file.seek(offset, whence) - self._start
        except OSError:  # FFmpeg goes where damaged headers say
            return -1

    def tell(self) -> int:
        return self._file.tell() - self._start


def _open_container(
    file: BinaryIO, path: str | os.PathLike[str], start: int, data: SoundData | None
) -> InputContainer:
    correction = (data and data.correction) or (0, b"")
    try:
        return av.open(
            _View(file, start, correction),
            "r",
            metadata_errors="replace",
            options={"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "none"},
        )
    except FFmpegError as error:
        file.seek(4)
        if file.read(4) == b"ftyp":
            raise AudioError(
                f"{path}: was never finished, or is cut off: its index (moov) is missing; copy it "
                "again, or repair it with a tool for MP4"
            ) from error
        raise _unknown_format(path) from error


def _best_stream(container: InputContainer, path: str | os.PathLike[str]) -> AudioStream:
    stream: Any = container.streams.best("audio")
    if stream is None and container.streams.video:
        raise AudioError(f"{path}: has no sound, only a picture; name a file with sound")
    if stream is None or stream.codec_context is None:
        raise _unknown_format(path)
    if stream.codec_tag in ("drms", "enca"):
        raise AudioError(f"{path}: is protected against copying; export it without protection")
    return stream


def _unknown_format(path: str | os.PathLike[str]) -> AudioError:
    return AudioError(
        f"{path}: is not audio in a format that can be read; convert it to WAV or FLAC"
    )


def _end(packet: Packet) -> float:
    """Time in seconds at which a packet ends."""
    return float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)


def _layout(frame: AudioFrame) -> tuple[int, int, str]:
    return frame.sample_rate, frame.layout.nb_channels, frame.format.name


def _join(frames: Iterable[AudioFrame], n_lead: int, n_block: int) -> Iterator[NDArray[np.float32]]:
    """Join frames to a block of `n_lead` samples, and others of `n_block`."""
    block, n_filled = None, 0
    for samples in _arrays(frames):
        while len(samples):
            if block is None:
                block = np.empty((n_lead, samples.shape[1]), np.float32)
                n_lead = n_block
            n_new = min(len(samples), len(block) - n_filled)
            block[n_filled : n_filled + n_new] = samples[:n_new]
            samples, n_filled = samples[n_new:], n_filled + n_new
            if n_filled == len(block):
                yield block
                block, n_filled = None, 0
    if block is not None:
        yield block[:n_filled]


def _arrays(frames: Iterable[AudioFrame]) -> Iterator[NDArray[np.float32]]:
    """Convert frames to arrays of shape (n_samples, n_channels), many at once."""
    # To packed samples: PyAV makes no arrays of eight or more channels in planes.
    fifo, converter = AudioFifo(), AudioResampler(format="flt")

    def convert() -> Iterator[NDArray[np.float32]]:
        joined = fifo.read()
        for packed in converter.resample(joined) if joined is not None else []:
            samples: Any = packed.to_ndarray()
            yield samples.reshape(packed.samples, packed.layout.nb_channels)

    for frame in frames:
        frame.pts = None  # it would have to be continuous
        fifo.write(frame)
        if fifo.samples >= _N_CONVERTED:
            yield from convert()
    yield from convert()
