"""Training of enhancement networks, in one process and in several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import build
from tone_training import Tones, train

from harmnmf import ParameterError
from harmnmf.enhancement.losses.objectives import build_objective
from harmnmf.enhancement.losses.speech import SPEECH_WEIGHTS
from harmnmf.enhancement.mixtures.mixing import Mixture


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_it_learns(tmp_path: Path) -> None:
    train(tmp_path, 1, learning_rate=1e-2)
    train(tmp_path, 50, learning_rate=1e-2)
    first, last = lines(tmp_path)
    assert last["si_sdr_gain"] > max(1.0, first["si_sdr_gain"])
    # The envelopes of steady tones say nothing about intelligibility.
    for name in SPEECH_WEIGHTS.keys() - {"intelligibility"}:
        assert last[f"validation_{name}"] < first[f"validation_{name}"]


def test_validation_without_noise_or_speech_has_no_gain(tmp_path: Path) -> None:
    class Mixed(Tones):
        def _mix(self, rng: np.random.Generator) -> Mixture:
            noisy, clean = super()._mix(rng)
            kind = rng.integers(3)
            return Mixture(clean if kind == 0 else noisy, 0 * clean if kind == 1 else clean)

    train(tmp_path, 1, Mixed(1))
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


def test_weights_of_terms_are_replaced() -> None:
    model = build("harmonic-light")
    replaced = {"perceptual": 0.0}
    assert build_objective(model, replaced).weights == {**SPEECH_WEIGHTS, **replaced}
    with pytest.raises(ParameterError, match="no term beauty; choose from si_snr"):
        build_objective(model, {"beauty": 1.0})


@pytest.mark.parametrize("name", ["harmonic-light", "spectrogram-fusion"])
def test_low_precision_is_close_and_not_emulated(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = build(name)
    noisy, clean = torch.randn(2, 1, 8000)
    full = build_objective(model)(noisy, clean)
    for capability in (torch.backends.cpu.get_cpu_capability(), "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda used=capability: used)
        for term, value in build_objective(model, low_precision=True)(noisy, clean).items():
            assert value.dtype == torch.float32
            assert (value.item() == full[term].item()) == (capability in ("DEFAULT", "AVX2"))
            torch.testing.assert_close(value, full[term], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"n_workers": -1},
        {"n_steps": 0},
        {"n_steps": "5"},
        {"n_validation": 0},
        {"precision": "float8"},
        {"learning_rate": float("nan")},
        {"learning_rate": -1},
        {"weights": {"perceptual": float("nan")}},
        {"weights": {"perceptual": -1}},
        {"weights": {"perceptual": "1"}},
    ],
)
def test_invalid_options_raise(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        train(tmp_path, **{"n_steps": 1, **options})


def test_only_the_same_training_is_resumed(tmp_path: Path) -> None:
    train(tmp_path, 1)
    train(tmp_path, 1, n_validation=3, n_workers=1)
    for changes, message in (
        ({"batch_size": 3}, "batch_size was 2 and is 3"),
        ({"weights": {"perceptual": 0.0}}, "loss.perceptual was"),
        ({"validation": Tones(5)}, "validation.seed was 1 and is 5"),
        ({"settings": {"initial": "a.safetensors"}}, "initial was not given and is"),
        ({"precision": "bfloat16"}, 'precision was "auto" and is "bfloat16"'),
    ):
        with pytest.raises(ParameterError, match=message):
            train(tmp_path, 2, **changes)


@pytest.mark.slow
def test_two_processes_train_as_one_with_both_batches(root: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *(str(root / "tests" / "tone_training.py"), str(tmp_path / "two")),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run(command, env=environment, check=True, timeout=200)
    train(tmp_path / "one", 3, batch_size=4)
    [two], [one] = lines(tmp_path / "two"), lines(tmp_path / "one")
    assert two["step"] == 3
    # Each process normalises its own batch, so that the two cannot be equal.
    assert two["validation_magnitude"] == pytest.approx(one["validation_magnitude"], rel=0.1)
