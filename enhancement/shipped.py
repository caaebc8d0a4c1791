"""The trained networks that come with the package; PyTorch is not loaded to list them."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from harmnmf.errors import HarmnmfError

__all__ = ["find_model", "shipped_models"]


def shipped_models() -> dict[str, Path]:
    """List the trained networks that come with the package.

    Returns
    -------
    dict
        Paths of the weights by name.

    Examples
    --------
    >>> all(path.suffix == ".npz" for path in shipped_models().values())
    True
    """
    folder = Path(str(resources.files("harmnmf.enhancement"))) / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.npz"))}


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
    >>> all(find_model(name) == path for name, path in shipped_models().items())
    True
    """
    shipped = shipped_models()
    path = shipped.get(os.fspath(source), Path(source))
    if not path.exists():
        names = ", ".join(shipped)
        raise HarmnmfError(f"{path}: no such model (shipped: {names}; or give a file of weights)")
    return path
