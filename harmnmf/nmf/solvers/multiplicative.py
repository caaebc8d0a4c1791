"""Non-negative factorisation V ≈ WH by multiplicative updates, with or without harmonic templates.

With hard harmonic templates the dictionary is W = PE column by column,
``W[f, k] = sum_m P[f, k, m] * E[m, k]``: the spectrum of a key is a weighted sum of narrow-band
templates, so that it stays harmonic while its envelope is learned [1]_. Each update multiplies by
the quotient of the two terms of the gradient and never raises the divergence [2]_.

A constant floor is added to data and model alike. It keeps every quotient finite, and as a fixed
part of the model it does not affect the proof of descent.

References
----------
.. [1] E. Vincent, N. Bertin and R. Badeau, "Adaptive harmonic spectral decomposition for
   multiple pitch estimation", IEEE TASLP 18(3), 2010, pp. 528-537.
.. [2] C. Févotte and J. Idier, "Algorithms for nonnegative matrix factorization with the
   beta-divergence", Neural Computation 23(9), 2011, pp. 2421-2456.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .acceleration import Constraint, MultiplicativeOptions, alternate
from .loop import Iterations, check_nonnegative

__all__ = [
    "Activations",
    "Factorization",
    "HarmonicFactorization",
    "MultiplicativeOptions",
    "estimate_activations",
    "factorize",
    "factorize_harmonic",
    "harmonic_dictionary",
    "normalised_factorization",
]


class Activations(NamedTuple):
    """Activations for a fixed dictionary, and the record of the iterations."""

    H: torch.Tensor
    objective: torch.Tensor
    n_iter: int
    converged: bool


class Factorization(NamedTuple):
    """Dictionary, activations, and the record of the iterations."""

    W: torch.Tensor
    H: torch.Tensor
    objective: torch.Tensor
    n_iter: int
    converged: bool


class HarmonicFactorization(NamedTuple):
    """Dictionary W = PE, template weights, activations, and the record of the iterations."""

    W: torch.Tensor
    E: torch.Tensor
    H: torch.Tensor
    objective: torch.Tensor
    n_iter: int
    converged: bool


def estimate_activations(
    V: torch.Tensor,
    W: torch.Tensor,
    H: torch.Tensor | None = None,
    options: MultiplicativeOptions | None = None,
) -> Activations:
    """Estimate the activations of a fixed dictionary.

    Repeats the update of Févotte and Idier::

        H ← H · [Wᵀ(V · V̂^(β-2)) / Wᵀ V̂^(β-1)]^γ

    where γ is :func:`~harmnmf.nmf.solvers.divergence.majorisation_exponent`; for extrapolated
    updates it is 1 if 0 ≤ β < 1 and 4/3 if 1 ≤ β ≤ 2.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram, not negative.
    W : Tensor, shape (..., n_bins, n_components)
        Dictionary, not negative; its leading dimensions broadcast with those of `V`.
    H : Tensor, shape (..., n_components, n_frames), optional
        Initial activations, by default ones. Zeros stay zero.
    options : MultiplicativeOptions, optional
        Options. Default: ``MultiplicativeOptions()``. Frames are independent of each other:
        with the floor of the whole, and ``tol=None``, blocks of frames give the same result.

    Returns
    -------
    Activations
        H of shape (..., n_components, n_frames), and the record of the iterations; the objective,
        float64, of shape (n_objectives, ...), is that before the first iteration, after every ten
        and after the last.

    Raises
    ------
    ParameterError
        If an array is empty, or holds negative or non-finite values.

    Examples
    --------
    >>> W = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    >>> V = W @ torch.tensor([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]])
    >>> result = estimate_activations(V, W, options=MultiplicativeOptions(max_iter=500, tol=1e-9))
    >>> bool(torch.allclose(W @ result.H, V, atol=1e-3))
    True
    """
    check_nonnegative(V=V, W=W, H=H)
    _, H, run = alternate(V, W, H, None, options)
    return Activations(H, *run)


def factorize(
    V: torch.Tensor,
    W: torch.Tensor,
    H: torch.Tensor | None = None,
    options: MultiplicativeOptions | None = None,
) -> Factorization:
    """Estimate a dictionary together with the activations, without any constraint.

    Each iteration updates H as in :func:`estimate_activations`, then W::

        W ← W · [(V · V̂^(β-2)) Hᵀ / V̂^(β-1) Hᵀ]^γ

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram, not negative.
    W : Tensor, shape (..., n_bins, n_components)
        Initial dictionary. Zeros stay zero; equal columns stay equal.
    H, options
        As in :func:`estimate_activations`.

    Returns
    -------
    Factorization
        W of shape (..., n_bins, n_components) with columns of unit Euclidean norm, H of shape
        (..., n_components, n_frames), and the record of the iterations as in
        :func:`estimate_activations`.

    Raises
    ------
    ParameterError
        If an array is empty, or holds negative or non-finite values.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> V = torch.rand(20, 3, generator=generator) @ torch.rand(3, 40, generator=generator)
    >>> start = torch.rand(20, 3, generator=generator)
    >>> result = factorize(V, start, options=MultiplicativeOptions(max_iter=1000))
    >>> bool((result.W @ result.H - V).abs().max() < 0.02 * V.max()), result.converged
    (True, True)
    """
    check_nonnegative(V=V, W=W, H=H)
    free = Constraint(dictionary=lambda W: W, gather=lambda term: term)
    W, H, run = alternate(V, W, H, free, options)
    norm = _column_norms(W)
    return Factorization(W / norm, H * norm.mT, *run)


def factorize_harmonic(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    H: torch.Tensor | None = None,
    options: MultiplicativeOptions | None = None,
) -> HarmonicFactorization:
    """Estimate the envelopes of harmonic templates together with the activations.

    Each iteration updates H as in :func:`estimate_activations` with W = PE, then E (Vincent,
    Bertin and Badeau)::

        e_mk ← e_mk · [Σ_fn P_fkm h_kn v v̂^(β-2) / Σ_fn P_fkm h_kn v̂^(β-1)]^γ

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram, not negative.
    P : Tensor, shape (n_bins, n_pitches, n_templates)
        Narrow-band harmonic templates, as :func:`harmnmf.harmonic_templates` makes them.
    E : Tensor, shape (..., n_templates, n_pitches)
        Initial weights, as :func:`harmnmf.nmf.templates.initial_weights` makes them.
    H, options
        As in :func:`estimate_activations`.

    Returns
    -------
    HarmonicFactorization
        W = PE of shape (..., n_bins, n_pitches) with columns of unit Euclidean norm, E of shape
        (..., n_templates, n_pitches), H of shape (..., n_pitches, n_frames), and the record of
        the iterations as in :func:`estimate_activations`.

    Raises
    ------
    ParameterError
        If an array is empty, or holds negative or non-finite values.

    Examples
    --------
    >>> from harmnmf.signal.harmonics import FrequencyAxis
    >>> from harmnmf.nmf.templates import harmonic_templates, initial_weights
    >>> axis = FrequencyAxis.logarithmic(fmin=220.0, bins_per_octave=36, n_bins=144)
    >>> P = torch.from_numpy(harmonic_templates(axis, [60, 64, 67], window_durations=0.1))
    >>> E = torch.from_numpy(initial_weights([60, 64, 67]))
    >>> V = (P[:, 0] @ E[:, :1]) @ torch.ones(1, 5, dtype=torch.float64)
    >>> result = factorize_harmonic(V, P, E, options=MultiplicativeOptions(max_iter=200))
    >>> bool(result.H[0].min() > 100 * result.H[1:].max())
    True
    """
    check_nonnegative(V=V, P=P, E=E, H=H)
    harmonic = Constraint(
        dictionary=lambda E: harmonic_dictionary(P, E),
        gather=lambda term: torch.einsum("fkm,...fk->...mk", P, term),
    )
    E, H, run = alternate(V, E, H, harmonic, options)
    return normalised_factorization(P, E, H, run)


def harmonic_dictionary(P: torch.Tensor, E: torch.Tensor) -> torch.Tensor:
    """Return W = PE, w_fk = Σ_m P_fkm e_mk."""
    return torch.einsum("fkm,...mk->...fk", P, E)


def normalised_factorization(
    P: torch.Tensor, E: torch.Tensor, H: torch.Tensor, run: Iterations
) -> HarmonicFactorization:
    """Give the columns of W = PE unit Euclidean norm, and H the inverse."""
    norm = _column_norms(harmonic_dictionary(P, E))
    E = E / norm
    return HarmonicFactorization(harmonic_dictionary(P, E), E, H * norm.mT, *run)


def _column_norms(W: torch.Tensor) -> torch.Tensor:
    """Euclidean norms of the columns, shape (..., 1, n_components); 1 for columns of zeros."""
    norm = torch.linalg.vector_norm(W, dim=-2, keepdim=True)
    return torch.where(norm > 0, norm, 1.0)
