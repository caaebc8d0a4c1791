"""Read and stream audio in any format of libsndfile, at any sample rate.

Samples are float32 with full scale at ±1. Multichannel arrays have shape (n_channels, n_samples),
as in librosa and PyTorch; soundfile has channels last. Resampling is soxr's high quality (HQ)
everywhere, so that reading whole and streaming in blocks give the same samples.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from harmnmf.errors import AudioError, ParameterError

from .channels import apply_mix, choose_mix, describe_mix, measure_covariance
from .libsndfile import UNKNOWN_LENGTH, decode_blocks, open_sound

__all__ = [
    "SAMPLE_RATE", "Audio", "AudioInfo", "audio_info", "read_audio", "stream_audio", "warn_of_mix"
]  # fmt: skip

# Sample rate in Hz at which recordings are analysed and networks are trained.
SAMPLE_RATE = 16_000
_MIN_SAMPLE_RATE = 1_000
_MAX_SAMPLE_RATE = 768_000
_RATE_NEEDED = f"is not a whole number from {_MIN_SAMPLE_RATE} to {_MAX_SAMPLE_RATE}"
_MAX_CHANNELS = 1024  # libsndfile's own limit


@dataclass(frozen=True, eq=False)
class Audio:
    """Audio samples and their sample rate, checked when they are created.

    Parameters
    ----------
    samples : ndarray, shape=(n_samples,) or (n_channels, n_samples)
        Finite real samples, at least one, with full scale at ±1; converted to float32.
    sample_rate : int
        Samples per second, from 1,000 to 768,000.

    Raises
    ------
    AudioError
        If the samples or the sample rate are invalid.

    Examples
    --------
    >>> import numpy as np
    >>> audio = Audio(np.zeros((2, 44100)), sample_rate=44100)
    >>> audio.n_channels, audio.duration, audio.to_mono().samples.shape
    (2, 1.0, (44100,))
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if samples.dtype.kind != "f":
            raise AudioError(
                f"samples must be real floats with full scale at ±1, not {samples.dtype}"
            )
        if samples.ndim not in (1, 2) or samples.size == 0:
            raise AudioError(
                "samples must have shape (n_samples,) or (n_channels, n_samples) with at least "
                f"one sample, not {samples.shape}"
            )
        if samples.ndim == 2 and samples.shape[0] > _MAX_CHANNELS:
            raise AudioError(
                f"samples of shape {samples.shape} have too many channels: "
                "transpose them to (n_channels, n_samples)"
            )
        with np.errstate(over="ignore"):  # overflow to infinity is reported below
            samples = samples.astype(np.float32, copy=False)
        if not np.isfinite(samples).all():
            raise AudioError("samples contain NaN or infinity")
        if not _is_valid_rate(self.sample_rate):
            raise AudioError(f"the sample rate {self.sample_rate} Hz {_RATE_NEEDED}")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.samples.shape[-1] / self.sample_rate

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return 1 if self.samples.ndim == 1 else self.samples.shape[0]

    def to_mono(self) -> Audio:
        """Average the channels: returns an `Audio` with samples of shape (n_samples,)."""
        if self.samples.ndim == 1:
            return self
        return Audio(self.samples.mean(axis=0), self.sample_rate)

    def resample(self, sample_rate: int) -> Audio:
        """Convert to another sample rate.

        Parameters
        ----------
        sample_rate : int
            New rate in Hz.

        Returns
        -------
        Audio
            Same duration, to within a sample.

        Raises
        ------
        ParameterError
            If the rate is out of range.
        AudioError
            If the audio is too short to have a sample at the new rate.
        """
        _check_rate(sample_rate)
        if sample_rate == self.sample_rate:
            return self
        # soxr has channels last.
        samples = soxr.resample(self.samples.T, self.sample_rate, sample_rate, quality="HQ").T
        if samples.size == 0:
            raise AudioError(f"too short to be resampled to {sample_rate} Hz")
        return Audio(np.ascontiguousarray(samples), sample_rate)


@dataclass(frozen=True)
class AudioInfo:
    """Duration and format of an audio file, from its header.

    Parameters
    ----------
    duration : float
        Length in seconds; 0 if the header has none, as in a FLAC that was streamed.
    sample_rate : int
        Samples per second.
    n_channels : int
        Number of channels.
    """

    duration: float
    sample_rate: int
    n_channels: int


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read duration, sample rate and channels of a file without decoding it.

    Parameters
    ----------
    path : str or os.PathLike
        Audio file.

    Returns
    -------
    AudioInfo
        Its duration in seconds, sample rate in Hz and number of channels.

    Raises
    ------
    AudioError
        If the file cannot be read as audio.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import write_audio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/silence.wav", Audio(np.zeros(8000), 8000))
    ...     audio_info(f"{folder}/silence.wav")
    AudioInfo(duration=1.0, sample_rate=8000, n_channels=1)
    """
    with _open(path) as file:
        n_samples = 0 if file.frames == UNKNOWN_LENGTH else file.frames
        return AudioInfo(n_samples / file.samplerate, file.samplerate, file.channels)


def read_audio(
    source: Audio | str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    mono: bool = True,
    offset: float = 0.0,
    duration: float | None = None,
) -> Audio:
    """Read a recording, or a part of it.

    Parameters
    ----------
    source : Audio, str or os.PathLike
        Samples, or a WAV, FLAC, OGG, MP3, AIFF or other file that libsndfile reads.
    sample_rate : int, optional
        Sample rate in Hz to convert to. Default: that of the source.
    mono : bool, default=True
        Average the channels. Where that cancels them, one of them is used, or some are inverted:
        see :func:`harmnmf.signal.channels.choose_mix`.
    offset : float, default=0.0
        Start reading after this time in seconds.
    duration : float, optional
        Seconds to read. Default: to the end.

    Returns
    -------
    Audio
        Samples of shape (n_samples,) if `mono`, else (n_channels, n_samples).

    Raises
    ------
    AudioError
        If the file cannot be read as audio, or the part has no samples, or NaN or infinite ones.
    ParameterError
        If a parameter is out of range.

    Warns
    -----
    UserWarning
        If the file is shorter than its header announces; the samples up to there are returned.
        If the channels cancel and are not averaged.

    Examples
    --------
    >>> stereo = Audio(np.zeros((2, 44100)), 44100)
    >>> audio = read_audio(stereo, sample_rate=22050, duration=0.5)
    >>> audio.samples.shape, audio.sample_rate
    ((11025,), 22050)
    """
    with _decode(source, offset, duration, 1.0) as (rate, blocks):
        kept = list(blocks)
        mix = _choose_mix(kept, rate) if mono else None
        if mix is not None:
            warn_of_mix(source, mix)
        samples = np.concatenate(list(_convert(kept, source, rate, sample_rate, mono, mix)))
    return Audio(samples[:, 0] if mono else np.ascontiguousarray(samples.T), sample_rate or rate)


def stream_audio(
    source: Audio | str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    mono: bool = True,
    mix: NDArray[np.float64] | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    block_duration: float = 30.0,
) -> Iterator[np.ndarray]:
    """Read a recording block by block, in memory that does not grow with its length.

    The concatenated blocks equal the samples of `read_audio` at the same sample rate, unless its
    channels cancel: a stream averages them, as it cannot know what comes.

    Parameters
    ----------
    source : Audio, str or os.PathLike
        Samples, or a WAV, FLAC, OGG, MP3, AIFF or other file that libsndfile reads.
    sample_rate : int, optional
        Sample rate in Hz to convert to. Default: that of the source.
    mono : bool, default=True
        Average the channels.
    mix : ndarray, shape (n_channels,), optional
        Weights of the channels in place of their average.
    offset : float, default=0.0
        Start reading after this time in seconds.
    duration : float, optional
        Seconds to read. Default: to the end.
    block_duration : float, default=30.0
        Length of a block in seconds, limited to 2**25 samples over all channels. With
        resampling, the lengths of blocks vary a little.

    Yields
    ------
    ndarray, shape=(n_samples,) if `mono`, else (n_channels, n_samples)
        float32.

    Raises
    ------
    AudioError
        At the first block, if the file cannot be read as audio or has no samples; later, if a
        block has NaN or infinite samples.
    ParameterError
        If a parameter is out of range.

    Warns
    -----
    UserWarning
        If the file is shorter than its header announces.

    Examples
    --------
    >>> silence = Audio(np.zeros(80000), 8000)
    >>> [len(block) for block in stream_audio(silence, block_duration=4.0)]
    [32000, 32000, 16000]
    """
    if not 0 < block_duration < float("inf"):
        raise ParameterError(f"block_duration must be positive seconds, not {block_duration}")
    with _decode(source, offset, duration, block_duration) as (rate, blocks):
        for block in _convert(blocks, source, rate, sample_rate, mono, mix):
            yield block[:, 0] if mono else block.T


def _open(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    """Open a file, whose sample rate must be valid."""
    file = open_sound(path)
    if not _is_valid_rate(file.samplerate):
        file.close()
        raise AudioError(f"{path}: its sample rate {file.samplerate} Hz {_RATE_NEEDED}")
    return file


@contextmanager
def _decode(
    source: Audio | str | os.PathLike[str],
    offset: float,
    duration: float | None,
    block_duration: float,
) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open a recording; yield its sample rate and blocks of shape (n_samples, n_channels)."""
    if not 0 <= offset < float("inf"):
        raise ParameterError(f"offset must be seconds, 0 or more, not {offset}")
    if duration is not None and not duration > 0:
        raise ParameterError(f"duration must be positive seconds, not {duration}")
    if isinstance(source, Audio):
        yield source.sample_rate, _cut(source, offset, duration, block_duration)
        return
    with _open(source) as file:
        yield file.samplerate, decode_blocks(file, source, offset, duration, block_duration)


def _cut(
    audio: Audio, offset: float, duration: float | None, block_duration: float
) -> Iterator[np.ndarray]:
    samples, rate = np.atleast_2d(audio.samples).T, audio.sample_rate
    samples = samples[round(min(offset * rate, len(samples))) :]
    if duration is not None:
        samples = samples[: round(min(duration * rate, len(samples)))]
    n_block = max(1, round(min(block_duration * rate, len(samples))))
    for start in range(0, len(samples), n_block):
        yield samples[start : start + n_block]


def _convert(
    blocks: Iterable[np.ndarray],
    source: Audio | str | os.PathLike[str],
    rate: int,
    sample_rate: int | None,
    mono: bool,
    mix: NDArray[np.float64] | None,
) -> Iterator[np.ndarray]:
    """Mix the channels and resample, leaving out empty blocks."""
    if sample_rate is not None:
        _check_rate(sample_rate)
    if mono:
        blocks = (apply_mix(block.T, mix)[:, None] for block in blocks)
    if sample_rate not in (None, rate):
        blocks = _resample(blocks, rate, sample_rate)
    any_samples = False
    for block in blocks:
        if len(block):
            any_samples = True
            yield block
    if not any_samples:
        name = "the audio" if isinstance(source, Audio) else source
        raise AudioError(
            f"{name}: is too short: it has no samples in the part to read; choose a "
            "longer recording"
        )


def warn_of_mix(source: Audio | str | os.PathLike[str], mix: NDArray[np.float64]) -> None:
    """Warn that the channels of a recording are not averaged."""
    name = "the audio" if isinstance(source, Audio) else source
    warnings.warn(
        f"{name}: the mean of its channels would cancel or mask a part of it: {describe_mix(mix)}",
        stacklevel=3,
    )


def _choose_mix(blocks: list[np.ndarray], rate: int) -> NDArray[np.float64] | None:
    if not blocks or blocks[0].shape[1] == 1:
        return None
    return choose_mix(measure_covariance(np.concatenate(blocks).T, rate))


def _resample(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    resampler = None
    for block in blocks:
        if resampler is None:
            resampler = soxr.ResampleStream(
                rate, sample_rate, block.shape[1], dtype="float32", quality="HQ"
            )
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros((0, block.shape[1]), np.float32), last=True)


def _is_valid_rate(sample_rate: float) -> bool:
    return _MIN_SAMPLE_RATE <= sample_rate <= _MAX_SAMPLE_RATE and sample_rate == int(sample_rate)


def _check_rate(sample_rate: int) -> None:
    """Raise ParameterError if a sample rate to convert to is not valid."""
    if not _is_valid_rate(sample_rate):
        raise ParameterError(f"sample_rate {sample_rate} Hz {_RATE_NEEDED}")
