"""Files that are written whole or not at all, and arrays with metadata in one file.

The array format is a NumPy ``.npz`` archive (``numpy.load`` reads it) with one more entry,
``metadata``, which holds JSON as bytes. Nothing is ever pickled or evaluated, and sizes are
checked before memory is taken, so that a file from elsewhere can be opened without trust.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from .errors import FormatError, HarmnmfError, ParameterError
from .npz import MAX_METADATA, read_npz

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "atomic_path", "load_arrays", "open_plain", "remove_leftovers", "save_arrays", "try_lock",
]  # fmt: skip

FORMAT = "harmnmf"
VERSION = 1

_PREFIX = ".harmnmf-"
_TEMPORARY = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}(\..*)?", re.DOTALL)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    r"""Replace a file in one step, so that no reader ever sees half of it.

    The content is on the disk before it has its name: not even a power cut leaves half of it.

    Parameters
    ----------
    path : str or os.PathLike
        File to write. Its folder must exist; a symbolic link is followed.

    Yields
    ------
    pathlib.Path
        An empty temporary file in the same folder and with the same suffix, hidden and locked.
        It takes the place of `path` when the block ends, and is removed when the block raises.
        What a killed process leaves of it is for `remove_leftovers`.

    Raises
    ------
    HarmnmfError
        If the folder is missing or not writable, `path` exists and is not a plain file, or the
        block fails to write, since the disk is full, for example.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder, "notes.csv")) as temporary:
    ...         _ = temporary.write_text("onset,offset\n")
    ...     Path(folder, "notes.csv").read_text()
    'onset,offset\n'
    """
    target = Path(os.path.realpath(path))
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise HarmnmfError(f"{path}: is not a plain file; name a file to write")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise HarmnmfError(
            f"{path}: cannot be written ({error.strerror}); choose another name"
        ) from error
    try:
        temporary, lock = _create_temporary(target)
    except OSError as error:
        raise HarmnmfError(
            f"{target.parent}: cannot write to this folder ({error.strerror}); choose another"
        ) from error
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        # A pipe, or another file, that the block uses is not what is written here.
        if isinstance(error, BrokenPipeError) or str(error.filename or temporary) != str(temporary):
            raise
        raise HarmnmfError(
            f"{path}: cannot be written ({error.strerror or error}); make room on the disk, or "
            "choose another place"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
        lock.close()


def _create_temporary(target: Path) -> tuple[Path, BinaryIO]:
    """Make a file that is locked until the process ends or closes it."""
    while True:
        temporary = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{target.suffix}")
        # Not tempfile: its files are private (mode 0600), and would stay so.
        lock = open(temporary, "xb")  # noqa: SIM115 (atomic_path closes it)
        if fcntl is None:
            lock.close()  # Windows replaces no file that is open
            return temporary, lock
        # Before it was locked, `remove_leftovers` may have taken it for one.
        if _lock(lock) is not False and os.fstat(lock.fileno()).st_nlink:
            return temporary, lock
        lock.close()


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed processes have left in a folder.

    Files that `atomic_path` is writing to just now, in any process, stay. So do all where the
    system has no locks, since nobody can know there.

    Parameters
    ----------
    folder : str or os.PathLike
        Folder of outputs; not those inside it. It may be missing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     left = Path(folder, ".harmnmf-0123456789abcdef.mid")
    ...     left.touch()
    ...     with atomic_path(Path(folder, "song.mid")) as temporary:
    ...         remove_leftovers(folder)
    ...         left.exists(), temporary.exists()
    (False, True)
    """
    for path in Path(folder).glob(f"{_PREFIX}*"):
        if not _TEMPORARY.fullmatch(path.name):
            continue
        # It may be gone, or somebody else's.
        with suppress(OSError), open_plain(path, "rb+") as file:
            if _lock(file):
                path.unlink()


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file for this process, if no other has: the lock ends with it, or with `close`.

    Parameters
    ----------
    file : file object
        Open for writing.

    Returns
    -------
    bool
        False if it is locked already; True also where the system has no locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file, open(file.name, "ab") as other:
    ...     try_lock(file), try_lock(other)
    (True, False)
    """
    return _lock(file) is not False


def _lock(file: IO[Any]) -> bool | None:
    """Do what `try_lock` does; None where the system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that has none
        return None
    return True


def open_plain(path: str | os.PathLike[str], mode: str = "rb") -> BinaryIO:
    """Open a file that must not be a pipe or a device, where reading may never end.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    mode : {"rb", "rb+"}
        As of `open`.

    Returns
    -------
    file object
        The open file.

    Raises
    ------
    OSError
        As `open` does, and if it is a pipe or a device.

    Examples
    --------
    >>> open_plain(os.devnull)
    Traceback (most recent call last):
        ...
    OSError: [Errno 22] a pipe or a device, not a file: '/dev/null'
    """
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise OSError(errno.EINVAL, "a pipe or a device, not a file", os.fspath(path))
    file: BinaryIO = open(path, mode)  # type: ignore[assignment]  # noqa: SIM115
    return file


def save_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and metadata to one file, which appears whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        File to write or replace; ``.npz`` by convention.
    arrays : mapping of str to ndarray
        Numbers, booleans or strings, of any shape. The name ``metadata`` is taken.
    metadata : mapping
        What JSON can hold in a megabyte, with the kind of content under ``"kind"``
        (`load_arrays` checks it). ``"format"`` and ``"version"`` are added in the file.

    Raises
    ------
    ParameterError
        If `metadata` or an array cannot be stored.
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_arrays(f"{folder}/a.npz", {"W": np.eye(2)}, {"kind": "dictionary"})
    ...     arrays, metadata = load_arrays(f"{folder}/a.npz", kind="dictionary")
    >>> arrays["W"].shape, metadata
    ((2, 2), {'kind': 'dictionary'})
    """
    if not isinstance(metadata.get("kind"), str):
        raise ParameterError('metadata needs the kind of content, a string, under "kind"')
    if taken := {"format", "version"} & metadata.keys():
        raise ParameterError(f"metadata cannot use the names {sorted(taken)}")
    try:
        text = json.dumps({"format": FORMAT, "version": VERSION, **metadata}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"metadata is not JSON ({error})") from error
    if len(text) > MAX_METADATA:
        raise ParameterError(f"metadata takes {len(text)} bytes, above the limit {MAX_METADATA}")
    entries = {"metadata": np.frombuffer(text.encode(), np.uint8)}
    for name, array in arrays.items():
        if name in entries or not name.isidentifier():
            raise ParameterError(f"{name!r} cannot be the name of an array")
        entries[name] = np.asarray(array)
        if entries[name].dtype.kind not in "biufcSU":
            raise ParameterError(f"array {name!r} has dtype {entries[name].dtype}: not stored")
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, array in entries.items():
            # The fixed date of a bare ZipInfo gives equal bytes for equal content.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)


def load_arrays(
    path: str | os.PathLike[str], *, kind: str | None = None, max_bytes: int = 2**30
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and metadata that `save_arrays` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        File to read.
    kind : str, optional
        Kind of content that the file must have.
    max_bytes : int
        Limit on the decompressed size, checked before memory is taken: a small file can
        announce, or decompress to, more than a machine has.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays by name.
    metadata : dict
        As given to `save_arrays`.

    Raises
    ------
    FormatError
        If the file is missing, corrupt, too large, of another kind, or of a newer version.

    Examples
    --------
    >>> load_arrays("missing.npz")
    Traceback (most recent call last):
        ...
    harmnmf.errors.FormatError: missing.npz: cannot be opened (No such file or directory)
    """
    try:
        file = open_plain(path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        with file:
            arrays, metadata = read_npz(file, max_bytes)
        if metadata.pop("format") != FORMAT:
            raise ValueError("an archive of some other program")
        version, found = metadata.pop("version"), metadata["kind"]
    except FormatError as error:
        raise FormatError(f"{path}: {error}; choose another file") from error
    except Exception as error:  # damaged bytes raise nearly anything inside zipfile
        raise FormatError(
            f"{path}: is corrupt or not a harmnmf file; make it again or copy it again"
        ) from error
    if version != VERSION:
        raise FormatError(
            f"{path}: has format version {version}, and this harmnmf reads {VERSION}; update it"
        )
    if kind not in (None, found):
        raise FormatError(f"{path}: holds {found}, where {kind} is needed; choose another file")
    return arrays, metadata
