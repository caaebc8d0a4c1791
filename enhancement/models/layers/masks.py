"""Masks that networks put on spectra."""

from __future__ import annotations

import torch

__all__ = ["bound_parts", "bounded_mask"]


def bounded_mask(parts: torch.Tensor) -> torch.Tensor:
    """Turn what a network gives into a complex mask that amplifies nothing.

    The phase of z remains, and its magnitude becomes tanh |z|.

    Parameters
    ----------
    parts : Tensor, shape (batch, 2, n_bins, n_frames)
        Real and imaginary part of z.

    Returns
    -------
    Tensor, shape (batch, n_bins, n_frames)
        Complex, of single precision.

    Examples
    --------
    >>> bounded_mask(torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1))
    tensor([[[0.5999-0.7999j]]])
    """
    real, imaginary = bound_parts(parts).unbind(1)
    return torch.complex(real, imaginary)


def bound_parts(parts: torch.Tensor) -> torch.Tensor:
    """Do what `bounded_mask` does without complex numbers.

    Parameters
    ----------
    parts : Tensor, shape (batch, 2, n_bins, n_frames)
        Real and imaginary part of z.

    Returns
    -------
    Tensor, shape (batch, 2, n_bins, n_frames)
        Real and imaginary part of the mask, of single precision.

    Examples
    --------
    >>> bound_parts(torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1)).flatten()
    tensor([ 0.5999, -0.7999])
    """
    # There are no complex numbers of the lower precisions that networks are trained with.
    parts = parts.float()
    # A magnitude that is never zero: the gradient of a root at zero is infinite.
    magnitude = (parts[:, :1].square() + parts[:, 1:].square() + 1e-12).sqrt()
    return parts * (magnitude.tanh() / magnitude)
