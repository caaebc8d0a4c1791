"""Files that come with the package, found by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from harmnmf.errors import HarmnmfError

__all__ = ["find_file", "shipped_files"]


def shipped_files(package: str, folder: str) -> dict[str, Path]:
    """List the safetensors files in a folder of a package: paths by name, without suffix."""
    path = Path(str(resources.files(package))) / folder
    return {file.stem: file for file in sorted(path.glob("*.safetensors"))}


def find_file(source: str | os.PathLike[str], shipped: Mapping[str, Path], what: str) -> Path:
    """Find a file by a shipped name or a path; raise HarmnmfError if there is none."""
    path = shipped.get(os.fspath(source), Path(source))
    if not path.exists():
        names = ", ".join(shipped)
        raise HarmnmfError(f"{path}: no such {what} (shipped: {names}; or give a file)")
    return path
