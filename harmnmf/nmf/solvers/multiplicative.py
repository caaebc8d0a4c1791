"""Non-negative factorisation V ≈ WH by multiplicative updates, with or without harmonic templates.

With hard harmonic templates the dictionary is W = PE column by column,
``W[f, k] = sum_m P[f, k, m] * E[m, k]``: a key's spectrum is a weighted sum of narrow-band
templates, so that it stays harmonic while its envelope is learned [1]_. Where a template is zero,
the dictionary stays zero. Each update multiplies by the quotient of the two terms of the gradient
and never raises the divergence [2]_.

Updates are accelerated by extrapolation (:mod:`harmnmf.nmf.solvers.acceleration`).

A constant ``floor`` is added to data and model alike. As a fixed part of the model it keeps
every quotient finite without touching the monotony.

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

from .acceleration import Constraint, alternate
from .loop import check_nonnegative

__all__ = [
    "Activations",
    "Factorization",
    "HarmonicFactorization",
    "estimate_activations",
    "factorize",
    "factorize_harmonic",
]


class Activations(NamedTuple):
    """Activations for a fixed dictionary, and the objective before and during the iterations."""

    H: torch.Tensor
    objective: torch.Tensor


class Factorization(NamedTuple):
    """Dictionary, activations, and the objective before and during the iterations."""

    W: torch.Tensor
    H: torch.Tensor
    objective: torch.Tensor


class HarmonicFactorization(NamedTuple):
    """Template weights, activations, and the objective before and during the iterations."""

    E: torch.Tensor
    H: torch.Tensor
    objective: torch.Tensor


def estimate_activations(
    V: torch.Tensor,
    W: torch.Tensor,
    *,
    H: torch.Tensor | None = None,
    beta: float = 0.5,
    exponent: float | None = None,
    accelerate: bool = True,
    floor: float | torch.Tensor | None = None,
    n_iter: int = 50,
    tol: float | None = 1e-4,
) -> Activations:
    """Estimate the activations of a fixed dictionary.

    Repeats the update of H [1]_::

        H ← H · [Wᵀ(V · V̂^(β-2)) / Wᵀ V̂^(β-1)]^γ

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram, not negative.
    W : Tensor, shape (..., n_bins, n_components)
        Dictionary, not negative; its leading dimensions broadcast with those of `V`.
    H : Tensor, shape (..., n_components, n_frames), optional
        Start, by default ones. What is zero stays zero.
    beta : float, default=0.5
        The divergence that is minimised: 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito.
    exponent : float, optional
        γ above; by default :func:`~harmnmf.nmf.solvers.divergence.majorisation_exponent`, for
        which descent is proven, and if accelerated 1 for 0 ≤ β < 1 and 4/3 for 1 ≤ β ≤ 2.
    accelerate : bool, default=True
        Whether to extrapolate. Should the objective ever rise in ten iterations, for one member of
        a batch even, they are done again, and all that follow are done, without; if `tol` is None
        there is nobody to see it.
    floor : float or Tensor, optional
        Constant added to data and model, by default :func:`data_floor` of `V`. Frames are
        independent of each other: with the floor of the whole, and no tolerance, blocks of frames
        give the whole.
    n_iter : int, default=50
        Largest number of iterations.
    tol : float or None, default=1e-4
        Stop when the objective falls by no more than this fraction in ten iterations; 0 never
        stops, and None does not even compute objectives.

    Returns
    -------
    Activations
        H of shape (..., n_components, n_frames), and the objective, float64, of shape
        (n_objectives, ...): before the first iteration, after every ten and after the last.

    Raises
    ------
    ParameterError
        If `V` or `W` is empty, or holds negative or non-finite values.

    References
    ----------
    .. [1] C. Févotte and J. Idier, Neural Computation 23(9), 2011.

    Examples
    --------
    >>> W = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    >>> V = W @ torch.tensor([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]])
    >>> H, objective = estimate_activations(V, W, n_iter=500, tol=1e-9)
    >>> bool(torch.allclose(W @ H, V, atol=1e-3)), bool((objective.diff() <= 1e-6).all())
    (True, True)
    """
    check_nonnegative(V=V, W=W)
    _, H, record = alternate(
        V, W, H, None, beta, exponent, accelerate, floor=floor, n_iter=n_iter, tol=tol
    )
    return Activations(H, record)


def factorize(
    V: torch.Tensor,
    W: torch.Tensor,
    *,
    H: torch.Tensor | None = None,
    beta: float = 0.5,
    exponent: float | None = None,
    accelerate: bool = True,
    floor: float | torch.Tensor | None = None,
    n_iter: int = 50,
    tol: float | None = 1e-4,
) -> Factorization:
    """Estimate a dictionary together with the activations, without any constraint.

    Each iteration updates H as :func:`estimate_activations`, then W [1]_::

        W ← W · [(V · V̂^(β-2)) Hᵀ / V̂^(β-1) Hᵀ]^γ

    At the end the columns of W are scaled to unit Euclidean norm and H the other way.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram, not negative.
    W : Tensor, shape (..., n_bins, n_components)
        Start of the dictionary. What is zero stays zero; equal columns stay equal.
    H, beta, exponent, accelerate, floor, n_iter, tol
        As in :func:`estimate_activations`.

    Returns
    -------
    Factorization
        W of shape (..., n_bins, n_components), H of shape (..., n_components, n_frames), and the
        objective, float64, of shape (n_objectives, ...).

    Raises
    ------
    ParameterError
        If `V` or `W` is empty, or holds negative or non-finite values.

    References
    ----------
    .. [1] C. Févotte and J. Idier, Neural Computation 23(9), 2011.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> V = torch.rand(20, 3, generator=generator) @ torch.rand(3, 40, generator=generator)
    >>> W, H, _ = factorize(V, torch.rand(20, 3, generator=generator), n_iter=1000)
    >>> bool((W @ H - V).abs().max() < 0.02 * V.max())
    True
    """
    check_nonnegative(V=V, W=W)
    free = Constraint(dictionary=lambda W: W, gather=lambda term: term)
    W, H, record = alternate(
        V, W, H, free, beta, exponent, accelerate, floor=floor, n_iter=n_iter, tol=tol
    )
    norm = _column_norms(W)
    return Factorization(W / norm, H * norm.mT, record)


def factorize_harmonic(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    *,
    H: torch.Tensor | None = None,
    beta: float = 0.5,
    exponent: float | None = None,
    accelerate: bool = True,
    floor: float | torch.Tensor | None = None,
    n_iter: int = 50,
    tol: float | None = 1e-4,
) -> HarmonicFactorization:
    """Estimate the envelopes of harmonic templates together with the activations.

    Each iteration updates H as :func:`estimate_activations` with W = PE, then E [1]_::

        e_mk ← e_mk · [Σ_fn P_fkm h_kn v v̂^(β-2) / Σ_fn P_fkm h_kn v̂^(β-1)]^γ

    At the end the columns of PE are scaled to unit Euclidean norm and H the other way.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram, not negative.
    P : Tensor, shape (n_bins, n_pitches, n_templates)
        Narrow-band harmonic templates, as :func:`harmnmf.harmonic_templates` makes them.
    E : Tensor, shape (..., n_templates, n_pitches)
        Start of the weights, as :func:`harmnmf.nmf.templates.initial_weights` makes them.
    H, beta, exponent, accelerate, floor, n_iter, tol
        As in :func:`estimate_activations`.

    Returns
    -------
    HarmonicFactorization
        E of shape (..., n_templates, n_pitches), H of shape (..., n_pitches, n_frames), and the
        objective, float64, of shape (n_objectives, ...).

    Raises
    ------
    ParameterError
        If `V`, `P` or `E` is empty, or holds negative or non-finite values.

    References
    ----------
    .. [1] E. Vincent, N. Bertin and R. Badeau, IEEE TASLP 18(3), 2010.

    Examples
    --------
    >>> from harmnmf.signal.harmonics import FrequencyAxis
    >>> from harmnmf.nmf.templates import harmonic_templates, initial_weights
    >>> axis = FrequencyAxis.logarithmic(fmin=220.0, bins_per_octave=36, n_bins=144)
    >>> P = torch.from_numpy(harmonic_templates(axis, [60, 64, 67], window_durations=0.1))
    >>> E = torch.from_numpy(initial_weights([60, 64, 67]))
    >>> V = (P[:, 0] @ E[:, :1]) @ torch.ones(1, 5, dtype=torch.float64)
    >>> result = factorize_harmonic(V, P, E, n_iter=200)
    >>> bool(result.H[0].min() > 100 * result.H[1:].max())
    True
    """
    check_nonnegative(V=V, P=P, E=E)
    harmonic = Constraint(
        dictionary=lambda E: torch.einsum("fkm,...mk->...fk", P, E),
        gather=lambda term: torch.einsum("fkm,...fk->...mk", P, term),
    )
    E, H, record = alternate(
        V, E, H, harmonic, beta, exponent, accelerate, floor=floor, n_iter=n_iter, tol=tol
    )
    norm = _column_norms(harmonic.dictionary(E))
    return HarmonicFactorization(E / norm, H * norm.mT, record)


def _column_norms(W: torch.Tensor) -> torch.Tensor:
    norm = torch.linalg.vector_norm(W, dim=-2, keepdim=True)
    return torch.where(norm > 0, norm, 1.0)
