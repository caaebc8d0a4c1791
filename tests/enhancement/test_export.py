"""ONNX: frame by frame it is what PyTorch computes, and nothing else can be exported."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from harmnmf import HarmnmfError, ParameterError
from harmnmf.cli.main import main
from harmnmf.enhancement import EnhancementStream, export_onnx
from harmnmf.enhancement.models.harmonic_light import HarmonicLight, HarmonicLightConfig
from harmnmf.enhancement.models.registry import build_model, save_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {"n_channels": 4, "n_bands": 5, "n_features": 4, "n_heads": 2, "n_blocks": 2}


def light(**config: object) -> HarmonicLight:
    """Make a network whose statistics and gates are not those of the beginning."""
    torch.manual_seed(0)
    model = HarmonicLight(HarmonicLightConfig(**config))
    with torch.no_grad():
        model(torch.randn(4, 257, 50, dtype=torch.complex64))
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model("light.npz", "harmonic-light", light(**SMALL), {"licence": "none", "seed": 7})
    return tmp_path


def export(*arguments: str):
    return CliRunner().invoke(main, ["export", *arguments])


@pytest.mark.parametrize("config", [{}, {**SMALL, "n_candidates": 0}])
def test_frames_are_those_of_pytorch(tmp_path: Path, config: dict[str, object]) -> None:
    model = light(**config)
    export_onnx(tmp_path / "a.onnx", model)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    spectrum = model.transform.analyze(0.1 * torch.randn(1, 16000))
    with torch.no_grad():
        expected = model(spectrum)
    state = np.zeros(session.get_inputs()[1].shape, np.float32)
    for t in range(spectrum.shape[-1]):
        frame = torch.stack([spectrum.real, spectrum.imag], dim=1)[..., t : t + 1].numpy()
        estimate, state = session.run(None, {"spectrum": frame, "state": state})
        assert estimate.shape == frame.shape
        found = estimate[:, 0] + 1j * estimate[:, 1]
        np.testing.assert_allclose(found, expected[..., t : t + 1], atol=1e-4)


def test_the_page_shows_how_to_stream(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = light()
    export_onnx("harmonic-light.onnx", model)
    page = (root / "docs" / "speech_models.md").read_text(encoding="utf-8")
    section = page.partition("## Outside Python and PyTorch")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, object] = {}
    exec(compile(code, "speech_models.md", "exec"), namespace)
    noisy = np.random.default_rng(0).normal(0, 0.1, (40, 256))
    enhanced = np.concatenate([namespace["enhance"](block) for block in noisy])
    stream = EnhancementStream(model)
    expected = np.append(stream.process(noisy.ravel()), stream.flush())[stream.latency :]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(enhanced[256:], expected[:-256], atol=1e-4)


def test_metadata_say_how_to_use_it(folder: Path) -> None:
    result = export("light.npz", "-o", "light.onnx")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"light\.onnx: \d+ kB\n", result.output)
    network = onnx.load("light.onnx")
    onnx.checker.check_model(network, full_check=True)
    says = {entry.key: entry.value for entry in network.metadata_props}
    assert says.pop("use").startswith("Take frames of n_fft samples")
    n_fft, hop_length = (int(says.pop(name)) for name in ("n_fft", "hop_length"))
    window = eval(
        says.pop("window"),
        {"sqrt": np.sqrt, "sin": np.sin, "pi": np.pi, "n": np.arange(n_fft)},
        {"n_fft": n_fft, "hop_length": hop_length},
    )
    np.testing.assert_allclose(window, light(**SMALL).transform.window, atol=1e-6)
    assert says == {"sample_rate": "16000", "licence": "none", "seed": "7"}
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*network.graph.input, *network.graph.output)
    }
    assert shapes == {
        "spectrum": [1, 2, 257, 1],
        "state": [1, 1068],
        "estimate": [1, 2, 257, 1],
        "next_state": [1, 1068],
    }


def test_the_network_stays_as_it_is(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    model = light(**SMALL).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(tmp_path / "a.onnx", model)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not recwarn.list


def test_files_appear_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.onnx").write_text("before")
    result = export("light.npz", "-o", "a.onnx")
    assert result.exit_code == 1
    assert "a.onnx: exists already" in result.stderr
    with monkeypatch.context() as patch:

        def full(self: Path, content: bytes) -> None:
            raise OSError("No space left on device")

        patch.setattr(Path, "write_bytes", full)
        result = export("light.npz", "-o", "a.onnx", "--overwrite")
    assert result.exit_code == 1
    assert "a.onnx: cannot be written (No space left on device); make room" in result.stderr
    assert Path("a.onnx").read_text() == "before"
    assert export("light.npz", "-o", "a.onnx", "--overwrite").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a.onnx", "light.npz"]
    onnx.load("a.onnx")


def test_what_cannot_stream_is_refused(folder: Path) -> None:
    save_model("late.npz", "spectrogram-fusion", build_model("spectrogram-fusion", lstm_size=4), {})
    result = export("late.npz", "-o", "late.onnx")
    assert result.exit_code == 1
    assert result.stderr.startswith("harmnmf: error: SpectrogramFusion cannot go frame by frame;")
    with pytest.raises(ParameterError, match="Identity cannot go frame by frame"):
        export_onnx("late.onnx", nn.Identity())
    assert not Path("late.onnx").exists()


def test_wrong_uses_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = export("no-such-model", "-o", "a.onnx")
    assert result.exit_code == 1
    assert "no-such-model: no such model" in result.stderr
    result = export("light.npz", "-o", "a.npz")
    assert result.exit_code == 2
    assert "ends in .onnx" in result.stderr
    assert export("light.npz").exit_code == 2
    with pytest.raises(HarmnmfError, match="cannot write to this folder"):
        export_onnx("missing/a.onnx", light(**SMALL))
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = export("light.npz", "-o", "a.onnx")
    assert result.exit_code == 1
    assert result.stderr == ("harmnmf: error: onnx is not installed: pip install 'harmnmf[onnx]'\n")
