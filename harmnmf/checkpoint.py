"""Checkpoints: a network that is being fitted, its optimiser, and how far they are, in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from .errors import FormatError
from .storage import load_arrays, save_arrays

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(
    path: str | os.PathLike[str],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    metadata: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the state of a training to a file, which appears whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        File to write or replace; ``.npz`` by convention.
    network : torch.nn.Module
        What is trained.
    optimizer : torch.optim.Optimizer
        With what, its parameters in one group.
    metadata : mapping
        As for `harmnmf.storage.save_arrays`: the kind under ``"kind"``, and how far it is.
    arrays : mapping of str to ndarray, optional
        What else there is to keep.

    Raises
    ------
    ParameterError
        If `metadata` or an array cannot be stored.
    HarmnmfError
        If the folder is not writable.

    Examples
    --------
    >>> import tempfile
    >>> network = nn.Linear(2, 1)
    >>> optimizer = torch.optim.Adam(network.parameters())
    >>> network(torch.ones(2)).sum().backward()
    >>> optimizer.step()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/a.npz", network, optimizer, {"kind": "example", "step": 1})
    ...     load_checkpoint(f"{folder}/a.npz", network, optimizer, kind="example")
    ({}, {'kind': 'example', 'step': 1})
    """
    state = {f"w{i}": x.cpu().numpy() for i, x in enumerate(network.state_dict().values())}
    for i, moments in optimizer.state_dict()["state"].items():
        state |= {f"{name}_{i}": value.cpu().numpy() for name, value in moments.items()}
    save_arrays(path, state | dict(arrays or {}), metadata)


def load_checkpoint(
    path: str | os.PathLike[str],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    kind: str,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Take up a training from where `save_checkpoint` left it.

    Parameters
    ----------
    path : str or os.PathLike
        File to read.
    network : torch.nn.Module
        Gets the weights.
    optimizer : torch.optim.Optimizer
        Gets the moments.
    kind : str
        Kind of training that it must be.

    Returns
    -------
    arrays : dict of str to ndarray
        What else was kept.
    metadata : dict
        As it was given.

    Raises
    ------
    FormatError
        If the file is missing, damaged, of another kind, or of another network.
    """
    arrays, metadata = load_arrays(path, kind=kind)
    try:
        names = network.state_dict().keys()
        network.load_state_dict(
            {name: torch.from_numpy(arrays.pop(f"w{i}")) for i, name in enumerate(names)}
        )
        # Before its first step, an optimiser has no moments.
        n_moments = len(list(network.parameters())) if "step_0" in arrays else 0
        moments = {
            i: {
                name: torch.from_numpy(arrays.pop(f"{name}_{i}"))
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
            for i in range(n_moments)
        }
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(
            f"{path}: a checkpoint of another network, or damaged ({str(error).splitlines()[0]}); "
            "remove it, or choose another place"
        ) from error
    return arrays, metadata
