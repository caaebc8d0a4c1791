"""Inverse-Gamma Markov chain prior, which smooths each row of H in time.

Bertin, Badeau and Vincent put the mode of an activation at the activation before it [1]_::

    p(h_kn | h_k,n-1) = IG(h_kn; α, (α + 1) h_k,n-1)

The ratio r of the two is then IG(r; α, α + 1), with its mode at 1, and MAP is taken over these
ratios: over the activations the objective would fall without bound as a row vanishes. With
λ = α + 1, the negative log density of the ratios is, up to a constant,
λ Σ_kn d_IS(h_k,n-1 | h_kn).

An activation of zero, where the note is off, breaks the chain on both sides.

References
----------
.. [1] N. Bertin, R. Badeau and E. Vincent, "Enforcing harmonicity and smoothness in Bayesian
   non-negative matrix factorization applied to polyphonic music transcription", IEEE TASLP
   18(3), 2010, pp. 538-549.
"""

from __future__ import annotations

import torch

from .divergence import beta_divergence

__all__ = ["chain_divergence", "minimise_with_chain"]


def chain_divergence(H: torch.Tensor) -> torch.Tensor:
    """Sum the Itakura-Saito divergences Σ_kn d_IS(h_k,n-1 | h_kn) between successive activations.

    H has shape (..., n_pitches, n_frames), the result, float64, shape (...). Links to a zero do
    not count, and the result does not depend on the scale of a row.

    Examples
    --------
    >>> chain_divergence(torch.tensor([[1.0, 2.0, 0.0, 5.0]])).round(decimals=4)
    tensor(0.1931, dtype=torch.float64)
    """
    before, after = H[..., :-1], H[..., 1:]
    linked = (before > 0) & (after > 0)
    return beta_divergence(
        torch.where(linked, before, 1.0), torch.where(linked, after, 1.0), beta=0
    )


def minimise_with_chain(
    H: torch.Tensor, a: torch.Tensor, s: torch.Tensor, c: torch.Tensor, smoothness: float
) -> torch.Tensor:
    """Lower the sum of an algorithm's bound of the objective and the chain's term.

    In each activation the bound has the form ``s log h + a / h + c h``, with its minimum at the
    positive root of c h² + s h - a. With the two neighbours in the chain, a, s and c become::

        a + λ h_k,n-1,   s + λ [has a neighbour before] - λ [has one after],   c + λ / h_k,n+1

    Even frames are minimised given the odd ones, then odd ones given the even ones, so that no
    step raises the sum.

    Parameters
    ----------
    H : Tensor, shape (..., n_pitches, n_frames)
        Current activations. Zeros stay zero.
    a, s, c : Tensor, broadcastable to the shape of H
        Coefficients of the bound, not negative. Where all are zero, H does not change.
    smoothness : float
        λ.

    Returns
    -------
    Tensor, shape (..., n_pitches, n_frames)
        New activations.

    Examples
    --------
    >>> a, zero = torch.tensor([[1.0, 4.0, 1.0]]), torch.zeros(1, 3)
    >>> minimise_with_chain(a, a, zero + 1, zero, smoothness=0.0)
    tensor([[1., 4., 1.]])
    >>> minimise_with_chain(a, a, zero + 1, zero, smoothness=10.0).round(decimals=1)
    tensor([[3.7000, 3.7000, 3.7000]])
    """
    a, s, c = (x.expand_as(H) for x in (a, s, c))
    if smoothness == 0:
        return _positive_root(H, a, s, c)
    H = H.clone()
    edge = torch.zeros_like(H[..., :1])
    for n in (slice(0, None, 2), slice(1, None, 2)):
        before = torch.cat([edge, H[..., :-1]], dim=-1)[..., n]
        after = torch.cat([H[..., 1:], edge], dim=-1)[..., n]
        links = (before > 0).to(H.dtype) - (after > 0).to(H.dtype)
        root = _positive_root(
            H[..., n],
            a[..., n] + smoothness * before,
            s[..., n] + smoothness * links,
            c[..., n] + torch.where(after > 0, smoothness / after, 0.0),
        )
        H[..., n] = torch.where(H[..., n] > 0, root, 0.0)
    return H


def _positive_root(
    X: torch.Tensor, a: torch.Tensor, s: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """Root of c x² + s x - a, free of cancellation; X where all three vanish."""
    q = s.abs() + (s.square() + 4 * a * c).sqrt()
    return torch.where(q > 0, torch.where(s >= 0, 2 * a / q, q / (2 * c)), X)
