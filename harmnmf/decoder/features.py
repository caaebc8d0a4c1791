"""What the learned decoder reads: levels of a recording's spectra and of its activations.

Levels are relative to the recording's own loud parts, so that its gain does not matter, and kept
in steps of a third of a decibel: a byte each, which is all that training sets need of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.convolutive import NoteActivations
from harmnmf.signal.spectrogram import LogFrequency

__all__ = ["ONSET_FRONT_END", "NoteFeatures", "reference_level"]

# The windows of the dictionary's front end tell keys apart, and blur onsets; these do not.
ONSET_FRONT_END = LogFrequency(n_cycles=25.0, min_window=0.03, max_window=0.12)
# Decibels relative to the reference that level 0 stands for, and steps in a decibel.
_FLOOR = -60.0
_STEPS = 3
# Of 20 dB, which is what a network gets as 1.
_UNIT = 20.0 * _STEPS
# The loud parts: this quantile of the loudest row of each frame. Frames 40 dB below another
# quantile do not count, or a long silence would make everything loud.
_LOUD = 0.99
_LOUD_OF_ALL = 0.995
_HEARD = 0.01
# A recording whose loud parts are below this (a full-scale sinusoid is at 0 dB) is silent.
_SILENCE = -70.0


@dataclass(frozen=True, eq=False)
class NoteFeatures:
    """Levels of a recording, or of a part of one, in thirds of a decibel above -60 dB.

    Parameters
    ----------
    spectrum : ndarray of uint8, shape (n_bins, n_frames)
        Of the spectrogram that is factorised.
    onset_spectrum : ndarray of uint8, shape (n_bins, n_frames)
        Of the same bins through shorter windows, by `ONSET_FRONT_END`.
    activations : ndarray of uint8, shape (n_pitches, n_rows, n_frames)
        Of each key's attack and of each of its other timbres.

    Raises
    ------
    ParameterError
        If the shapes disagree, or the levels are no bytes.

    Examples
    --------
    >>> silence = np.zeros((390, 50), np.uint8)
    >>> features = NoteFeatures(silence, silence, np.zeros((88, 3, 50), np.uint8))
    >>> features.n_frames, features[10:30].n_frames
    (50, 20)
    """

    spectrum: NDArray[np.uint8]
    onset_spectrum: NDArray[np.uint8]
    activations: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shapes = [np.shape(array) for array in self.arrays.values()]
        if [len(shape) for shape in shapes] != [2, 2, 3] or shapes[0] != shapes[1]:
            raise ParameterError(f"two spectra and activations do not have shapes {shapes}")
        if shapes[2][2] != self.n_frames:
            raise ParameterError("the spectra and the activations have different frames")
        if any(array.dtype != np.uint8 for array in self.arrays.values()):
            raise ParameterError("levels must be bytes (uint8)")

    @property
    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """The arrays by their names."""
        return {
            "spectrum": self.spectrum,
            "onset_spectrum": self.onset_spectrum,
            "activations": self.activations,
        }

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.spectrum.shape[1]

    def __getitem__(self, frames: slice) -> NoteFeatures:
        """Take consecutive frames."""
        return NoteFeatures(*(array[..., frames] for array in self.arrays.values()))

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Levels as numbers for a network: 0 for the floor, 1 for every 20 dB above it.

        Returns
        -------
        tuple of Tensor
            The three arrays, float32.
        """
        spectrum, onset_spectrum, activations = (
            torch.from_numpy(array).float() / _UNIT for array in self.arrays.values()
        )
        return spectrum, onset_spectrum, activations

    @classmethod
    def measure(
        cls,
        V: NDArray[np.float32],
        onset_V: NDArray[np.float32],
        played: NoteActivations,
        reference: float,
    ) -> NoteFeatures:
        """Measure the levels of spectra and activations.

        Parameters
        ----------
        V, onset_V : ndarray, shape (n_bins, n_frames)
            Magnitudes, of the dictionary's front end and of `ONSET_FRONT_END`.
        played : NoteActivations
            What the solver made of V.
        reference : float
            :func:`reference_level` of the recording.

        Returns
        -------
        NoteFeatures
            The levels.
        """
        activations = torch.cat([played.A[:, None], played.S], dim=1).cpu().numpy()
        return cls(*(_levels(x, reference) for x in (V, onset_V, activations)))


def reference_level(V: NDArray[np.float32]) -> float:
    """Measure how strong the loud parts of a recording are.

    Parameters
    ----------
    V : ndarray, shape (n_rows, n_frames)
        Magnitudes of the recording's bins, or of its keys.

    Returns
    -------
    float
        A magnitude.

    Examples
    --------
    >>> V = np.zeros((390, 500), np.float32)
    >>> V[200, 100:] = 0.5
    >>> reference_level(V)
    0.5
    """
    loudest = V.max(axis=0, initial=0.0)
    if loudest.size:
        loudest = loudest[loudest > _HEARD * np.quantile(loudest, _LOUD_OF_ALL)]
    loud = float(np.quantile(loudest, _LOUD)) if loudest.size else 0.0
    return max(loud, 10 ** (_SILENCE / 20))


def _levels(x: NDArray[np.float32], reference: float) -> NDArray[np.uint8]:
    decibels = 20 * np.log10(np.maximum(x, reference * 10 ** (_FLOOR / 20)) / reference)
    return np.clip(np.round((decibels - _FLOOR) * _STEPS), 0, 255).astype(np.uint8)
