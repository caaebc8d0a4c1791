from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf import FormatError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.training.checkpoint import load_checkpoint, rebuild_network, save_checkpoint


def start(n_out: int = 1) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, n_out))
    return network, torch.optim.Adam(network.parameters())


def go_on(network: nn.Module, optimizer: torch.optim.Optimizer, n_steps: int) -> None:
    for _ in range(n_steps):
        optimizer.zero_grad()
        network(torch.linspace(-1, 1, 15).view(5, 3)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("n_before", [0, 3])
def test_a_training_goes_on_as_if_it_had_not_stopped(tmp_path, n_before):
    whole, stopped, resumed = start(), start(), start()
    go_on(*whole, n_before + 2)
    go_on(*stopped, n_before)
    metadata = {"kind": "test", "step": n_before}
    save_checkpoint(tmp_path / "a.npz", *stopped, metadata, {"more": np.arange(3)})
    go_on(*resumed, 1)
    arrays, found = load_checkpoint(tmp_path / "a.npz", *resumed, kind="test")
    go_on(*resumed, 2)
    assert found == metadata
    assert arrays["more"].tolist() == [0, 1, 2]
    for name, x in whole[0].state_dict().items():
        torch.testing.assert_close(resumed[0].state_dict()[name], x, rtol=0, atol=0)


def test_another_networks_checkpoint_is_refused(tmp_path):
    one, other = start(), start(n_out=2)
    go_on(*one, 1)
    save_checkpoint(tmp_path / "a.npz", *one, {"kind": "test"})
    with pytest.raises(FormatError, match=r"a\.npz: a checkpoint of another network"):
        load_checkpoint(tmp_path / "a.npz", *other, kind="test")
    with pytest.raises(FormatError, match="holds test"):
        load_checkpoint(tmp_path / "a.npz", *one, kind="other")


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("exp_avg_1"),
        lambda arrays: arrays.update(w0=arrays["w0"].T),
        lambda arrays: arrays.update(w0=arrays["w0"] + 0j),
        lambda arrays: arrays.update(w0=arrays["w0"].astype(">f4")),
        lambda arrays: arrays.update(w0=arrays["w0"].astype(str)),
        lambda arrays: arrays.update(w0=arrays["w0"] * np.float32(np.nan)),
        lambda arrays: arrays.update(exp_avg_0=arrays["exp_avg_0"].T),
        lambda arrays: arrays.update(exp_avg_sq_0=arrays["exp_avg_sq_0"] * np.float32(np.inf)),
        lambda arrays: arrays.update(step_0=np.ones(3, np.float32)),
        lambda arrays: arrays.update(step_1=arrays["step_1"] - 2),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, recwarn, damage):
    one = start()
    go_on(*one, 1)
    save_checkpoint(tmp_path / "a.npz", *one, {"kind": "test"})
    arrays, metadata = load_arrays(tmp_path / "a.npz")
    damage(arrays)
    save_arrays(tmp_path / "a.npz", arrays, metadata)
    with pytest.raises(FormatError, match=r"a\.npz: a checkpoint of another network, or damaged"):
        load_checkpoint(tmp_path / "a.npz", *one, kind="test")
    assert not recwarn


class Chain(nn.Module):
    """As many layers as its configuration says."""

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
        ({"n_layers": 10**12}, "1000000000000 is no size"),
        ({"n_layers": 2, "size": [1, {"a": [-1e6]}]}, "-1000000.0 is no size"),
        ({"n_layers": 10_000}, "more weights than it has"),
        ({"n_layers": 1}, "has 2 weights, and not 1"),
        ({"n_layers": 2, "size": 10_000}, r"shape \(2, 2\), where .* \(10000, 10000\) is needed"),
    ],
)
def test_a_network_is_no_larger_than_its_file(config, message):
    arrays = {str(i): np.ones((2, 2), np.float32) for i in range(2)}
    Chain.built = 0
    tracemalloc.start()
    with pytest.raises(ParameterError, match=message):
        rebuild_network(Chain, config, arrays, lambda i, name: str(i))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Chain.built <= 3
    assert peak < 10**6
    # What counts weights is not left in PyTorch.
    assert len(Chain(5).layers) == 5


def test_a_network_is_built_again(recwarn):
    arrays = {f"layers.{i}.weight": np.full((2, 2), i, np.float32) for i in range(2)}
    network = rebuild_network(Chain, {"n_layers": 2}, arrays, lambda i, name: name)
    assert [layer.weight.mean().item() for layer in network.layers] == [0, 1]
    assert not network.training
    assert not recwarn
