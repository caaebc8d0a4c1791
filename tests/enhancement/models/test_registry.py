"""Files with the weights of another network."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import SMALL, build

from harmnmf import FormatError
from harmnmf.enhancement.models.registry import load_model, save_model
from harmnmf.storage.arrays import load_arrays, save_arrays


@pytest.mark.parametrize(
    "change",
    [
        {"model": "loud"},
        {"model": ["harmonic-light"]},
        {"kind": "dictionary"},
        {"config": "harmonic"},
        *(
            {"config": {**SMALL["harmonic-light"], **change}}
            for change in ({"n_cats": 3}, {"n_channels": 5}, {"n_blocks": 1}, {"comb": [1]})
        ),
    ],
    ids=str,
)
def test_files_of_other_networks_raise(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, "harmonic-light", build("harmonic-light"), {})
    arrays, metadata = load_arrays(path, kind="enhancement-model")
    save_arrays(path, arrays, metadata | change)
    with pytest.raises(FormatError, match=r"a\.safetensors"):
        load_model(path)
