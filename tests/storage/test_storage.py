from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import string
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harmnmf import FormatError, HarmnmfError, ParameterError
from harmnmf.storage import arrays as storage
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.storage.files import atomic_path, open_plain, remove_leftovers, try_lock

names = st.text(string.ascii_letters + "_", min_size=1).filter(lambda name: name != "metadata")
dtypes = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes()
any_array = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates are no text: UTF-8 cannot hold them.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The bytes of a valid file, and a path to write changed ones to."""
    path = tmp_path_factory.mktemp("stored") / "stored.npz"
    save_arrays(path, {"W": np.arange(600.0).reshape(20, 30)}, {"kind": "test", "axis": [1, 2]})
    return path.read_bytes(), path


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


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


def test_atomic_path_takes_the_longest_names(tmp_path):
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


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_atomic_path_in_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(HarmnmfError, match="cannot write"), atomic_path(tmp_path / "song.mid"):
        pass


@pytest.mark.parametrize("path", [".", os.devnull])
def test_atomic_path_replaces_nothing_but_files(path):
    with pytest.raises(HarmnmfError, match="not a plain file"), atomic_path(path):
        pass


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path):
    started = False
    with (
        pytest.raises(HarmnmfError, match=r"cannot be written \(File name too long\)"),
        atomic_path(tmp_path / ("n" * 300)),
    ):
        started = True
    assert not started


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_the_disk_refuses_is_an_error_of_the_target(tmp_path, monkeypatch, number):
    def fail(file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    message = rf"song\.mid: cannot be written \({os.strerror(number)}\); make room"
    with pytest.raises(HarmnmfError, match=message), atomic_path(tmp_path / "song.mid"):
        pass
    assert os.listdir(tmp_path) == []


def test_errors_of_other_files_are_their_own(tmp_path):
    for error in (BrokenPipeError(32, "Broken pipe"), FileNotFoundError(2, "missing", "other")):
        with pytest.raises(type(error)), atomic_path(tmp_path / "song.mid"):
            raise error
    assert os.listdir(tmp_path) == []


WRITER = """
import sys
import tracemalloc
from harmnmf.storage import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_what_a_killed_process_leaves_is_removed_and_what_another_writes_is_not(tmp_path):
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


def test_a_file_that_is_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    lock, taken = storage._lock, []

    def remove_first(file):
        if not taken:
            taken.append(file.name)
            os.unlink(file.name)
        return lock(file)

    monkeypatch.setattr(storage, "_lock", remove_first)
    with atomic_path(tmp_path / "song.mid") as temporary:
        assert temporary.exists()
        assert str(temporary) != str(taken[0])
    assert os.listdir(tmp_path) == ["song.mid"]


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "fcntl", None)
    left = tmp_path / ".harmnmf-0123456789abcdef.wav"
    left.touch()
    remove_leftovers(tmp_path)
    with atomic_path(tmp_path / "song.mid") as temporary:
        temporary.write_bytes(b"new")
    with open(left, "ab") as one, open(left, "ab") as other:
        assert try_lock(one)
        assert try_lock(other)
    assert sorted(os.listdir(tmp_path)) == [left.name, "song.mid"]


def test_leftovers_of_a_missing_folder(tmp_path):
    remove_leftovers(tmp_path / "missing")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    os.mkfifo(tmp_path / ".harmnmf-0123456789abcdef.npz")
    with pytest.raises(OSError, match="a pipe or a device"):
        open_plain(tmp_path / "a.npz")
    with pytest.raises(FormatError, match=r"a\.npz: cannot be opened \(a pipe or a device"):
        load_arrays(tmp_path / "a.npz")
    remove_leftovers(tmp_path)


@settings(max_examples=50, deadline=None)
@given(arrays=st.dictionaries(names, any_array, max_size=3), axis=any_json)
def test_round_trip(tmp_path_factory, arrays, axis):
    path = tmp_path_factory.getbasetemp() / "round_trip.npz"
    save_arrays(path, arrays, {"kind": "test", "axis": axis})
    loaded, metadata = load_arrays(path, kind="test")
    assert metadata == {"kind": "test", "axis": axis}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_order_strings_and_writability_survive(tmp_path):
    arrays = {"F": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "names": np.array(["A0", "C8"])}
    save_arrays(tmp_path / "a.npz", arrays, {"kind": "test"})
    loaded, _ = load_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded["F"], arrays["F"])
    assert loaded["names"].tolist() == ["A0", "C8"]
    loaded["F"][0, 0] = 1.0


def test_numpy_reads_it_and_equal_content_gives_equal_bytes(stored, tmp_path):
    content, path = stored
    with np.load(path, allow_pickle=False) as archive:
        assert archive["W"].shape == (20, 30)
    arrays, metadata = load_arrays(path)
    save_arrays(tmp_path / "again.npz", arrays, metadata)
    assert (tmp_path / "again.npz").read_bytes() == content


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({}, {}),
        ({}, {"kind": 3}),
        ({}, {"kind": "test", "version": 2}),
        ({}, {"kind": "test", "x": float("nan")}),
        ({}, {"kind": "test", "x": np.float32(1)}),
        ({"metadata": np.zeros(1)}, {"kind": "test"}),
        ({"../up": np.zeros(1)}, {"kind": "test"}),
        ({"W": np.array([None])}, {"kind": "test"}),
        ({"W": np.zeros(1, "f4,f4")}, {"kind": "test"}),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path, arrays, metadata):
    with pytest.raises(ParameterError):
        save_arrays(tmp_path / "a.npz", arrays, metadata)
    assert not any(tmp_path.iterdir())


def test_another_kind_or_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    save_arrays(path, {}, {"kind": "activations"})
    with pytest.raises(FormatError, match=r"a\.npz.*activations.*dictionary"):
        load_arrays(path, kind="dictionary")
    monkeypatch.setattr("harmnmf.storage.files.VERSION", 0)
    with pytest.raises(FormatError, match="format version 1"):
        load_arrays(path)


def test_files_of_other_programs_are_refused(tmp_path):
    np.savez(tmp_path / "plain.npz", W=np.zeros(3))
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").touch()
    write_zip(tmp_path / "other.npz", {"readme.txt": "hello"})
    np.savez(tmp_path / "number.npz", metadata=np.frombuffer(b"3", np.uint8))
    foreign = np.frombuffer(b'{"format": "x", "version": 1, "kind": "x"}', np.uint8)
    np.savez(tmp_path / "foreign.npz", metadata=foreign)
    for path in tmp_path.iterdir():
        with pytest.raises(FormatError, match=f"{path.name}.*not a harmnmf file") as caught:
            load_arrays(path)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(FormatError, match="cannot be opened"):
            load_arrays(path)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", W=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError):
        load_arrays(tmp_path / "a.npz")


def test_a_bomb_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "bomb.npz"
    save_arrays(path, {"W": np.zeros(10**6, np.uint8)}, {"kind": "test"})
    assert path.stat().st_size < 10**4
    with pytest.raises(FormatError, match="above the limit 100000"):
        load_arrays(path, max_bytes=10**5)


def test_a_header_that_announces_more_than_there_is(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000), }\n"
    entry = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    write_zip(tmp_path / "a.npz", {"W.npy": entry})
    with pytest.raises(FormatError, match="corrupt"):
        load_arrays(tmp_path / "a.npz")


def test_a_truncated_file(stored):
    content, path = stored
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match="corrupt"):
            load_arrays(path)


@pytest.mark.filterwarnings("ignore")  # NumPy warns of headers that it repairs
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_raise_anything_else(stored, data):
    content, path = stored
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    with contextlib.suppress(FormatError):
        load_arrays(path)


def packed(metadata, **arrays):
    """An archive of NumPy, whatever its metadata say."""
    file = io.BytesIO()
    np.savez(file, metadata=np.frombuffer(metadata, np.uint8), **arrays)
    return file.getvalue()


KIND = b'"format": "harmnmf", "version": 1, "kind": "test"'


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (b"{%s, " % KIND + b'"x": %s}' % (b"[" * 100_000 + b"]" * 100_000), "corrupt"),
        (b"{%s, " % KIND + b'"x": %s}' % (b"[" * 65 + b"]" * 65), "more than 64 levels"),
        (b"{%s, " % KIND + b'"x": "%s"}' % (b" " * 2**20), "bytes of metadata"),
        (b"{%s, " % KIND + b'"x": NaN}', "corrupt"),
        (b"{%s, " % KIND + b'"x": -1e999}', "corrupt"),
        (b"{%s, " % KIND + b'"x": %s}' % (b"9" * 5000), "corrupt"),
        (b"[%s]" % (b"1," * 9 + b"1"), "corrupt"),
        (b'{"format": "harmnmf", "version": 1, "kind": ["a"]}', "where dictionary is needed"),
        (b'{"format": "harmnmf", "version": [2], "kind": "a"}', "format version"),
    ],
)
def test_metadata_of_strangers(tmp_path, metadata, message):
    (tmp_path / "a.npz").write_bytes(packed(metadata))
    with pytest.raises(FormatError, match=rf"a\.npz: .*{message}") as caught:
        load_arrays(tmp_path / "a.npz", kind="dictionary")
    assert "\n" not in str(caught.value)


def test_metadata_that_could_not_be_read_again_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="above the limit"):
        save_arrays(tmp_path / "a.npz", {}, {"kind": "test", "x": " " * 2**20})


def entry(header, data=b""):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        entry(b"-" * 9000 + b"1"),  # too deep to be evaluated
        entry(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1L,), }\n", bytes(8)),
        entry(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", bytes(8)),
        entry(b"{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }\n", bytes(3)),
        entry(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1 1,), }\n", bytes(8)),
        entry(b"{'descr': '<f8', 'fortran_order': False, 'shape': %s, }\n" % (b"(%s)" % (b"1,"*99)),
              bytes(8)),
        b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + b"{",
        b"",
    ],
)  # fmt: skip
def test_headers_of_strangers(tmp_path, content):
    metadata = packed(b"{%s}" % KIND)
    with zipfile.ZipFile(io.BytesIO(metadata)) as archive:
        write_zip(
            tmp_path / "a.npz", {"metadata.npy": archive.read("metadata.npy"), "W.npy": content}
        )
    with pytest.raises(FormatError, match="corrupt"):
        load_arrays(tmp_path / "a.npz")


def test_an_archive_that_decompresses_to_more_than_it_says(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100,), }\n"
        archive.writestr("metadata.npy", entry(header, bytes(10**8)))
    content = file.getvalue()
    said = len(entry(header)) + 100
    n_bytes = (said - 100 + 10**8).to_bytes(4, "little")
    assert content.count(n_bytes) == 2
    (tmp_path / "a.npz").write_bytes(content.replace(n_bytes, said.to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(FormatError, match="corrupt"):
        load_arrays(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_table_of_contents_that_is_too_long(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(200):
            archive.writestr("n" * 6000 + str(number), b"")
    with pytest.raises(FormatError, match="corrupt"):
        load_arrays(tmp_path / "a.npz")


def test_a_table_of_contents_elsewhere(stored):
    # Where zipfile would look for the sizes of archives that are larger than 4 GB.
    content, path = stored
    locator = b"PK\6\7" + bytes(16)
    path.write_bytes(content[:-22] + locator + content[-22:])
    with pytest.raises(FormatError, match="corrupt"):
        load_arrays(path)
