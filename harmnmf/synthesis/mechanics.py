"""Noises of a piano's mechanics: dampers that fall on strings, and the pedal that moves them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, oaconvolve, sosfilt

from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import SAMPLE_RATE

__all__ = ["mechanical_noise"]

# Ranges for keys and for the pedal: peak level of the loudest noise in dBFS, time constant of its
# decay in seconds, upper limit of its band in Hz.
_KEY_DB, _PEDAL_DB = (-75.0, -45.0), (-75.0, -40.0)
_KEY_DECAY, _PEDAL_DECAY = (0.01, 0.05), (0.05, 0.2)
_KEY_HZ, _PEDAL_HZ = (200.0, 2000.0), (100.0, 800.0)
_LOWEST_HZ = 40.0
_STRENGTH = (0.3, 1.0)  # of one noise relative to the loudest


def mechanical_noise(
    notes: NoteList, n_samples: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw the noises of keys that are released and of the sustain pedal when it moves.

    Parameters
    ----------
    notes : NoteList
        Notes with key offsets, and the pedal.
    n_samples : int
        Number of samples at 16 kHz; later noises are left out.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    ndarray, shape (n_samples,)
        The noises alone, to be added to what :class:`harmnmf.SampledPiano` renders: the peak of a
        key's noise is at most -45 dBFS, that of the pedal's -40 dBFS.

    Examples
    --------
    >>> notes = NoteList([0.1], [0.5], [60], [80])
    >>> noise = mechanical_noise(notes, 16000, np.random.default_rng(0))
    >>> round(float(np.abs(noise).argmax()) / 16000, 1)
    0.5
    """
    keys = _bursts(notes.offset, _KEY_DB, _KEY_DECAY, _KEY_HZ, n_samples, rng)
    return keys + _bursts(notes.pedal.ravel(), _PEDAL_DB, _PEDAL_DECAY, _PEDAL_HZ, n_samples, rng)


def _bursts(
    times: ArrayLike,
    level_db: tuple[float, float],
    decay: tuple[float, float],
    hz: tuple[float, float],
    n_samples: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Bursts of noise at times in seconds: one random sound, with a strength for each."""
    seconds = rng.uniform(*decay)
    burst = rng.standard_normal(round(5 * seconds * SAMPLE_RATE))
    band = (_LOWEST_HZ, rng.uniform(*hz))
    burst = sosfilt(butter(2, band, "bandpass", fs=SAMPLE_RATE, output="sos"), burst)
    burst *= np.exp(-np.arange(len(burst)) / (seconds * SAMPLE_RATE))
    burst *= 10 ** (rng.uniform(*level_db) / 20) / np.abs(burst).max()
    frames = np.rint(np.asarray(times) * SAMPLE_RATE).astype(int)
    strength = rng.uniform(*_STRENGTH, len(frames))
    impulses = np.zeros(n_samples)
    inside = frames < n_samples
    np.add.at(impulses, frames[inside], strength[inside])
    return np.asarray(oaconvolve(impulses, burst)[:n_samples], np.float32)
