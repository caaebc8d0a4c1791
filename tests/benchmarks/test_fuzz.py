"""Readers of harmnmf's file formats with damaged and malformed files."""

from __future__ import annotations

import math
import mmap
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks import fuzz
from harmnmf import FormatError

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured as on Linux"
)
READERS = fuzz.make_readers()


@pytest.mark.parametrize("name", READERS)
def test_files_are_read_or_rejected(tmp_path, monkeypatch, name):
    monkeypatch.setattr(fuzz, "MAX_SECONDS", math.inf)  # time is for the benchmark to judge
    reader = READERS[name]
    path = tmp_path / f"a{reader.suffix}"
    for content in reader.files:
        path.write_bytes(content)
        assert fuzz.try_file(reader, path).outcome == "read"

    outcomes = []

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(reader.inputs())
    def attempt(content):
        path.write_bytes(content)
        outcomes.append(fuzz.try_file(reader, path).outcome)
        assert outcomes[-1] in ("read", "rejected")

    attempt()
    assert outcomes.count("rejected") > 5


def raise_another(path):
    raise KeyError("W")


def take_memory(path):
    with mmap.mmap(-1, 2**26) as memory:  # never memory that the process has already
        memory.write(bytes(2**26))


def take_time(path):
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass


def warn(path):
    warnings.warn("lossy", stacklevel=1)


def name_nothing(path):
    raise FormatError("damaged")


@pytest.mark.parametrize("fault", [raise_another, take_memory, take_time, warn, name_nothing])
def test_faulty_readers_are_found(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(fuzz, "MAX_SECONDS", 0.05)
    monkeypatch.setattr(fuzz, "MAX_BYTES", 50 * 2**20)
    [attempt] = fuzz.explore(fuzz.Reader(fault, ".csv", [b"1,2\n"]), 1, 0, tmp_path)
    assert attempt.outcome not in ("read", "rejected")
    assert [path.suffix for path in tmp_path.iterdir()] == [".csv"]
