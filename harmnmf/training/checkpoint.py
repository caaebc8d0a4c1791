"""Checkpoints: a network that is being fitted, its optimiser, and how far they are, in one file.

What a file holds is compared with what is there, or would be, before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from harmnmf.errors import FormatError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays

__all__ = ["load_checkpoint", "rebuild_network", "save_checkpoint"]

# No number in the configuration of a network is larger.
_LARGEST = 10_000

Network = TypeVar("Network", bound=nn.Module)


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
        As for `harmnmf.storage.arrays.save_arrays`: the kind under ``"kind"``, and how far it is.
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
        weights = network.state_dict()
        network.load_state_dict(
            {name: _tensor(arrays.pop(f"w{i}"), x) for i, (name, x) in enumerate(weights.items())}
        )
        # Before its first step, an optimiser has no moments.
        parameters = optimizer.param_groups[0]["params"] if "step_0" in arrays else []
        moments = {
            i: {
                name: _tensor(arrays.pop(f"{name}_{i}"), like)
                for name, like in (("step", torch.zeros(())), ("exp_avg", x), ("exp_avg_sq", x))
            }
            for i, x in enumerate(parameters)
        }
        if any(moment["step"] < 1 for moment in moments.values()):
            raise ParameterError("the optimiser has moments, but has made no step")
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(
            f"{path}: a checkpoint of another network, or damaged ({error}); "
            "remove it, or choose another place"
        ) from error
    return arrays, metadata


def rebuild_network(
    build: Callable[..., Network],
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    key: Callable[[int, str], str],
) -> Network:
    """Build the network of a file from elsewhere, in no more memory than its weights take.

    Parameters
    ----------
    build : callable
        Makes a network, of what the configuration says.
    config : mapping
        The configuration: what JSON can hold.
    arrays : mapping of str to ndarray
        The weights.
    key : callable
        Names the array of a weight, by its number and its name in the network's state.

    Returns
    -------
    torch.nn.Module
        The network, with these weights, ready to be used.

    Raises
    ------
    ParameterError
        If the configuration has a number that is far too large, or is of other weights.
    Exception
        Nearly anything that `build` raises: a configuration may be damaged in many ways.

    Examples
    --------
    >>> weights = {"0": np.ones((1, 2), np.float32), "1": np.zeros(1, np.float32)}
    >>> config = {"in_features": 2, "out_features": 1}
    >>> network = rebuild_network(nn.Linear, config, weights, lambda i, name: str(i))
    >>> network(torch.ones(2))
    tensor([2.], grad_fn=<ViewBackward0>)
    >>> rebuild_network(nn.Linear, config | {"in_features": 10**9}, weights, lambda i, name: str(i))
    Traceback (most recent call last):
        ...
    harmnmf.errors.ParameterError: 1000000000 is no size of a network
    """
    for number in _numbers(dict(config)):
        if not abs(number) <= _LARGEST:
            raise ParameterError(f"{number} is no size of a network")
    n_left = len(arrays)

    def count(*_: object) -> None:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise ParameterError("its configuration is of more weights than it has")

    counting = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):  # where weights have a shape, and nothing else
            expected = build(**config).state_dict()
    finally:
        counting.remove()
    if len(arrays) != len(expected):
        raise ParameterError(f"it has {len(arrays)} weights, and not {len(expected)}")
    weights = {
        name: _tensor(arrays[key(i, name)], like) for i, (name, like) in enumerate(expected.items())
    }
    network = build(**config)
    network.load_state_dict(weights)
    return network.eval()


def _numbers(value: object) -> Iterator[float]:
    """Find all numbers in what JSON can hold."""
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


def _tensor(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Take an array for a tensor, of which it must have the shape and the type."""
    tensor = torch.from_numpy(array)
    if tensor.shape != like.shape or tensor.dtype != like.dtype:
        raise ParameterError(
            f"an array is {tensor.dtype} of shape {tuple(tensor.shape)}, where {like.dtype} of"
            f" shape {tuple(like.shape)} is needed"
        )
    if not torch.isfinite(tensor).all():
        raise ParameterError("an array has NaN or infinite numbers")
    return tensor
