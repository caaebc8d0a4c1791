"""Bounded complex masks, as real and imaginary parts."""

from __future__ import annotations

import torch

__all__ = ["bounded_mask"]


def bounded_mask(z: torch.Tensor) -> torch.Tensor:
    """Bound complex numbers to the unit disc: z tanh|z| / |z|.

    Real and imaginary part are on axis 1 of (batch, 2, n_bins, n_frames); the result is float32.
    """
    # PyTorch has no complex numbers of lower precision.
    z = z.float()
    # The constant keeps the gradient of the root finite at zero.
    magnitude = (z[:, :1].square() + z[:, 1:].square() + 1e-12).sqrt()
    return z * (magnitude.tanh() / magnitude)
