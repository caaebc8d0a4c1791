"""Factorisation V ≈ WH with a dictionary that is harmonic a priori: gradient MAP in decibels.

The dictionary W ("realistic") is free, and the harmonic PE ("idealistic") is the mean of its
prior. In decibels both are unconstrained, and their difference is Gaussian with a standard
deviation of σ dB in every bin [1]_. The solver minimises over W_dB, E and optionally H::

    D(V | WH) + λ ‖W_dB − (PE)_dB‖²,   W = 10^(W_dB / 10),   λ = 1 / (2σ²)

σ controls how rigid the constraint is, from plain factorisation for σ = ∞ to W = PE for σ = 0.
Here x_dB is 10 log₁₀ x for magnitudes as for powers: for magnitudes, half the usual level.

Deviations need not be independent. With bases over bins, keys and timbres they are
``W_dB − (PE)_dB = (B_f ⊗ B_k ⊗ B_j) c``, and the prior is on c instead, ‖c‖² / (2σ²). With
:func:`smooth_basis` the deviation is a Gaussian process: neighbours have similar deviations.

References
----------
.. [1] T. Lu, "Harmonic Constraint in Music Spectrogram Reconstruction", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from harmnmf.errors import ParameterError
from harmnmf.validation import check_choice, check_flag, check_number

from .divergence import beta_divergence, gradient_terms
from .gradient import minimise
from .loop import SolverOptions, check_nonnegative, data_floor

__all__ = [
    "DecibelFactorization",
    "DecibelOptions",
    "amplitude_to_decibels",
    "decibel_divergence",
    "decibels_to_amplitude",
    "factorize_decibel",
    "smooth_basis",
]

# Principal components of a smooth deviation are left out below this fraction of the largest
# variance.
_MIN_VARIANCE = 1e-4
# A long step of an optimiser must not overflow: single precision ends at 386 dB. Above this level
# the gradient is zero.
_MAX_DB = 150.0
# Distance in dB of a start from the minimum.
_TYPICAL_ERROR = 10.0


@dataclass(frozen=True, kw_only=True)
class DecibelOptions(SolverOptions):
    """Options of the decibel solver.

    Parameters
    ----------
    estimate_E, estimate_H : bool, default=True
        Whether to estimate E and H, both in dB. Otherwise they are fixed; the level of `E` is
        matched to the data if `H` is fixed.
    sigma : float, default=3.0
        Standard deviation σ of W from PE in dB. 0: W = PE. Infinity: W is free, and `E` stays as
        given.
    bases : sequence of three (Tensor or None), optional
        Bases of W_dB − (PE)_dB over bins, pitches and timbres, each (n, n_components), of whose
        coefficients σ is then the standard deviation. None: independent deviations.
    domain : {"linear", "decibel"}, default="linear"
        Whether D is a beta-divergence, or the sum of (V_dB − V̂_dB)².
    beta : float, default=0.5
        The beta-divergence: 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito.
    dynamic_range : float, default=60.0
        The floor that is added to PE lies this many dB below the largest value that PE starts
        with.
    optimizer : {"lbfgs", "adam"}, default="lbfgs"
        L-BFGS with a line search, which never raises the objective, or Adam with steps of 1 dB.
    floor : float or Tensor, optional
        Constant added to data and model. Default: :func:`~harmnmf.nmf.solvers.loop.data_floor`;
        for distances in decibels at least `dynamic_range` below the largest value of the data.
    max_iter : int, default=100
        Maximum number of iterations.
    tol : float or None, default=1e-4
        As in :class:`~harmnmf.nmf.solvers.loop.SolverOptions`.

    Raises
    ------
    ParameterError
        If an option is outside its domain, or there is nothing to estimate.
    """

    estimate_E: bool = True
    estimate_H: bool = True
    sigma: float = 3.0
    bases: Sequence[torch.Tensor | None] = (None, None, None)
    domain: Literal["linear", "decibel"] = "linear"
    beta: float = 0.5
    dynamic_range: float = 60.0
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    max_iter: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("estimate_E", self.estimate_E)
        check_flag("estimate_H", self.estimate_H)
        check_number("beta", self.beta)
        check_number("sigma", self.sigma, 0, infinite=True)
        check_number("dynamic_range", self.dynamic_range, above=0)
        check_choice("domain", self.domain, ("linear", "decibel"))
        check_choice("optimizer", self.optimizer, ("lbfgs", "adam"))
        if not (self.estimate_E or self.estimate_H or self.sigma):
            raise ParameterError("there is nothing to estimate: sigma is 0, and E and H are fixed")


class DecibelFactorization(NamedTuple):
    """Dictionary, template weights, activations, record of the iterations, W_dB − (PE)_dB."""

    W: torch.Tensor
    E: torch.Tensor
    H: torch.Tensor
    objective: torch.Tensor
    n_iter: int
    converged: bool
    deviation: torch.Tensor


def amplitude_to_decibels(x: torch.Tensor, floor: float) -> torch.Tensor:
    """Convert amplitudes to decibels, 10 log₁₀(x + floor).

    Examples
    --------
    >>> amplitude_to_decibels(torch.tensor([0.0, 0.1, 1.0, 100.0]), floor=1e-6).round()
    tensor([-60., -10.,   0.,  20.])
    """
    return 10 * torch.log10(x + floor)


def decibels_to_amplitude(x: torch.Tensor) -> torch.Tensor:
    """Convert decibels to amplitudes, 10^(x / 10); levels above 150 dB are clipped.

    Examples
    --------
    >>> decibels_to_amplitude(torch.tensor([-10.0, 0.0, 20.0]))
    tensor([  0.1000,   1.0000, 100.0000])
    """
    return 10 ** (x.clamp_max(_MAX_DB) / 10)


def smooth_basis(positions: torch.Tensor, length: float) -> torch.Tensor:
    """Make a basis in which independent Gaussian coefficients give a smooth curve.

    Parameters
    ----------
    positions : Tensor, shape (n,)
        Points of the curve.
    length : float
        Correlation length, in units of the positions: the correlation at a distance d is
        exp(−(d / length)² / 2).

    Returns
    -------
    Tensor, shape (n, n_components)
        B, for which B Bᵀ is the correlation matrix without its smallest principal components.

    Examples
    --------
    >>> B = smooth_basis(torch.arange(4.0), length=1.0)
    >>> (B @ B.T)[0].round(decimals=2)
    tensor([1.0000, 0.6100, 0.1400, 0.0100])
    """
    x = positions.double()
    correlation = torch.exp(-((x[:, None] - x) ** 2) / (2 * length**2))
    variances, directions = torch.linalg.eigh(correlation)
    kept = variances > _MIN_VARIANCE * variances.max()
    return (directions[:, kept] * variances[kept].sqrt()).to(positions.dtype)


def decibel_divergence(
    V: torch.Tensor,
    W_dB: torch.Tensor,
    H: torch.Tensor,
    *,
    domain: Literal["linear", "decibel"],
    beta: float,
    floor: float | torch.Tensor,
) -> torch.Tensor:
    """Compute D(V | WH), float64, of a dictionary in decibels; it is differentiable.

    Shapes and options are those of :func:`factorize_decibel`.

    Examples
    --------
    >>> V, W_dB, H = torch.ones(2, 3), torch.full((2, 1, 1), 10.0), torch.ones(1, 1, 3)
    >>> decibel_divergence(V, W_dB, H, domain="decibel", beta=0.5, floor=0.0)
    tensor(600., dtype=torch.float64)
    """
    V_hat = torch.einsum("fkj,kjn->fn", decibels_to_amplitude(W_dB), H) + floor
    V = V + floor
    if domain == "linear":
        D: torch.Tensor = _BetaDivergence.apply(V, V_hat, beta)
        return D
    tiny = torch.finfo(V.dtype).tiny
    difference = amplitude_to_decibels(V, tiny) - amplitude_to_decibels(V_hat, tiny)
    return difference.square().sum(dtype=torch.float64)


def factorize_decibel(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    H: torch.Tensor | None = None,
    options: DecibelOptions | None = None,
) -> DecibelFactorization:
    """Estimate a dictionary near harmonic templates, their envelopes and the activations.

    Parameters
    ----------
    V : Tensor, shape (n_bins, n_frames)
        Spectrogram, not negative.
    P : Tensor, shape (n_bins, n_pitches, n_templates)
        Templates of :func:`harmnmf.harmonic_templates`, or of each timbre, (n_bins, n_pitches,
        n_timbres, n_templates): a dictionary W₀ as ``W0[..., None]``, with `E` fixed at ones.
    E : Tensor, shape (n_templates, n_pitches, n_timbres)
        Initial weights. Zeros stay zero.
    H : Tensor, shape (n_pitches, n_timbres, n_frames), optional
        Activations, such as the piano roll of a score, or initial activations if they are
        estimated, by default ones. Zeros stay zero.
    options : DecibelOptions, optional
        Options. Default: ``DecibelOptions()``.

    Returns
    -------
    DecibelFactorization
        W (n_bins, n_pitches, n_timbres), E and H; the record of the iterations, with the
        objective, float64, before the first and after each; and the deviation of W from the
        templates in dB, of the shape of W. If H is estimated, and E is too or there is no prior,
        columns of W have unit Euclidean norm.

    Raises
    ------
    ParameterError
        If an array is invalid or does not fit the others, or `H` is neither given nor estimated.

    Examples
    --------
    A key with two partials, and some energy where the templates have none:

    >>> P = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]])
    >>> W = torch.tensor([[4.0], [0.1], [1.0]])
    >>> H = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> for sigma in (0.0, 3.0):
    ...     options = DecibelOptions(estimate_H=False, sigma=sigma)
    ...     result = factorize_decibel(W @ H[0], P, torch.ones(2, 1, 1), H, options)
    ...     print((10 * result.W[:, 0, 0].log10()).round().int())
    tensor([  6, -56,   0], dtype=torch.int32)
    tensor([  6, -30,   0], dtype=torch.int32)
    """
    options = DecibelOptions() if options is None else options
    if P.ndim == 3:
        P = P[:, :, None]
    if H is None:
        if not options.estimate_H:
            raise ParameterError("H must be given if it is not to be estimated")
        H = V.new_ones(*E.shape[1:], *V.shape[1:])
    check_nonnegative(V=V, P=P, E=E, H=H)
    _check_shapes(V, P, E, H, options.bases)
    domain, beta, sigma = options.domain, options.beta, options.sigma
    estimate_E, estimate_H = options.estimate_E and sigma < math.inf, options.estimate_H

    tiny = torch.finfo(V.dtype).tiny
    smallest = 10 ** (-options.dynamic_range / 10)
    floor = options.floor
    if floor is None:
        floor = data_floor(V)
        floor = floor.maximum(smallest * V.amax()) if domain == "decibel" else floor
    # Model and data start with the same sum.
    total = torch.einsum("fkj,kjn->", _dictionary(P, E), H)
    level = torch.where((V.sum() > 0) & (total > 0), V.sum() / total, 1.0)
    E0, H0 = (E, level * H) if estimate_H else (level * E, H)
    PE = _dictionary(P, E0)
    PE_floor = max(smallest * PE.max().item(), tiny)

    # W is its deviation from PE, so that it follows changes of E however tight the prior is.
    components = [
        n if B is None else B.shape[1] for n, B in zip(PE.shape, options.bases, strict=True)
    ]
    # The solver's unknown is c / unit.
    c, unit = PE.new_zeros(components), 1.0
    E_dB, H_dB = (amplitude_to_decibels(X, tiny) for X in (E0, H0))

    def deviate() -> torch.Tensor:
        """(B_f ⊗ B_k ⊗ B_j) c."""
        deviation = unit * c
        for axis, B in enumerate(options.bases):
            if B is not None:
                deviation = torch.tensordot(deviation, B, dims=([axis], [1])).movedim(-1, axis)
        return deviation

    def state() -> tuple[torch.Tensor, ...]:
        E = decibels_to_amplitude(E_dB) * (E0 > 0) if estimate_E else E0
        H = decibels_to_amplitude(H_dB) * (H0 > 0) if estimate_H else H0
        return amplitude_to_decibels(_dictionary(P, E), PE_floor) + deviate(), E, H

    def objective() -> torch.Tensor:
        W_dB, _, H = state()
        D = decibel_divergence(V, W_dB, H, domain=domain, beta=beta, floor=floor)
        if not 0 < sigma < math.inf:
            return D
        return D + (unit * c).square().sum(dtype=torch.float64) / (2 * sigma**2)

    free = (c, sigma > 0), (E_dB, estimate_E), (H_dB, estimate_H)
    unknown = [X for X, is_free in free if is_free]
    if len(unknown) > 1 and 0 < sigma < math.inf:
        unit = min(1.0, sigma * math.sqrt(_curvature(objective, unknown)))
    run = minimise(objective, unknown, options.optimizer, options)
    with torch.no_grad():
        W_dB, E, H = state()
        W, deviation = decibels_to_amplitude(W_dB), deviate().detach()
    if estimate_H and (estimate_E or sigma == math.inf):
        norm = torch.linalg.vector_norm(W, dim=0)
        W, H = W / norm, H * norm[..., None]
        E = E / norm if estimate_E else E
    return DecibelFactorization(W, E, H, *run, deviation)


def _curvature(objective: Callable[[], torch.Tensor], unknown: Sequence[torch.Tensor]) -> float:
    """Order of magnitude of the second derivatives of D by levels in dB, where c is zero.

    A tight prior is much more curved than D. Then c is measured in units in which both are alike,
    without which no optimiser gets far.
    """
    for X in unknown:
        X.requires_grad_()
    with torch.enable_grad():
        gradients = torch.autograd.grad(objective(), unknown)
    return max(X.abs().max().item() for X in gradients) / _TYPICAL_ERROR


def _dictionary(P: torch.Tensor, E: torch.Tensor) -> torch.Tensor:
    return torch.einsum("fkjm,mkj->fkj", P.expand(-1, -1, E.shape[2], -1), E)


def _check_shapes(
    V: torch.Tensor,
    P: torch.Tensor,
    E: torch.Tensor,
    H: torch.Tensor,
    bases: Sequence[torch.Tensor | None],
) -> None:
    """Raise ParameterError if arrays do not fit each other; P has its axis of timbres."""
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
    shape = (V.shape[0], *E.shape[1:])
    if len(bases) != 3 or not all(
        B is None or (B.ndim == 2 and len(B) == n) for B, n in zip(bases, shape, strict=False)
    ):
        raise ParameterError(f"bases must be three, None or (n, n_components) for n in {shape}")


class _BetaDivergence(torch.autograd.Function):
    """Divergence with its gradient in closed form, which is cheaper than autograd's."""

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
