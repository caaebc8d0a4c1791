"""Narrow-band harmonic templates, from which harmonic NMF builds the spectra of notes.

The spectrum of a pitch is a weighted sum of fixed templates, each with a few neighbouring
partials: W = PE in every column. The weights are learned, and P is zero between partials [1]_ [2]_.

References
----------
.. [1] E. Vincent, N. Bertin and R. Badeau, "Harmonic and inharmonic nonnegative matrix
   factorization for polyphonic pitch transcription", ICASSP 2008, pp. 109–112.
.. [2] E. Vincent, N. Bertin and R. Badeau, "Adaptive harmonic spectral decomposition for
   multiple pitch estimation", IEEE Trans. Audio, Speech, Lang. Process. 18(3), 2010, pp. 528–537.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.signal.harmonics import (
    PIANO_PITCHES,
    FrequencyAxis,
    HarmonicSeries,
    piano_inharmonicity,
    pitch_to_hz,
)
from harmnmf.validation import check_integer, check_number, real_array

__all__ = ["erb_number", "harmonic_templates", "initial_weights", "main_lobe"]

_SPACING_ERB = 22 / 6
# (1 + (κr)²)^−4 has the area of a rectangle of height and width 1.
_KAPPA = math.sqrt(math.pi) * math.gamma(3.5) / math.gamma(4)


def harmonic_templates(
    axis: FrequencyAxis,
    pitches: ArrayLike = PIANO_PITCHES,
    *,
    window_durations: ArrayLike,
    n_templates: int = 6,
    n_partials: int | None = None,
    inharmonicity: ArrayLike | None = None,
    tuning: ArrayLike = 0.0,
    spacing_erb: float = _SPACING_ERB,
    width_erb: float = 2 * _SPACING_ERB,
) -> NDArray[np.float64]:
    """Build the narrow-band harmonic templates of Vincent, Bertin and Badeau [1]_.

    In template m of a pitch each partial f_h is the main lobe of the analysis window, weighted by
    a gammatone around the template's centre c_m::

        P_fkm = Σ_h G((erb(f_h) − erb(c_m)) / width_erb) L((f − f_h) T_f)
        erb(c_m) = erb(f₀) + m · spacing_erb,   m = 0 … n_templates − 1
        G(r) = (1 + (κr)²)^−4,   κ = √π Γ(3.5) / Γ(4)

    where erb is :func:`erb_number`, G the power response of a gammatone filter of order 4 with an
    equivalent rectangular bandwidth of 1, T_f the duration of the Hann window that analyses bin f,
    and L the magnitude of the transform of that window, 1 at 0 and zero outside −2 < x < 2.

    Parameters
    ----------
    axis : FrequencyAxis
        Frequencies of the bins.
    pitches : array_like, shape (n_pitches,), default=range(21, 109)
        MIDI numbers, whole or fractional; by default the keys of a piano.
    window_durations : array_like, scalar or shape (n_bins,)
        Duration in seconds of the Hann window of each bin.
    n_templates : int, default=6
        Number of templates per pitch.
    n_partials : int, optional
        Number of partials per pitch; by default all that lie on the axis.
    inharmonicity : array_like, scalar or shape (n_pitches,), optional
        Coefficients B of :class:`HarmonicSeries`; by default
        :func:`~harmnmf.signal.harmonics.piano_inharmonicity`.
    tuning : array_like, scalar or shape (n_pitches,), default=0.0
        Deviation from A4 = 440 Hz in semitones.
    spacing_erb, width_erb : float, default=22/6 and 44/6
        Distance between the centres of templates and their width, on the ERB scale.

    Returns
    -------
    ndarray, shape (n_bins, n_pitches, n_templates)
        P: magnitudes, 1 for a partial at the centre of its template. Partials outside the axis
        are left out. A template centred above the last bin is all zeros.

    Raises
    ------
    ParameterError
        If a parameter is outside its domain or has another shape.

    References
    ----------
    .. [1] E. Vincent, N. Bertin and R. Badeau, "Adaptive harmonic spectral decomposition for
       multiple pitch estimation", IEEE Trans. Audio, Speech, Lang. Process. 18(3), 2010,
       pp. 528–537.

    Examples
    --------
    >>> axis = FrequencyAxis.linear(n_fft=2048, sample_rate=22050)
    >>> P = harmonic_templates(axis, [69], window_durations=2048 / 22050, inharmonicity=0)
    >>> P.shape
    (1025, 1, 6)
    >>> peaks = P[:, 0].argmax(axis=0)  # the partial nearest to the centre of each template
    >>> (axis.frequencies[peaks] / 440).round(1)
    array([ 1.,  2.,  3.,  5.,  7., 10.])
    """
    f0 = _fundamentals(pitches, tuning)
    b = piano_inharmonicity(pitches) if inharmonicity is None else inharmonicity
    duration = real_array("window_durations", window_durations)
    is_positive = (np.isfinite(duration) & (duration > 0)).all()
    if duration.shape not in ((), (axis.n_bins,)) or not is_positive:
        raise ParameterError(
            f"window_durations must be positive, one for all or one for each of {axis.n_bins} bins"
        )
    duration = np.broadcast_to(duration, axis.n_bins)[:, None]
    centres = _centres(f0, n_templates, spacing_erb)
    check_number("width_erb", width_erb, above=0)

    frequencies = axis.frequencies
    top = frequencies[-1]
    if n_partials is None:
        # Inharmonicity only raises partials, so that no more than this lie below the last bin.
        n_partials = max(1, math.ceil(top / f0.min()))
    series = HarmonicSeries(n_partials, _for_each_pitch("inharmonicity", b, len(f0)))
    partials = series.frequencies(f0)
    _, valid = series.positions(f0, axis)
    templates = np.zeros((axis.n_bins, len(f0), n_templates))
    for k in range(len(f0)):
        f_h = partials[k, valid[k]]
        r = (erb_number(f_h)[:, None] - centres[k]) / width_erb
        gammatone = (1 + (_KAPPA * r) ** 2) ** -4.0
        templates[:, k] = main_lobe((frequencies[:, None] - f_h) * duration) @ gammatone
    return templates * (centres <= erb_number(top))


def initial_weights(
    pitches: ArrayLike = PIANO_PITCHES,
    *,
    n_templates: int = 6,
    tuning: ArrayLike = 0.0,
    spacing_erb: float = _SPACING_ERB,
) -> NDArray[np.float64]:
    """Return initial weights of the templates, −6 dB per octave above the fundamental.

    Parameters
    ----------
    pitches, n_templates, tuning, spacing_erb
        As in :func:`harmonic_templates`.

    Returns
    -------
    ndarray, shape (n_templates, n_pitches)
        E, f₀ / c_m for the template with centre c_m, also for templates that are all zeros.

    Examples
    --------
    >>> initial_weights([45, 69], n_templates=3).round(3)
    array([[1.   , 1.   ],
           [0.401, 0.575],
           [0.212, 0.353]])
    """
    f0 = _fundamentals(pitches, tuning)
    centres = (np.exp(_centres(f0, n_templates, spacing_erb) / 9.26) - 1) / 0.00437
    return f0 / centres.T


def erb_number(hz: ArrayLike) -> NDArray[np.float64]:
    """Convert frequencies in Hz to the ERB scale, 9.26 ln(0.00437 f + 1).

    This is the scale of B. R. Glasberg and B. C. J. Moore, "Derivation of auditory filter shapes
    from notched-noise data", Hearing Research 47, 1990, pp. 103–138.

    Examples
    --------
    >>> erb_number([0.0, 440.0, 11025.0]).round(2)
    array([ 0.  ,  9.93, 36.07])
    """
    return 9.26 * np.log1p(0.00437 * np.asarray(hz, dtype=np.float64))


def main_lobe(x: ArrayLike) -> NDArray[np.float64]:
    """Transform of a Hann window of duration 1 at frequencies x; zero outside its main lobe.

    The sum of three sinc functions is sinc(x) / (1 − x²) without the singularities at ±1.

    Examples
    --------
    >>> main_lobe([-1.0, 0.0, 1.5, 2.0]).round(3)
    array([0.5 , 1.  , 0.17, 0.  ])
    """
    x = np.asarray(x, dtype=np.float64)
    lobe = np.zeros_like(x)
    inside = np.abs(x) < 2
    y = x[inside]
    lobe[inside] = np.abs(np.sinc(y) + (np.sinc(y - 1) + np.sinc(y + 1)) / 2)
    return lobe


def _centres(f0: NDArray[np.float64], n_templates: int, spacing_erb: float) -> NDArray[np.float64]:
    """Centres of the templates on the ERB scale, shape (n_pitches, n_templates)."""
    check_integer("n_templates", n_templates)
    check_number("spacing_erb", spacing_erb, above=0)
    return erb_number(f0)[:, None] + spacing_erb * np.arange(n_templates)


def _fundamentals(pitches: ArrayLike, tuning: ArrayLike) -> NDArray[np.float64]:
    pitch = real_array("pitches", pitches)
    if pitch.ndim != 1 or pitch.size == 0 or not ((pitch >= 0) & (pitch <= 127)).all():
        raise ParameterError("pitches must be a list of MIDI numbers from 0 to 127")
    return pitch_to_hz(pitch, _for_each_pitch("tuning", tuning, pitch.size))


def _for_each_pitch(name: str, values: ArrayLike, n_pitches: int) -> NDArray[np.float64]:
    array = real_array(name, values)
    if array.shape not in ((), (n_pitches,)) or not np.isfinite(array).all():
        raise ParameterError(
            f"{name} must be finite, one for all or one for each of {n_pitches} pitches"
        )
    return array
