"""Differentiable short-time objective intelligibility (STOI).

STOI correlates the envelopes of clean and processed speech in third-octave bands over segments of
384 ms [1]_. As in other losses of this kind [2]_, it is computed in a form that has gradients:
at 16 kHz with frames as long as the published ones at 10 kHz, and with silent frames removed from
the spectra instead of the samples. `harmnmf.enhancement.stoi` is the published score.

References
----------
.. [1] C. H. Taal, R. C. Hendriks, R. Heusdens and J. Jensen, "An algorithm for intelligibility
   prediction of time-frequency weighted noisy speech", IEEE Trans. Audio, Speech, Lang. Process.
   19(7), 2011.
.. [2] S.-W. Fu, T.-W. Wang, Y. Tsao, X. Lu and H. Kawai, "End-to-end waveform utterance
   enhancement for direct evaluation metrics optimization by fully convolutional neural networks",
   IEEE/ACM Trans. Audio, Speech, Lang. Process. 26(9), 2018.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from harmnmf.signal.audio import SAMPLE_RATE

__all__ = ["lost_intelligibility"]

_WINDOW, _HOP, _N_FFT = 410, 205, 820  # 25.6 ms, in steps of half of it
_N_BANDS, _LOWEST = 15, 150.0  # centre of the lowest band in Hz
_SEGMENT = 30  # frames
_CLIPPING = 10 ** (15 / 20)  # lower bound of the signal-to-distortion ratio, β = -15 dB
_SILENT = 1e-4  # -40 dB, relative to the loudest frame


def lost_intelligibility(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Loss of intelligibility, 1 - STOI [1]_, eqs. (1)-(6), of samples (batch, n_samples).

    It is 0 for equal sounds, and where less than 384 ms of the clean one are not silent.
    """
    if clean.shape[-1] < _WINDOW + (_SEGMENT - 1) * _HOP:
        return (0 * estimate).sum(-1)
    spectra = torch.stack([_power(estimate), _power(clean)])
    energy = spectra[1].sum(-2)
    active = energy > _SILENT * energy.amax(-1, keepdim=True)
    # Move the frames that are not silent to the front.
    order = (~active).to(torch.int8).sort(dim=-1, stable=True).indices
    bands = _third_octaves().to(spectra) @ spectra
    bands = bands.gather(-1, order[None, :, None].expand_as(bands))
    # The root has an infinite gradient at zero.
    floor = 1e-12 * bands.detach().amax((0, 2, 3))[:, None, None] + 1e-20
    Y, X = (bands + floor).sqrt().unfold(-1, _SEGMENT, 1)
    scale = X.square().sum(-1, keepdim=True) / Y.square().sum(-1, keepdim=True).clamp_min(1e-30)
    Y = torch.minimum(scale.sqrt() * Y, (1 + _CLIPPING) * X)
    X, Y = (Z - Z.mean(-1, keepdim=True) for Z in (X, Y))
    lengths = (X.square().sum(-1) * Y.square().sum(-1)).clamp_min(1e-30).sqrt()
    lost = (1 - (X * Y).sum(-1) / lengths).mean(-2)
    whole = torch.arange(lost.shape[-1], device=lost.device) + _SEGMENT <= active.sum(-1)[:, None]
    return (whole * lost).sum(-1) / whole.sum(-1).clamp_min(1)


def _power(samples: torch.Tensor) -> torch.Tensor:
    """Power spectra, (batch, n_bins, n_frames)."""
    window = torch.hann_window(_WINDOW + 2, periodic=False)[1:-1].to(samples)
    spectrum = torch.stft(
        samples, _N_FFT, _HOP, _WINDOW, window, pad_mode="constant", return_complex=True
    )
    return spectrum.real.square() + spectrum.imag.square()


@lru_cache
@torch.inference_mode(False)
def _third_octaves() -> torch.Tensor:
    """Bins of each band as ones, (n_bands, n_bins)."""
    hz = np.arange(_N_FFT // 2 + 1) * SAMPLE_RATE / _N_FFT
    edges = _LOWEST * 2 ** ((2 * np.arange(_N_BANDS + 1) - 1) / 6)
    # As published, bands begin and end at the nearest bins.
    first = np.abs(hz - edges[:, None]).argmin(1)
    bins = np.arange(len(hz))
    return torch.from_numpy(((bins >= first[:-1, None]) & (bins < first[1:, None])).astype(float))
