"""Common interface of all enhancers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.signal.audio import Audio

__all__ = ["AudioEnhancer", "find_offset"]

_OFFSET_RATIO = 0.1  # of a constant offset to the standard deviation
_OFFSET_DURATION = 0.1  # seconds


def find_offset(samples: NDArray[np.float32], sample_rate: int) -> np.float32:
    """Estimate the constant offset (DC) of a channel, (n_samples,); 0 if there is none.

    It would leak into all bins of a spectrum. The mean of a sound without an offset, and of one
    below 0.1 s, is not 0 either, and is kept.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0.2, 0.1, 8000).astype(np.float32)
    >>> round(float(find_offset(noise, 8000)), 2), float(find_offset(noise - 0.2, 8000))
    (0.2, 0.0)
    """
    mean = samples.mean(dtype=np.float64)
    is_long = len(samples) >= _OFFSET_DURATION * sample_rate
    is_offset = is_long and abs(mean) > _OFFSET_RATIO * samples.std(dtype=np.float64)
    return np.float32(mean if is_offset else 0.0)


class AudioEnhancer(ABC):
    """Base class of enhancers: a call takes `Audio` or an array, and returns the same type."""

    @abstractmethod
    def enhance(self, audio: Audio) -> Audio:
        """Enhance a recording, each channel separately."""

    @overload
    def __call__(self, audio: Audio) -> Audio: ...

    @overload
    def __call__(self, audio: ArrayLike, sample_rate: int) -> NDArray[np.float32]: ...

    def __call__(
        self, audio: Audio | ArrayLike, sample_rate: int | None = None
    ) -> Audio | NDArray[np.float32]:
        """Enhance a recording, each channel separately.

        Parameters
        ----------
        audio : Audio or array_like, shape (n_samples,) or (n_channels, n_samples)
            Noisy recording; samples are real and finite, with full scale at ±1.
        sample_rate : int, optional
            Sample rate of an array in Hz.

        Returns
        -------
        Audio or ndarray
            Enhanced recording of the type, shape and rate of the input.

        Raises
        ------
        AudioError
            If the samples or the rate are invalid.
        ParameterError
            If an array has no sample rate, or `Audio` has a second one.

        Warns
        -----
        UserWarning
            If the samples look like integers, with peaks far above 1.
        """
        if isinstance(audio, Audio):
            if sample_rate is not None:
                raise ParameterError("sample_rate is for arrays: an Audio has its own")
            return self.enhance(audio)
        if sample_rate is None:
            raise ParameterError("an array of samples needs its sample_rate")
        return self.enhance(Audio(np.asarray(audio), sample_rate)).samples
