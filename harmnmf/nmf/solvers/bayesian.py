"""Bayesian harmonic factorisation of power spectrograms, by EM, SAGE or multiplicative updates.

Every bin of the complex spectrogram is a sum of independent Gaussian components, one for each
pitch k and narrow-band template m [1]_::

    x_fn = Σ_km c_kmfn + noise,   c_kmfn ~ N_c(0, h_kn e_mk P_fkm),   noise ~ N_c(0, floor)

so that v = |x|² has the mean v̂_fn = Σ_km h_kn e_mk P_fkm + floor, and maximum likelihood is
minimum Itakura-Saito divergence [2]_. The data are powers, and so are templates and weights:
``harmonic_templates(...) ** 2`` and ``initial_weights(...) ** 2``.

The rows of H may be smoothed in time by the prior of :mod:`harmnmf.nmf.solvers.markov_chain`; the
negative log posterior is then, up to a constant::

    D_IS(V | V̂) + λ Σ_kn d_IS(h_k,n-1 | h_kn)

References
----------
.. [1] N. Bertin, R. Badeau and E. Vincent, "Enforcing harmonicity and smoothness in Bayesian
   non-negative matrix factorization applied to polyphonic music transcription", IEEE TASLP
   18(3), 2010, pp. 538-549.
.. [2] C. Févotte, N. Bertin and J.-L. Durrieu, "Nonnegative matrix factorization with the
   Itakura-Saito divergence", Neural Computation 21(3), 2009, pp. 793-830.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from harmnmf.validation import check_choice, check_number

from .divergence import beta_divergence, gradient_terms, majorisation_exponent
from .loop import SolverOptions, check_nonnegative, data_floor, iterate, multiplicative_update
from .markov_chain import chain_divergence, minimise_with_chain
from .multiplicative import (
    HarmonicFactorization,
    harmonic_dictionary,
    normalised_factorization,
)

__all__ = ["BayesianOptions", "factorize_bayesian"]


@dataclass(frozen=True, kw_only=True)
class BayesianOptions(SolverOptions):
    """Options of the Bayesian solver.

    Parameters
    ----------
    algorithm : {"em", "sage", "multiplicative"}, default="em"
        How to maximise the posterior.
    smoothness : float, default=0.0
        λ = α + 1 of the prior; 0 for no prior. Above 1 the prior is proper; each link between
        two frames weighs as much as λ bins.
    floor, max_iter, tol
        As in :class:`~harmnmf.nmf.solvers.loop.SolverOptions`; the floor is the power of the
        noise.

    Raises
    ------
    ParameterError
        If `algorithm` is unknown, or `smoothness` is negative or not finite.
    """

    algorithm: str = "em"
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("algorithm", self.algorithm, _STEPS)
        check_number("smoothness", self.smoothness, 0)


def factorize_bayesian(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    H: torch.Tensor | None = None,
    options: BayesianOptions | None = None,
) -> HarmonicFactorization:
    """Estimate activations and envelopes of harmonic templates from a power spectrogram.

    ``"em"`` repeats the updates of Bertin, Badeau and Vincent, with V̂ recomputed before each::

        h_kn ← h_kn (1 + 1/S_k  Σ_fm (h_kn e_mk P_fkm / v̂_fn) (v_fn / v̂_fn - 1))      (14)
        e_mk ← e_mk (1 + 1/S_mk Σ_fn (h_kn e_mk P_fkm / v̂_fn) (v_fn / v̂_fn - 1))      (15)

    The paper divides by FM and FN; S counts the support only: (f, m) with e_mk P_fkm > 0, and
    (f, n) with h_kn P_fkm > 0. ``"sage"`` updates pitch after pitch, with V̂ recomputed for
    each; S_k then counts bins only. ``"multiplicative"`` needs far fewer iterations: without
    smoothness its updates are those of
    :func:`harmnmf.nmf.solvers.multiplicative.factorize_harmonic` for β = 0, not accelerated.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Power spectrogram, not negative.
    P : Tensor, shape (n_bins, n_pitches, n_templates)
        Narrow-band harmonic templates in power.
    E : Tensor, shape (..., n_templates, n_pitches)
        Initial weights, in power. Zeros stay zero.
    H : Tensor, shape (..., n_pitches, n_frames), optional
        Initial activations, by default the level of each frame, equal for all pitches. Zeros stay
        zero and break the chain of the prior: with a piano roll, notes are smoothed separately.
    options : BayesianOptions, optional
        Options. Default: ``BayesianOptions()``.

    Returns
    -------
    HarmonicFactorization
        W = PE of shape (..., n_bins, n_pitches) with columns of unit Euclidean norm, E of shape
        (..., n_templates, n_pitches), H of shape (..., n_pitches, n_frames), and the record of
        the iterations, with the objective before the first and after each.

    Raises
    ------
    ParameterError
        If an array is empty, or holds negative or non-finite values.

    Examples
    --------
    >>> P = torch.zeros(3, 2, 2)
    >>> P[0, 0, 0] = P[1, 0, 1] = P[1, 1, 0] = P[2, 1, 1] = 1.0
    >>> V = torch.tensor([[4.0, 0.0, 2.0], [2.0, 3.0, 4.0], [0.0, 1.0, 1.0]])
    >>> options = BayesianOptions(max_iter=500)
    >>> result = factorize_bayesian(V, P, torch.ones(2, 2), options=options)
    >>> (result.E[0] / result.E[1]).round(decimals=1)
    tensor([2., 3.])
    """
    options = BayesianOptions() if options is None else options
    check_nonnegative(V=V, P=P, E=E, H=H)
    floor = data_floor(V) if options.floor is None else options.floor
    floor = torch.as_tensor(floor, dtype=V.dtype, device=V.device)
    V = V + floor
    W = harmonic_dictionary(P, E)
    H = _frame_levels(V, W) if H is None else H
    factors = E.expand(*H.shape[:-2], *E.shape[-2:]), H
    problem = _Problem(V, P, floor, options.smoothness)

    def step(_: int) -> None:
        nonlocal factors
        factors = _STEPS[options.algorithm](problem, *factors)

    def objective() -> torch.Tensor:
        E, H = factors
        divergence = beta_divergence(V, harmonic_dictionary(P, E) @ H + floor, 0)
        return divergence + options.smoothness * chain_divergence(H)

    run = iterate(step, objective, options)
    return normalised_factorization(P, *factors, run)


_Factors = tuple[torch.Tensor, torch.Tensor]


class _Problem(NamedTuple):
    V: torch.Tensor
    P: torch.Tensor
    floor: torch.Tensor
    smoothness: float


def _em_step(problem: _Problem, E: torch.Tensor, H: torch.Tensor) -> _Factors:
    V, P, floor, smoothness = problem
    W = harmonic_dictionary(P, E)
    bins = (P > 0).sum(dim=0).mT
    terms = gradient_terms(V, W @ H + floor, 0)
    S = (bins * (E > 0)).sum(dim=-2).unsqueeze(-1).to(V.dtype)
    A = _expected_power(H, S, *(W.mT @ term for term in terms))
    H = minimise_with_chain(H, A, S, torch.zeros_like(A), smoothness)
    terms = gradient_terms(V, W @ H + floor, 0)
    S = bins * (H > 0).sum(dim=-1).unsqueeze(-2).to(V.dtype)
    E = _expected_power(E, S, *_by_weights(P, terms, H)) / S.clamp_min(1)
    return E, H


def _sage_step(problem: _Problem, E: torch.Tensor, H: torch.Tensor) -> _Factors:
    V, P, floor, smoothness = problem
    E, H = E.clone(), H.clone()
    V_hat = harmonic_dictionary(P, E) @ H + floor
    for k in range(P.shape[1]):
        # The update depends on, and changes, only bins in the support of the pitch.
        support = (P[:, k] > 0).any(dim=-1).nonzero()[:, 0]
        Pk, v, v_hat = P[support, k], V[..., support, :], V_hat[..., support, :]
        e, h = E[..., k : k + 1], H[..., k : k + 1, :]
        w = Pk @ e
        # Rounding errors must not make the other pitches weaker than the noise.
        others = torch.maximum(v_hat - w * h, floor)
        S = (w > 0).sum(dim=-2, keepdim=True).to(V.dtype)
        A = _expected_power(h, S, *(w.mT @ term for term in gradient_terms(v, v_hat, 0)))
        h = minimise_with_chain(h, A, S, torch.zeros_like(A), smoothness)
        terms = gradient_terms(v, others + w * h, 0)
        S = (Pk > 0).sum(dim=0).unsqueeze(-1) * (h > 0).sum(dim=-1, keepdim=True).to(V.dtype)
        e = _expected_power(e, S, *(Pk.mT @ (term @ h.mT) for term in terms)) / S.clamp_min(1)
        E[..., k : k + 1], H[..., k : k + 1, :] = e, h
        V_hat[..., support, :] = others + (Pk @ e) * h
    return E, H


def _multiplicative_step(problem: _Problem, E: torch.Tensor, H: torch.Tensor) -> _Factors:
    V, P, floor, smoothness = problem
    W = harmonic_dictionary(P, E)
    negative, positive = (W.mT @ term for term in gradient_terms(V, W @ H + floor, 0))
    H = minimise_with_chain(H, H.square() * negative, torch.zeros_like(H), positive, smoothness)
    terms = gradient_terms(V, W @ H + floor, 0)
    E = multiplicative_update(E, _by_weights(P, terms, H), majorisation_exponent(0))
    return E, H


_STEPS = {"em": _em_step, "sage": _sage_step, "multiplicative": _multiplicative_step}


def _by_weights(P: torch.Tensor, terms: _Factors, H: torch.Tensor) -> _Factors:
    """Σ_fn P_fkm h_kn of the negative and the positive term, both (..., n_templates, n_pitches)."""
    negative, positive = (torch.einsum("fkm,...fk->...mk", P, term @ H.mT) for term in terms)
    return negative, positive


def _expected_power(
    X: torch.Tensor, S: torch.Tensor, negative: torch.Tensor, positive: torch.Tensor
) -> torch.Tensor:
    """Posterior power of components over their prior variance, times X, summed over the support.

    For a component of variance x p this is Σ x (1 + (x p / v̂) (v / v̂ - 1)), where Σ p v / v̂² and
    Σ p / v̂ are the terms of the gradient by x. Computed separately, neither summand is negative.
    """
    return X * (S - X * positive).clamp_min(0) + X.square() * negative


def _frame_levels(V: torch.Tensor, W: torch.Tensor) -> torch.Tensor:
    """Activations, equal for all pitches, for which each frame of WH sums to that of V."""
    total = W.sum(dim=(-2, -1), keepdim=True)
    level = V.sum(dim=-2, keepdim=True) / torch.where(total > 0, total, 1.0)
    return level.expand(*level.shape[:-2], W.shape[-1], V.shape[-1])
