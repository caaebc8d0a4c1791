"""Registry of networks, and files of their weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from harmnmf.errors import FormatError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.training.checkpoint import rebuild_network, state_arrays

__all__ = ["MODELS", "build_model", "load_model", "save_model"]

# Module and class; the configuration is the class of that name with Config appended.
MODELS = {
    "harmonic-light": ("harmonic_light", "HarmonicLight"),
    "harmonic-attention": ("harmonic_attention", "HarmonicAttention"),
    "harmonic-refinement": ("harmonic_refinement", "HarmonicRefinement"),
    "spectrum-attention-fusion": ("spectrum_attention_fusion", "SpectrumAttentionFusion"),
    "spectrogram-fusion": ("spectrogram_fusion", "SpectrogramFusion"),
}

_KIND = "enhancement-model"


def build_model(name: str, **config: Any) -> nn.Module:
    """Build a network with random weights.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    **config
        Fields of its configuration class.

    Returns
    -------
    torch.nn.Module
        The network; its configuration is the attribute `config`.

    Raises
    ------
    ParameterError
        If there is no such network, or its configuration is invalid.

    Examples
    --------
    >>> build_model("harmonic-light").config.n_channels
    24
    """
    if name not in MODELS:
        raise ParameterError(f"there is no model {name!r}; choose one of {', '.join(MODELS)}")
    module_name, class_name = MODELS[name]
    module = import_module(f".{module_name}", __package__)
    try:
        settings = getattr(module, f"{class_name}Config")(**config)
    except TypeError as error:
        raise ParameterError(f"{name}: {error}") from error
    model: nn.Module = getattr(module, class_name)(settings)
    return model


def save_model(
    path: str | os.PathLike[str], name: str, model: nn.Module, metadata: Mapping[str, Any]
) -> None:
    """Write a network to a safetensors file.

    Parameters
    ----------
    path : str or os.PathLike
        File to write or replace; ``.safetensors`` by convention.
    name : str
        Name of the network's class in `MODELS`.
    model : torch.nn.Module
        The network.
    metadata : mapping
        Data, licence, scores; JSON-serialisable.

    Raises
    ------
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> model = build_model("harmonic-light")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(f"{folder}/a.safetensors", "harmonic-light", model, {"about": "untrained"})
    ...     same, metadata = load_model(f"{folder}/a.safetensors")
    >>> same.config == model.config, metadata
    (True, {'about': 'untrained'})
    """
    config = asdict(model.config)  # type: ignore[call-overload]
    described = {**metadata, "kind": _KIND, "model": name, "config": config}
    save_arrays(path, state_arrays(model), described)


def load_model(path: str | os.PathLike[str]) -> tuple[nn.Module, dict[str, Any]]:
    """Read a network that `save_model` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        File to read.

    Returns
    -------
    model : torch.nn.Module
        The network, ready to be used.
    metadata : dict
        The metadata given to `save_model`.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or not of a network of this version.

    Examples
    --------
    >>> from harmnmf.enhancement import shipped_models
    >>> model, metadata = load_model(shipped_models()["harmonic-light"])
    >>> metadata["attenuation_limit"]
    18
    """
    arrays, metadata = load_arrays(path, kind=_KIND)
    del metadata["kind"]
    try:
        build = partial(build_model, metadata.pop("model"))
        model = rebuild_network(build, metadata.pop("config"), arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path}: not the weights of a network of this version ({error}); train it again, or "
            "update harmnmf"
        ) from error
    return model, metadata
