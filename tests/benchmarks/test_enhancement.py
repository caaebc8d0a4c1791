from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from benchmarks import enhancement, enhancement_costs, singing
from harmnmf import Audio, write_audio
from harmnmf.enhancement.models.registry import build_model, save_model
from harmnmf.enhancement.transform import ShortTimeFourier


@pytest.fixture
def data(tmp_path):
    """Two pairs at 1 and at 11 dB, and a clip."""
    rng = np.random.default_rng(0)
    speech, noise = rng.normal(0, 0.1, (2, 16000))
    noise *= np.linalg.norm(speech) / np.linalg.norm(noise)
    for part, level in (("clean", 0.0), ("noisy", 1.0)):
        folder = tmp_path / "speech/voicebank_demand_dev" / part
        folder.mkdir(parents=True)
        for name, snr in (("a", 1), ("b", 11)):
            samples = speech + level * 10 ** (-snr / 20) * noise
            write_audio(folder / f"{name}.wav", Audio(samples, 16000))
    (tmp_path / "singing/mir1k/test").mkdir(parents=True)
    write_audio(tmp_path / "singing/mir1k/test/a.flac", Audio(np.stack([noise, speech]), 16000))
    return tmp_path


@pytest.fixture
def models(tmp_path):
    torch.manual_seed(0)
    small = {"harmonic-light": {"n_blocks": 1}, "spectrogram-fusion": {"lstm_size": 4}}
    paths = {name: str(tmp_path / f"{name}.safetensors") for name in small}
    for name, config in small.items():
        save_model(paths[name], name, build_model(name, **config), {})
    return paths


def read_tables(output):
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in output.splitlines()]
    return [row for row in rows if row and not row[0].startswith("---")]


def test_limits_of_networks(models):
    noisy = np.random.default_rng(1).normal(0, 0.1, 4000).astype(np.float32)
    free, strict = (
        enhancement.load_system(f"{models['harmonic-light']}{limit}")(noisy)
        for limit in ("@inf", "@0")
    )
    default = enhancement.load_system(models["harmonic-light"])(noisy)
    np.testing.assert_array_equal(default, free)
    assert np.sum(strict**2) > np.sum(free**2)


def run(command, *arguments):
    threads = ["--threads", torch.get_num_threads()]
    result = CliRunner().invoke(command, [str(x) for x in (*arguments, *threads)])
    assert result.exception is None, result.output
    return {row[0]: row[1:] for row in read_tables(result.output)}, result.output


def test_scores(data, models):
    name = models["harmonic-light"]
    rows, output = run(enhancement.main, "--data", data, "--model", name)
    assert list(rows) == ["system", "noisy", name]
    # The last table has the scores by input SNR. Noise and speech are nearly orthogonal here.
    assert rows["system"][0] == "2.5 dB (1 pairs): WB-PESQ"
    assert rows["system"][2] == "12.5 dB (1 pairs): WB-PESQ"
    assert [float(rows["noisy"][i]) for i in (1, 3)] == pytest.approx([1, 11], abs=0.1)
    header, noisy = read_tables(output)[:2]
    metrics = dict(zip(header, noisy, strict=True))
    assert float(metrics["SI-SDR"]) == pytest.approx(6, abs=0.1)


def test_singing(data, models):
    rows, _ = run(singing.main, "--data", data, "--model", models["spectrogram-fusion"])
    assert float(rows["mixture"][0]) == pytest.approx(0, abs=0.5)
    assert rows["mixture"][3] == "0.00"
    assert float(rows["ideal ratio mask"][3]) > 3
    assert {f"Spectrogram Fusion, {name}" for name in singing.OUTPUTS} <= set(rows)


class Layers(nn.Module):
    """One of each kind of layer, at a known cost."""

    def __init__(self):
        super().__init__()
        self.transform = ShortTimeFourier(640, 320)
        self.conv = nn.Conv2d(1, 3, (5, 1), padding=(2, 0))
        self.depthwise = nn.Conv2d(3, 3, (3, 1), padding=(1, 0), groups=3)
        self.linear = nn.Linear(321, 8)
        self.gru = nn.GRU(8, 8, batch_first=True)
        self.lstm = nn.LSTM(8, 4, batch_first=True, bidirectional=True)

    def forward(self, spectrum):
        x = self.depthwise(self.conv(spectrum.abs()[:, None]))
        x = self.lstm(self.gru(self.linear(x.mean(dim=1).mT))[0])[0]
        x = nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])
        return spectrum * x.mean()


def test_multiply_accumulates_are_those_of_the_layers():
    model = Layers()
    n_frames = 1 + enhancement_costs.COUNTED * 16000 // 320
    a_frame = 321 * (5 * 3 + 3 * 3) + 321 * 8 + 3 * (8 * 8 + 8 * 8) + 2 * 4 * (4 * 8 + 4 * 4)
    a_frame += 2 * 8 * n_frames
    expected = a_frame * n_frames / enhancement_costs.COUNTED
    assert enhancement_costs.multiply_accumulates(model) == pytest.approx(expected, rel=1e-6)
    assert enhancement_costs.n_parameters(model.linear) == 321 * 8 + 8
