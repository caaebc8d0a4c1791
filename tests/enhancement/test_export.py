"""Export to ONNX: output frame by frame, metadata, and errors."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small_networks import build

from harmnmf import ParameterError
from harmnmf.cli.main import main
from harmnmf.enhancement import EnhancementStream, export_onnx
from harmnmf.enhancement.models.harmonic_light import HarmonicLight
from harmnmf.enhancement.models.registry import save_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def light() -> HarmonicLight:
    """Network in training with weights and batch statistics unlike the initial ones."""
    torch.manual_seed(0)
    model = HarmonicLight()
    with torch.no_grad():
        model(torch.randn(4, 257, 50, dtype=torch.complex64))
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with a file of a small network."""
    monkeypatch.chdir(tmp_path)
    metadata = {"licence": "none", "seed": 7}
    save_model("light.safetensors", "harmonic-light", build("harmonic-light"), metadata)
    return tmp_path


def export(*arguments: str):
    return CliRunner().invoke(main, ["export", *arguments])


def test_networks_in_training_are_not_changed(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = build("harmonic-light").train()
    before = copy.deepcopy(model.state_dict())
    export_onnx(tmp_path / "a.onnx", model)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not recwarn.list


def test_the_documented_stream_works(
    light: HarmonicLight, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export_onnx("harmonic-light.onnx", light)
    page = (root / "docs" / "speech_models.md").read_text(encoding="utf-8")
    section = page.partition("## Outside Python and PyTorch")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, object] = {}
    exec(compile(code, "speech_models.md", "exec"), namespace)
    noisy = np.random.default_rng(0).normal(0, 0.1, (40, 256))
    enhanced = np.concatenate([namespace["enhance"](block) for block in noisy])
    stream = EnhancementStream(light.eval())
    expected = np.append(stream.process(noisy.ravel()), stream.flush())[stream.latency :]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(enhanced[256:], expected[:-256], atol=1e-4)


def test_metadata_describe_the_use(folder: Path) -> None:
    result = export("light.safetensors", "-o", "light.onnx")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"light\.onnx: \d+ kB\n", result.output)
    network = onnx.load("light.onnx")
    onnx.checker.check_model(network, full_check=True)
    metadata = {entry.key: entry.value for entry in network.metadata_props}
    assert metadata.pop("use").startswith("Take frames of n_fft samples")
    n_fft, hop_length = (int(metadata.pop(name)) for name in ("n_fft", "hop_length"))
    window = eval(
        metadata.pop("window"),
        {"sqrt": np.sqrt, "sin": np.sin, "pi": np.pi, "n": np.arange(n_fft)},
        {"n_fft": n_fft, "hop_length": hop_length},
    )
    np.testing.assert_allclose(window, build("harmonic-light").transform.window, atol=1e-6)
    assert metadata == {"sample_rate": "16000", "licence": "none", "seed": "7"}
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*network.graph.input, *network.graph.output)
    }
    assert shapes == {
        "spectrum": [1, 2, 257, 1],
        "state": [1, 1076],
        "estimate": [1, 2, 257, 1],
        "next_state": [1, 1076],
    }


def test_existing_files_are_kept(folder: Path) -> None:
    Path("a.onnx").write_text("before")
    result = export("light.safetensors", "-o", "a.onnx")
    assert result.exit_code == 1
    assert "a.onnx: exists already" in result.stderr
    assert Path("a.onnx").read_text() == "before"


def test_networks_that_cannot_stream_raise(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="SpectrogramFusion cannot stream; export"):
        export_onnx(tmp_path / "a.onnx", build("spectrogram-fusion"))
    assert not any(tmp_path.iterdir())


def test_wrong_arguments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = export("no-such-model", "-o", "a.onnx")
    assert result.exit_code == 1
    assert "no-such-model: no such" in result.stderr
    result = export("light.safetensors", "-o", "a.safetensors")
    assert result.exit_code == 2
    assert ".onnx" in result.stderr
    assert export("light.safetensors").exit_code == 2
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = export("light.safetensors", "-o", "a.onnx")
    assert result.exit_code == 1
    assert "onnx is not installed: pip install 'harmnmf[onnx]'" in result.stderr
