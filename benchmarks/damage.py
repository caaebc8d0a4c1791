"""Files as they come from strangers and from broken disks: for Hypothesis, and for `fuzz`."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

# What formats give a meaning to: by chance, it would hardly ever come.
WORDS = {
    ".mid": [
        b"MThd", b"MTrk", b"\xff\x51\x03\0\0\0", b"\xff\x51\x03\xff\xff\xff", b"\xff\x2f\0",
        b"\xff\x58\x04\xff\xff\xff\xff", b"\x90\x3c\x40", b"\x80\x3c\0", b"\xb0\x40\x7f", b"\xf0",
        b"\xff\xff\xff\x7f", b"\0",
    ],
    ".npz": [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff\xff\xff\xff"],
    ".jsonl": [b"{", b"}", b"[", b"]", b",", b"\n", b"\\u0000", b"null", b"1e999"],
    ".csv": [
        b"nan", b"inf", b"1e999", b"-1", b"9" * 400, b",", b"\n", b"\0", b"\xff", b"1_0",
        "\N{ARABIC-INDIC DIGIT ONE}".encode(),
    ],
}  # fmt: skip
STRANGE = [
    None, True, -1, 0, 1, 3, 10**4, 10**9, 10**30, -0.5, 1e-300, 1e300, "", "x\ny", "text", [], {},
    [[1]], {"kind": 1}, [1, 1, 1],
]  # fmt: skip
STRANGE_DTYPES = ["<f4", "<f8", "<f2", ">f4", "<i8", "|u1", "|b1", "<c8", "<U3", "|S4"]


@st.composite
def damage(draw: st.DrawFn, content: bytes, words: list[bytes]) -> bytes:
    """Change some bytes of a file."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(1, 64))
        kind = draw(st.sampled_from(["change", "word", "insert", "remove", "repeat", "cut"]))
        if kind == "change":
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "word":
            word = draw(st.sampled_from(words))
            data[place : place + len(word)] = word
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=8) | st.sampled_from(words))
        elif kind == "remove":
            del data[place : place + length]
        elif kind == "repeat":
            data[place:place] = data[place : place + length] * draw(st.sampled_from([1, 9, 999]))
        else:
            del data[place:]
    return bytes(data)


@st.composite
def repack(draw: st.DrawFn, content: bytes) -> bytes:
    """Pack an archive anew, with other arrays and metadata."""
    arrays, metadata = unpack(content)
    for _ in range(draw(st.integers(1, 2))):
        if arrays and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(arrays)))
            arrays[name] = draw(strange_array(arrays[name]))
            if draw(st.integers(0, 9)) == 0:
                arrays["more"] = arrays.pop(name)
        else:
            metadata = draw(strange_json(metadata))
    return pack(arrays, metadata)


@st.composite
def rewrite(draw: st.DrawFn, content: bytes) -> bytes:
    """Change what lines of JSON say."""
    lines = [json.loads(line) for line in content.splitlines()]
    number = draw(st.integers(0, len(lines) - 1))
    lines[number] = draw(strange_json(lines[number]))
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@st.composite
def strange_array(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    """Change values, type or shape of an array."""
    kind = draw(st.sampled_from(["value", "type", "shape", "empty"]))
    if kind == "value":
        array = np.array(array)
        value = draw(st.sampled_from([np.nan, np.inf, -np.inf, -1, 0, 1e30, 1e300, 2**31]))
        with np.errstate(all="ignore"):
            array.flat[:1] = np.asarray(value).astype(array.dtype)
        return array
    if kind == "type":
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of complex numbers that lose their imaginary part
            return array.astype(draw(st.sampled_from(STRANGE_DTYPES)))
    if kind == "shape":
        shapes = [array.T, array[None], array.ravel(), array.ravel()[:-1]]
        return draw(st.sampled_from(shapes))
    shape = draw(st.sampled_from([(), (0,), (1, 0, 3), (1,) * 32]))
    return np.zeros(shape, array.dtype)


def strange_json(value: Any) -> st.SearchStrategy[Any]:
    """Change one item of what JSON can hold."""
    strange = st.sampled_from(STRANGE) | st.integers(10, 300).map(nested)
    if isinstance(value, dict) and value:
        return st.sampled_from(sorted(value)).flatmap(
            lambda name: st.one_of(
                strange,
                strange_json(value[name]).map(lambda item: {**value, name: item}),
                st.just({key: item for key, item in value.items() if key != name}),
            )
        )
    if isinstance(value, list) and value:
        return st.integers(0, len(value) - 1).flatmap(
            lambda i: strange_json(value[i]).map(lambda item: [*value[:i], item, *value[i + 1 :]])
        )
    return strange


def nested(n_levels: int) -> list[Any]:
    """Put lists inside each other."""
    value: list[Any] = []
    for _ in range(n_levels):
        value = [value]
    return value


def unpack(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read an archive that can be trusted."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    return arrays, json.loads(arrays.pop("metadata").tobytes())


def pack(arrays: Mapping[str, np.ndarray], metadata: object) -> bytes:
    """Write an archive, whatever it may hold."""
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    np.savez_compressed(file, metadata=text, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
