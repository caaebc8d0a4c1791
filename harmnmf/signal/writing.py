"""Write audio files; a failure leaves no partial file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

import numpy as np

from harmnmf.errors import AudioError
from harmnmf.storage.files import atomic_folder, atomic_path

from .audio import Audio
from .encoding import NewFile, write_files
from .formats import check_format

__all__ = ["write_audio", "write_blocks", "write_parts", "write_sounds"]

_FILE_SCALED = "the whole file was scaled by {:.3g}; a WAV file of floats keeps its level"
_ALL_SCALED = "all files were scaled by {:.3g}; WAV files of floats keep their level"


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
        files = [NewFile(temporary, Path(path))]
        peak = write_files(files, ([block] for block in blocks), sample_rate, subtype, n_samples)
    return _warn_of_gain(path, peak, _FILE_SCALED)


def write_parts(
    folder: str | os.PathLike[str],
    blocks: Iterable[Mapping[str, np.ndarray]],
    sample_rate: int,
    *,
    suffix: str = ".wav",
    subtype: str | None = None,
    n_samples: int | None = None,
) -> float:
    """Write several parts of a recording to files in a folder, all in step, block by block.

    The files appear together at the end, and a failure leaves none. Memory does not grow with their
    length; as in `write_blocks`, temporary files hold the blocks unless the files hold floats. All
    parts are scaled alike, so that they still add up.

    Parameters
    ----------
    folder : str or os.PathLike
        Folder to write. In one that exists, files of the same names are replaced.
    blocks : iterable of mapping of str to ndarray, shape=(n_samples,) or (n_channels, n_samples)
        Consecutive blocks of all parts by name; each block has the same parts, of one shape.
    sample_rate : int
        Samples per second.
    suffix : str, default=".wav"
        Suffix of all files, after the names of the parts.
    subtype, n_samples : optional
        As in `write_blocks`.

    Returns
    -------
    float
        Factor by which all samples were scaled: 1, or less if some exceeded full scale.

    Raises
    ------
    AudioError, HarmnmfError
        As in `write_blocks`.

    Warns
    -----
    UserWarning
        If the samples were scaled.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     blocks = [{"left": np.zeros(9), "right": np.ones(9)}] * 2
    ...     gain = write_parts(f"{folder}/parts", blocks, 8000)
    ...     sorted(os.listdir(f"{folder}/parts"))
    ['left.wav', 'right.wav']
    """
    subtype = check_format(f"{folder}{suffix}", subtype=subtype)
    blocks = iter(blocks)
    first = next(blocks, {})
    if not first:
        raise AudioError(f"{folder}: there are no samples to write")
    with atomic_folder(folder) as temporary:
        files = [
            NewFile(temporary / name, Path(folder, name))
            for name in (f"{part}{suffix}" for part in first)
        ]
        in_step = ([block[part] for part in first] for block in chain([first], blocks))
        peak = write_files(files, in_step, sample_rate, subtype, n_samples)
    return _warn_of_gain(folder, peak, _ALL_SCALED)


def write_sounds(
    folder: str | os.PathLike[str],
    sounds: Iterable[tuple[str, Audio]],
    *,
    suffix: str = ".wav",
    subtype: str | None = None,
) -> int:
    """Write sounds to files in a folder, one after another.

    The files appear together at the end, and a failure leaves none.

    Parameters
    ----------
    folder : str or os.PathLike
        Folder to write. In one that exists, files of the same names are replaced.
    sounds : iterable of tuple of str and Audio
        Name, without suffix, and samples of each.
    suffix : str, default=".wav"
        Suffix of all files.
    subtype : {"FLOAT", "PCM_16", "PCM_24", "PCM_32"}, optional
        As in `write_audio`.

    Returns
    -------
    int
        Number of files.

    Raises
    ------
    AudioError, HarmnmfError
        As in `write_audio`.

    Warns
    -----
    UserWarning
        If the samples of a file were scaled, as in `write_audio`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sounds(f"{folder}/notes", [("C4", Audio(np.zeros(9), 8000))], suffix=".flac")
    1
    """
    subtype = check_format(f"{folder}{suffix}", subtype=subtype)
    n_written = 0
    with atomic_folder(folder) as temporary:
        for name, audio in sounds:
            file = NewFile(temporary / f"{name}{suffix}", Path(folder, f"{name}{suffix}"))
            n_samples = audio.samples.shape[-1]
            peak = write_files([file], [[audio.samples]], audio.sample_rate, subtype, n_samples)
            _warn_of_gain(file.target, peak, _FILE_SCALED)
            n_written += 1
    return n_written


def _warn_of_gain(path: str | os.PathLike[str], peak: float, message: str) -> float:
    """Return the factor by which samples were scaled for their peak, and warn of it if not 1."""
    gain = 1 / peak
    if gain < 1:
        level = f"peaks of {20 * np.log10(peak):+.1f} dB over full scale"
        warnings.warn(f"{path}: {level}: {message.format(gain)}", stacklevel=3)
    return gain
