"""Non-negative factorisation V ≈ WH by multiplicative updates, with hard harmonic templates.

The dictionary is W = PE column by column, ``W[f, k] = sum_m P[f, k, m] * E[m, k]``: a key's
spectrum is a weighted sum of narrow-band harmonic templates, so that it stays harmonic while its
envelope is learned [1]_. Where a template is zero, the dictionary stays zero: the constraint is
hard. Each update multiplies by the quotient of the two terms of the gradient [2]_ and never
raises the divergence.

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

from collections.abc import Iterable
from typing import NamedTuple

import torch

from ..divergence import beta_divergence, gradient_terms, majorisation_exponent
from .loop import check_nonnegative, iterate

__all__ = [
    "Activations",
    "HarmonicFactorization",
    "data_floor",
    "estimate_activations",
    "factorize_harmonic",
    "multiplicative_update",
]


class Activations(NamedTuple):
    """Activations for a fixed dictionary, and the objective before and after each iteration."""

    H: torch.Tensor
    objective: torch.Tensor


class HarmonicFactorization(NamedTuple):
    """Template weights, activations, and the objective before and after each iteration."""

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
        γ above; by default the one for which descent is proven,
        :func:`harmnmf.divergence.majorisation_exponent`.
    floor : float or Tensor, optional
        Constant added to data and model, by default :func:`data_floor` of `V`. Frames are
        independent of each other: with the floor of the whole, blocks of frames give the whole.
    n_iter : int, default=50
        Largest number of iterations.
    tol : float or None, default=1e-4
        Stop when the objective falls by no more than this fraction in an iteration; 0 never
        stops, and None does not even compute objectives.

    Returns
    -------
    Activations
        H of shape (..., n_components, n_frames), and the objective, float64, of shape
        (n_objectives, ...).

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
    floor = data_floor(V) if floor is None else floor
    gamma = majorisation_exponent(beta) if exponent is None else exponent
    V, Wt = V + floor, W.mT
    H = _first_activations(V, W) if H is None else H

    def step(_: int) -> None:
        nonlocal H
        assert H is not None
        terms = gradient_terms(V, W @ H + floor, beta)
        H = multiplicative_update(H, (Wt @ term for term in terms), gamma)

    objective = iterate(
        step, lambda: beta_divergence(V, W @ H + floor, beta), n_iter=n_iter, tol=tol
    )
    return Activations(H, objective)


def factorize_harmonic(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    *,
    H: torch.Tensor | None = None,
    beta: float = 0.5,
    exponent: float | None = None,
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
        Start of the weights, as :func:`harmnmf.templates.initial_weights` makes them.
    H, beta, exponent, floor, n_iter, tol
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
    >>> from harmnmf.harmonics import FrequencyAxis
    >>> from harmnmf.templates import harmonic_templates, initial_weights
    >>> axis = FrequencyAxis.logarithmic(fmin=220.0, bins_per_octave=36, n_bins=144)
    >>> P = torch.from_numpy(harmonic_templates(axis, [60, 64, 67], window_durations=0.1))
    >>> E = torch.from_numpy(initial_weights([60, 64, 67]))
    >>> V = (P[:, 0] @ E[:, :1]) @ torch.ones(1, 5, dtype=torch.float64)
    >>> result = factorize_harmonic(V, P, E, n_iter=200)
    >>> bool(result.H[0].min() > 100 * result.H[1:].max())
    True
    """
    check_nonnegative(V=V, P=P, E=E)

    def dictionary() -> torch.Tensor:
        return torch.einsum("fkm,...mk->...fk", P, E)

    W = dictionary()
    floor = data_floor(V) if floor is None else floor
    gamma = majorisation_exponent(beta) if exponent is None else exponent
    V = V + floor
    H = _first_activations(V, W) if H is None else H
    E = E.expand(*H.shape[:-2], *E.shape[-2:])

    def step(_: int) -> None:
        nonlocal E, H, W
        assert H is not None
        terms = gradient_terms(V, W @ H + floor, beta)
        H = multiplicative_update(H, (W.mT @ term for term in terms), gamma)
        Ht = H.mT
        terms = gradient_terms(V, W @ H + floor, beta)
        E = multiplicative_update(
            E, (torch.einsum("fkm,...fk->...mk", P, term @ Ht) for term in terms), gamma
        )
        W = dictionary()

    objective = iterate(
        step, lambda: beta_divergence(V, W @ H + floor, beta), n_iter=n_iter, tol=tol
    )
    norm = torch.linalg.vector_norm(W, dim=-2, keepdim=True)
    scale = torch.where(norm > 0, norm, 1.0)
    return HarmonicFactorization(E / scale, H * scale.mT, objective)


def data_floor(V: torch.Tensor) -> torch.Tensor:
    """Smallest value worth telling from zero in each spectrogram: eps times its largest.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Data, not negative.

    Returns
    -------
    Tensor, shape (..., 1, 1)
        The floors, positive; that of silence is the machine epsilon.

    Examples
    --------
    >>> V = torch.tensor([[[0.0, 1.0]], [[4.0, 2.0]], [[0.0, 0.0]]])
    >>> (data_floor(V) / torch.finfo(V.dtype).eps).flatten()
    tensor([1., 4., 1.])
    """
    resolution = torch.finfo(V.dtype)
    largest = V.amax(dim=(-2, -1), keepdim=True)
    floor = resolution.eps * torch.where(largest > 0, largest, 1.0)
    return floor.clamp_min(resolution.tiny**0.5)


def multiplicative_update(
    X: torch.Tensor, terms: Iterable[torch.Tensor], gamma: float
) -> torch.Tensor:
    """Multiply by the quotient of the gradient's two terms, to the power of gamma.

    Parameters
    ----------
    X : Tensor
        Parameters.
    terms : iterable of Tensor
        The negative and the positive term of the gradient of the objective by them.
    gamma : float
        Exponent.

    Returns
    -------
    Tensor
        New parameters. Where both terms are zero nothing speaks for a change, and none is made.

    Examples
    --------
    >>> one, two = torch.ones(1), torch.full((1,), 2.0)
    >>> multiplicative_update(one, (two, one), gamma=1.0)
    tensor([2.])
    """
    negative, positive = terms
    ratio = torch.where(positive > 0, negative / positive, 1.0)
    return X * (ratio if gamma == 1 else ratio**gamma)


def _first_activations(V: torch.Tensor, W: torch.Tensor) -> torch.Tensor:
    batch = torch.broadcast_shapes(V.shape[:-2], W.shape[:-2])
    return torch.ones(*batch, W.shape[-1], V.shape[-1], dtype=V.dtype, device=V.device)
