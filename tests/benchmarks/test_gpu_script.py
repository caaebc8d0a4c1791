"""The script of the tests and benchmarks on a GPU, on the processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harmnmf import Audio, write_audio


def gpu_script(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "QUICK": "1", "PYTHON": sys.executable}
    return subprocess.run(
        [str(root / "benchmarks" / "gpu.sh"), *arguments],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_each_step_writes_its_log_and_tables(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchnmf")
    samples = 0.1 * np.random.default_rng(0).standard_normal(32000)
    recording = tmp_path / "piano" / "real" / "a" / "a.flac"
    recording.parent.mkdir(parents=True)
    write_audio(recording, Audio(samples, 16000))
    result = gpu_script(root, str(tmp_path / "out"), str(tmp_path), "cpu")
    assert result.returncode == 0, result.stdout
    for name in ("device_rates", "engine", "harmonic_conv_time", "harmonic_conv_memory"):
        table = json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))
        assert table["rows"]
    assert "skipped" in (tmp_path / "out" / "tests.log").read_text(encoding="utf-8")
    assert "CUDA" not in table["machine"]


def test_a_step_that_fails_does_not_stop_the_others(root: Path, tmp_path: Path) -> None:
    result = gpu_script(root, str(tmp_path / "out"), str(tmp_path), "abacus")
    assert result.returncode == 1
    assert "engine: failed with status" in result.stdout
    assert "harmonic_conv: failed with status" in result.stdout


def test_arguments_are_asked_for(root: Path) -> None:
    result = gpu_script(root)
    assert result.returncode == 2
    assert "OUTPUT_FOLDER PATH/TO/data" in result.stderr
