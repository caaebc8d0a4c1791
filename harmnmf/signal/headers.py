"""What the bytes of audio files say about their format and length.

The libraries trust the lengths in headers, which are wrong in files that were never finished, cut
off, or joined.
"""

from __future__ import annotations

import mmap
import os
import string
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = [
    "SoundData",
    "first_byte",
    "has_end_mark",
    "is_joined",
    "n_mpeg_frames",
    "next_ogg_part",
    "sound_data",
]

# Sizes from here on stand for an unknown length, in files that were written to a pipe.
_PLACEHOLDER = 0x7FFF_0000
_CHUNK_NAMES = frozenset((string.ascii_letters + string.digits + " _-.(c)").encode())
# Headers of chunks: a name and a size.
_WAV, _CAF, _W64 = "<4sI", ">4sq", "<16sQ"
_FLAC = b"fLaC\0\0\0\x22"
# No page of Ogg is longer.
_LONGEST_PAGE = 27 + 255 + 255 * 255


def first_byte(file: BinaryIO) -> int:
    """Position after the ID3 tags at the beginning of a file."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:]) > 127:
            return position
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        end = position + 10 + size + (10 if head[5] & 0x10 else 0)
        if end >= _size(file):
            return position
        position = end


class SoundData(NamedTuple):
    """The samples in a file of chunks, in bytes."""

    announced: int
    """Size in the header; 0 if it is unknown."""
    available: int
    """Bytes from the first sample to the end of the file."""
    correction: tuple[int, bytes] | None
    """Position and bytes with which the header of a WAV says that the rest is sound too."""


def sound_data(file: BinaryIO) -> SoundData | None:
    """Find the samples of WAV, AIFF, CAF, W64 and AU; None in other formats, or without samples."""
    file.seek(0)
    magic = file.read(4)
    if magic == b".snd":
        start, announced = struct.unpack(">II", file.read(8))
        return _sound_data(file, start, announced, ">I")
    if magic in (b"RIFF", b"RF64", b"BW64"):
        return _find_chunk(file, 12, _WAV, b"data")
    if magic in (b"RIFX", b"FORM"):
        return _find_chunk(file, 12, ">4sI", b"data" if magic == b"RIFX" else b"SSND")
    if magic == b"caff":
        return _find_chunk(file, 8, _CAF, b"data")
    if magic == b"riff":
        return _find_chunk(file, 40, _W64, b"data")
    return None


def _find_chunk(file: BinaryIO, position: int, header: str, name: bytes) -> SoundData | None:
    n_header, end = struct.calcsize(header), _size(file)
    long_size = None
    while position + n_header <= end:
        file.seek(position)
        found, size = struct.unpack(header, file.read(n_header))
        if header == _W64:
            size -= n_header  # which it includes
        start = position + n_header
        if found == b"ds64":  # the size of data in RF64
            long_size = start + 8
        elif found.startswith(name):
            if size == 0xFFFFFFFF and long_size is not None:
                file.seek(long_size)
                size = int.from_bytes(file.read(8), "little")
            return _sound_data(file, start, size, header, long_size)
        if not 0 <= size <= end:
            return None
        alignment = {_W64: 8, _CAF: 1}.get(header, 2)
        position = start + -(-size // alignment) * alignment
    return None


def _sound_data(
    file: BinaryIO, start: int, announced: int, header: str, long_size: int | None = None
) -> SoundData:
    end = _size(file)
    available = max(0, end - start)
    if announced < 0 or announced > max(available, _PLACEHOLDER):
        announced = 0
    correction = None
    if header == _WAV and announced < available - 8:
        behind = start + announced + announced % 2
        file.seek(behind)
        name, size = struct.unpack(header, file.read(8).ljust(8, b"\0"))
        is_chunk = _CHUNK_NAMES.issuperset(name) and size <= end - behind
        # Tags of other formats may follow.
        if not is_chunk and not name.startswith((b"TAG", b"ID3", b"APET", b"RF64")):
            if long_size is None:
                correction = start - 4, bytes(4)  # a size of 0 means the rest
            else:
                correction = long_size, struct.pack("<Q", available)
    return SoundData(announced, available, correction)


def is_joined(file: BinaryIO) -> bool:
    """Whether another file follows in a WAV, an AIFF, an MP4 or a FLAC."""
    file.seek(first_byte(file))
    head = file.read(8)
    if head == _FLAC:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_FLAC) != content.rfind(_FLAC)
    if head[:4] in (b"RIFF", b"FORM"):
        size = int.from_bytes(head[4:], "little" if head[:4] == b"RIFF" else "big")
        file.seek(8 + size + size % 2)
        return file.read(4) == head[:4]
    return head[4:] == b"ftyp" and list(_boxes(file)).count(b"ftyp") > 1


def _boxes(file: BinaryIO) -> Iterator[bytes]:
    """Names of the boxes of an MP4."""
    position, end = 0, _size(file)
    while position < end:
        file.seek(position)
        head = file.read(16)
        yield head[4:8]
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        position += size or end


def n_mpeg_frames(file: BinaryIO) -> int | None:
    """Read the number of frames in the header of an MP3; None if it has none."""
    file.seek(first_byte(file))
    head = file.read(4096)
    for name in (b"Xing", b"Info"):
        place = head.find(name)
        if 0 <= place < len(head) - 12:
            flags, n_frames = struct.unpack_from(">II", head, place + 4)
            return n_frames if flags & 1 else None
    place = head.find(b"VBRI")
    if 0 <= place < len(head) - 18:
        return struct.unpack_from(">I", head, place + 14)[0]
    return None


def has_end_mark(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg is whole, and marked as the end of its stream."""
    size = _size(file)
    file.seek(max(0, size - 2 * _LONGEST_PAGE))
    tail = file.read()
    place = tail.rfind(b"OggS")
    page = tail[place:]
    if place < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def next_ogg_part(file: BinaryIO, after: int) -> int | None:
    """Find the page behind a position with which another part of a chained Ogg begins."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(b"OggS", after + 1)
        while 0 <= place < len(content) - 5:
            if content[place + 5] & 2:
                return place
            place = content.find(b"OggS", place + 1)
    return None


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
