"""What enhancers take: audio, or an array and its sample rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harmnmf.errors import ParameterError
from harmnmf.signal.audio import Audio

__all__ = ["as_audio"]


def as_audio(audio: Audio | ArrayLike, sample_rate: int | None) -> Audio:
    """Make audio of an array, and leave audio as it is.

    Parameters
    ----------
    audio : Audio or array_like, shape (n_samples,) or (n_channels, n_samples)
        A recording; samples are real and finite, with full scale at ±1.
    sample_rate : int or None
        Sample rate of an array in Hz; None for `Audio`, which has its own.

    Returns
    -------
    Audio
        The recording.

    Raises
    ------
    ParameterError
        If an array has no sample rate, or `Audio` has a second one.
    AudioError
        If the samples or the rate are invalid.

    Examples
    --------
    >>> as_audio([0.0, 0.5], 8000).duration
    0.00025
    """
    if isinstance(audio, Audio):
        if sample_rate is not None:
            raise ParameterError("sample_rate is for arrays: an Audio has its own")
        return audio
    if sample_rate is None:
        raise ParameterError("an array of samples needs its sample_rate")
    return Audio(np.asarray(audio), sample_rate)
