"""Bayesian harmonic factorisation of power spectrograms, by EM, SAGE or multiplicative updates.

Every bin of the complex spectrogram is a sum of independent Gaussian components, one for each
pitch k and narrow-band template m [1]_::

    x_fn = Σ_km c_kmfn + noise,   c_kmfn ~ N_c(0, h_kn e_mk P_fkm),   noise ~ N_c(0, floor)

so that v = |x|² has the mean v̂_fn = Σ_km h_kn e_mk P_fkm + floor, and maximum likelihood is
minimum Itakura-Saito divergence [2]_. As data are powers, templates and weights are, too:
``harmonic_templates(...) ** 2`` and ``initial_weights(...) ** 2``.

Each row of H may be tied together in time by the chain of :mod:`harmnmf.nmf.solvers.markov_chain`;
the negative log posterior is then, but for a constant::

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

import math
from typing import NamedTuple

import torch

from harmnmf.errors import ParameterError

from .divergence import beta_divergence, gradient_terms, majorisation_exponent
from .loop import PERIOD, check_nonnegative, data_floor, iterate, multiplicative_update
from .markov_chain import chain_divergence, minimise_with_chain

__all__ = [
    "BayesianFactorization",
    "PosteriorPower",
    "factorize_bayesian",
    "posterior_power",
]


class BayesianFactorization(NamedTuple):
    """Template weights, activations, and the negative log posterior at each iteration."""

    E: torch.Tensor
    H: torch.Tensor
    objective: torch.Tensor


class PosteriorPower(NamedTuple):
    """What the data say of each note's power: the mean's, and the variance that remains."""

    mean: torch.Tensor
    variance: torch.Tensor


def factorize_bayesian(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    *,
    H: torch.Tensor | None = None,
    algorithm: str = "em",
    smoothness: float = 0.0,
    update_E: bool = True,
    floor: float | torch.Tensor | None = None,
    n_iter: int = 50,
    tol: float | None = 1e-4,
) -> BayesianFactorization:
    """Estimate activations and envelopes of harmonic templates from a power spectrogram.

    ``"em"`` repeats the updates of [1]_, V̂ computed anew in between::

        h_kn ← h_kn (1 + 1/S_k  Σ_fm (h_kn e_mk P_fkm / v̂_fn) (v_fn / v̂_fn - 1))      (14)
        e_mk ← e_mk (1 + 1/S_mk Σ_fn (h_kn e_mk P_fkm / v̂_fn) (v_fn / v̂_fn - 1))      (15)

    The paper divides by FM and FN. Where a component's prior variance is zero it is zero for
    certain and tells nothing of h or e, so here S counts the support only: (f, m) with
    e_mk P_fkm > 0, and (f, n) with h_kn P_fkm > 0. This is the maximum of the complete-data
    likelihood; the paper's divisor makes shorter steps in the same direction.

    ``"sage"`` visits the pitches in turn, V̂ computed anew for each. The hidden data of h_kn are
    then the whole note Σ_m c_kmfn, so that S_k counts bins only, and steps are up to n_templates
    times longer.

    ``"multiplicative"`` minimises the bound of
    :func:`harmnmf.nmf.solvers.divergence.majorisation_exponent`;
    without smoothness these are the updates of
    :func:`harmnmf.nmf.solvers.multiplicative.factorize_harmonic` with ``beta=0, accelerate=False``.
    They need far fewer iterations: by (14), an activation falls in a step by no more than the
    mean share of its components in V̂, which is small where many notes overlap.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Power spectrogram, not negative.
    P : Tensor, shape (n_bins, n_pitches, n_templates)
        Narrow-band harmonic templates in power.
    E : Tensor, shape (..., n_templates, n_pitches)
        Weights to start from, in power. What is zero stays zero.
    H : Tensor, shape (..., n_pitches, n_frames), optional
        Start, by default the same in all pitches at the level of each frame. What is zero stays
        zero and breaks the chain of the prior: a piano roll is smoothed note by note.
    algorithm : {"em", "sage", "multiplicative"}, default="em"
        How to maximise the posterior.
    smoothness : float, default=0.0
        λ = α + 1 of the prior, 0 for none. Above 1 the prior is proper; each link between two
        frames weighs as much as λ bins.
    update_E : bool, default=True
        Whether to estimate E, or to hold it fixed.
    floor : float or Tensor, optional
        Power of the noise, added to the data as well; by default
        :func:`harmnmf.nmf.solvers.loop.data_floor` of `V`.
    n_iter, tol
        As in :func:`harmnmf.nmf.solvers.multiplicative.estimate_activations`. The objective is
        recorded after every iteration.

    Returns
    -------
    BayesianFactorization
        E of shape (..., n_templates, n_pitches), scaled to columns of PE with unit Euclidean norm
        unless it is fixed; H of shape (..., n_pitches, n_frames), scaled the other way, which
        leaves the objective as it is; the objective, float64, of shape (n_objectives, ...).

    Raises
    ------
    ParameterError
        If `V`, `P`, `E` or `H` is empty, or holds negative or non-finite values; if `algorithm`
        is none of the three, or `smoothness` is negative or not finite.

    References
    ----------
    .. [1] N. Bertin, R. Badeau and E. Vincent, IEEE TASLP 18(3), 2010, equations 14 and 15.

    Examples
    --------
    >>> P = torch.zeros(3, 2, 2)
    >>> P[0, 0, 0] = P[1, 0, 1] = P[1, 1, 0] = P[2, 1, 1] = 1.0
    >>> V = torch.tensor([[4.0, 0.0, 2.0], [2.0, 3.0, 4.0], [0.0, 1.0, 1.0]])
    >>> E, H, objective = factorize_bayesian(V, P, torch.ones(2, 2), n_iter=500)
    >>> (E[0] / E[1]).round(decimals=1).tolist(), bool((objective.diff() <= 1e-5).all())
    ([2.0, 3.0], True)
    """
    check_nonnegative(V=V, P=P, E=E, **({} if H is None else {"H": H}))
    if algorithm not in _STEPS:
        raise ParameterError(f"algorithm must be one of {', '.join(_STEPS)}, not {algorithm!r}")
    if not 0 <= smoothness < math.inf:
        raise ParameterError(f"smoothness must be finite and not negative, not {smoothness}")
    floor = (
        data_floor(V) if floor is None else torch.as_tensor(floor, dtype=V.dtype, device=V.device)
    )
    V = V + floor
    W = _dictionary(P, E)
    H = _frame_levels(V, W) if H is None else H
    E = E.expand(*H.shape[:-2], *E.shape[-2:])

    problem = _Problem(V, P, floor, smoothness, update_E)

    def step(_: int) -> None:
        nonlocal E, H
        assert H is not None
        E, H = _STEPS[algorithm](problem, E, H)

    def objective() -> torch.Tensor:
        assert H is not None
        divergence = beta_divergence(V, _dictionary(P, E) @ H + floor, 0)
        return divergence + smoothness * chain_divergence(H)

    record = iterate(step, objective, n_iter=n_iter, tol=tol, period=PERIOD)
    if update_E:
        norm = torch.linalg.vector_norm(_dictionary(P, E), dim=-2, keepdim=True)
        scale = torch.where(norm > 0, norm, 1.0)
        E, H = E / scale, H * scale.mT
    return BayesianFactorization(E, H, record)


def posterior_power(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    H: torch.Tensor,
    *,
    floor: float | torch.Tensor | None = None,
) -> PosteriorPower:
    """Compute how much of each note is certain, given the data and the model.

    Given x, the note c_kfn = Σ_m c_kmfn of variance h_kn w_fk, W = PE, is Gaussian with [1]_::

        |mean|² = (h_kn w_fk / v̂_fn)² v_fn,   variance = h_kn w_fk (1 - h_kn w_fk / v̂_fn)

    Both are summed over the bins. Their sum is the expected power of the note;
    ``mean / (mean + variance)`` is near 1 where the note explains its bins alone, and near 0
    where others could explain them just as well. The mean tells notes from silence long before
    the activations of EM have settled.

    Parameters
    ----------
    V, P, E, H, floor
        As in :func:`factorize_bayesian`, after the factorisation.

    Returns
    -------
    PosteriorPower
        Two tensors of shape (..., n_pitches, n_frames). The variance lies between zero and that
        of the prior, Σ_f h_kn w_fk.

    Raises
    ------
    ParameterError
        If an array is empty or holds negative or non-finite values.

    References
    ----------
    .. [1] C. Févotte, N. Bertin and J.-L. Durrieu, Neural Computation 21(3), 2009.

    Examples
    --------
    A note with a bin of its own, and two that share one:

    >>> P = torch.tensor([[[1.0], [0.0], [0.0]], [[0.0], [1.0], [1.0]]])
    >>> V, H = torch.tensor([[1.0], [2.0]]), torch.ones(3, 1)
    >>> posterior = posterior_power(V, P, torch.ones(1, 3), H, floor=0.0)
    >>> posterior.mean.flatten(), posterior.variance.flatten()
    (tensor([1.0000, 0.5000, 0.5000]), tensor([0.0000, 0.5000, 0.5000]))
    """
    check_nonnegative(V=V, P=P, E=E, H=H)
    floor = data_floor(V) if floor is None else floor
    W = _dictionary(P, E)
    terms = gradient_terms(V + floor, W @ H + floor, 0)
    W2 = W.square().mT
    mean, explained = (H.square() * (W2 @ term) for term in terms)
    prior = H * W.sum(dim=-2, keepdim=True).mT
    return PosteriorPower(mean, (prior - explained).clamp_min(0))


_Factors = tuple[torch.Tensor, torch.Tensor]


class _Problem(NamedTuple):
    V: torch.Tensor
    P: torch.Tensor
    floor: torch.Tensor
    smoothness: float
    update_E: bool


def _em_step(problem: _Problem, E: torch.Tensor, H: torch.Tensor) -> _Factors:
    V, P, floor, smoothness, update_E = problem
    W = _dictionary(P, E)
    bins = (P > 0).sum(dim=0).mT
    terms = gradient_terms(V, W @ H + floor, 0)
    S = (bins * (E > 0)).sum(dim=-2).unsqueeze(-1).to(V.dtype)
    A = _expected_power(H, S, *(W.mT @ term for term in terms))
    H = minimise_with_chain(H, A, S, torch.zeros_like(A), smoothness)
    if update_E:
        terms = gradient_terms(V, W @ H + floor, 0)
        S = bins * (H > 0).sum(dim=-1).unsqueeze(-2).to(V.dtype)
        E = _expected_power(E, S, *_by_weights(P, terms, H)) / S.clamp_min(1)
    return E, H


def _sage_step(problem: _Problem, E: torch.Tensor, H: torch.Tensor) -> _Factors:
    V, P, floor, smoothness, update_E = problem
    E, H = E.clone(), H.clone()
    V_hat = _dictionary(P, E) @ H + floor
    for k in range(P.shape[1]):
        # Beyond its support a pitch neither sees nor changes anything.
        support = (P[:, k] > 0).any(dim=-1).nonzero()[:, 0]
        Pk, v, v_hat = P[support, k], V[..., support, :], V_hat[..., support, :]
        e, h = E[..., k : k + 1], H[..., k : k + 1, :]
        w = Pk @ e
        # Rounding must not leave the other pitches less than the noise.
        others = torch.maximum(v_hat - w * h, floor)
        S = (w > 0).sum(dim=-2, keepdim=True).to(V.dtype)
        A = _expected_power(h, S, *(w.mT @ term for term in gradient_terms(v, v_hat, 0)))
        h = minimise_with_chain(h, A, S, torch.zeros_like(A), smoothness)
        if update_E:
            terms = gradient_terms(v, others + w * h, 0)
            S = (Pk > 0).sum(dim=0).unsqueeze(-1) * (h > 0).sum(dim=-1, keepdim=True).to(V.dtype)
            e = _expected_power(e, S, *(Pk.mT @ (term @ h.mT) for term in terms)) / S.clamp_min(1)
        E[..., k : k + 1], H[..., k : k + 1, :] = e, h
        V_hat[..., support, :] = others + (Pk @ e) * h
    return E, H


def _multiplicative_step(problem: _Problem, E: torch.Tensor, H: torch.Tensor) -> _Factors:
    V, P, floor, smoothness, update_E = problem
    W = _dictionary(P, E)
    negative, positive = (W.mT @ term for term in gradient_terms(V, W @ H + floor, 0))
    H = minimise_with_chain(H, H.square() * negative, torch.zeros_like(H), positive, smoothness)
    if update_E:
        terms = gradient_terms(V, W @ H + floor, 0)
        E = multiplicative_update(E, _by_weights(P, terms, H), majorisation_exponent(0))
    return E, H


_STEPS = {"em": _em_step, "sage": _sage_step, "multiplicative": _multiplicative_step}


def _dictionary(P: torch.Tensor, E: torch.Tensor) -> torch.Tensor:
    return torch.einsum("fkm,...mk->...fk", P, E)


def _by_weights(P: torch.Tensor, terms: _Factors, H: torch.Tensor) -> _Factors:
    """Σ_fn P_fkm h_kn of the negative and the positive term, both (..., n_templates, n_pitches)."""
    negative, positive = (torch.einsum("fkm,...fk->...mk", P, term @ H.mT) for term in terms)
    return negative, positive


def _expected_power(
    X: torch.Tensor, S: torch.Tensor, negative: torch.Tensor, positive: torch.Tensor
) -> torch.Tensor:
    """Posterior power of components over their prior variance, times X, summed over the support.

    For a component of variance x p that is Σ x (1 + (x p / v̂) (v / v̂ - 1)), where Σ p v / v̂² and
    Σ p / v̂ are the terms of the gradient by x. Apart, both summands are never negative.
    """
    return X * (S - X * positive).clamp_min(0) + X.square() * negative


def _frame_levels(V: torch.Tensor, W: torch.Tensor) -> torch.Tensor:
    """Activations, alike for all pitches, for which each frame of WH has the sum of V's."""
    total = W.sum(dim=(-2, -1), keepdim=True)
    level = V.sum(dim=-2, keepdim=True) / torch.where(total > 0, total, 1.0)
    return level.expand(*level.shape[:-2], W.shape[-1], V.shape[-1])
