"""The training loop: averages, interrupts, resumption and errors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf import FormatError, HarmnmfError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.training.batches import draw_batches
from harmnmf.training.loop import forget_training, train_network


def batches(first: int, n_steps: int = 40) -> Iterator[dict[str, torch.Tensor]]:
    for step in range(first, n_steps):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        yield {"x": x, "y": x.sum(1, keepdim=True)}


def loss(network: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"error": (network(batch["x"]) - batch["y"]).square().mean()}


def train(run: Path, network: nn.Module | None = None, **options: Any) -> nn.Module:
    network, _ = train_counted(run, network, **options)
    return network


def train_counted(
    run: Path, network: nn.Module | None = None, **options: Any
) -> tuple[nn.Module, int]:
    """Train; return the network and the number of steps."""
    torch.manual_seed(0)
    if network is None:
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    defaults = {
        "batches": batches, "loss": loss, "kind": "test", "settings": {}, "weights": {"error": 1.0},
        "n_steps": 40, "learning_rate": 0.05,
    }  # fmt: skip
    return network, train_network(network, run=run, **{**defaults, **options})


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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("n_steps", value) for value in (0, -1, "5", 1.5, True, float("nan"))),
        *(("learning_rate", value) for value in (0, -1.0, "1", float("nan"), float("inf"))),
        *(("averaging", value) for value in (1.0, -0.1, "0.9", float("nan"))),
        *(("weights", {"error": value}) for value in (-1, float("nan"), float("inf"), "1", None)),
    ],
)
def test_invalid_parameters_are_errors(tmp_path: Path, option: str, value: object) -> None:
    with pytest.raises(ParameterError, match="must be"):
        train(tmp_path, **{option: value})


def test_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for run in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(HarmnmfError, match="file"):
            train(run)


SETTINGS = {"seed": 1, "network": {"sizes": (3, 4)}, "data": "2 files"}


def test_more_steps_continue_and_fewer_are_refused(tmp_path: Path) -> None:
    def count(n_steps: int) -> int:
        remaining = partial(batches, n_steps=n_steps)
        return train_counted(tmp_path, batches=remaining, settings=SETTINGS, n_steps=n_steps)[1]

    assert [count(20), count(20), count(40)] == [20, 0, 20]
    assert [line["step"] for line in lines(tmp_path)] == [20, 40]
    with pytest.raises(ParameterError, match="for 40 steps, more than 30; ask for more steps"):
        count(30)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {**SETTINGS, "seed": 2}}, r"\(seed was 1 and is 2\)"),
        ({"settings": {**SETTINGS, "network": {"sizes": (3, 5)}}}, "network.sizes was"),
        ({"settings": {"seed": 1, "data": "2 files"}}, "network.sizes was .* and is not given"),
        ({"settings": {**SETTINGS, "more": None}}, "more was not given and is null"),
        ({"learning_rate": 0.1}, r"\(learning_rate was 0.05 and is 0.1\)"),
        ({"weights": {"error": 2}}, r"\(loss.error was 1.0 and is 2\)"),
        ({"averaging": 0.9, "learning_rate": 0.1}, "0.1; averaging was null and is 0.9"),
    ],
)
def test_a_training_with_other_settings_is_refused_until_it_is_forgotten(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    train(tmp_path, settings=SETTINGS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ParameterError, match=message) as error:
        train(tmp_path, **{"settings": SETTINGS, **changes})
    assert "--restart" in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    forget_training(tmp_path)
    assert train_counted(tmp_path, **{"settings": SETTINGS, **changes})[1] == 40
    assert [line["step"] for line in lines(tmp_path)] == [40]


def test_equal_numbers_are_equal_settings(tmp_path: Path) -> None:
    train(tmp_path, settings={"seed": np.int64(1), "share": 0})
    assert train_counted(tmp_path, settings={"seed": 1, "share": 0.0})[1] == 0


def score(network: nn.Module) -> dict[str, float]:
    return {"score": 0.5, "undefined": float("nan")}


def test_an_interrupted_validation_is_made_up_for(tmp_path: Path) -> None:
    def interrupt(network: nn.Module) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, validate=interrupt)
    assert "score" not in lines(tmp_path)[-1]
    network, n_steps = train_counted(tmp_path, validate=score)
    assert n_steps == 0
    assert lines(tmp_path)[-1].keys() == {"step", "error", "score"}
    whole = train(tmp_path / "whole")
    for x, y in zip(whole.state_dict().values(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y)


def test_an_interrupted_step_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tmp_path / "whole", n_steps=7)
    step, n_calls = torch.optim.AdamW.step, 0

    def interrupt(self: torch.optim.AdamW, closure: None = None) -> None:
        nonlocal n_calls
        n_calls += 1
        step(self, closure)
        if n_calls == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", n_steps=7)
    resumed = train(tmp_path / "run", n_steps=7)
    for x, y in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y)


LINE = '{"step": 20, "error": 1.0, "score": 0.5}\n'


@pytest.mark.parametrize(
    ("log", "is_damaged"),
    [
        (None, False),
        ("", False),
        (LINE, False),
        (LINE + '{"step": 99, "error": 1.0}\n', False),
        (LINE + '{"step": 40, "err', True),
        (LINE + "\0" * 30, True),
        ('{"step": 20, "error": [1]}\n', True),
        ('{"error": 1.0}\n[]\n7\nnull\n\xff\n', True),
    ],
)
def test_the_log_agrees_with_the_checkpoint(
    tmp_path: Path, log: str | None, is_damaged: bool
) -> None:
    train(tmp_path, n_steps=20, validate=score)
    train(tmp_path, n_steps=40, validate=score)
    path = tmp_path / "metrics.jsonl"
    path.unlink()
    if log is not None:
        path.write_text(log, encoding="latin-1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(tmp_path, n_steps=40, validate=score)
    assert [line["step"] for line in lines(tmp_path)] == [20, 40][
        not (log or "").startswith(LINE) :
    ]
    assert lines(tmp_path)[-1]["score"] == 0.5
    assert [("damaged" in str(warning.message)) for warning in caught] == [True] * is_damaged


def test_a_log_without_a_checkpoint_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(LINE)
    train(tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [40]


@pytest.mark.parametrize("size", [0, 5, 100, 2000, -1])
def test_a_truncated_checkpoint_is_an_error_with_advice(tmp_path: Path, size: int) -> None:
    train(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FormatError, match=r"checkpoint\.safetensors.*--restart"):
        train(tmp_path)


@pytest.mark.parametrize("entry", ["settings", "metrics", "step"])
def test_a_checkpoint_without_an_entry_is_an_error_with_advice(tmp_path: Path, entry: str) -> None:
    train(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    arrays, metadata = load_arrays(path, kind="test")
    del metadata[entry]
    save_arrays(path, arrays, metadata)
    with pytest.raises(FormatError, match=r"checkpoint\.safetensors.*--restart"):
        train(tmp_path)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(FormatError, match="holds test"):
        train(tmp_path, kind="other")
    with pytest.raises(FormatError, match="another network"):
        train(tmp_path, nn.Linear(3, 1))


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".harmnmf-0123456789abcdef.safetensors").write_bytes(b"half")
    train(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", "metrics.jsonl"}


@pytest.mark.cuda
def test_a_training_on_a_gpu_is_resumed_on_the_processor(tmp_path: Path) -> None:
    """The result is that of a training on the processor alone, but for rounding."""

    def untrained() -> nn.Module:
        # A bias before a normalisation has a gradient of rounding errors, which Adam amplifies.
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def on_gpu(first: int) -> Iterator[dict[str, torch.Tensor]]:
        steps = range(first, 30)
        return draw_batches(lambda step: next(batches(step)), steps, torch.device("cuda"))

    expected = train(tmp_path / "a", untrained(), averaging=0.9)
    network = untrained().cuda()
    train(tmp_path / "b", network, batches=on_gpu, n_steps=40, averaging=0.9)
    assert all(x.is_cuda for x in network.state_dict().values())
    resumed = train(tmp_path / "b", untrained(), averaging=0.9)
    assert [line["step"] for line in lines(tmp_path / "b")] == [30, 40]
    for x, y in zip(expected.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
