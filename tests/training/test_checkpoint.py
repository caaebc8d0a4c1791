from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf import FormatError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.training.checkpoint import (
    load_checkpoint,
    rebuild_network,
    save_checkpoint,
    state_arrays,
)


def start(n_out: int = 1) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, n_out))
    return network, torch.optim.Adam(network.parameters())


def train(network: nn.Module, optimizer: torch.optim.Optimizer, n_steps: int) -> None:
    for _ in range(n_steps):
        optimizer.zero_grad()
        network(torch.linspace(-1, 1, 15).view(5, 3)).square().sum().backward()
        optimizer.step()


def test_a_checkpoint_of_another_network_raises(tmp_path):
    one, other = start(), start(n_out=2)
    train(*one, 1)
    save_checkpoint(tmp_path / "a.safetensors", *one, {"kind": "test"})
    with pytest.raises(FormatError, match=r"a\.safetensors: a checkpoint of another network"):
        load_checkpoint(tmp_path / "a.safetensors", *other, kind="test")
    with pytest.raises(FormatError, match="holds test"):
        load_checkpoint(tmp_path / "a.safetensors", *one, kind="other")


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("network.2.bias"),
        lambda arrays: arrays.pop("optimizer.0.bias.exp_avg"),
        lambda arrays: arrays.update({"network.0.weight": arrays["network.0.weight"].T}),
        lambda arrays: arrays.update({"network.0.bias": np.full(4, np.nan, np.float32)}),
        lambda arrays: arrays.update({"network.0.bias": np.zeros(4, np.float64)}),
        lambda arrays: arrays.update({"optimizer.0.bias.exp_avg": np.zeros((1, 4), np.float32)}),
        lambda arrays: arrays.update({"optimizer.0.bias.step": np.zeros((), np.float32)}),
    ],
)
def test_a_damaged_checkpoint_raises(tmp_path, recwarn, damage):
    path = tmp_path / "a.safetensors"
    one = start()
    train(*one, 1)
    save_checkpoint(path, *one, {"kind": "test"})
    arrays, metadata = load_arrays(path, kind="test")
    damage(arrays)
    save_arrays(path, arrays, metadata)
    with pytest.raises(FormatError, match=r"a\.safetensors: a checkpoint of another network, or"):
        load_checkpoint(path, *one, kind="test")
    assert not recwarn


class Pair(nn.Module):
    """Two layers of the same shape, registered in either order."""

    def __init__(self, names: str = "ab") -> None:
        super().__init__()
        for name in names:
            setattr(self, name, nn.Linear(2, 2))


def test_layers_of_equal_shape_that_change_places_keep_their_weights(tmp_path):
    before, after = Pair("ab"), Pair("ba")
    optimizers = [torch.optim.Adam(network.parameters()) for network in (before, after)]
    (before.a(torch.ones(2)).sum() + 3 * before.b(torch.ones(2)).sum()).backward()
    optimizers[0].step()
    save_checkpoint(tmp_path / "a", before, optimizers[0], {"kind": "test"})
    load_checkpoint(tmp_path / "a", after, optimizers[1], kind="test")
    rebuilt = rebuild_network(Pair, {"names": "ba"}, state_arrays(before))
    assert not rebuilt.training
    for network in (after, rebuilt):
        for name, x in before.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], x, rtol=0, atol=0)
    for name in "ab":
        moments = [
            optimizer.state[getattr(network, name).weight]["exp_avg"]
            for network, optimizer in zip((before, after), optimizers, strict=True)
        ]
        torch.testing.assert_close(*moments, rtol=0, atol=0)


class Chain(nn.Module):
    """Network of a configurable number of layers, which counts those that are built."""

    built = 0

    def __init__(self, n_layers: int, size: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(n_layers):
            Chain.built += 1
            self.layers.append(nn.Linear(size, size, bias=False))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_layers": 10**12}, "has 1000000000000, above the limit"),
        ({"n_layers": 2, "size": [1, {"a": [-1e6]}]}, "has -1000000.0, above the limit"),
        ({"n_layers": 10_000}, "more weights than there are"),
        ({"n_layers": 1}, "unknown weights 'layers.1.weight'"),
        ({"n_layers": 3}, "missing weights 'layers.2.weight'"),
        ({"n_layers": 2, "size": 10_000}, r"shape \(2, 2\), not .* shape \(10000, 10000\)"),
    ],
)
def test_a_network_is_no_larger_than_its_file(config, message):
    arrays = {f"layers.{i}.weight": np.ones((2, 2), np.float32) for i in range(2)}
    Chain.built = 0
    tracemalloc.start()
    with pytest.raises(ParameterError, match=message):
        rebuild_network(Chain, config, arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Chain.built <= 1000
    assert peak < 10 * 2**20


def test_errors_of_the_network_pass_through():
    def build() -> nn.Module:
        raise RuntimeError("a programming error")

    with pytest.raises(RuntimeError, match="a programming error"):
        rebuild_network(build, {}, {})
