"""Round trips of named arrays, and errors of damaged files."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harmnmf import FormatError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays

# Lone surrogates cannot be encoded in UTF-8.
text = st.text(st.characters(exclude_categories=["Cs"]))
dtypes = st.sampled_from(["?", "i1", "u1", "<i4", "<i8", "<f2", "<f4", "<f8"])
any_array = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(
    arrays=st.dictionaries(text.filter(lambda name: name != "__metadata__"), any_array, max_size=3),
    axis=any_json,
)
def test_round_trip(tmp_path_factory, arrays, axis):
    path = tmp_path_factory.getbasetemp() / "round_trip.safetensors"
    save_arrays(path, arrays, {"kind": "test", "axis": axis})
    loaded, metadata = load_arrays(path, kind="test")
    assert metadata == {"kind": "test", "axis": axis}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_arrays_in_any_memory_layout(tmp_path):
    W = np.arange(24.0).reshape(4, 6)
    arrays = {"T": W.T, "step": W[::2, ::3], "big": W.astype(">f4"), "scalar": np.float32(3)}
    save_arrays(tmp_path / "a", arrays, {"kind": "test"})
    loaded, _ = load_arrays(tmp_path / "a", kind="test")
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
    loaded["T"][0, 0] = 1.0


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({}, {}),
        ({}, {"kind": "test", "version": 2}),
        ({}, {"kind": "test", "x": float("nan")}),
        ({}, {"kind": "test", "x": np.float32(1)}),
        ({}, {"kind": "test", "x": " " * 2**21}),
        ({"W": np.array([None])}, {"kind": "test"}),
        ({"W": np.array(["A0"])}, {"kind": "test"}),
    ],
)
def test_unsuitable_content(tmp_path, arrays, metadata):
    with pytest.raises(ParameterError):
        save_arrays(tmp_path / "a", arrays, metadata)
    assert not any(tmp_path.iterdir())


def packed(header, data=b""):
    """Build a file with a header, of bytes or JSON data."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


def with_metadata(metadata):
    return packed({"__metadata__": {"harmnmf": metadata}})


def with_array(dtype, shape, n_bytes):
    about = {"__metadata__": {"harmnmf": '{"version": 2, "kind": "dictionary"}'}}
    return packed(
        about | {"W": {"dtype": dtype, "shape": shape, "data_offsets": [0, n_bytes]}},
        bytes(min(n_bytes, 100)),
    )


def with_item(item):
    return with_metadata(f'{{"version": 2, "kind": "dictionary", "x": {item}}}')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "corrupt"),
        (b"no arrays", "corrupt"),
        (b"PK\3\4", r"is an \.npz archive.*harmnmf convert"),
        (safetensors.numpy.save({"W": np.zeros(3)}), "not a harmnmf file"),
        (packed(b"{" * 100_000), "corrupt"),
        (packed({"__metadata__": {"harmnmf": 3}}), "corrupt"),
        (with_array("F32", [3], 12), None),
        (with_array("BF16", [3], 6), "corrupt"),
        (with_array("F8_E4M3", [3], 3), "corrupt"),
        (with_array("F32", [10**12], 4 * 10**12), "corrupt"),
        (with_array("F32", [0, 2**62], 0), "corrupt"),
        (with_array("F32", [1] * 65, 4), "corrupt"),
        (with_metadata("3"), "corrupt"),
        (with_item("[" * 100_000 + "]" * 100_000), "corrupt"),
        (with_item("[" * 65 + "]" * 65), "corrupt"),
        (with_item(f'"{" " * 2**21}"'), "corrupt"),
        (with_item("NaN"), "corrupt"),
        (with_item("-1e999"), "corrupt"),
        (with_item("9" * 5000), "corrupt"),
        (with_metadata('{"version": 2, "kind": ["a"]}'), "where dictionary is needed"),
        (with_metadata('{"version": 2, "kind": "network"}'), "holds network, where dictionary"),
        (with_metadata('{"version": 3, "kind": "dictionary"}'), "has format version 3"),
    ],
)
def test_foreign_and_damaged_files(tmp_path, content, message):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    if message is None:
        load_arrays(path, kind="dictionary")
        return
    tracemalloc.start()
    with pytest.raises(FormatError, match=rf"a\.safetensors: .*{message}") as caught:
        load_arrays(path, kind="dictionary")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < 10 * 2**20


def test_large_files_are_not_read(tmp_path):
    save_arrays(tmp_path / "a", {"W": np.zeros(1000)}, {"kind": "test"})
    with pytest.raises(FormatError, match="above the limit 1000"):
        load_arrays(tmp_path / "a", kind="test", max_bytes=1000)


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(FormatError, match="cannot be opened"):
            load_arrays(path, kind="test")


def test_truncated_files(tmp_path):
    path = tmp_path / "a"
    save_arrays(path, {"W": np.arange(60.0)}, {"kind": "test"})
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match="corrupt"):
            load_arrays(path, kind="test")
