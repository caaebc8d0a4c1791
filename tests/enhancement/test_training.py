"""Training of enhancement: it learns, it is reproducible, and every model has an objective."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harmnmf import ParameterError
from harmnmf.enhancement.losses.objectives import build_objective
from harmnmf.enhancement.losses.speech import SPEECH_WEIGHTS
from harmnmf.enhancement.mixtures.mixing import Mixture
from harmnmf.enhancement.mixtures.speech import Mixtures
from harmnmf.enhancement.models.registry import build_model
from harmnmf.enhancement.training import several_processes, train_enhancement

SMALL = {"n_channels": 8, "n_bands": 5, "n_features": 8, "n_heads": 2, "n_blocks": 1}


class Tones(Mixtures):
    """Harmonic tones in white noise."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(duration=0.5, seed=seed)

    def _mix(self, rng: np.random.Generator) -> Mixture:
        time = np.arange(self.n_samples) / 16000
        f0 = rng.uniform(100, 300)
        tone = sum(np.cos(2 * np.pi * k * f0 * time) for k in range(1, 9))
        clean = np.float32(0.05 * tone)
        return Mixture(clean + rng.normal(0, 0.1, len(clean)).astype(np.float32), clean)


def train(run: Path, n_steps: int, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build_model("harmonic-light", **SMALL)
    usual: dict[str, object] = {"batch_size": 2, "n_workers": 0, "device": "cpu"}
    train_enhancement(model, Tones(), Tones(1), run, n_steps=n_steps, **{**usual, **options})
    return model


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_it_learns(tmp_path: Path) -> None:
    train(tmp_path, 1)
    train(tmp_path, 80, batch_size=4, learning_rate=1e-2)
    first, last = lines(tmp_path)
    assert last["si_sdr_gain"] > max(1.0, first["si_sdr_gain"])
    for name in SPEECH_WEIGHTS:
        assert last[f"validation_{name}"] < first[f"validation_{name}"]


def test_held_out_mixtures_without_noise_or_speech_have_no_gain(tmp_path: Path) -> None:
    class Some(Tones):
        def _mix(self, rng: np.random.Generator) -> Mixture:
            noisy, clean = super()._mix(rng)
            kind = rng.integers(3)
            return Mixture(clean if kind == 0 else noisy, 0 * clean if kind == 1 else clean)

    torch.manual_seed(0)
    model = build_model("harmonic-light", **SMALL)
    options: dict[str, object] = {"batch_size": 2, "n_workers": 0, "device": "cpu"}
    train_enhancement(model, Tones(), Some(1), tmp_path, n_steps=1, **options)
    assert np.isfinite(lines(tmp_path)[0]["si_sdr_gain"])


def test_workers_and_interrupts_change_nothing(tmp_path: Path) -> None:
    plain = train(tmp_path / "a", 4)
    with_workers = train(tmp_path / "b", 4, n_workers=1)

    def interrupt(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "c", 4, progress=interrupt)
    interrupted = train(tmp_path / "c", 4)
    for other in (with_workers, interrupted):
        for x, y in zip(plain.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(x, y)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("harmonic-light", set(SPEECH_WEIGHTS)),
        ("spectrogram-fusion", {"first_stage", "second_stage"}),
    ],
)
def test_models_have_an_objective_that_reaches_all_of_them(name: str, terms: set[str]) -> None:
    objective = build_objective(build_model(name))
    values = objective(*torch.randn(2, 1, 4000))
    assert set(values) == set(objective.weights) == terms
    sum(values.values()).backward()
    for parameter in objective.parameters():
        assert parameter.grad is not None


def test_unknown_terms_are_refused() -> None:
    with pytest.raises(ParameterError, match="beauty"):
        build_objective(build_model("harmonic-light", **SMALL), {"beauty": 1.0})


@pytest.mark.parametrize("name", ["harmonic-light", "spectrogram-fusion"])
def test_low_precision_is_near(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name)
    noisy, clean = torch.randn(2, 1, 8000)
    full, low = (
        build_objective(model, low_precision=low).eval()(noisy, clean) for low in (False, True)
    )
    emulated = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
    for term, value in full.items():
        assert low[term].dtype == torch.float32
        assert (low[term].item() == value.item()) == emulated
        torch.testing.assert_close(low[term], value, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("capability", "used"), [("AVX2", False), ("AVX512", True)])
def test_processors_that_emulate_low_precision_do_not_use_it(
    monkeypatch: pytest.MonkeyPatch, capability: str, used: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    objective = build_objective(build_model("harmonic-light", **SMALL), low_precision=True)
    with objective.precision(torch.zeros(1)):
        assert torch.is_autocast_enabled("cpu") == used


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"n_workers": -1}, {"n_steps": 0}, {"precision": "float8"}]
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        train(tmp_path, **{"n_steps": 1, **options})


def test_one_process_is_the_first() -> None:
    with several_processes() as first:
        assert first


@pytest.mark.slow
def test_two_processes_train_as_one_with_both_batches(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import test_training as tests\n"
        "with tests.several_processes():\n"
        "    tests.train(Path(sys.argv[2]), 3, batch_size=2)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / "two")],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    train(tmp_path / "one", 3, batch_size=4)
    two, one = lines(tmp_path / "two"), lines(tmp_path / "one")
    assert [line["step"] for line in two] == [3]
    # Batch normalisation sees each half by itself, so that they cannot be equal.
    assert two[0]["validation_magnitude"] == pytest.approx(one[0]["validation_magnitude"], rel=0.1)
