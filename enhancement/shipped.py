"""The trained networks that come with the package; PyTorch is not loaded to list them."""

from __future__ import annotations

import os
from pathlib import Path

from harmnmf.storage.shipped import find_file, shipped_files

__all__ = ["find_model", "shipped_models"]


def shipped_models() -> dict[str, Path]:
    """List the trained networks that come with the package.

    Returns
    -------
    dict of str to Path
        Paths of their weights by name.

    Examples
    --------
    >>> "harmonic-light" in shipped_models()
    True
    """
    return shipped_files("harmnmf.enhancement", "weights")


def find_model(source: str | os.PathLike[str]) -> Path:
    """Find the weights of a trained network.

    Parameters
    ----------
    source : str or path-like
        Name of a shipped network, or path of a file.

    Returns
    -------
    Path
        File of the weights.

    Raises
    ------
    HarmnmfError
        If there is no such network.

    Examples
    --------
    >>> find_model("harmonic-light") == shipped_models()["harmonic-light"]
    True
    """
    return find_file(source, shipped_models(), "model")
