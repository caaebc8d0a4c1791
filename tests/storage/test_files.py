"""Files that are written atomically, and leftovers of killed processes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harmnmf import HarmnmfError
from harmnmf.storage import files
from harmnmf.storage.files import (
    atomic_folder,
    atomic_path,
    open_plain,
    remove_leftovers,
    try_lock,
)


def test_atomic_path_replaces_on_success(tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(b"old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mid"
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["song.mid"]


def test_atomic_path_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["song.mid"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_atomic_path_obeys_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "song.mid"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "song.mid").stat().st_mode) == 0o644


def test_atomic_path_follows_a_link(tmp_path):
    (tmp_path / "target.mid").touch()
    (tmp_path / "link.mid").symlink_to("target.mid")
    with atomic_path(tmp_path / "link.mid") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "link.mid").is_symlink()
    assert (tmp_path / "target.mid").read_bytes() == b"new"


def test_atomic_path_accepts_the_longest_names(tmp_path):
    path = tmp_path / ("n" * 251 + ".mid")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_atomic_path_without_a_writable_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "missing", tmp_path / "file"):
        message = f"^{folder}: cannot write .*$"
        with pytest.raises(HarmnmfError, match=message), atomic_path(folder / "song.mid"):
            pass


@pytest.mark.parametrize("path", [".", os.devnull])
def test_atomic_path_replaces_nothing_but_files(path):
    with pytest.raises(HarmnmfError, match="not a plain file"), atomic_path(path):
        pass


def test_a_name_that_is_too_long_raises_before_the_work(tmp_path):
    started = False
    with (
        pytest.raises(HarmnmfError, match=r"cannot be written \(File name too long\)"),
        atomic_path(tmp_path / ("n" * 300)),
    ):
        started = True
    assert not started


def test_a_full_disk_is_an_error_that_names_the_target(tmp_path, monkeypatch):
    def fail(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    message = r"song\.mid: cannot be written \(No space left on device\); make room"
    with pytest.raises(HarmnmfError, match=message), atomic_path(tmp_path / "song.mid"):
        pass
    assert os.listdir(tmp_path) == []


def test_errors_of_other_files_pass_through(tmp_path):
    for error in (BrokenPipeError(32, "Broken pipe"), FileNotFoundError(2, "missing", "other")):
        with pytest.raises(type(error)), atomic_path(tmp_path / "song.mid"):
            raise error
    assert os.listdir(tmp_path) == []


WRITER = """
import sys
from harmnmf.storage.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_leftovers_of_killed_processes_are_removed_and_open_files_stay(tmp_path):
    for name in (".harmnmf-settings", ".harmnmf-0123456789abcdef", "song.mid"):
        (tmp_path / name).touch()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "song.mid")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        remove_leftovers(tmp_path)
        [temporary] = tmp_path.glob(".harmnmf-*.mid")
        assert temporary.read_bytes() == b"half"
        process.kill()
    assert temporary.exists()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".harmnmf-settings", "song.mid"]
    assert (tmp_path / "song.mid").read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_temporary_file_removed_before_it_is_locked_is_recreated(tmp_path, monkeypatch):
    flock, taken = files.fcntl.flock, []

    def remove_first(file, operation):
        if not taken:
            taken.append(file.name)
            os.unlink(file.name)
        flock(file, operation)

    monkeypatch.setattr(files.fcntl, "flock", remove_first)
    with atomic_path(tmp_path / "song.mid") as temporary:
        assert temporary.exists()
        assert str(temporary) != str(taken[0])
    assert os.listdir(tmp_path) == ["song.mid"]


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    left = tmp_path / ".harmnmf-0123456789abcdef.wav"
    left.touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    with atomic_path(tmp_path / "song.mid") as temporary:
        temporary.write_bytes(b"new")
    with open(left, "ab") as one, open(left, "ab") as other:
        assert try_lock(one)
        assert try_lock(other)
    assert sorted(os.listdir(tmp_path)) == [left.name, "song.mid"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_pipes_raise(tmp_path):
    os.mkfifo(tmp_path / "a.mid")
    os.mkfifo(tmp_path / ".harmnmf-0123456789abcdef.mid")
    with pytest.raises(OSError, match="a pipe or a device"):
        open_plain(tmp_path / "a.mid")
    remove_leftovers(tmp_path)


def test_the_files_of_a_folder_appear_together(tmp_path):
    path = tmp_path / "parts"
    with atomic_folder(path) as temporary:
        (temporary / "a.txt").write_text("new")
        assert not path.exists()
        assert temporary.name.startswith(".")
    assert (path / "a.txt").read_text() == "new"
    (path / "own.txt").write_text("stays")
    with atomic_folder(path) as temporary:
        for name in ("a.txt", "b.txt"):
            (temporary / name).write_text("newer")
        assert (path / "a.txt").read_text() == "new"
    contents = {file.name: file.read_text() for file in path.iterdir()}
    assert contents == {"a.txt": "newer", "b.txt": "newer", "own.txt": "stays"}
    assert os.listdir(tmp_path) == ["parts"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_is_unchanged_after_a_failure(tmp_path, exists):
    if exists:
        (tmp_path / "parts").mkdir()

    def fail() -> None:
        with atomic_folder(tmp_path / "parts") as temporary:
            (temporary / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.rglob("*")) == [tmp_path / "parts"] * exists


def test_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "missing" / "parts", tmp_path / "file" / "parts"):
        message = f"^{path}: this folder cannot be made .*another"
        with pytest.raises(HarmnmfError, match=message), atomic_folder(path):
            pass
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    def fail(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    message = r"parts: cannot be written \(No space left on device\); make room"
    with pytest.raises(HarmnmfError, match=message), atomic_folder(tmp_path / "parts") as temporary:
        (temporary / "a.txt").touch()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_folders_of_killed_processes_are_removed_and_open_ones_stay(tmp_path):
    code = WRITER.replace("atomic_path", "atomic_folder").replace(
        "temporary.write_bytes", "(temporary / 'a.txt').write_bytes"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "parts")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        remove_leftovers(tmp_path)
        assert [path.name for path in tmp_path.glob(".harmnmf-*/*")] == ["a.txt"]
        process.kill()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


def test_folders_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    (tmp_path / ".harmnmf-0123456789abcdef").mkdir()
    remove_leftovers(tmp_path)
    with atomic_folder(tmp_path / "parts") as temporary:
        (temporary / "a.txt").touch()
    assert sorted(os.listdir(tmp_path)) == [".harmnmf-0123456789abcdef", "parts"]
