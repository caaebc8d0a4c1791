"""Read and stream audio in any format, at any sample rate.

Resampling is soxr's high quality (HQ) everywhere, so that reading whole and streaming in blocks
give the same samples.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError
from harmnmf.validation import check_number

from .audio import INTEGER_SCALES, RATE_NEEDED, Audio, check_rate, is_valid_rate
from .channels import apply_mix, choose_mix, describe_mix, measure_covariance
from .decoding import Sound, open_sound
from .resampling import resample_blocks

__all__ = [
    "AudioInfo",
    "audio_info",
    "audio_name",
    "read_audio",
    "stream_audio",
    "warn_of_mix",
]

# Peak from which floats must be meant as integers.
_INTEGER_PEAK = 100.0


@dataclass(frozen=True)
class AudioInfo:
    """Duration and format of a recording.

    Parameters
    ----------
    duration : float
        Length in seconds; 0 if the header of a file has none, as in a FLAC that was streamed.
    sample_rate : int
        Samples per second.
    n_channels : int
        Number of channels.
    """

    duration: float
    sample_rate: int
    n_channels: int


def audio_info(source: Audio | str | os.PathLike[str]) -> AudioInfo:
    """Return duration, sample rate and channels of a recording; a file is not decoded.

    Parameters
    ----------
    source : Audio, str or os.PathLike
        Samples, or an audio file.

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
    if isinstance(source, Audio):
        return AudioInfo(source.duration, source.sample_rate, source.n_channels)
    with _open(source) as sound:
        return AudioInfo(
            (sound.n_samples or 0) / sound.sample_rate, sound.sample_rate, sound.n_channels
        )


def audio_name(source: Audio | str | os.PathLike[str]) -> str:
    """Name a recording in messages.

    Examples
    --------
    >>> audio_name(Audio(np.zeros(8), 8000)), audio_name("song.wav")
    ('the audio', 'song.wav')
    """
    return "the audio" if isinstance(source, Audio) else os.fspath(source)


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
        Samples, or a file: WAV, FLAC, AIFF, MP3, Ogg, Opus, M4A, WMA, a video, or any other that
        libsndfile or FFmpeg reads.
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
    samples = samples[:, 0] if mono else np.ascontiguousarray(samples.T)
    return Audio(samples, rate if sample_rate is None else sample_rate)


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
    """Read a recording, or a part of it, block by block, in memory that does not grow.

    The concatenated blocks equal the samples of `read_audio` of the same part, unless its channels
    cancel: a stream averages them, as it cannot know what comes.

    Parameters
    ----------
    source : Audio, str or os.PathLike
        Samples, or a file: WAV, FLAC, AIFF, MP3, Ogg, Opus, M4A, WMA, a video, or any other that
        libsndfile or FFmpeg reads.
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
        At the first block, if the file cannot be read as audio or the part has no samples; later,
        if a block has NaN or infinite samples.
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
    check_number("block_duration", block_duration, above=0)
    with _decode(source, offset, duration, block_duration) as (rate, blocks):
        for block in _convert(blocks, source, rate, sample_rate, mono, mix):
            yield block[:, 0] if mono else block.T


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Sound]:
    """Open a file, whose sample rate must be valid."""
    with closing(open_sound(path)) as sound:
        if not is_valid_rate(sound.sample_rate):
            raise AudioError(f"{path}: its sample rate {sound.sample_rate} Hz {RATE_NEEDED}")
        yield sound


@contextmanager
def _decode(
    source: Audio | str | os.PathLike[str],
    offset: float,
    duration: float | None,
    block_duration: float,
) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open a recording; yield its sample rate and blocks of shape (n_samples, n_channels)."""
    check_number("offset", offset, 0)
    if duration is not None:
        check_number("duration", duration, above=0, infinite=True)
    if isinstance(source, Audio):
        yield source.sample_rate, _cut(source, offset, duration, block_duration)
        return
    with _open(source) as sound:
        yield sound.sample_rate, sound.blocks(offset, duration, block_duration)


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
        sample_rate = check_rate(sample_rate)
    blocks = _watch_scale(blocks, source)
    if mono:
        blocks = (apply_mix(block.T, mix)[:, None] for block in blocks)
    if sample_rate not in (None, rate):
        blocks = resample_blocks(blocks, rate, sample_rate)
    any_samples = False
    for block in blocks:
        if len(block):
            any_samples = True
            yield block
    if not any_samples:
        raise AudioError(
            f"{audio_name(source)}: is too short: it has no samples in the part to read; choose a "
            "longer recording"
        )


def warn_of_mix(source: Audio | str | os.PathLike[str], mix: NDArray[np.float64]) -> None:
    """Warn that the channels of a recording are not averaged."""
    warnings.warn(
        f"{audio_name(source)}: the mean of its channels would cancel or mask a part of it: "
        f"{describe_mix(mix)}",
        stacklevel=3,
    )


def _choose_mix(blocks: list[np.ndarray], rate: int) -> NDArray[np.float64] | None:
    if not blocks or blocks[0].shape[1] == 1:
        return None
    return choose_mix(measure_covariance(np.concatenate(blocks).T, rate))


def _watch_scale(
    blocks: Iterable[np.ndarray], source: Audio | str | os.PathLike[str]
) -> Iterator[np.ndarray]:
    """Warn once of float samples that are scaled like integers."""
    is_warned = False
    for block in blocks:
        if not is_warned and len(block) and (peak := np.abs(block).max()) > _INTEGER_PEAK:
            is_warned = True
            scale = next((n for n in INTEGER_SCALES.values() if peak <= n), "their full scale")
            warnings.warn(
                f"{audio_name(source)}: its samples reach {peak:.0f}, where full scale is 1: they "
                f"look like integers; divide them by {scale}",
                stacklevel=2,
            )
        yield block
