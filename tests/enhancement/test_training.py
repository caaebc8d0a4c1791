"""Training of enhancement: it learns, is reproducible, and runs in several processes."""

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
    train(tmp_path, 1)
    train(tmp_path, 30, learning_rate=1e-2)
    first, last = lines(tmp_path)
    assert last["si_sdr_gain"] > max(1.0, first["si_sdr_gain"])
    # The envelopes of steady tones say nothing about intelligibility.
    for name in SPEECH_WEIGHTS.keys() - {"intelligibility"}:
        assert last[f"validation_{name}"] < first[f"validation_{name}"]


def test_validation_without_noise_or_speech_has_no_gain(tmp_path: Path) -> None:
    class Some(Tones):
        def _mix(self, rng: np.random.Generator) -> Mixture:
            noisy, clean = super()._mix(rng)
            kind = rng.integers(3)
            return Mixture(clean if kind == 0 else noisy, 0 * clean if kind == 1 else clean)

    train(tmp_path, 1, Some(1))
    assert np.isfinite(lines(tmp_path)[0]["si_sdr_gain"])


def test_workers_change_nothing(tmp_path: Path) -> None:
    plain, with_workers = (train(tmp_path / str(n), 3, n_workers=n) for n in (0, 1))
    for x, y in zip(plain.parameters(), with_workers.parameters(), strict=True):
        torch.testing.assert_close(x, y)


def test_weights_of_terms_are_replaced() -> None:
    model = build("harmonic-light")
    weights = build_objective(model, {"perceptual": 0.0}).weights
    assert weights == SPEECH_WEIGHTS | {"perceptual": 0.0}
    with pytest.raises(ParameterError, match="no term beauty; choose from si_snr"):
        build_objective(model, {"beauty": 1.0})


@pytest.mark.parametrize("name", ["harmonic-light", "spectrogram-fusion"])
def test_low_precision_is_close(name: str) -> None:
    model = build(name)
    noisy, clean = torch.randn(2, 1, 8000)
    full, low = (build_objective(model, low_precision=low)(noisy, clean) for low in (False, True))
    emulated = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
    for term, value in full.items():
        assert low[term].dtype == torch.float32
        assert (low[term].item() == value.item()) == emulated
        torch.testing.assert_close(low[term], value, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("capability", "used"), [("AVX2", False), ("AVX512", True)])
def test_cpus_that_emulate_low_precision_do_not_use_it(
    monkeypatch: pytest.MonkeyPatch, capability: str, used: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    objective = build_objective(build("harmonic-light"), low_precision=True)
    with objective.precision(torch.zeros(1)):
        assert torch.is_autocast_enabled("cpu") == used


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"n_workers": -1}, {"n_steps": 0}, {"precision": "float8"}]
)
def test_invalid_options_raise(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        train(tmp_path, **{"n_steps": 1, **options})


@pytest.mark.slow
def test_two_processes_train_as_one_with_both_batches(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = str(root / "tests" / "tone_training.py")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([*command, script, str(tmp_path / "two")], env=environment, check=True)
    train(tmp_path / "one", 3, batch_size=4)
    [two], [one] = lines(tmp_path / "two"), lines(tmp_path / "one")
    assert two["step"] == 3
    # Each process normalises its own batch, so that the two cannot be equal.
    assert two["validation_magnitude"] == pytest.approx(one["validation_magnitude"], rel=0.1)
