"""What a live transcription knows of a piano before it is played."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LiveCalibration"]


@dataclass(frozen=True, eq=False)
class LiveCalibration:
    """Tuning, response and level of a piano in its room, as its microphone records it.

    Parameters
    ----------
    tuning : float
        Semitones by which the piano is sharper than A4 = 440 Hz.
    level : float
        Magnitude of its loud parts.
    response : ndarray, shape (n_bands,)
        Gains of the bands of :func:`harmnmf.nmf.solvers.convolutive.room_bands`.
    """

    tuning: float
    level: float
    response: NDArray[np.float32]
