"""Files of weights: damaged ones and those of something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import LIGHT, build

from harmnmf import FormatError
from harmnmf.enhancement.models.registry import load_model, save_model
from harmnmf.storage.arrays import load_arrays, save_arrays


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_model(path, "harmonic-light", build("harmonic-light"), {"about": "a test"})
    return path


def test_truncated_files_raise(file: Path) -> None:
    content = file.read_bytes()
    for n_bytes in (0, 10, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:n_bytes])
        with pytest.raises(FormatError, match=r"a\.safetensors"):
            load_model(file)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "loud"},
        {"model": ["harmonic-light"]},
        {"config": "harmonic"},
        {"kind": "dictionary"},
        *(
            {"config": {**LIGHT, **change}}
            for change in (
                {"n_cats": 3},
                {"n_channels": 5},
                {"n_channels": 4.0},
                {"n_blocks": 1},
                {"n_blocks": 9999},
                {"n_candidates": 10**9},
                {"comb": [1]},
            )
        ),
    ],
    ids=str,
)
def test_files_of_other_networks_raise(file: Path, change: dict[str, object]) -> None:
    arrays, metadata = load_arrays(file, kind="enhancement-model")
    save_arrays(file, arrays, metadata | change)
    with pytest.raises(FormatError, match=r"a\.safetensors"):
        load_model(file)
