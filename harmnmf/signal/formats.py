"""Formats of audio files that can be written, and what each can hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import soundfile

from harmnmf.errors import AudioError

__all__ = ["FORMATS", "OUTPUT_SUFFIXES", "Format", "check_format", "matching_subtype"]


@dataclass(frozen=True)
class Format:
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
_VORBIS = Format("Ogg Vorbis", "OGG", ("VORBIS",), 255, max_rate=200_000)
_AIFF = Format("AIFF", "AIFF", _SAMPLES, 1024)
FORMATS = {
    ".wav": Format("WAV", "WAV", _SAMPLES, 1024),
    ".flac": Format("FLAC", "FLAC", ("PCM_24", "PCM_16"), 8, max_rate=655_350),
    ".mp3": Format("MP3", "MP3", ("MPEG_LAYER_III",), 2, rates=_MP3_RATES),
    ".ogg": _VORBIS,
    ".oga": _VORBIS,
    ".opus": Format("Opus", "OGG", ("OPUS",), 255, rates=_OPUS_RATES),
    ".aif": _AIFF,
    ".aiff": _AIFF,
    ".aifc": _AIFF,
    ".au": Format("AU", "AU", _SAMPLES, 1024),
    ".caf": Format("CAF", "CAF", _SAMPLES, 1024),
    ".rf64": Format("RF64", "RF64", _SAMPLES, 1024),
    ".w64": Format("Wave64", "W64", _SAMPLES, 1024),
}
# Suffixes of the files that can be written.
OUTPUT_SUFFIXES = tuple(FORMATS)


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
    form = FORMATS.get(Path(path).suffix.lower())
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
    >>> import numpy as np
    >>> from harmnmf import Audio, write_audio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/noisy.flac", Audio(np.zeros(9), 8000), subtype="PCM_16")
    ...     matching_subtype(f"{folder}/clean.wav", f"{folder}/noisy.flac")
    'PCM_16'
    """
    default = check_format(path)
    try:
        with open(source, "rb") as file:  # soundfile cannot encode all names
            subtype = soundfile.info(file).subtype
    except (OSError, soundfile.SoundFileError):  # reading tells, or it is compressed
        return default
    if subtype.endswith("_24"):
        wanted = "PCM_24"
    elif subtype.endswith(("_16", "_S8", "_U8", "LAW")):
        wanted = "PCM_16"
    else:
        return default
    return wanted if wanted in FORMATS[Path(path).suffix.lower()].subtypes else default
