"""SDR, SIR and SAR of separated sources, as of mir_eval, and their medians over windows.

A test compares them with mir_eval's, which factorises the same matrix again for each estimate and,
for windows, in each window. Medians are those of museval: the filters that the sources may have
passed are the same in all windows. Windows in which a source is silent do not count: in a room it
is never exactly zero, but more than 60 dB below its mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import lu_factor, lu_solve, toeplitz

N_TAPS = 512
SILENT = 1e-6  # energy relative to the mean
MEASURES = ("SDR", "SIR", "SAR")

Signal = NDArray[np.float64]


class BssEval:
    """BSS Eval (version 3) of any number of separations of the same sources.

    An estimate is the sum of its target filtered by 512 taps, other sources filtered so, and
    artefacts [1]_.

    Parameters
    ----------
    references : array_like, shape (n_sources, n_samples)
        True sources.
    window : int
        Samples of the windows.

    References
    ----------
    .. [1] E. Vincent, R. Gribonval and C. Févotte, "Performance measurement in blind audio source
       separation", IEEE Trans. Audio, Speech, Lang. Process. 14(4), 2006, pp. 1462–1469.
    """

    def __init__(self, references: ArrayLike, window: int) -> None:
        self.references = np.asarray(references, np.float64)
        self.window = window
        n_sources, n_samples = self.references.shape
        self._n_fft = next_fast_len(n_samples + N_TAPS - 1, real=True)
        self._spectra = rfft(self.references, self._n_fft)
        gram = np.empty((n_sources, N_TAPS, n_sources, N_TAPS))
        for i in range(n_sources):
            for j in range(n_sources):
                lags = irfft(self._spectra[i] * self._spectra[j].conj(), self._n_fft)
                row, column = lags[:N_TAPS], np.concatenate([lags[:1], lags[:-N_TAPS:-1]])
                gram[i, :, j] = toeplitz(column, row)
        self._own = [lu_factor(gram[i, :, i]) for i in range(n_sources)]
        self._all = lu_factor(gram.reshape(n_sources * N_TAPS, -1))

    def __call__(self, estimates: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Score an estimate of each source, in the order of the references.

        Returns
        -------
        whole, medians : ndarray, shape (n_sources, 3)
            SDR, SIR and SAR in dB of the whole signals, and their medians over the windows in which
            all references sound, and the estimate is not zero.
        """
        whole, medians = [], []
        energies = self._energies(self.references)
        sounding = (energies > SILENT * energies.mean(axis=1, keepdims=True)).all(axis=0)
        for j, estimate in enumerate(np.asarray(estimates, np.float64)):
            kept, lost = self._parts(j, estimate)
            whole.append(_decibels(np.sum(kept**2, axis=-1), np.sum(lost**2, axis=-1)))
            used = sounding & (self._energies(estimate) > 0)
            ratios = _decibels(self._energies(kept)[:, used], self._energies(lost)[:, used])
            medians.append(np.median(ratios, axis=-1))
        return np.array(whole), np.array(medians)

    def _parts(self, j: int, estimate: Signal) -> tuple[Signal, Signal]:
        """Numerators and denominators of the ratios, shape (3, n_samples + 511)."""
        n_samples = len(estimate) + N_TAPS - 1
        spectrum = rfft(estimate, self._n_fft)
        lags = irfft(self._spectra.conj() * spectrum, self._n_fft)[:, :N_TAPS]
        own = rfft(lu_solve(self._own[j], lags[j]), self._n_fft)
        filters = rfft(lu_solve(self._all, lags.ravel()).reshape(lags.shape), self._n_fft)
        target = irfft(own * self._spectra[j], self._n_fft)[:n_samples]
        explained = irfft((filters * self._spectra).sum(axis=0), self._n_fft)[:n_samples]
        padded = np.pad(estimate, (0, N_TAPS - 1))
        kept = np.stack([target, target, explained])
        return kept, np.stack([padded - target, explained - target, padded - explained])

    def _energies(self, signals: Signal) -> NDArray[np.float64]:
        """Energies of whole windows, shape (..., n_windows)."""
        n_windows = self.references.shape[1] // self.window
        cut = signals[..., : n_windows * self.window]
        return np.sum(cut.reshape(*cut.shape[:-1], n_windows, self.window) ** 2, axis=-1)


def _decibels(kept: Signal, lost: Signal) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return 10 * np.log10(kept / lost)
