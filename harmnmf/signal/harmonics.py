"""Frequency axes of spectrograms, and the partials of notes on them.

Templates, comb filters and harmonic convolutions all locate partials with
:meth:`HarmonicSeries.positions`, so that they agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.validation import check_choice, check_integer, check_number, real_array

__all__ = [
    "PIANO_PITCHES", "FrequencyAxis", "HarmonicSeries", "piano_inharmonicity", "pitch_to_hz",
]  # fmt: skip

PIANO_PITCHES = range(21, 109)  # MIDI numbers of the 88 keys

_BIN_TOLERANCE = 1e-6  # against rounding of partials on the first or the last bin


@dataclass(frozen=True)
class FrequencyAxis:
    """Frequencies of the bins of a spectrogram, on a linear or logarithmic scale.

    Parameters
    ----------
    scale : {"linear", "logarithmic"}
        Scale on which the bins are evenly spaced.
    n_bins : int
        Number of bins, at least 1.
    fmin : float
        Frequency of bin 0 in Hz: not negative if linear, positive if logarithmic.
    resolution : float
        Bins per hertz if linear, bins per octave if logarithmic.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> axis = FrequencyAxis.logarithmic(fmin=55.0, bins_per_octave=12, n_bins=37)
    >>> axis.to_bin([55.0, 110.0, 440.0])
    array([ 0., 12., 36.])
    """

    scale: str
    n_bins: int
    fmin: float
    resolution: float

    def __post_init__(self) -> None:
        check_choice("scale", self.scale, ("linear", "logarithmic"))
        check_integer("n_bins", self.n_bins)
        check_number("fmin", self.fmin, 0, above=0 if self.scale == "logarithmic" else -np.inf)
        check_number("resolution", self.resolution, above=0)
        with np.errstate(over="ignore"):
            highest = self.to_hz(self.n_bins - 1)
        if not np.isfinite(highest):
            raise ParameterError(f"the last of {self.n_bins} bins has no finite frequency")

    @classmethod
    def linear(cls, n_fft: int, sample_rate: float) -> FrequencyAxis:
        """Axis of a short-time Fourier transform, from 0 Hz to the Nyquist frequency.

        Parameters
        ----------
        n_fft : int
            FFT length in samples, including zero padding.
        sample_rate : float
            Sampling rate in Hz.

        Returns
        -------
        FrequencyAxis
            With ``n_fft // 2 + 1`` bins.
        """
        check_integer("n_fft", n_fft)
        check_number("sample_rate", sample_rate, above=0)
        return cls("linear", n_fft // 2 + 1, 0.0, n_fft / sample_rate)

    @classmethod
    def logarithmic(cls, fmin: float, bins_per_octave: float, n_bins: int) -> FrequencyAxis:
        """Axis of a constant-Q transform: bin k lies at ``fmin * 2 ** (k / bins_per_octave)``.

        Parameters
        ----------
        fmin : float
            Frequency of bin 0 in Hz.
        bins_per_octave : float
            Number of bins per octave.
        n_bins : int
            Number of bins.
        """
        return cls("logarithmic", n_bins, fmin, bins_per_octave)

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Frequency of each bin in Hz, shape (n_bins,)."""
        return self.to_hz(np.arange(self.n_bins))

    def to_hz(self, bins: ArrayLike) -> NDArray[np.float64]:
        """Convert integer or fractional bins, also beyond the ends, to frequencies in Hz.

        Examples
        --------
        >>> float(FrequencyAxis.linear(n_fft=8, sample_rate=8000).to_hz(1.5))
        1500.0
        """
        steps = np.asarray(bins, dtype=np.float64) / self.resolution
        return self.fmin + steps if self.scale == "linear" else self.fmin * np.exp2(steps)

    def to_bin(self, hz: ArrayLike) -> NDArray[np.float64]:
        """Convert frequencies in Hz to fractional bins, also beyond the ends of the axis.

        On a logarithmic axis, frequencies that are not positive give minus infinity.
        """
        hz = np.asarray(hz, dtype=np.float64)
        if self.scale == "linear":
            return (hz - self.fmin) * self.resolution
        with np.errstate(divide="ignore"):
            return np.log2(np.maximum(hz, 0.0) / self.fmin) * self.resolution


@dataclass(frozen=True, eq=False)
class HarmonicSeries:
    """Partials of a note with the inharmonicity of a stiff string.

    Partial h of a note with fundamental f₀ lies at::

        f_h = h f₀ √(1 + B h²) / √(1 + B)

    In [1]_, f₀ is the frequency of an ideal string without stiffness, and √(1 + B) is missing.
    Here f₀ is the first partial, so that a tuned A4 lies at 440 Hz for every B.

    Parameters
    ----------
    n_partials : int
        Number of partials, including the fundamental.
    inharmonicity : array_like, default=0.0
        Inharmonicity coefficient B, not negative; broadcasts with fundamentals.

    Raises
    ------
    ParameterError
        If a value is out of range.

    References
    ----------
    .. [1] H. Fletcher, E. D. Blackham and R. Stratton, "Quality of piano tones", J. Acoust.
       Soc. Am. 34(6), 1962, pp. 749–761.

    Examples
    --------
    >>> HarmonicSeries(n_partials=4).frequencies([100.0, 220.0])
    array([[100., 200., 300., 400.],
           [220., 440., 660., 880.]])
    >>> HarmonicSeries(n_partials=3, inharmonicity=1e-3).frequencies(100.0).round(2)
    array([100. , 200.3, 301.2])
    """

    n_partials: int
    inharmonicity: ArrayLike = 0.0

    def __post_init__(self) -> None:
        check_integer("n_partials", self.n_partials)
        coefficient = real_array("inharmonicity", self.inharmonicity)
        if not (np.isfinite(coefficient) & (coefficient >= 0)).all():
            raise ParameterError("inharmonicity must be finite and not negative")
        coefficient.flags.writeable = False
        object.__setattr__(self, "inharmonicity", coefficient)

    def frequencies(self, f0: ArrayLike) -> NDArray[np.float64]:
        """Frequencies of the partials.

        Parameters
        ----------
        f0 : array_like, shape (...)
            Fundamental frequencies in Hz, not negative; broadcast with `inharmonicity`.

        Returns
        -------
        ndarray, shape (..., n_partials)
            Frequencies in Hz.

        Raises
        ------
        ParameterError
            If a fundamental is negative or NaN.
        """
        fundamental = np.asarray(f0, dtype=np.float64)[..., None]
        if not (fundamental >= 0).all():
            raise ParameterError("fundamentals must not be negative or NaN")
        h = np.arange(1, self.n_partials + 1)
        b = np.asarray(self.inharmonicity)[..., None]
        return h * fundamental * np.sqrt((1 + b * h**2) / (1 + b))

    def positions(
        self, f0: ArrayLike, axis: FrequencyAxis
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Positions of the partials on a frequency axis.

        Parameters
        ----------
        f0 : array_like, shape (...)
            As in :meth:`frequencies`.
        axis : FrequencyAxis
            Frequency axis.

        Returns
        -------
        positions : ndarray, shape (..., n_partials)
            Fractional bins, also beyond the ends of the axis.
        valid : ndarray of bool, shape (..., n_partials)
            Whether a partial lies between the first and the last bin. Rounding errors of 1e-6 bins
            are tolerated, so clip positions before indexing with them.

        Examples
        --------
        >>> axis = FrequencyAxis.linear(n_fft=8, sample_rate=8000)
        >>> HarmonicSeries(n_partials=3).positions(1500.0, axis)
        (array([1.5, 3. , 4.5]), array([ True,  True, False]))
        """
        positions = axis.to_bin(self.frequencies(f0))
        last = axis.n_bins - 1
        return positions, (positions >= -_BIN_TOLERANCE) & (positions <= last + _BIN_TOLERANCE)


def pitch_to_hz(pitch: ArrayLike, tuning: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Convert MIDI numbers to frequencies in Hz, in equal temperament.

    `pitch` may be fractional; `tuning` is the deviation from A4 = 440 Hz in semitones. They
    broadcast.

    Examples
    --------
    >>> pitch_to_hz([57, 69, 81])
    array([220., 440., 880.])
    """
    semitones = np.asarray(pitch, dtype=np.float64) - 69 + np.asarray(tuning, dtype=np.float64)
    return 440.0 * np.exp2(semitones / 12)


def piano_inharmonicity(pitch: ArrayLike) -> NDArray[np.float64]:
    """Inharmonicity coefficients B of a typical grand piano at MIDI numbers.

    The two terms model the treble and the bass bridge [1]_::

        B(m) = exp(0.0926 m − 13.64) + exp(−0.0847 m − 5.82)

    References
    ----------
    .. [1] F. Rigaud, B. David and L. Daudet, "A parametric model and estimation techniques for
       the inharmonicity and tuning of the piano", J. Acoust. Soc. Am. 133(5), 2013,
       pp. 3107–3118.
    """
    m = np.asarray(pitch, dtype=np.float64)
    return np.exp(0.0926 * m - 13.64) + np.exp(-0.0847 * m - 5.82)
