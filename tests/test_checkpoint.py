from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf import FormatError
from harmnmf.checkpoint import load_checkpoint, save_checkpoint


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
