"""The training loop: averages, interrupts, resumption and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harmnmf import HarmnmfError, ParameterError
from harmnmf.storage.arrays import load_arrays
from harmnmf.training.loop import train_network


def batches(first: int, n_steps: int = 40) -> Iterator[dict[str, torch.Tensor]]:
    for step in range(first, n_steps):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        yield {"x": x, "y": x.sum(1, keepdim=True)}


def loss(network: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"error": (network(batch["x"]) - batch["y"]).square().mean()}


def train(run: Path, network: nn.Module | None = None, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    if network is None:
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    defaults = {
        "batches": batches, "loss": loss, "kind": "test", "weights": {"error": 1.0}, "n_steps": 40,
        "learning_rate": 0.05,
    }  # fmt: skip
    train_network(network, run=run, **{**defaults, **options})
    return network


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("averaging", "stop"), [(None, 1), (0.9, 17)])
def test_resumed_training_equals_uninterrupted_training(
    tmp_path: Path, averaging: float | None, stop: int
) -> None:
    def interrupt(step: int) -> None:
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", averaging=averaging, progress=interrupt)
    whole = train(tmp_path / "a", averaging=averaging)
    parts = train(tmp_path / "b", averaging=averaging)
    for x, y in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y)
    assert [line["step"] for line in lines(tmp_path / "b")] == [stop, 40]
    assert not parts.training


def test_the_average_is_the_recursive_mean_of_the_weights(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []
    network = nn.Linear(3, 1)

    def remember(step: int) -> None:
        seen.append(network.weight.detach().clone())

    train(tmp_path, network, averaging=0.8, progress=remember)
    average = seen[0]
    for n, weight in enumerate(seen[1:], start=1):
        decay = min(0.8, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(network.weight.detach(), average)


def test_the_average_is_validated_in_evaluation_mode(tmp_path: Path) -> None:
    validated: list[nn.Module] = []

    def validate(network: nn.Module) -> dict[str, float]:
        assert not network.training
        validated.append(network)
        return {"score": 0.5}

    network = train(tmp_path, averaging=0.9, validate=validate)
    assert lines(tmp_path)[-1]["score"] == 0.5
    x = torch.randn(5, 3)
    torch.testing.assert_close(validated[-1](x), network(x))


def test_the_rate_rises_and_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, closure: None = None) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    train(tmp_path, batches=lambda first: batches(first, 300), n_steps=300, learning_rate=0.1)
    assert rates[0] == pytest.approx(0.001)
    assert 80 < rates.index(max(rates)) < 105
    assert rates[-1] == pytest.approx(0.002, rel=0.05)


def test_terms_of_weight_0_are_ignored(tmp_path: Path) -> None:
    def two(network: nn.Sequential, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**loss(network, batch), "nonsense": 1e6 * network[0].weight.sum()}

    one = train(tmp_path / "a")
    other = train(tmp_path / "b", loss=two, weights={"error": 1.0, "nonsense": 0.0})
    for x, y in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y)


def test_a_loss_that_is_not_finite_raises_and_saves_the_batch(tmp_path: Path) -> None:
    def broken(network: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"error": network(batch["x"]).mean() * torch.nan}

    with pytest.raises(HarmnmfError, match="not finite"):
        train(tmp_path, loss=broken)
    arrays, _ = load_arrays(tmp_path / "failed_batch.safetensors", kind="batch")
    assert arrays["x"].shape == (8, 3)


def test_n_steps_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="step"):
        train(tmp_path, n_steps=0)
