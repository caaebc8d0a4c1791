"""Score-informed factorisation of a magnitude spectrogram into notes and noise.

The magnitudes V are modelled by the timbres j of keys k, with spectra W, and by bands b of noise,
with spectra N; all spectra have a sum of 1::

    V[f, n] ≈ Σ_kj W[f, k, j] H[k, j, n] + Σ_b N[f, b] G[b, n]

N is fixed, and W is fixed or learned. H starts at zero where the notes are silent; multiplicative
updates keep these zeros [1]_. The updates minimise the Kullback-Leibler divergence.

Bands of noise an octave wide could also explain notes, so that G has an L1 penalty λ. To use the
solvers as they are, V gets one more bin, which is zero, and in which the model is λ Σ_b G[b, n]: it
adds KL(0 | λ ΣG) = λ ΣG to the divergence. (The solvers add a floor ε to data and model, here too,
which lowers the penalty by ε log(1 + λ ΣG / ε).)

References
----------
.. [1] S. Ewert and M. Müller, "Using score-informed constraints for NMF-based source
   separation", ICASSP 2012, pp. 129-132.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from harmnmf.nmf.solvers.acceleration import Constraint, alternate
from harmnmf.nmf.solvers.convolutive import raised_cosine_bands
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, estimate_activations
from harmnmf.signal.harmonics import FrequencyAxis

__all__ = ["ScoreActivations", "estimate_score_activations", "learn_spectra", "noise_bands"]

_BETA = 1.0  # Kullback-Leibler
_PENALTY = 0.5  # λ
_START = 0.1  # of G, relative to H
_LOWEST_BAND = 60.0  # Hz
# Numbers of iterations. More fit the recording better, but separate the notes worse: each begins to
# explain others.
_LEARNING = 15
_ESTIMATION = 15


class ScoreActivations(NamedTuple):
    """Activations of keys and noise.

    Parameters
    ----------
    H : Tensor, shape (n_pitches, n_timbres, n_frames)
        Activations of keys.
    G : Tensor, shape (n_bands, n_frames)
        Activations of bands of noise.
    """

    H: torch.Tensor
    G: torch.Tensor


def noise_bands(axis: FrequencyAxis) -> torch.Tensor:
    """Make spectra of noise, bands an octave wide, each with a sum of 1: (n_bins, n_bands).

    Examples
    --------
    >>> noise_bands(FrequencyAxis.linear(n_fft=2048, sample_rate=16000)).shape
    torch.Size([1025, 9])
    """
    hz = torch.tensor(axis.frequencies, dtype=torch.float32)
    bands = raised_cosine_bands(torch.log2(hz.clamp(min=_LOWEST_BAND)), 1.0)
    bands = bands[:, bands.any(dim=0)]  # the last band may begin at the last bin
    return bands / bands.sum(dim=0)


def learn_spectra(
    V: torch.Tensor, W: torch.Tensor, sounds: torch.Tensor, noise: torch.Tensor, floor: float
) -> torch.Tensor:
    """Learn the spectra of keys from a recording, with the activations.

    Parameters
    ----------
    V : Tensor, shape (n_bins, n_frames)
        Magnitudes.
    W : Tensor, shape (n_bins, n_pitches, n_timbres)
        Initial spectra. Zeros stay zero.
    sounds : Tensor of bool, shape (n_pitches, n_timbres, n_frames)
        Where each timbre may sound.
    noise : Tensor, shape (n_bins, n_bands)
        Spectra of noise.
    floor : float
        As in :class:`~harmnmf.nmf.solvers.loop.SolverOptions`.

    Returns
    -------
    Tensor, shape (n_bins, n_pitches, n_timbres)
        Spectra, each with a sum of 1; those that are not heard are the initial ones.
    """
    V, keys, noise = _with_penalty(V, W, noise)
    n_keys = keys.shape[1]
    constraint = Constraint(
        dictionary=lambda X: torch.cat([X, noise], dim=1), gather=lambda term: term[:, :n_keys]
    )
    start = _start(V, sounds, noise.shape[1])
    options = MultiplicativeOptions(beta=_BETA, floor=floor, max_iter=_LEARNING, tol=None)
    learned, H, _ = alternate(V, keys, start, constraint, options)
    total = learned.sum(dim=0)
    is_heard = (H[:n_keys].sum(dim=1) > 0) & (total > 0)
    return torch.where(is_heard, learned / total, keys)[:-1].reshape(W.shape)


def estimate_score_activations(
    V: torch.Tensor, W: torch.Tensor, sounds: torch.Tensor, noise: torch.Tensor, floor: float
) -> ScoreActivations:
    """Estimate the activations of keys and noise with fixed spectra.

    Parameters are those of :func:`learn_spectra`. Frames do not depend on each other.
    """
    is_played = sounds.flatten(1).any(dim=1)
    H = torch.zeros(sounds.shape, dtype=V.dtype, device=V.device)
    V, keys, noise = _with_penalty(V, W[:, is_played], noise)
    start = _start(V, sounds[is_played], noise.shape[1])
    options = MultiplicativeOptions(beta=_BETA, floor=floor, max_iter=_ESTIMATION, tol=None)
    found = estimate_activations(V, torch.cat([keys, noise], dim=1), start, options).H
    H[is_played] = found[: keys.shape[1]].reshape(-1, *sounds.shape[1:])
    return ScoreActivations(H, found[keys.shape[1] :])


def _with_penalty(
    V: torch.Tensor, W: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Append the bin of the penalty to V, to the spectra of keys as columns, and to the noise."""
    pad = torch.nn.functional.pad
    keys = W.reshape(len(W), -1)
    return (
        pad(V, (0, 0, 0, 1)),
        pad(keys, (0, 0, 0, 1)),
        pad(noise, (0, 0, 0, 1), value=_PENALTY),
    )


def _start(V: torch.Tensor, sounds: torch.Tensor, n_bands: int) -> torch.Tensor:
    """Start all allowed activations at the sum of the magnitudes of their frame, or a share."""
    level = V.sum(dim=0)
    notes = sounds.flatten(0, 1) * level
    return torch.cat([notes, (_START * level).expand(n_bands, -1)])
