"""Files of networks that decode notes: weights, architecture, and settings of the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from os import PathLike
from typing import Any, TypeVar

from torch import nn

from harmnmf.errors import FormatError
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.training.checkpoint import rebuild_network, state_arrays

from .features import FeatureSettings

__all__ = ["load_network", "save_network"]

Network = TypeVar("Network", bound=nn.Module)


def save_network(
    path: str | PathLike[str],
    kind: str,
    network: nn.Module,
    config: Any,
    settings: FeatureSettings,
    about: Mapping[str, Any],
) -> None:
    """Write a network to a safetensors file of a kind; `config` is a dataclass."""
    metadata = {
        "kind": kind,
        "config": asdict(config),
        "features": settings.to_dict(),
        "about": dict(about),
    }
    save_arrays(path, state_arrays(network), metadata)


def load_network(
    path: str | PathLike[str],
    kind: str,
    build: Callable[[dict[str, Any], Mapping[str, Any], FeatureSettings], Network],
) -> Network:
    """Read a network in evaluation mode.

    `build` makes it of the entries of its configuration, its metadata and the settings of its
    features. Raises FormatError if the file is of another kind, or damaged.
    """
    arrays, metadata = load_arrays(path, kind=kind)
    try:
        settings = FeatureSettings.from_dict(metadata["features"])
        about = metadata["about"]
        return rebuild_network(
            lambda **config: build(config, about, settings), metadata["config"], arrays
        )
    except (FormatError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: damaged note network ({error})") from error
