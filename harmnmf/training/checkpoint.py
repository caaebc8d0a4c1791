"""Weights and optimiser states in files, by the names of the parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from harmnmf.errors import FormatError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays

from .settings import check_settings

__all__ = ["load_checkpoint", "rebuild_network", "save_checkpoint", "state_arrays"]

# Limit on every number in a network's configuration.
_LARGEST = 10_000

Network = TypeVar("Network", bound=nn.Module)


def state_arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """Return the weights and buffers of a network as arrays by state-dict name."""
    return {name: x.cpu().numpy() for name, x in network.state_dict().items()}


def rebuild_network(
    build: Callable[..., Network], config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Network:
    """Build a network from an untrusted file, allocating no more than its weights take.

    `build` gets the entries of the configuration, JSON data, as keywords; `arrays` are the weights
    by state-dict name. The network is in evaluation mode. Raises ParameterError if the
    configuration has a number above 10,000 or does not match the weights.
    """
    for number in _numbers(dict(config)):
        if not abs(number) <= _LARGEST:
            raise ParameterError(f"the configuration has {number}, above the limit {_LARGEST}")
    # On the meta device, weights have shapes and take no memory.
    with torch.device("meta"), _CallLimit(1000 + 20 * len(arrays)):
        expected = build(**config).state_dict()
    weights = _matching_tensors(arrays, expected)
    network = build(**config)
    network.load_state_dict(weights)
    return network.eval()


def save_checkpoint(
    path: str | os.PathLike[str],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    metadata: Mapping[str, Any],
    *,
    average: nn.Module | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the state of a training to a safetensors file, atomically.

    The optimizer is Adam or AdamW, with parameters of the network in one group; `average` is a
    network of averaged weights. `metadata` is as for `save_arrays`, and the names of further
    `arrays` contain no dot.
    """
    state = {f"network.{name}": x for name, x in state_arrays(network).items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            state[f"optimizer.{name}.{key}"] = value.cpu().numpy()
    if average is not None:
        state |= {f"average.{name}": x for name, x in state_arrays(average).items()}
    save_arrays(path, state | dict(arrays or {}), metadata)


def load_checkpoint(
    path: str | os.PathLike[str],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    kind: str,
    average: nn.Module | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Restore the state of a training from a file that `save_checkpoint` wrote.

    Returns the further arrays and the metadata. Raises FormatError if the file is missing, damaged,
    of another kind, or of another network, and ParameterError if the entry "settings" of its
    metadata differs from `settings`.
    """
    arrays, metadata = load_arrays(path, kind=kind)
    if settings is not None:
        check_settings(Path(path), metadata.get("settings"), settings)
    try:
        _load_weights(network, _take(arrays, "network."))
        _load_moments(network, optimizer, _take(arrays, "optimizer."))
        if average is not None:
            _load_weights(average, _take(arrays, "average."))
    except ParameterError as error:
        raise FormatError(
            f"{path}: a checkpoint of another network, or damaged ({error}); "
            "remove it, or choose another place"
        ) from error
    return arrays, metadata


def _take(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Remove the arrays whose names begin with a prefix, and return them without it."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def _load_weights(network: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    network.load_state_dict(_matching_tensors(arrays, network.state_dict()))


def _load_moments(
    network: nn.Module, optimizer: torch.optim.Optimizer, arrays: dict[str, np.ndarray]
) -> None:
    names = {parameter: name for name, parameter in network.named_parameters()}
    state = {}
    # Before the first step, there are no moments.
    for i, x in enumerate(optimizer.param_groups[0]["params"] if arrays else []):
        expected = {"step": torch.zeros(()), "exp_avg": x, "exp_avg_sq": x}
        state[i] = _matching_tensors(_take(arrays, f"{names[x]}."), expected)
        if state[i]["step"] < 1:
            raise ParameterError("the optimiser has moments, but has made no step")
    if arrays:
        raise ParameterError(f"unknown moments {next(iter(arrays))!r}")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


class _CallLimit(TorchFunctionMode):
    """Raise ParameterError after a number of calls of PyTorch: building would take too long."""

    def __init__(self, n_calls: int) -> None:
        super().__init__()
        self.n_left = n_calls

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.n_left -= 1
        if self.n_left < 0:
            raise ParameterError("the configuration needs more weights than there are")
        return func(*args, **(kwargs or {}))


def _numbers(value: object) -> Iterator[float]:
    """Find all numbers in JSON data."""
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


def _matching_tensors(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Convert arrays to tensors; raise ParameterError unless they match in name, shape and type."""
    if different := sorted(arrays.keys() ^ expected.keys()):
        state = "unknown" if different[0] in arrays else "missing"
        raise ParameterError(f"{state} weights {different[0]!r}")
    tensors = {name: torch.from_numpy(arrays[name]) for name in expected}
    for name, like in expected.items():
        tensor = tensors[name]
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise ParameterError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, not {like.dtype} of "
                f"shape {tuple(like.shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise ParameterError(f"{name} has NaN or infinite numbers")
    return tensors
