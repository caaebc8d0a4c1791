"""Audio samples and their sample rate.

Samples are float32 with full scale at ±1. Multichannel arrays have shape (n_channels, n_samples),
as in librosa and PyTorch; soundfile has channels last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

from harmnmf.errors import AudioError, ParameterError

__all__ = ["INTEGER_SCALES", "RATE_NEEDED", "SAMPLE_RATE", "Audio", "check_rate", "is_valid_rate"]

# Sample rate in Hz at which recordings are analysed and networks are trained.
SAMPLE_RATE = 16_000
_MIN_SAMPLE_RATE = 1_000
_MAX_SAMPLE_RATE = 768_000
RATE_NEEDED = f"is not a whole number from {_MIN_SAMPLE_RATE} to {_MAX_SAMPLE_RATE}"
_MAX_CHANNELS = 1024  # libsndfile's own limit
# Full scale of samples in integers.
INTEGER_SCALES = {"int16": 2**15, "int32": 2**31}


@dataclass(frozen=True, eq=False)
class Audio:
    """Audio samples and their sample rate, checked when they are created.

    Parameters
    ----------
    samples : ndarray, shape=(n_samples,) or (n_channels, n_samples)
        Finite real samples, at least one, with full scale at ±1; converted to float32.
    sample_rate : int
        Samples per second, a whole number from 1,000 to 768,000; kept as int.

    Raises
    ------
    AudioError
        If the samples or the sample rate are invalid.

    Examples
    --------
    >>> import numpy as np
    >>> audio = Audio(np.zeros((2, 44100)), sample_rate=44100)
    >>> audio.n_channels, audio.duration, audio.to_mono().samples.shape
    (2, 1.0, (44100,))
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if samples.dtype.kind != "f":
            advice = INTEGER_SCALES.get(samples.dtype.name)
            raise AudioError(
                f"samples must be real floats with full scale at ±1, not {samples.dtype}"
                + (f"; divide them by {advice}" if advice else "")
            )
        if samples.ndim not in (1, 2) or samples.size == 0:
            raise AudioError(
                "samples must have shape (n_samples,) or (n_channels, n_samples) with at least "
                f"one sample, not {samples.shape}"
            )
        if samples.ndim == 2 and samples.shape[0] > _MAX_CHANNELS:
            raise AudioError(
                f"samples of shape {samples.shape} have too many channels: "
                "transpose them to (n_channels, n_samples)"
            )
        with np.errstate(over="ignore"):  # overflow to infinity is reported below
            samples = samples.astype(np.float32, copy=False)
        if not np.isfinite(samples).all():
            raise AudioError("samples contain NaN or infinity")
        if not is_valid_rate(self.sample_rate):
            raise AudioError(f"the sample rate {self.sample_rate} Hz {RATE_NEEDED}")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.samples.shape[-1] / self.sample_rate

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return 1 if self.samples.ndim == 1 else self.samples.shape[0]

    def to_mono(self) -> Audio:
        """Average the channels: returns an `Audio` with samples of shape (n_samples,)."""
        if self.samples.ndim == 1:
            return self
        return Audio(self.samples.mean(axis=0), self.sample_rate)

    def resample(self, sample_rate: int) -> Audio:
        """Convert to another sample rate.

        Parameters
        ----------
        sample_rate : int
            New rate in Hz.

        Returns
        -------
        Audio
            Same duration, to within a sample.

        Raises
        ------
        ParameterError
            If the rate is out of range.
        AudioError
            If the audio is too short to have a sample at the new rate.
        """
        sample_rate = check_rate(sample_rate)
        if sample_rate == self.sample_rate:
            return self
        # soxr has channels last.
        samples = soxr.resample(self.samples.T, self.sample_rate, sample_rate, quality="HQ").T
        if samples.size == 0:
            raise AudioError(f"too short to be resampled to {sample_rate} Hz")
        return Audio(np.ascontiguousarray(samples), sample_rate)


def is_valid_rate(sample_rate: object) -> bool:
    """Tell whether a sample rate is a whole number in the range of recordings."""
    rate = np.asarray(sample_rate)
    return (
        rate.ndim == 0
        and rate.dtype.kind in "iuf"
        and bool(_MIN_SAMPLE_RATE <= rate <= _MAX_SAMPLE_RATE and rate == np.rint(rate))
    )


def check_rate(sample_rate: float) -> int:
    """Return a sample rate as an integer; raise ParameterError if it is not a valid one."""
    if not is_valid_rate(sample_rate):
        raise ParameterError(f"sample_rate {sample_rate} Hz {RATE_NEEDED}")
    return int(sample_rate)
