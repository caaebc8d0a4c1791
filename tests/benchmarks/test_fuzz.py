"""The readers of our own formats, and files of strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks import fuzz
from benchmarks.damage import nested, pack, unpack
from harmnmf import FormatError

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is read as Linux tells it"
)


@pytest.fixture(scope="module")
def readers():
    return fuzz.make_readers()


NAMES = [
    "dictionary", "note network", "note excerpt", "enhancement model", "checkpoint", "MIDI",
    "table of notes", "manifest",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_files_are_read_or_refused(tmp_path, readers, name):
    assert list(readers) == NAMES
    reader, tally = readers[name], fuzz.Tally()
    path = tmp_path / f"a{reader.suffix}"
    for content in reader.files:
        path.write_bytes(content)
        assert fuzz.try_file(reader, path, tally) is None
    assert tally.read == len(reader.files)

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(reader.inputs())
    def attempt(content):
        path.write_bytes(content)
        assert fuzz.try_file(reader, path, tally) is None

    attempt()
    assert tally.refused > 5


class Faulty:
    """Readers that do what readers must not."""

    @staticmethod
    def raise_another(path):
        raise KeyError("W")

    @staticmethod
    def hang(path):
        while True:
            pass

    @staticmethod
    def swallow(path):
        np.ones(fuzz.LARGEST // 8 + 2**20)

    @staticmethod
    def warn(path):
        np.float64(1.0) / np.float64(0.0)

    @staticmethod
    def name_nothing(path):
        raise FormatError("damaged")


@pytest.mark.parametrize("fault", ["raise_another", "hang", "swallow", "warn", "name_nothing"])
def test_what_readers_must_not_do_is_found(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(fuzz, "LONGEST", 0.1)
    monkeypatch.setattr(fuzz, "LARGEST", 50 * 2**20)
    tally = fuzz.Tally()
    reader = fuzz.Reader(getattr(Faulty, fault), ".csv", [b"1,2\n"])
    fuzz.explore(reader, tally, 1, 0, tmp_path)
    assert len(tally.failed) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".txt"]


def test_archives_are_packed_as_they_were(readers):
    arrays, metadata = unpack(readers["dictionary"].files[0])
    again, same = unpack(pack(arrays, metadata | {"x": nested(3)}))
    assert same == metadata | {"x": [[[[]]]]}
    assert again.keys() == arrays.keys()
