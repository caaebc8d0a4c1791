"""Differentiable perceptual loss after the model of PESQ.

PESQ compares loudness in critical bands, discounts masked differences, and weights added sound more
than missing sound [1]_. As in [2]_, this loss follows its steps, with textbook formulas in place of
the standard's tables, and without time alignment and compensation of filters and gains.
`harmnmf.enhancement.wb_pesq` is the standard's score.

References
----------
.. [1] ITU-T Recommendation P.862, "Perceptual evaluation of speech quality (PESQ)", 2001, and
   P.862.2, 2007.
.. [2] J. M. Martin-Doñas, A. M. Gomez, J. A. Gonzalez and A. M. Peinado, "A deep learning loss
   function based on the perceptual evaluation of the speech quality", IEEE Signal Process. Lett.
   25(11), 2018.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.signal.audio import SAMPLE_RATE

__all__ = ["perceptual_disturbance"]

_N_FFT, _HOP = 512, 256
_N_BANDS, _BARK = 49, 24.0
# Playback level of speech in dB SPL, measured between these frequencies in Hz.
_LISTENING_LEVEL, _SPEECH_BAND = 79.0, (350.0, 3250.0)
_ZWICKER_POWER = 0.23
_MASKED = 0.25  # masking threshold relative to the softer loudness
# Added sound is weighted by a power of the ratio of powers: 0 below a minimum, and bounded.
_ASYMMETRY_POWER, _LEAST_ASYMMETRY, _MOST_ASYMMETRY = 1.2, 3.0, 12.0
_ASYMMETRY_FLOOR = 1e2  # added to both powers, far below that of speech
_FRAME_POWER, _QUIET_POWER = 0.04, 1e5
_SYLLABLE, _SYLLABLE_NORM = 20, 6.0
_SYMMETRIC_WEIGHT, _ASYMMETRIC_WEIGHT = 0.1, 0.0309
_LARGEST = 45.0


def perceptual_disturbance(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Approximate distance from the best PESQ score [1]_, of samples (..., n_samples).

    Each sound is scaled to the same level first.
    """
    power, reference = (_band_power(samples) for samples in (estimate, clean))
    loudness, reference_loudness = _loudness(power), _loudness(reference)
    difference = loudness - reference_loudness
    masked = _MASKED * torch.minimum(loudness, reference_loudness)
    disturbance = (difference.abs() - masked).clamp_min(0)
    asymmetry = ((power + _ASYMMETRY_FLOOR) / (reference + _ASYMMETRY_FLOOR)) ** _ASYMMETRY_POWER
    asymmetry = torch.where(asymmetry < _LEAST_ASYMMETRY, 0.0, asymmetry.clamp_max(_MOST_ASYMMETRY))
    # Errors in loud frames count less.
    quiet = ((reference.sum(-2) + _QUIET_POWER) / 1e7) ** _FRAME_POWER
    width = 24.0 / _N_BANDS  # Bark
    symmetric = (_norm(disturbance, 2.0, dim=-2) * width * _N_BANDS**0.5 / quiet).clamp_max(
        _LARGEST
    )
    asymmetric = ((disturbance * asymmetry).sum(-2) * width / quiet).clamp_max(_LARGEST)
    return _SYMMETRIC_WEIGHT * _over_time(symmetric) + _ASYMMETRIC_WEIGHT * _over_time(asymmetric)


def _band_power(samples: torch.Tensor) -> torch.Tensor:
    """Power in each band, (..., n_bands, n_frames), 1 being 0 dB SPL at the listening level."""
    window = torch.hann_window(_N_FFT).to(samples)
    flat = samples.reshape(-1, samples.shape[-1])
    spectrum = torch.stft(
        flat, _N_FFT, _HOP, window=window, pad_mode="constant", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    power = power.reshape(*samples.shape[:-1], *power.shape[-2:])
    bands, _, speech = (x.to(samples) for x in _ear())
    level = (speech @ power).mean(-1)[..., None, None]
    return bands @ power * (10 ** (_LISTENING_LEVEL / 10) / (level + 1e-12))


def _loudness(power: torch.Tensor) -> torch.Tensor:
    """Loudness in sone per Bark after Zwicker, 0 below the threshold of hearing."""
    threshold = _ear()[1].to(power)[:, None]
    scale = 0.0825 * threshold**_ZWICKER_POWER
    return scale * ((0.5 + 0.5 * power / threshold) ** _ZWICKER_POWER - 1).clamp_min(0)


def _over_time(disturbance: torch.Tensor) -> torch.Tensor:
    """Norm over frames of overlapping segments of a third of a second, then over segments."""
    n_frames = disturbance.shape[-1]
    length = min(_SYLLABLE, n_frames)
    syllables = disturbance.unfold(-1, length, max(1, length // 2))
    each = _norm(syllables, _SYLLABLE_NORM, dim=-1) / length ** (1 / _SYLLABLE_NORM)
    return _norm(each, 2.0, dim=-1) / each.shape[-1] ** 0.5


def _norm(x: torch.Tensor, p: float, dim: int) -> torch.Tensor:
    """Norm with a gradient of zero where everything is zero."""
    total = (x**p).sum(dim)
    return torch.where(total > 0, total.clamp_min(1e-30) ** (1 / p), 0.0)


@lru_cache
@torch.inference_mode(False)
def _ear() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bands, (n_bands, n_bins), their thresholds of hearing, and the bins of the speech level."""
    hz = np.arange(_N_FFT // 2 + 1) * SAMPLE_RATE / _N_FFT
    bark = _bark(hz)
    edges = np.linspace(0, bark[-1], _N_BANDS + 1)
    # A bin that overlaps two bands is divided between them.
    low, high = _bark(np.maximum(hz - hz[1] / 2, 0)), _bark(hz + hz[1] / 2)
    common = np.minimum(high, edges[1:, None]) - np.maximum(low, edges[:-1, None])
    bands = np.maximum(common, 0) / (high - low)
    centres = np.interp((edges[1:] + edges[:-1]) / 2, bark, hz)
    threshold = 10 ** (_threshold_db(centres) / 10)
    speech = ((hz >= _SPEECH_BAND[0]) & (hz <= _SPEECH_BAND[1])).astype(float)
    first, second, third = (torch.from_numpy(x) for x in (bands, threshold, speech))
    return first, second, third


def _bark(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Critical-band rate, after E. Zwicker and E. Terhardt, JASA 68(5), 1980."""
    return np.asarray(13 * np.arctan(0.00076 * hz) + 3.5 * np.arctan((hz / 7500) ** 2))


def _threshold_db(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Threshold of hearing in dB SPL, after E. Terhardt, Hearing Research 1(2), 1979."""
    khz = np.maximum(hz, 20.0) / 1000
    return np.asarray(3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4)
