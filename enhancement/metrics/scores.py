"""Scores of enhanced speech and of separated sources.

Conventions
-----------
*Signals* are as in :mod:`harmnmf.enhancement.metrics.frame_scores`.

*Errors*: ParameterError if signals or sample rates are invalid or no speech is found; HarmnmfError
if an optional package (pesq, pystoi, mir_eval<0.9) is not installed.

*WB-PESQ* is ITU-T P.862.2 without Corrigendum 2 of 2018, as in the package pesq and most published
values; scores with the corrigendum are higher.

*CSIG*, *CBAK* and *COVL* are the composite measures of Hu and Loizou (2008).

*SI-SDR* does not remove the means of the signals, unlike SI-SNR.

*SDR*, *SIR* and *SAR* are those of BSS Eval version 3, with a distortion filter of 512 taps.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import HarmnmfError, ParameterError
from harmnmf.signal.audio import SAMPLE_RATE

from .frame_scores import (
    check_rate,
    check_signals,
    log_likelihood_ratio,
    segmental_snr,
    weighted_spectral_slope,
)

__all__ = ["composite", "evaluate_enhancement", "evaluate_singing", "si_sdr", "stoi", "wb_pesq"]

# Seconds.
_PESQ_SHORTEST = 0.25
# The ITU's program has memory for 50 utterances; beyond, it crashes or returns nonsense. An
# utterance and the pause after it last at least 0.2 s each.
_PESQ_LONGEST = 20.0
# More than 31 frames of 256 samples at 10 kHz with a hop of 128.
_STOI_SHORTEST = 0.41

_BSS_TAPS = 512


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Compute the scale-invariant signal-to-distortion ratio.

    Parameters
    ----------
    reference, estimate : array_like, shape (n_samples,)
        Clean and enhanced signal.

    Returns
    -------
    float
        ‖αs‖² / ‖αs - ŝ‖² in dB, with α = ŝᵀs / ‖s‖² [1]_, for reference s and estimate ŝ.

    Raises
    ------
    ParameterError
        If the signals are invalid.

    References
    ----------
    .. [1] J. Le Roux, S. Wisdom, H. Erdogan and J. R. Hershey, "SDR – half-baked or well done?",
       ICASSP 2019, pp. 626–630.

    Examples
    --------
    >>> round(si_sdr([1, -1, 1, -1], [3.3, -2.7, 3.3, -2.7]), 6)
    20.0
    """
    ref, est = check_signals(reference, estimate)
    est = est / np.abs(est).max()
    target = (est @ ref) / (ref @ ref) * ref
    error = target - est
    with np.errstate(divide="ignore"):
        return float(10 * np.log10((target @ target) / (error @ error)))


def wb_pesq(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Predict the mean opinion score by wide-band PESQ, P.862.2 without Corrigendum 2.

    Parameters
    ----------
    reference, estimate : array_like, shape (n_samples,)
        Clean speech and enhanced speech, of 0.25 to 20 s. Score longer signals in pieces: the
        ITU's program has memory for about 20 s.
    sample_rate : int
        Sample rate in Hz: 16000.

    Returns
    -------
    float
        Predicted score, from 1 to 4.64.

    Raises
    ------
    ParameterError
        If the signals or their length are invalid, or no speech is found.
    HarmnmfError
        If the package pesq is not installed.

    References
    ----------
    .. [1] ITU-T Recommendation P.862.2, "Wideband extension to Recommendation P.862 for the
       assessment of wideband telephone networks and speech codecs", 2007.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> round(wb_pesq(noise, noise, 16000), 2)
    4.64
    """
    ref, est = check_signals(reference, estimate)
    if sample_rate != SAMPLE_RATE:
        raise ParameterError(f"WB-PESQ needs {SAMPLE_RATE} Hz, not {sample_rate}: resample first")
    seconds = len(ref) / SAMPLE_RATE
    if not _PESQ_SHORTEST <= seconds <= _PESQ_LONGEST:
        raise ParameterError(
            f"WB-PESQ needs {_PESQ_SHORTEST} to {_PESQ_LONGEST:g} s, not {seconds:.4g} s"
        )
    pesq = _load("pesq", "pesq")
    try:
        return float(pesq.pesq(SAMPLE_RATE, ref, est, "wb"))
    except (RuntimeError, ValueError) as error:
        raise ParameterError("WB-PESQ finds no speech to compare") from error


def stoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Predict speech intelligibility by the short-time objective intelligibility measure (STOI).

    Parameters
    ----------
    reference, estimate : array_like, shape (n_samples,)
        Clean speech and enhanced speech, with at least 0.41 s in which the reference is within
        40 dB of its loudest frame.
    sample_rate : int
        Sample rate in Hz, at least 8000.

    Returns
    -------
    float
        Predicted intelligibility; 1 is best.

    Raises
    ------
    ParameterError
        If the signals are invalid, or too short without their silent parts.
    HarmnmfError
        If the package pystoi is not installed.

    References
    ----------
    .. [1] C. H. Taal, R. C. Hendriks, R. Heusdens and J. Jensen, "An algorithm for intelligibility
       prediction of time-frequency weighted noisy speech", IEEE Trans. Audio, Speech, Lang.
       Process. 19(7), 2011, pp. 2125–2136.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> round(stoi(noise, noise, 16000), 6)
    1.0
    """
    ref, est = check_signals(reference, estimate)
    check_rate(sample_rate)
    too_short = f"STOI needs {_STOI_SHORTEST} s of the reference that are not silent"
    if len(ref) < _STOI_SHORTEST * sample_rate:
        raise ParameterError(f"{too_short}; the signal has {len(ref) / sample_rate:.2f} s")
    pystoi = _load("pystoi", "pystoi")
    with warnings.catch_warnings():
        # Otherwise a meaningless number is returned.
        warnings.filterwarnings("error", message="Not enough STFT frames")
        try:
            return float(pystoi.stoi(ref, est, int(sample_rate)))
        except RuntimeWarning as error:
            raise ParameterError(too_short) from error


def composite(
    reference: ArrayLike, estimate: ArrayLike, sample_rate: int
) -> tuple[float, float, float]:
    """Predict ratings of speech distortion, background intrusiveness and overall quality.

    Parameters
    ----------
    reference, estimate, sample_rate
        As in :func:`wb_pesq`.

    Returns
    -------
    csig, cbak, covl : float
        Ratings from 1 to 5: 3.093 - 1.029 LLR + 0.603 PESQ - 0.009 WSS,
        1.634 + 0.478 PESQ - 0.007 WSS + 0.063 SSNR and
        1.594 + 0.805 PESQ - 0.512 LLR - 0.007 WSS. These are the coefficients of the authors'
        implementation, which most published values come from; those of [1]_ differ.

    Raises
    ------
    ParameterError, HarmnmfError
        As in :func:`wb_pesq`.

    References
    ----------
    .. [1] Y. Hu and P. C. Loizou, "Evaluation of objective quality measures for speech
       enhancement", IEEE Trans. Audio, Speech, Lang. Process. 16(1), 2008, pp. 229–238.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> composite(noise, noise, 16000)
    (5.0, 5.0, 5.0)
    """
    signals = reference, estimate, sample_rate
    return _composite(*signals, wb_pesq(*signals), segmental_snr(*signals))


def evaluate_enhancement(
    reference: ArrayLike, estimate: ArrayLike, sample_rate: int
) -> dict[str, float]:
    """Compute all scores of enhanced speech.

    Parameters
    ----------
    reference, estimate : array_like, shape (n_samples,)
        Clean speech and enhanced speech, long enough for :func:`wb_pesq` and :func:`stoi`.
    sample_rate : int
        Sample rate in Hz: 16000.

    Returns
    -------
    dict of str to float
        "WB-PESQ", "STOI", "SI-SDR" and "SSNR" in dB, "CSIG", "CBAK" and "COVL".

    Raises
    ------
    ParameterError, HarmnmfError
        As in :func:`wb_pesq` and :func:`stoi`.

    Examples
    --------
    >>> speech, noise = np.random.default_rng(0).normal(size=(2, 16000))
    >>> scores = evaluate_enhancement(speech, speech + 0.1 * noise, 16000)
    >>> list(scores)
    ['WB-PESQ', 'STOI', 'SI-SDR', 'SSNR', 'CSIG', 'CBAK', 'COVL']
    >>> round(scores["SI-SDR"])
    20
    """
    signals = reference, estimate, sample_rate
    pesq, ssnr = wb_pesq(*signals), segmental_snr(*signals)
    csig, cbak, covl = _composite(*signals, pesq, ssnr)
    return {
        "WB-PESQ": pesq,
        "STOI": stoi(*signals),
        "SI-SDR": si_sdr(reference, estimate),
        "SSNR": ssnr,
        "CSIG": csig,
        "CBAK": cbak,
        "COVL": covl,
    }


def evaluate_singing(
    references: ArrayLike, estimates: ArrayLike, mixture: ArrayLike | None = None
) -> dict[str, NDArray[np.float64]]:
    """Compute BSS Eval scores of separated sources, such as a voice and its accompaniment.

    Parameters
    ----------
    references, estimates : array_like, shape (n_sources, n_samples)
        At least two sources and their estimates, in the same order, with more than 512 samples per
        source.
    mixture : array_like, shape (n_samples,), optional
        Mixture that was separated.

    Returns
    -------
    dict of str to ndarray, shape (n_sources,)
        "SDR", "SIR" and "SAR" in dB [1]_ and, if there is a mixture, "NSDR": the improvement of the
        SDR over that of the mixture [2]_.

    Raises
    ------
    ParameterError
        If the shapes or the signals are invalid.
    HarmnmfError
        If mir_eval has no module separation, as from version 0.9 on.

    References
    ----------
    .. [1] E. Vincent, R. Gribonval and C. Févotte, "Performance measurement in blind audio source
       separation", IEEE Trans. Audio, Speech, Lang. Process. 14(4), 2006, pp. 1462–1469.
    .. [2] C.-L. Hsu and J.-S. R. Jang, "On the improvement of singing voice separation for monaural
       recordings using the MIR-1K dataset", IEEE Trans. Audio, Speech, Lang. Process. 18(2), 2010,
       pp. 310–319.

    Examples
    --------
    >>> voice, piano = np.random.default_rng(0).normal(size=(2, 16000))
    >>> estimates = [voice + 0.1 * piano, piano]
    >>> scores = evaluate_singing([voice, piano], estimates, voice + piano)
    >>> scores["SIR"][0].round(), scores["NSDR"][0].round()
    (np.float64(20.0), np.float64(20.0))
    """
    refs, ests = np.asarray(references), np.asarray(estimates)
    if refs.ndim != 2 or refs.shape != ests.shape or len(refs) < 2:
        raise ParameterError(
            "references and estimates must have shape (n_sources, n_samples) with at least two "
            f"sources, not {refs.shape} and {ests.shape}"
        )
    if refs.shape[1] <= _BSS_TAPS * len(refs):
        raise ParameterError(
            f"more than {_BSS_TAPS * len(refs)} samples are needed, not {refs.shape[1]}"
        )
    for reference, estimate in zip(refs, ests, strict=True):
        check_signals(reference, estimate)
        if mixture is not None:
            check_signals(reference, mixture, "mixture")
    sdr, sir, sar = _bss_eval(refs, ests)
    scores = {"SDR": sdr, "SIR": sir, "SAR": sar}
    if mixture is not None:
        scores["NSDR"] = sdr - _bss_eval(refs, np.broadcast_to(mixture, refs.shape))[0]
    return scores


def _composite(
    reference: ArrayLike, estimate: ArrayLike, sample_rate: int, pesq: float, ssnr: float
) -> tuple[float, float, float]:
    llr = log_likelihood_ratio(reference, estimate, sample_rate)
    wss = weighted_spectral_slope(reference, estimate, sample_rate)
    csig = 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss
    cbak = 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * ssnr
    covl = 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss
    csig, cbak, covl = np.clip([csig, cbak, covl], 1, 5).tolist()
    return csig, cbak, covl


def _bss_eval(references: NDArray, estimates: NDArray) -> tuple[NDArray[np.float64], ...]:
    """SDR, SIR and SAR, each of shape (n_sources,)."""
    separation = _load("mir_eval.separation", "mir_eval<0.9")
    both = references.astype(np.float64), estimates.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return tuple(separation.bss_eval_sources(*both, compute_permutation=False)[:3])


def _load(module: str, requirement: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise HarmnmfError(f"{module} is not installed: pip install '{requirement}'") from error
