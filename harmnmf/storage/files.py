"""Files that are written atomically."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from harmnmf.errors import HarmnmfError

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    *("atomic_folder", "atomic_path", "make_folder", "open_plain", "remove_leftovers"),
    *("try_lock",),
]

_PREFIX = ".harmnmf-"
_TEMPORARY = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}(\..*)?", re.DOTALL)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically; its folder must exist, and a symbolic link is followed.

    Yields an empty, hidden, locked temporary file in the same folder with the same suffix. When the
    block ends, its content is flushed to the disk and it replaces `path`, so that no reader finds
    an incomplete file, even after a power cut. When the block raises, it is removed;
    `remove_leftovers` removes those of killed processes. Raises HarmnmfError if the file cannot be
    written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder, "notes.csv")) as temporary:
    ...         _ = temporary.write_text("onset,offset")
    ...     Path(folder, "notes.csv").read_text()
    'onset,offset'
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
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        # The block may use a pipe or another file.
        if isinstance(error, BrokenPipeError) or str(error.filename or temporary) != str(temporary):
            raise
        raise _not_written(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
        lock.close()


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write the files of a folder together: all of them appear when the block ends, or none.

    Yields a hidden temporary folder beside `path`, without subfolders. When the block ends, its
    files are flushed to the disk and it becomes `path`; if there is such a folder already, they
    replace those of the same names in it. When the block raises, the temporary folder is removed;
    `remove_leftovers` removes those of killed processes. Raises HarmnmfError if the folder cannot
    be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_folder(Path(folder, "parts")) as temporary:
    ...         _ = (temporary / "left.txt").write_text("C3")
    ...     Path(folder, "parts", "left.txt").read_text()
    'C3'
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_dir():
            raise FileExistsError(errno.EEXIST, "a file has this name")
        temporary, lock = _create_temporary_folder(target)
    except OSError as error:
        raise HarmnmfError(
            f"{path}: this folder cannot be made ({error.strerror}); choose another place"
        ) from error
    try:
        yield temporary
        files = sorted(temporary.iterdir())
        for file in files:
            _flush(file)
        if target.exists():
            for file in files:
                os.replace(file, target / file.name)
        else:
            os.replace(temporary, target)
    except OSError as error:
        is_own = str(error.filename or temporary).startswith(str(temporary))
        if isinstance(error, BrokenPipeError) or not is_own:
            raise
        raise _not_written(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _flush(path: Path) -> None:
    with open(path, "rb+") as written:
        os.fsync(written.fileno())


def _not_written(path: str | os.PathLike[str], error: OSError) -> HarmnmfError:
    return HarmnmfError(
        f"{path}: cannot be written ({error.strerror or error}); make room on the disk, or "
        "choose another place"
    )


def _create_temporary(target: Path) -> tuple[Path, BinaryIO]:
    """Create a file that is locked until the process ends or closes it."""
    while True:
        temporary = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{target.suffix}")
        # Not tempfile, whose files are private (mode 0600).
        lock = open(temporary, "xb")  # noqa: SIM115 (atomic_path closes it)
        if fcntl is None:
            lock.close()  # Windows does not replace open files
            return temporary, lock
        # `remove_leftovers` may have removed it before it was locked.
        if _lock(lock) is not False and os.fstat(lock.fileno()).st_nlink:
            return temporary, lock
        lock.close()


def _create_temporary_folder(target: Path) -> tuple[Path, int | None]:
    """Create a folder beside another, locked as a file of `_create_temporary`."""
    while True:
        temporary = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}")
        temporary.mkdir()
        if fcntl is None:
            return temporary, None
        with suppress(FileNotFoundError):  # `remove_leftovers` was faster
            lock = os.open(temporary, os.O_RDONLY)
            if _lock(lock) is not False and temporary.exists():
                return temporary, lock
            os.close(lock)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder and those above it; raise HarmnmfError if that is not possible."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise HarmnmfError(f"{path}: is a file, not a folder; choose another name") from error
    except OSError as error:
        raise HarmnmfError(
            f"{path}: this folder cannot be made ({error.strerror}); choose another place"
        ) from error


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files and folders that killed processes have left in a folder.

    Those that are being written, by any process, stay. Without file locks (on Windows), all stay.
    The folder may be missing; folders inside it are not searched.
    """
    for path in Path(folder).glob(f"{_PREFIX}*"):
        if not _TEMPORARY.fullmatch(path.name):
            continue
        # It may be gone, or belong to another user.
        with suppress(OSError):
            if path.is_dir():
                _remove_folder(path)
                continue
            with open_plain(path, "rb+") as file:
                if _lock(file):
                    path.unlink()


def _remove_folder(path: Path) -> None:
    """Remove a folder that no process has locked."""
    if fcntl is None:
        return
    lock = os.open(path, os.O_RDONLY)
    try:
        if _lock(lock):
            shutil.rmtree(path)
    finally:
        os.close(lock)


def try_lock(file: IO[Any]) -> bool:
    """Lock a file that is open for writing, for this process until it is closed.

    Returns False if it is locked already; True also if the system has no file locks.
    """
    return _lock(file) is not False


def _lock(file: IO[Any] | int) -> bool | None:
    """Like `try_lock`, but None if the system has no file locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return None
    return True


def open_plain(path: str | os.PathLike[str], mode: str = "rb") -> BinaryIO:
    """Open a file; raise OSError for pipes and devices, where reading may never end."""
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise OSError(errno.EINVAL, "a pipe or a device, not a file", os.fspath(path))
    file: BinaryIO = open(path, mode)  # type: ignore[assignment]  # noqa: SIM115
    return file
