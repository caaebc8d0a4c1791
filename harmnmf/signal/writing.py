"""Write audio files with libsndfile; a failure leaves no partial file.

libsndfile does not report that the end of a file could not be written, and crashes where an encoder
gets what it cannot hold.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.storage.files import atomic_path

from .audio import Audio

__all__ = ["OUTPUT_SUFFIXES", "check_format", "matching_subtype", "write_audio", "write_blocks"]

# libsndfile's error code of system calls, which most often means a full disk.
_SYSTEM_ERROR = 2
# Formats whose sizes have 32 bits, and the bytes that fit, with some left for headers.
_SMALL_FORMATS = ("WAV", "AIFF", "AU")
_LARGEST_SMALL = 2**32 - 2**16
# Values written or read at once: libsndfile's Vorbis encoder crashes on some millions.
_BLOCK_VALUES = 2**18


@dataclass(frozen=True)
class _Format:
    """What a kind of file can hold; the first subtype is the default."""

    name: str
    container: str  # libsndfile's name
    subtypes: tuple[str, ...]
    max_channels: int
    max_rate: int | None = None
    rates: tuple[int, ...] | None = None


_SAMPLES = ("FLOAT", "PCM_16", "PCM_24", "PCM_32")
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_VORBIS = _Format("Ogg Vorbis", "OGG", ("VORBIS",), 255, max_rate=200_000)
_AIFF = _Format("AIFF", "AIFF", _SAMPLES, 1024)
_FORMATS = {
    ".wav": _Format("WAV", "WAV", _SAMPLES, 1024),
    ".flac": _Format("FLAC", "FLAC", ("PCM_24", "PCM_16"), 8, max_rate=655_350),
    ".mp3": _Format("MP3", "MP3", ("MPEG_LAYER_III",), 2, rates=_MP3_RATES),
    ".ogg": _VORBIS,
    ".oga": _VORBIS,
    ".opus": _Format("Opus", "OGG", ("OPUS",), 255, rates=_OPUS_RATES),
    ".aif": _AIFF,
    ".aiff": _AIFF,
    ".aifc": _AIFF,
    ".au": _Format("AU", "AU", _SAMPLES, 1024),
    ".caf": _Format("CAF", "CAF", _SAMPLES, 1024),
    ".rf64": _Format("RF64", "RF64", _SAMPLES, 1024),
    ".w64": _Format("Wave64", "W64", _SAMPLES, 1024),
}
# Suffixes of the files that can be written.
OUTPUT_SUFFIXES = tuple(_FORMATS)


def check_format(
    path: str | os.PathLike[str],
    sample_rate: int | None = None,
    n_channels: int | None = None,
    subtype: str | None = None,
) -> str:
    """Check that a file of this name can hold such samples; return the subtype to write.

    Parameters
    ----------
    path : str or os.PathLike
        File to write; its suffix, one of `OUTPUT_SUFFIXES`, names the format.
    sample_rate : int, optional
        Samples per second; not checked by default.
    n_channels : int, optional
        Number of channels; not checked by default.
    subtype : str, optional
        As in `write_audio`.

    Returns
    -------
    str
        libsndfile's name of the format of the samples.

    Raises
    ------
    AudioError
        If the format is unknown or cannot hold the samples.

    Examples
    --------
    >>> check_format("song.flac", 44100, 2)
    'PCM_24'
    """
    form = _FORMATS.get(Path(path).suffix.lower())
    if form is None:
        kind = Path(path).suffix or "a file without suffix"
        raise AudioError(f"{path}: {kind} cannot be written; use .wav, .flac or .mp3")
    if subtype is not None and subtype not in form.subtypes:
        choices = " or ".join(form.subtypes) if len(form.subtypes) > 1 else "none"
        raise AudioError(
            f"{path}: {form.name} cannot hold {subtype}; choose {choices}, or use .wav"
        )
    if n_channels is not None and n_channels > form.max_channels:
        raise AudioError(
            f"{path}: {form.name} holds at most {form.max_channels} channels, not {n_channels}; "
            "use .wav"
        )
    if sample_rate is not None and form.rates and sample_rate not in form.rates:
        rates = ", ".join(map(str, form.rates))
        raise AudioError(
            f"{path}: {form.name} holds only sample rates of {rates} Hz, not {sample_rate} Hz; "
            "use .flac or .wav"
        )
    if sample_rate is not None and form.max_rate and sample_rate > form.max_rate:
        raise AudioError(
            f"{path}: {form.name} holds sample rates up to {form.max_rate} Hz, not {sample_rate} "
            "Hz; use .wav"
        )
    return subtype or form.subtypes[0]


def matching_subtype(path: str | os.PathLike[str], source: str | os.PathLike[str]) -> str:
    """Choose the subtype of a file like that of a recording.

    Parameters
    ----------
    path : str or os.PathLike
        File to write, as in `write_audio`.
    source : str or os.PathLike
        Recording.

    Returns
    -------
    str
        PCM_16 if the recording has 16 bits or fewer and PCM_24 if it has 24, as far as the format
        has both; else the default of the format.

    Raises
    ------
    AudioError
        If the format cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/noisy.flac", Audio(np.zeros(9), 8000), subtype="PCM_16")
    ...     matching_subtype(f"{folder}/clean.wav", f"{folder}/noisy.flac")
    'PCM_16'
    """
    default = check_format(path)
    try:
        subtype = soundfile.info(os.fspath(source)).subtype
    except soundfile.SoundFileError:  # not a format of libsndfile: compressed
        return default
    if subtype.endswith("_24"):
        wanted = "PCM_24"
    elif subtype.endswith(("_16", "_S8", "_U8", "LAW")):
        wanted = "PCM_16"
    else:
        return default
    return wanted if wanted in _FORMATS[Path(path).suffix.lower()].subtypes else default


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
    container = _FORMATS[Path(target).suffix.lower()].container
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
