"""Trained networks that come with the package; listing them does not load PyTorch."""

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
    """Find the weights of a network by its shipped name or path; HarmnmfError if there are none."""
    return find_file(source, shipped_models(), "model")
