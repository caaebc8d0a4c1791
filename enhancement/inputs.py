"""What enhancers take: audio, or an array and its sample rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harmnmf.errors import ParameterError
from harmnmf.signal.audio import Audio

__all__ = ["as_audio"]


def as_audio(audio: Audio | ArrayLike, sample_rate: int | None) -> Audio:
    """Make `Audio` of an array and its sample rate, and leave `Audio` as it is."""
    if isinstance(audio, Audio):
        if sample_rate is not None:
            raise ParameterError("sample_rate is for arrays: an Audio has its own")
        return audio
    if sample_rate is None:
        raise ParameterError("an array of samples needs its sample_rate")
    return Audio(np.asarray(audio), sample_rate)
