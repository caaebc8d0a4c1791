"""Fades and decays of sounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.signal.audio import SAMPLE_RATE

__all__ = ["FADE_IN", "decay", "fade"]

FADE_IN, _FADE_OUT = SAMPLE_RATE // 500, SAMPLE_RATE // 4  # samples


def fade(samples: NDArray[np.float32], *, n_in: int = FADE_IN) -> NDArray[np.float32]:
    """Fade both ends of a sound to avoid clicks: `n_in` samples at first, 0.25 s at last.

    Examples
    --------
    >>> fade(np.ones(9000, np.float32), n_in=4)[:5]
    array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    faded = samples.copy()
    n_in, n_out = min(n_in, len(samples)), min(_FADE_OUT, len(samples))
    faded[:n_in] *= np.linspace(0, 1, n_in, endpoint=False, dtype=np.float32)
    faded[len(faded) - n_out :] *= np.linspace(1, 0, n_out, dtype=np.float32)
    return faded


def decay(n_samples: int, n_damping: float) -> NDArray[np.float32]:
    """Return gains of an exponential decay by 30 dB every `n_damping` samples.

    Examples
    --------
    >>> decay(3, 1.5).round(3)
    array([1.  , 0.1 , 0.01], dtype=float32)
    """
    samples = np.arange(n_samples, dtype=np.float32)
    return np.exp(samples * np.float32(-1.5 * np.log(10.0) / n_damping))
