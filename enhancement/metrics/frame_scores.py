"""Frame-based scores of enhanced speech: segmental SNR, LLR and WSS.

Conventions
-----------
*Signals* have shape (n_samples,), equal lengths and are aligned; integers or floats. Scores do not
depend on a common gain. Signals without a score, such as silence, are errors: no score is NaN.

*Errors*: ParameterError if signals or sample rates are invalid, or signals shorter than 37.5 ms.

*Frames* are those of the reference implementation by Pellom, Hansen, Hu and Loizou, which most
published values come from: 30 ms, 75 % overlap, Hann windows without the zeros at their ends, and
without the last whole frame. Frames in which both signals are all zeros are left out, so that
padding has no effect; the reference implementation scores them -10 dB, 0 and 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError

__all__ = ["log_likelihood_ratio", "segmental_snr", "weighted_spectral_slope"]

_Array = NDArray[np.float64]

_FRAME_SECONDS = 0.03
_KEPT = 0.95

# Energy far below that of any recording with a peak of 1, to avoid divisions by zero.
_TINY = 1e-30

# White noise at -100 dB, without which the predictor of a pure tone would be singular.
_WHITE = 1e-10

# Critical bands of Quackenbush et al. for telephone speech, in Hz. Each bandwidth is also the
# distance to the next centre.
_FIRST_CENTRE = 50.0
_BANDWIDTHS = np.array(
    [70.0] * 7
    + [77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823, 168.154]
    + [183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136]
)
_LOWEST_ENERGY = 1e-10


def segmental_snr(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Compute the segmental signal-to-noise ratio, with frames clamped to -10…35 dB.

    Parameters
    ----------
    reference, estimate : array_like, shape (n_samples,)
        Clean speech and enhanced speech.
    sample_rate : int
        Sample rate in Hz, at least 8000.

    Returns
    -------
    float
        Segmental SNR in dB [1]_. The noise is the difference of the signals, so that a gain of the
        estimate counts as noise. Pauses that are not all zeros count as much as speech.

    Raises
    ------
    ParameterError
        If the signals or the sample rate are invalid.

    References
    ----------
    .. [1] J. H. L. Hansen and B. L. Pellom, "An effective quality evaluation protocol for speech
       enhancement algorithms", ICSLP 1998, pp. 2819–2822.

    Examples
    --------
    >>> speech = np.sin(np.arange(16000) ** 1.2)
    >>> round(segmental_snr(speech, 1.1 * speech, 16000), 6)
    20.0
    """
    ref, est = _frames(reference, estimate, sample_rate)
    signal, noise = (ref**2).sum(axis=1), ((ref - est) ** 2).sum(axis=1)
    ratio = 10 * np.log10((signal + _TINY) / (noise + _TINY))
    return float(ratio.clip(-10, 35).mean())


def log_likelihood_ratio(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Compute the log-likelihood ratio (LLR) of linear predictors.

    Parameters
    ----------
    reference, estimate, sample_rate
        As in :func:`segmental_snr`.

    Returns
    -------
    float
        Mean of ln(aₑᵀRaₑ / aᵀRa) over the lowest 95 % of the frames [1]_; 0 is best. R is the
        autocorrelation matrix of a frame of the reference, a its prediction error filter and aₑ
        that of the estimate, of order 16, or 10 below 10 kHz. White noise at -100 dB is added to
        each frame. As in the authors' implementation, but not in [1]_, frames are not limited to 2.

    Raises
    ------
    ParameterError
        If the signals or the sample rate are invalid.

    References
    ----------
    .. [1] Y. Hu and P. C. Loizou, "Evaluation of objective quality measures for speech
       enhancement", IEEE Trans. Audio, Speech, Lang. Process. 16(1), 2008, pp. 229–238.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> log_likelihood_ratio(noise, noise, 16000)
    0.0
    >>> round(log_likelihood_ratio(noise, np.convolve(noise, [1, 0.5], "same"), 16000), 1)
    0.3
    """
    ref, est = _frames(reference, estimate, sample_rate)
    order = 16 if sample_rate >= 10_000 else 10
    R, R_est = _autocorrelation(ref, order), _autocorrelation(est, order)
    # A sum of squares stays positive, even for the tiny residual of a tone.
    root = np.linalg.cholesky(R)
    best, other = (((_error_filter(r) @ root) ** 2).sum(axis=(1, 2)) for r in (R, R_est))
    return _mean_of_lowest(np.log(other / best))


def weighted_spectral_slope(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Compute Klatt's weighted spectral slope distance (WSS) in 25 critical bands up to 3.6 kHz.

    Parameters
    ----------
    reference, estimate, sample_rate
        As in :func:`segmental_snr`.

    Returns
    -------
    float
        Mean of Σ w (Δ - Δₑ)² / Σ w over the lowest 95 % of the frames, in dB²; 0 is best. Δ is the
        difference of the levels of neighbouring bands. The weights w decrease with the level below
        the highest band (constant 20) and below the nearest peak (constant 1) [1]_; as in the
        reference implementation, the nearest peak of a rise is its last band but one. Levels are at
        least -100 dB relative to the peak of the reference.

    Raises
    ------
    ParameterError
        If the signals or the sample rate are invalid.

    References
    ----------
    .. [1] D. H. Klatt, "Prediction of perceived phonetic distance from critical-band spectra: a
       first step", ICASSP 1982, pp. 1278–1281.
    .. [2] S. R. Quackenbush, T. P. Barnwell and M. A. Clements, "Objective measures of speech
       quality", Prentice Hall, 1988, section 2.2.9.

    Examples
    --------
    >>> speech, noise = np.random.default_rng(0).normal(size=(2, 16000))
    >>> weighted_spectral_slope(speech, speech, 16000)
    0.0
    >>> round(weighted_spectral_slope(speech, speech + noise, 16000))
    21
    """
    frames = _frames(reference, estimate, sample_rate)
    n_fft = 2 ** int(np.ceil(np.log2(2 * frames[0].shape[1])))
    bands = _critical_bands(n_fft // 2, sample_rate)
    slopes, weights = [], []
    for side in frames:
        power = np.abs(np.fft.rfft(side, n_fft)[:, :-1]) ** 2
        level = 10 * np.log10(np.maximum(power @ bands.T, _LOWEST_ENERGY))
        slope = np.diff(level)
        below_highest = level.max(axis=1, keepdims=True) - level[:, :-1]
        below_peak = _nearest_peaks(level, slope) - level[:, :-1]
        slopes.append(slope)
        weights.append(20 / (20 + below_highest) / (1 + below_peak))
    weight = weights[0] + weights[1]
    distance = (weight * (slopes[0] - slopes[1]) ** 2).sum(axis=1) / weight.sum(axis=1)
    return _mean_of_lowest(distance)


def check_signals(
    reference: ArrayLike, estimate: ArrayLike, called: str = "estimate"
) -> tuple[_Array, _Array]:
    """Raise ParameterError if signals have no score, or scale both to a reference peak of 1."""
    signals = []
    for name, given in (("reference", reference), (called, estimate)):
        samples = np.asarray(given)
        if samples.ndim != 1 or samples.dtype.kind not in "fi":
            raise ParameterError(
                f"the {name} must be real samples of shape (n_samples,), "
                f"not {samples.dtype} of shape {samples.shape}"
            )
        if not np.isfinite(samples).all():
            raise ParameterError(f"the {name} has samples that are NaN or infinite")
        if not samples.any():
            raise ParameterError(f"the {name} is silent and has no score")
        signals.append(samples.astype(np.float64))
    ref, est = signals
    if len(ref) != len(est):
        raise ParameterError(
            f"reference and {called} must have equal lengths, not {len(ref)} and {len(est)} samples"
        )
    peak = np.abs(ref).max()
    return ref / peak, est / peak


def check_rate(sample_rate: int) -> None:
    """Raise ParameterError if the scores are not defined at a sample rate."""
    if not (sample_rate >= 8000 and sample_rate % 1 == 0):
        raise ParameterError(
            f"sample_rate must be an integer of at least 8000 Hz, not {sample_rate}"
        )


def _frames(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> tuple[_Array, _Array]:
    """Windowed frames, shape (n_frames, n_samples), without the last and the silent ones."""
    check_rate(sample_rate)
    signals = check_signals(reference, estimate)
    size = round(_FRAME_SECONDS * sample_rate)
    hop = size // 4
    n_frames = (len(signals[0]) - size) // hop
    if n_frames < 1:
        raise ParameterError(
            f"at least {size + hop} samples are needed at {sample_rate} Hz, not {len(signals[0])}"
        )
    window = np.hanning(size + 2)[1:-1]
    ref, est = (
        np.lib.stride_tricks.sliding_window_view(signal, size)[::hop][:n_frames] * window
        for signal in signals
    )
    is_active = ref.any(axis=1) | est.any(axis=1)
    if not is_active.any():
        raise ParameterError("reference and estimate are silent except for the last samples")
    return ref[is_active], est[is_active]


def _mean_of_lowest(values: _Array) -> float:
    n_kept = int(_KEPT * len(values) + 0.5)
    return float(np.sort(values)[:n_kept].mean())


def _autocorrelation(frames: _Array, order: int) -> _Array:
    """Autocorrelation matrices, shape (n_frames, order + 1, order + 1)."""
    n = frames.shape[1]
    lags = np.stack(
        [(frames[:, : n - lag] * frames[:, lag:]).sum(axis=1) for lag in range(order + 1)], axis=1
    )
    lags[:, 0] = lags[:, 0] * (1 + _WHITE) + _TINY
    index = np.arange(order + 1)
    return lags[:, np.abs(index[:, None] - index)]


def _error_filter(autocorrelation: _Array) -> _Array:
    """Prediction error filters, shape (n_frames, 1, order + 1)."""
    past, present = autocorrelation[:, :-1, :-1], autocorrelation[:, 1:, :1]
    predictor = np.linalg.solve(past, present)
    return np.pad(-predictor, ((0, 0), (1, 0), (0, 0)), constant_values=1).transpose(0, 2, 1)


def _critical_bands(n_bins: int, sample_rate: int) -> _Array:
    """Weights of the bins in each band, shape (25, n_bins)."""
    bins_per_hz = n_bins / (sample_rate / 2)
    centres = _FIRST_CENTRE + np.cumsum(_BANDWIDTHS) - _BANDWIDTHS
    distance = np.arange(n_bins) - np.floor(centres * bins_per_hz)[:, None]
    width = _BANDWIDTHS[:, None]
    bands = np.exp(-11 * (distance / (width * bins_per_hz)) ** 2) * _BANDWIDTHS[0] / width
    # The constant of the reference implementation, meant as -30 dB.
    return np.where(bands > np.exp(-30 / (2 * 2.303)), bands, 0)


def _nearest_peaks(level: _Array, slope: _Array) -> _Array:
    """Level at the start of each fall, and of the last band but one of each rise."""
    rises, peaks = slope > 0, level[:, :-1].copy()
    for i in range(1, peaks.shape[1]):
        falls_on = ~rises[:, i - 1] & ~rises[:, i]
        peaks[falls_on, i] = peaks[falls_on, i - 1]
    for i in reversed(range(peaks.shape[1] - 1)):
        rises_on = rises[:, i] & rises[:, i + 1]
        peaks[rises_on, i] = peaks[rises_on, i + 1]
    return peaks
