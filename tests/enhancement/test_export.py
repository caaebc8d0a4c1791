"""ONNX: the same numbers as PyTorch frame by frame, metadata, and errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small_networks import build
from torch import nn

from harmnmf import HarmnmfError, ParameterError
from harmnmf.cli.main import main
from harmnmf.enhancement import EnhancementStream, export_onnx
from harmnmf.enhancement.models.harmonic_light import HarmonicLight
from harmnmf.enhancement.models.registry import save_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def with_statistics(model: HarmonicLight) -> HarmonicLight:
    """Give a network weights and batch statistics that differ from the initial ones."""
    torch.manual_seed(0)
    with torch.no_grad():
        model.train()(torch.randn(4, 257, 50, dtype=torch.complex64))
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model.eval()


@pytest.fixture(scope="module")
def light() -> HarmonicLight:
    return with_statistics(HarmonicLight())


@pytest.fixture(scope="module")
def exported(light: HarmonicLight, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "harmonic-light.onnx"
    export_onnx(path, light)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with a file of a small network."""
    monkeypatch.chdir(tmp_path)
    metadata = {"licence": "none", "seed": 7}
    save_model("light.safetensors", "harmonic-light", build("harmonic-light"), metadata)
    return tmp_path


def export(*arguments: str):
    return CliRunner().invoke(main, ["export", *arguments])


def assert_same_frames(path: Path, model: HarmonicLight) -> None:
    session = onnxruntime.InferenceSession(path)
    spectrum = model.transform.analyze(0.1 * torch.randn(1, 8000))
    with torch.no_grad():
        expected = model.eval()(spectrum)
    state = np.zeros(session.get_inputs()[1].shape, np.float32)
    for t in range(spectrum.shape[-1]):
        frame = torch.stack([spectrum.real, spectrum.imag], dim=1)[..., t : t + 1].numpy()
        estimate, state = session.run(None, {"spectrum": frame, "state": state})
        assert estimate.shape == frame.shape
        found = estimate[:, 0] + 1j * estimate[:, 1]
        np.testing.assert_allclose(found, expected[..., t : t + 1], atol=1e-4)


def test_frames_are_those_of_pytorch(exported: Path, light: HarmonicLight) -> None:
    assert_same_frames(exported, light)


def test_networks_in_training_are_exported_and_not_changed(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = with_statistics(build("harmonic-light", n_candidates=0)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(tmp_path / "a.onnx", model)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not recwarn.list
    assert_same_frames(tmp_path / "a.onnx", model)


def test_the_documented_stream_works(
    exported: Path, light: HarmonicLight, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported.parent)
    page = (root / "docs" / "speech_models.md").read_text(encoding="utf-8")
    section = page.partition("## Outside Python and PyTorch")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, object] = {}
    exec(compile(code, "speech_models.md", "exec"), namespace)
    noisy = np.random.default_rng(0).normal(0, 0.1, (40, 256))
    enhanced = np.concatenate([namespace["enhance"](block) for block in noisy])
    stream = EnhancementStream(light)
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


def test_networks_that_cannot_stream_raise(folder: Path) -> None:
    save_model("late.safetensors", "spectrogram-fusion", build("spectrogram-fusion"), {})
    result = export("late.safetensors", "-o", "late.onnx")
    assert result.exit_code == 1
    assert result.stderr.startswith("harmnmf: error: SpectrogramFusion cannot stream; export")
    with pytest.raises(ParameterError, match="Identity cannot stream"):
        export_onnx("late.onnx", nn.Identity())
    assert not Path("late.onnx").exists()


def test_wrong_arguments(
    folder: Path, light: HarmonicLight, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "old.onnx").touch()
    for arguments, exit_code, message in (
        (("light.safetensors", "-o", "old.onnx"), 1, "old.onnx: exists already"),
        (("no-such-model", "-o", "a.onnx"), 1, "no-such-model: no such"),
        (("light.safetensors", "-o", "a.npz"), 2, ".onnx"),
        (("light.safetensors",), 2, "--output"),
    ):
        result = export(*arguments)
        assert result.exit_code == exit_code
        assert message in result.stderr
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(HarmnmfError, match=r"onnx is not installed: pip install 'harmnmf\[onnx\]'"):
        export_onnx("a.onnx", light)
    assert not Path("a.onnx").exists()
