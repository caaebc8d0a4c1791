"""Hypothesis strategies for damaged and malformed files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.numpy
from hypothesis import strategies as st

# Byte strings with a meaning in each format, which random bytes rarely contain.
WORDS = {
    ".mid": [
        b"MThd", b"MTrk", b"\xff\x51\x03\0\0\0", b"\xff\x51\x03\xff\xff\xff", b"\xff\x2f\0",
        b"\xff\x58\x04\xff\xff\xff\xff", b"\x90\x3c\x40", b"\x80\x3c\0", b"\xb0\x40\x7f", b"\xf0",
        b"\xff\xff\xff\x7f", b"\0",
    ],
    ".safetensors": [
        b"\xff\xff\xff\xff", bytes(8), b"F64", b"BF16", b"F8_E4M3", b"[]",
        b"[0,9223372036854775807]", b"-1", b"18446744073709551616", b"__metadata__", b'"',
        b"\\u0000", b"PK\3\4",
    ],
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


@st.composite
def damaged(draw: st.DrawFn, content: bytes, words: list[bytes]) -> bytes:
    """Change some bytes of a file."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        end = start + draw(st.integers(1, 64))
        kind = draw(st.sampled_from(["change", "word", "insert", "remove", "repeat", "cut"]))
        if kind == "change":
            data[start : start + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "word":
            word = draw(st.sampled_from(words))
            data[start : start + len(word)] = word
        elif kind == "insert":
            data[start:start] = draw(st.binary(max_size=8) | st.sampled_from(words))
        elif kind == "remove":
            del data[start:end]
        elif kind == "repeat":
            data[start:start] = data[start:end] * draw(st.sampled_from([1, 9, 999]))
        else:
            del data[start:]
    return bytes(data)


@st.composite
def repacked(draw: st.DrawFn, content: bytes) -> bytes:
    """Change arrays and metadata of a safetensors file."""
    arrays = safetensors.numpy.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = json.loads(header["__metadata__"]["harmnmf"])
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.booleans()):
            metadata = draw(strange_json(metadata))
        else:
            name = draw(st.sampled_from(sorted(arrays)))
            arrays[draw(st.sampled_from([name, name, "more"]))] = draw(strange_array(arrays[name]))
    return safetensors.numpy.save(arrays, {"harmnmf": json.dumps(metadata)})


@st.composite
def rewritten(draw: st.DrawFn, content: bytes) -> bytes:
    """Change one line of JSON."""
    lines = [json.loads(line) for line in content.splitlines()]
    number = draw(st.integers(0, len(lines) - 1))
    lines[number] = draw(strange_json(lines[number]))
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


# Strategies that keep a file well-formed and change its content.
REMADE: dict[str, Callable[[bytes], st.SearchStrategy[bytes]]] = {
    ".safetensors": repacked,
    ".jsonl": rewritten,
}


def strange_array(array: np.ndarray) -> st.SearchStrategy[np.ndarray]:
    """Change a value, the type or the shape of an array."""

    def with_value(value: float) -> np.ndarray:
        changed = array.copy()
        with np.errstate(all="ignore"):
            changed.flat[:1] = np.asarray(value).astype(array.dtype)
        return changed

    def with_type(name: str) -> np.ndarray:
        with np.errstate(all="ignore"):
            return array.astype(name)

    types = ["float16", "float32", "float64", "int64", "uint8", "bool"]
    shapes = [array.T.copy(), array[None], array.ravel(), array.ravel()[:-1]]
    return st.one_of(
        st.sampled_from([np.nan, np.inf, -np.inf, -1, 0, 1e30, 1e300, 2**31]).map(with_value),
        st.sampled_from(types).map(with_type),
        st.sampled_from(shapes),
        st.sampled_from([(), (0,), (1, 0, 3), (1,) * 32]).map(lambda x: np.zeros(x, array.dtype)),
    )


def strange_json(value: Any) -> st.SearchStrategy[Any]:
    """Change one item of JSON data."""
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
    """Nest lists."""
    value: list[Any] = []
    for _ in range(n_levels):
        value = [value]
    return value
