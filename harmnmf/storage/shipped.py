"""Files that come with the package, found by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from harmnmf.errors import HarmnmfError

__all__ = ["find_file", "shipped_files"]


def shipped_files(package: str, folder: str) -> dict[str, Path]:
    """List the safetensors files in a folder of a package.

    Parameters
    ----------
    package : str
        Name for import.
    folder : str
        Folder inside it.

    Returns
    -------
    dict of str to Path
        Paths by name, without suffix.

    Examples
    --------
    >>> list(shipped_files("harmnmf", "data"))
    ['default']
    """
    path = Path(str(resources.files(package))) / folder
    return {file.stem: file for file in sorted(path.glob("*.safetensors"))}


def find_file(source: str | os.PathLike[str], shipped: Mapping[str, Path], what: str) -> Path:
    """Find a file by a shipped name or a path.

    Parameters
    ----------
    source : str or path-like
        A name in `shipped`, or the path of a file.
    shipped : mapping of str to Path
        Shipped files by name.
    what : str
        What the file holds, for the error message.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    HarmnmfError
        If there is no such file.

    Examples
    --------
    >>> find_file("upright", {"grand": Path("grand.safetensors")}, "dictionary")
    Traceback (most recent call last):
        ...
    harmnmf.errors.HarmnmfError: upright: no such dictionary (shipped: grand; or give a file)
    """
    path = shipped.get(os.fspath(source), Path(source))
    if not path.exists():
        names = ", ".join(shipped)
        raise HarmnmfError(f"{path}: no such {what} (shipped: {names}; or give a file)")
    return path
