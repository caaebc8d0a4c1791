"""Files of weights: what is written is read, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harmnmf import FormatError, ParameterError
from harmnmf.enhancement.models.registry import MODELS, build_model, load_model, save_model
from harmnmf.storage.arrays import load_arrays, save_arrays

SMALL = {"n_channels": 4, "n_bands": 5, "n_features": 4, "n_heads": 2, "n_blocks": 1}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model = build_model("harmonic-light", **SMALL)
    save_model(tmp_path / "a.safetensors", "harmonic-light", model, {"about": "a test"})
    return tmp_path / "a.safetensors"


def test_what_is_written_is_read(file: Path) -> None:
    model = build_model("harmonic-light", **SMALL)
    save_model(file, "harmonic-light", model, {"about": "another"})
    again, metadata = load_model(file)
    spectrum = torch.randn(1, 257, 9, dtype=torch.complex64)
    torch.testing.assert_close(again(spectrum), model.eval()(spectrum))
    assert metadata == {"about": "another"}
    assert not again.training


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_built_and_keeps_shapes(name: str) -> None:
    model = build_model(name).eval()
    spectrum = model.transform.analyze(torch.randn(2, 4321))
    with torch.no_grad():
        assert model(spectrum).shape == spectrum.shape


def test_unknown_names_and_fields_are_refused() -> None:
    with pytest.raises(ParameterError, match="harmonic-light"):
        build_model("loud")
    with pytest.raises(ParameterError, match="n_cats"):
        build_model("harmonic-light", n_cats=3)


def test_truncated_files_are_refused(file: Path) -> None:
    content = file.read_bytes()
    for n_bytes in (0, 10, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:n_bytes])
        with pytest.raises(FormatError, match=r"a\.safetensors"):
            load_model(file)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "loud"},
        {"config": {**SMALL, "n_cats": 3}},
        {"config": {**SMALL, "n_channels": 5}},
        {"config": {**SMALL, "n_blocks": 2}},
        {"config": "harmonic"},
        {"config": {**SMALL, "n_candidates": 10**9}},
        {"config": {**SMALL, "n_blocks": 9999}},
        {"config": {**SMALL, "n_channels": 4.0}},
        {"config": {**SMALL, "comb": [1]}},
        {"model": ["harmonic-light"]},
    ],
)
def test_files_of_other_networks_are_refused(file: Path, change: dict[str, object]) -> None:
    arrays, metadata = load_arrays(file, kind="enhancement-model")
    save_arrays(file, arrays, metadata | change)
    with pytest.raises(FormatError, match=r"a\.safetensors"):
        load_model(file)


def test_files_of_another_kind_are_refused(file: Path) -> None:
    arrays, metadata = load_arrays(file, kind="enhancement-model")
    save_arrays(file, arrays, metadata | {"kind": "dictionary"})
    with pytest.raises(FormatError, match="dictionary"):
        load_model(file)
