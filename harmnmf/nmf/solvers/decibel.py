"""Factorisation V ≈ WH with a dictionary that is harmonic a priori: gradient MAP in decibels.

The dictionary W ("realistic") is free, and the harmonic PE ("idealistic") is the mean of its
prior. In decibels both are unconstrained, and their difference is Gaussian with a standard
deviation of σ dB in every bin [1]_. The solver minimises over W_dB, E and, if wanted, H::

    D(V | WH) + λ ‖W_dB − (PE)_dB‖²,   W = 10^(W_dB / 10),   λ = 1 / (2σ²)

From σ = ∞, plain factorisation, to σ = 0, where W = PE, one number says how rigid the constraint
is. Here x_dB is 10 log₁₀ x of whatever V holds: of magnitudes, it is half the usual level. D is a
sum over all bins and frames, so that longer recordings outweigh the prior, and louder ones too
unless β is 0 or D is a distance in decibels.

Deviations need not be independent: with bases over bins, keys and timbres they are
``W_dB − (PE)_dB = (B_f ⊗ B_k ⊗ B_j) c``, and the prior is on c instead, ‖c‖² / (2σ²). With
:func:`smooth_basis` that is a Gaussian process: what lies close together deviates alike.

Decibels of zero do not exist: where PE is zero, the prior mean is an explicit floor.

References
----------
.. [1] T. Lu, "Harmonic Constraint in Music Spectrogram Reconstruction", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch

from harmnmf.errors import ParameterError

from .decibels import Amp2dB, dB2Amp
from .divergence import beta_divergence, gradient_terms
from .gradient import minimise
from .loop import check_nonnegative, data_floor

__all__ = [
    "Amp2dB",
    "DecibelFactorization",
    "dB2Amp",
    "decibel_objective",
    "factorize_decibel",
    "smooth_basis",
]

# Directions in which a smooth deviation has less than this fraction of the variance of the
# likeliest one are left out.
_LEAST_VARIANCE = 1e-4


class DecibelFactorization(NamedTuple):
    """Dictionary, template weights, activations, objective at each iteration, W_dB − (PE)_dB."""

    W: torch.Tensor
    E: torch.Tensor
    H: torch.Tensor
    objective: torch.Tensor
    deviation: torch.Tensor


def smooth_basis(positions: torch.Tensor, length: float) -> torch.Tensor:
    """Make a basis in which independent Gaussian coefficients give a smooth curve.

    Parameters
    ----------
    positions : Tensor, shape (n,)
        Where the curve is wanted.
    length : float
        Its correlation length, in units of the positions, positive: at a distance of d the
        correlation is exp(−(d / length)² / 2).

    Returns
    -------
    Tensor, shape (n, n_components)
        B, with B Bᵀ the correlation but for what hardly ever happens.

    Raises
    ------
    ParameterError
        If the length is not positive.

    Examples
    --------
    >>> B = smooth_basis(torch.arange(4.0), length=1.0)
    >>> (B @ B.T)[0].round(decimals=2)
    tensor([1.0000, 0.6100, 0.1400, 0.0100])
    """
    if not length > 0:
        raise ParameterError(f"length must be positive, not {length}")
    x = positions.double()
    correlation = torch.exp(-((x[:, None] - x) ** 2) / (2 * length**2))
    variances, directions = torch.linalg.eigh(correlation)
    kept = variances > _LEAST_VARIANCE * variances.max()
    return (directions[:, kept] * variances[kept].sqrt()).to(positions.dtype)


def decibel_objective(
    V: torch.Tensor,
    W_dB: torch.Tensor,
    PE_dB: torch.Tensor,
    H: torch.Tensor,
    *,
    sigma: float,
    domain: Literal["linear", "decibel"] = "linear",
    beta: float = 0.5,
    floor: float | torch.Tensor = 0.0,
) -> torch.Tensor:
    """Compute the differentiable objective D(V | WH) + ‖W_dB − (PE)_dB‖² / (2σ²).

    Parameters
    ----------
    V : Tensor, shape (n_bins, n_frames)
        Spectrogram.
    W_dB, PE_dB : Tensor, shape (n_bins, n_pitches, n_timbres)
        Dictionary and its prior mean in dB.
    H : Tensor, shape (n_pitches, n_timbres, n_frames)
        Activations.
    sigma : float
        Standard deviation σ in dB. Infinity is no prior; with 0 the two must be equal, and the
        prior is not counted.
    domain, beta, floor
        As in :func:`factorize_decibel`.

    Returns
    -------
    Tensor, float64, shape ()
        The objective.

    Examples
    --------
    >>> V, W_dB, PE_dB = torch.ones(2, 3), torch.zeros(2, 1, 1), torch.full((2, 1, 1), 4.0)
    >>> decibel_objective(V, W_dB, PE_dB, torch.ones(1, 1, 3), sigma=4.0)
    tensor(1., dtype=torch.float64)
    """
    V_hat = torch.einsum("fkj,kjn->fn", dB2Amp()(W_dB), H) + floor
    V = V + floor
    if domain == "linear":
        D = _BetaDivergence.apply(V, V_hat, beta)
    else:
        to_dB = Amp2dB(torch.finfo(V.dtype).tiny)
        D = (to_dB(V) - to_dB(V_hat)).square().sum(dtype=torch.float64)
    if not 0 < sigma < math.inf:
        return D
    return D + (W_dB - PE_dB).square().sum(dtype=torch.float64) / (2 * sigma**2)


def factorize_decibel(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    *,
    H: torch.Tensor | None = None,
    estimate_E: bool = True,
    estimate_H: bool = True,
    sigma: float = 3.0,
    bases: Sequence[torch.Tensor | None] = (None, None, None),
    domain: Literal["linear", "decibel"] = "linear",
    beta: float = 0.5,
    floor: float | torch.Tensor | None = None,
    dynamic_range: float = 60.0,
    optimizer: Literal["lbfgs", "adam"] = "lbfgs",
    learning_rate: float = 1.0,
    n_iter: int = 100,
    tol: float | None = 1e-4,
) -> DecibelFactorization:
    """Estimate a dictionary near harmonic templates, with known or unknown activations.

    The dictionary starts at PE, in which the level of `E` is immaterial if H is known: model and
    data are first given the same sum. Timbres that start equal in `E` and `H` stay equal.

    Parameters
    ----------
    V : Tensor, shape (n_bins, n_frames)
        Spectrogram, not negative.
    P : Tensor, shape (n_bins, n_pitches, n_templates)
        Narrow-band harmonic templates, as :func:`harmnmf.harmonic_templates` makes them, or
        (n_bins, n_pitches, n_timbres, n_templates) if timbres have their own. A dictionary W₀ is
        the prior mean with ``P = W0[..., None]`` and `E` fixed at ones.
    E : Tensor, shape (n_templates, n_pitches, n_timbres)
        Start of the weights. What is zero stays zero.
    H : Tensor, shape (n_pitches, n_timbres, n_frames), optional
        Activations, a score's piano roll for instance, or their start, by default all equal. What
        is zero stays zero.
    estimate_E, estimate_H : bool, default=True
        Whether to estimate E and H, both in dB; otherwise they stay as given, but for the level
        of `E` if `H` stays.
    sigma : float, default=3.0
        Standard deviation σ of W about PE in dB: 0 binds W to PE, infinity leaves it free, and
        `E` as it was.
    bases : sequence of three (Tensor or None), optional
        Bases of W_dB − (PE)_dB over bins, pitches and timbres, each (n, n_components); σ is then
        the standard deviation of their coefficients. A column of ones ties all together. Default:
        every element of W deviates by itself.
    domain : {"linear", "decibel"}, default="linear"
        D is a beta-divergence of V̂ from V, or the sum of (V_dB − V̂_dB)².
    beta : float, default=0.5
        The beta-divergence: 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito.
    floor : float or Tensor, optional
        Constant added to data and model, by default :func:`data_floor` of `V`, and for distances
        in decibels `dynamic_range` below the largest value of `V`.
    dynamic_range : float, default=60.0
        Distance in dB from the largest value that PE starts with down to the floor that is added
        to PE: the prior mean where PE is zero. So W is never zero, not even with σ = 0.
    optimizer : {"lbfgs", "adam"}, default="lbfgs"
        L-BFGS with a line search, which never raises the objective, or Adam, which fell faster
        on a piano recording when H was estimated too.
    learning_rate : float, default=1.0
        First step of the line search, or the step of Adam in dB.
    n_iter : int, default=100
        Largest number of iterations.
    tol : float or None, default=1e-4
        Stop when the objective falls by no more than this fraction in ten iterations; 0 never
        stops, and None records no objectives.

    Returns
    -------
    DecibelFactorization
        W (n_bins, n_pitches, n_timbres), E, H, the objective, float64, (n_objectives,), and by
        how many dB W deviates from the templates, of the shape of W. If H was estimated, and E
        or no prior holds W at its level, columns of W are scaled to unit Euclidean norm, E with
        them, and H the other way.

    Raises
    ------
    ParameterError
        If an array is empty, holds negative or non-finite values, or does not fit the others, or
        an option is outside its domain.

    References
    ----------
    .. [1] T. Lu, "Harmonic Constraint in Music Spectrogram Reconstruction", 2021.

    Examples
    --------
    A key with two partials, and some energy where the templates have none:

    >>> P = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]])
    >>> W = torch.tensor([[4.0], [0.1], [1.0]])
    >>> H = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> for sigma in (0.0, 3.0):
    ...     result = factorize_decibel(
    ...         W @ H[0], P, torch.ones(2, 1, 1), H=H, estimate_H=False, sigma=sigma
    ...     )
    ...     print((10 * result.W[:, 0, 0].log10()).round().int())
    tensor([  6, -56,   0], dtype=torch.int32)
    tensor([  6, -30,   0], dtype=torch.int32)
    """
    if P.ndim == 3:
        P = P[:, :, None]
    if H is None and not estimate_H:
        raise ParameterError("H must be given if it is not to be estimated")
    H = V.new_ones(*E.shape[1:], *V.shape[1:]) if H is None else H
    check_nonnegative(V=V, P=P, E=E, H=H)
    _check_shapes(V, P, E, H)
    shape = (V.shape[0], *E.shape[1:])
    if len(bases) != 3 or not all(
        B is None or (B.ndim == 2 and len(B) == n) for B, n in zip(bases, shape, strict=False)
    ):
        raise ParameterError(f"bases must be three, (n, n_components) with n from {shape}")
    if not sigma >= 0:
        raise ParameterError(f"sigma must not be negative, but is {sigma}")
    if not 0 < dynamic_range < math.inf:
        raise ParameterError(f"dynamic_range must be positive, not {dynamic_range}")
    if domain not in ("linear", "decibel"):
        raise ParameterError(f"domain must be 'linear' or 'decibel', not {domain!r}")

    to_amp, to_dB = dB2Amp(), Amp2dB(torch.finfo(V.dtype).tiny)
    smallest = 10 ** (-dynamic_range / 10)
    if floor is None:
        floor = data_floor(V)
        floor = floor.maximum(smallest * V.amax()) if domain == "decibel" else floor
    total = torch.einsum("fkj,kjn->", _dictionary(P, E), H)
    level = torch.where((V.sum() > 0) & (total > 0), V.sum() / total, 1.0)
    E0, H0 = (E, level * H) if estimate_H else (level * E, H)
    PE = _dictionary(P, E0)
    to_PE_dB = Amp2dB(max(smallest * PE.max().item(), torch.finfo(V.dtype).tiny))

    # W is held as its deviation from PE: changes of E take W along, however tight the prior.
    components = [n if B is None else B.shape[1] for n, B in zip(shape, bases, strict=True)]
    coefficients, E_dB, H_dB = PE.new_zeros(components), to_dB(E0), to_dB(H0)
    estimate_E = estimate_E and sigma < math.inf

    def deviate() -> torch.Tensor:
        deviation = coefficients
        for axis, B in enumerate(bases):
            if B is not None:
                deviation = torch.tensordot(deviation, B, dims=([axis], [1])).movedim(-1, axis)
        return deviation

    def state() -> tuple[torch.Tensor, ...]:
        E = to_amp(E_dB) * (E0 > 0) if estimate_E else E0
        H = to_amp(H_dB) * (H0 > 0) if estimate_H else H0
        PE_dB = to_PE_dB(_dictionary(P, E))
        return PE_dB + deviate(), PE_dB, E, H

    def objective() -> torch.Tensor:
        W_dB, PE_dB, _, H = state()
        D = decibel_objective(
            V, W_dB, PE_dB, H, sigma=math.inf, domain=domain, beta=beta, floor=floor
        )
        if not 0 < sigma < math.inf:
            return D
        return D + coefficients.square().sum(dtype=torch.float64) / (2 * sigma**2)

    parameters = [
        X
        for X, is_free in ((coefficients, sigma > 0), (E_dB, estimate_E), (H_dB, estimate_H))
        if is_free
    ]
    if not parameters:
        raise ParameterError("there is nothing to estimate: sigma is 0, and E and H are fixed")
    record = minimise(
        objective,
        parameters,
        optimizer=optimizer,
        learning_rate=learning_rate,
        n_iter=n_iter,
        tol=tol,
    )
    with torch.no_grad():
        W_dB, _, E, H = state()
        W, deviation = to_amp(W_dB), deviate().detach()
    if estimate_H and (estimate_E or sigma == math.inf):
        norm = torch.linalg.vector_norm(W, dim=0)
        W, H = W / norm, H * norm[..., None]
        E = E / norm if estimate_E else E
    return DecibelFactorization(W, E, H, record, deviation)


def _dictionary(P: torch.Tensor, E: torch.Tensor) -> torch.Tensor:
    return torch.einsum("fkjm,mkj->fkj", P.expand(-1, -1, E.shape[2], -1), E)


def _check_shapes(V: torch.Tensor, P: torch.Tensor, E: torch.Tensor, H: torch.Tensor) -> None:
    """Refuse arrays that do not fit each other, `P` with its axis of timbres."""
    fits = (
        (V.ndim, P.ndim, E.ndim, H.ndim) == (2, 4, 3, 3)
        and P.shape[2] in (1, E.shape[2])
        and P.shape == (V.shape[0], E.shape[1], P.shape[2], E.shape[0])
        and H.shape == (*E.shape[1:], V.shape[1])
    )
    if not fits:
        shapes = ", ".join(
            f"{name} {tuple(X.shape)}" for name, X in zip("VPEH", (V, P, E, H), strict=True)
        )
        raise ParameterError(f"the shapes of {shapes} do not fit each other")


class _BetaDivergence(torch.autograd.Function):
    """The divergence with its gradient in closed form, cheaper than that of its powers."""

    @staticmethod
    def forward(ctx: Any, V: torch.Tensor, V_hat: torch.Tensor, beta: float) -> torch.Tensor:
        ctx.save_for_backward(V, V_hat)
        ctx.beta = beta
        return beta_divergence(V, V_hat, beta)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor, None]:
        V, V_hat = ctx.saved_tensors
        negative, positive = gradient_terms(V, V_hat, ctx.beta)
        return None, (positive - negative) * grads[0].to(positive.dtype), None
