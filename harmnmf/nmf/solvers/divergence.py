"""Beta-divergences between spectrograms, and the two terms of their gradients.

The beta-divergence is half the squared Euclidean distance at beta = 2, the Kullback-Leibler
divergence at 1 and the Itakura-Saito divergence at 0 [1]_. Its derivative with respect to the
model V̂ is the difference of two non-negative terms, ``V̂**(beta - 1) - V * V̂**(beta - 2)``, whose
quotient every multiplicative update uses.

References
----------
.. [1] C. Févotte and J. Idier, "Algorithms for nonnegative matrix factorization with the
   beta-divergence", Neural Computation 23(9), 2011, pp. 2421-2456.
"""

from __future__ import annotations

import torch

__all__ = ["beta_divergence", "gradient_terms", "majorisation_exponent"]


def beta_divergence(V: torch.Tensor, V_hat: torch.Tensor, beta: float) -> torch.Tensor:
    """Compute the beta-divergence of a model from its data.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Data, positive (for beta > 0, zeros are allowed).
    V_hat : Tensor, shape (..., n_bins, n_frames)
        Model, positive.
    beta : float
        2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito, or any other number.

    Returns
    -------
    Tensor, float64, shape (...)
        Sum over bins and frames, one for each member of a batch.

    Examples
    --------
    >>> V = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> [beta_divergence(V, V + 1, beta).round(decimals=3).item() for beta in (0, 1, 2)]
    [0.326, 0.74, 2.0]
    """
    if beta == 0:
        ratio = V / V_hat
        terms = ratio - torch.log(ratio) - 1
    elif beta == 1:
        # 0 log 0 = 0; xlogy does the same at three times the cost.
        ratio = (V / V_hat).clamp_min(torch.finfo(V.dtype).tiny)
        terms = V * torch.log(ratio) - V + V_hat
    else:
        powers = V**beta + (beta - 1) * V_hat**beta - beta * V * V_hat ** (beta - 1)
        terms = powers / (beta * (beta - 1))
    return terms.sum(dim=(-2, -1), dtype=torch.float64)


def gradient_terms(
    V: torch.Tensor, V_hat: torch.Tensor, beta: float, *, overwrite: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the two terms of the derivative of the divergence with respect to the model.

    Parameters
    ----------
    V, V_hat, beta
        As in :func:`beta_divergence`.
    overwrite : bool, default=False
        Whether the result may use the memory of `V_hat`, which is then lost.

    Returns
    -------
    negative, positive : Tensor, shape (..., n_bins, n_frames)
        ``V * V_hat**(beta - 2)`` and ``V_hat**(beta - 1)``; at beta = 1 the latter is 1
        everywhere, and its shape is ().

    Examples
    --------
    >>> negative, positive = gradient_terms(torch.tensor([[6.0]]), torch.tensor([[4.0]]), 0.5)
    >>> negative.item(), positive.item()
    (0.75, 0.5)
    """
    if beta == 2:
        return V, V_hat
    out = V_hat if overwrite else None
    if beta == 1:
        return torch.div(V, V_hat, out=out), V_hat.new_ones(())
    # A square root or a reciprocal costs a tenth of a general power.
    if beta == 0.5:
        positive = torch.rsqrt(V_hat)
    elif beta == 0:
        positive = torch.reciprocal(V_hat)
    else:
        positive = V_hat ** (beta - 1)
    return torch.div(V, V_hat, out=out).mul_(positive), positive


def majorisation_exponent(beta: float) -> float:
    """Return the exponent for which a multiplicative update never raises the divergence.

    It is the majorisation-minimisation exponent of Févotte and Idier, except for 0 < beta < 1:
    there they also prove descent for 1, which converges faster.

    Examples
    --------
    >>> [majorisation_exponent(beta) for beta in (0, 0.5, 1, 2, 3)]
    [0.5, 1.0, 1.0, 1.0, 0.5]
    """
    if beta <= 0:
        return 1 / (2 - beta)
    return 1.0 if beta <= 2 else 1 / (beta - 1)
