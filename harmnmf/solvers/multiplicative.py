"""Non-negative factorisation V ≈ WH by multiplicative updates, with or without harmonic templates.

With hard harmonic templates the dictionary is W = PE column by column,
``W[f, k] = sum_m P[f, k, m] * E[m, k]``: a key's spectrum is a weighted sum of narrow-band
templates, so that it stays harmonic while its envelope is learned [1]_. Where a template is zero,
the dictionary stays zero. Each update multiplies by the quotient of the two terms of the gradient
and never raises the divergence [2]_.

Updates start from extrapolated factors [3]_, which saves about half of the iterations::

    X ← X + α_i max(0, X - X_before)
    α_i = (t_i - 1) / t_{i+1},   t_1 = 1,   t_{i+1} = (1 + √(1 + 4t_i²)) / 2

Only what grows is extrapolated, as what falls to zero would not come back. Descent is proven
without extrapolation: should the objective ever rise, the solver goes back and on without.

A constant ``floor`` is added to data and model alike. As a fixed part of the model it keeps
every quotient finite without touching the monotony.

References
----------
.. [1] E. Vincent, N. Bertin and R. Badeau, "Adaptive harmonic spectral decomposition for
   multiple pitch estimation", IEEE TASLP 18(3), 2010, pp. 528-537.
.. [2] C. Févotte and J. Idier, "Algorithms for nonnegative matrix factorization with the
   beta-divergence", Neural Computation 23(9), 2011, pp. 2421-2456.
.. [3] L. T. K. Hien, V. Leplat and N. Gillis, "Block majorization minimization with extrapolation
   and application to β-NMF", arXiv 2401.06646, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

from ..divergence import beta_divergence, gradient_terms, majorisation_exponent
from .loop import PERIOD, check_nonnegative, iterate

__all__ = [
    "Activations",
    "Factorization",
    "HarmonicFactorization",
    "data_floor",
    "estimate_activations",
    "factorize",
    "factorize_harmonic",
    "multiplicative_update",
]

# Exponent of accelerated updates for 1 ≤ β ≤ 2, where 1 is proven without momentum. Nesterov's
# momentum tolerates steps up to 4/3 as long.
_LONG_STEP = 1.3
# Bins times frames that are processed at once: few enough to stay in a processor's cache, and
# enough to occupy any other device.
_CACHED = 2**20
_LARGE = 2**26


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
        γ above; by default :func:`harmnmf.divergence.majorisation_exponent`, for which descent is
        proven, and if accelerated 1 for 0 ≤ β < 1 and 1.3 for 1 ≤ β ≤ 2.
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
    _, H, record = _alternate(
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
    free = _Constraint(dictionary=lambda W: W, gather=lambda term: term)
    W, H, record = _alternate(
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
        Start of the weights, as :func:`harmnmf.templates.initial_weights` makes them.
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
    harmonic = _Constraint(
        dictionary=lambda E: torch.einsum("fkm,...mk->...fk", P, E),
        gather=lambda term: torch.einsum("fkm,...fk->...mk", P, term),
    )
    E, H, record = _alternate(
        V, E, H, harmonic, beta, exponent, accelerate, floor=floor, n_iter=n_iter, tol=tol
    )
    norm = _column_norms(harmonic.dictionary(E))
    return HarmonicFactorization(E / norm, H * norm.mT, record)


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


_Terms = tuple[torch.Tensor, torch.Tensor]


class _Constraint(NamedTuple):
    """How parameters make a dictionary, and what a term of its gradient is by them."""

    dictionary: Callable[[torch.Tensor], torch.Tensor]
    gather: Callable[[torch.Tensor], torch.Tensor]


def _alternate(
    V: torch.Tensor,
    X: torch.Tensor,
    start: torch.Tensor | None,
    constraint: _Constraint | None,
    beta: float,
    exponent: float | None,
    accelerate: bool,
    *,
    floor: float | torch.Tensor | None,
    n_iter: int,
    tol: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Update activations and the dictionary's parameters X in turn, or hold X = W fixed."""
    proven = majorisation_exponent(beta) if exponent is None else exponent
    longest = proven
    if exponent is None and 0 <= beta <= 2:
        longest = 1.0 if beta < 1 else _LONG_STEP
    floor = data_floor(V) if floor is None else floor
    V = V + floor
    W = X if constraint is None else constraint.dictionary(X)
    batch = torch.broadcast_shapes(V.shape[:-2], W.shape[:-2])
    shape = *batch, W.shape[-1], V.shape[-1]
    H = V.new_ones(shape) if start is None else start.expand(shape)
    X = X if constraint is None else X.expand(*batch, *X.shape[-2:])
    X_before, H_before = X, H
    momentum = _momentum() if accelerate else None

    def update() -> None:
        nonlocal X, H, W, X_before, H_before
        alpha = 0.0 if momentum is None else next(momentum)
        gamma = longest if alpha > 0 else proven
        H_from, H_before = _extrapolate(H, H_before, alpha), H
        if constraint is None:
            H, _ = _sweep(V, W, H_from, beta, gamma, floor)
            return
        X_from, X_before = _extrapolate(X, X_before, alpha), X
        W_from = constraint.dictionary(X_from)
        H, terms = _sweep(V, W, H_from, beta, gamma, floor, W_from)
        X = multiplicative_update(X_from, map(constraint.gather, terms), gamma)
        W = constraint.dictionary(X)

    def divergence() -> torch.Tensor:
        parts = [
            beta_divergence(V[..., n], (W @ H[..., n]).add_(floor), beta) for n in _blocks(V, H)
        ]
        return torch.stack(parts).sum(dim=0)

    value = torch.empty(0) if tol is None else divergence()

    def updates(look: int) -> None:
        nonlocal X, H, W, momentum, value
        n_updates = min(PERIOD, n_iter - look * PERIOD)
        kept = X, H, W
        for _ in range(n_updates):
            update()
        if tol is None:
            return
        last, value = value, divergence()
        if momentum is not None and not bool((value <= last).all()):
            momentum = None
            X, H, W = kept
            for _ in range(n_updates):
                update()
            value = divergence()

    record = iterate(
        updates, lambda: value, n_iter=min(n_iter, math.ceil(n_iter / PERIOD)), tol=tol
    )
    return X, H, record


def _sweep(
    V: torch.Tensor,
    W: torch.Tensor,
    H: torch.Tensor,
    beta: float,
    gamma: float,
    floor: float | torch.Tensor,
    W_next: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Update H for the dictionary W, then sum up the gradient's terms by the dictionary W_next.

    Block by block: what a product of matrices leaves in the cache is there for the next.
    """
    updated = torch.empty_like(H)
    sums: list[torch.Tensor] = []
    blocks = _blocks(V, H)
    # Memory that is given back and asked for again costs a quarter of the time.
    memory = V.new_empty(*H.shape[:-2], *V[..., blocks[0]].shape[-2:])

    def terms_of(v: torch.Tensor, W: torch.Tensor, h: torch.Tensor) -> _Terms:
        v_hat = torch.matmul(W, h, out=memory[..., : h.shape[-1]]).add_(floor)
        return gradient_terms(v, v_hat, beta, overwrite=True)

    for block in blocks:
        v, h = V[..., block], H[..., block]
        negative, positive = terms_of(v, W, h)
        # Without an entry for each bin and frame, the positive term is 1 in all of them.
        flat = positive.ndim == 0
        positive = W.sum(dim=-2).unsqueeze(-1) if flat else W.mT @ positive
        h = multiplicative_update(h, (W.mT @ negative, positive), gamma)
        updated[..., block] = h
        if W_next is not None:
            negative, positive = terms_of(v, W_next, h)
            positive = h.sum(dim=-1).unsqueeze(-2) if flat else positive @ h.mT
            terms = negative @ h.mT, positive
            sums = [a + b for a, b in zip(sums, terms, strict=True)] if sums else [*terms]
    return updated, sums


def _blocks(V: torch.Tensor, H: torch.Tensor) -> list[slice]:
    """Cut the frames into blocks, of multiples of 64 frames for the sake of alignment."""
    size = _CACHED if V.device.type == "cpu" else _LARGE
    n_frames = max(1, size // (V.shape[-2] * math.prod(H.shape[:-2]) * 64)) * 64
    return [slice(n, n + n_frames) for n in range(0, V.shape[-1], n_frames)]


def _momentum() -> Iterator[float]:
    """Give α_i, α_1 = 0 after another zero: the first update only finds the scale."""
    yield 0.0
    t = 1.0
    while True:
        t_before, t = t, (1 + math.sqrt(1 + 4 * t**2)) / 2
        yield (t_before - 1) / t


def _extrapolate(X: torch.Tensor, X_before: torch.Tensor, alpha: float) -> torch.Tensor:
    return X + alpha * (X - X_before).clamp_min(0) if alpha > 0 else X


def _column_norms(W: torch.Tensor) -> torch.Tensor:
    norm = torch.linalg.vector_norm(W, dim=-2, keepdim=True)
    return torch.where(norm > 0, norm, 1.0)
