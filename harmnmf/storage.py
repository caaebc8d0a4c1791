"""Files that are written whole or not at all, and arrays with metadata in one file.

The array format is a NumPy ``.npz`` archive with one more entry, ``metadata``, which holds
JSON. Nothing is ever pickled, so that a file from elsewhere can be opened without trust.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import HarmnmfError

__all__ = ["atomic_path"]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Replace a file in one step, so that no reader ever sees half of it.

    Parameters
    ----------
    path : str or os.PathLike
        File to write. Its folder must exist; a symbolic link is followed.

    Yields
    ------
    pathlib.Path
        An empty temporary file in the same folder and with the same suffix. It takes the
        place of `path` when the block ends, and is removed when the block raises.

    Raises
    ------
    HarmnmfError
        If the folder is missing or not writable, or `path` exists and is not a plain file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder, "notes.csv")) as temporary:
    ...         _ = temporary.write_text("onset,offset\\n")
    ...     Path(folder, "notes.csv").read_text()
    'onset,offset\\n'
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise HarmnmfError(f"{path}: is not a plain file; name a file to write")
    temporary = target.with_name(f".harmnmf-{secrets.token_hex(8)}{target.suffix}")
    try:
        # Not tempfile.mkstemp: its files are private (mode 0600), and would stay so.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise HarmnmfError(
            f"{target.parent}: cannot write to this folder ({error.strerror}); choose another"
        ) from error
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
