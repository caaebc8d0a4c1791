from __future__ import annotations

import contextlib
import os
import stat
import string
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harmnmf import FormatError, HarmnmfError, ParameterError
from harmnmf.storage import atomic_path, load_arrays, save_arrays

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
    monkeypatch.setattr("harmnmf.storage.VERSION", 0)
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
