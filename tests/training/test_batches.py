"""Batches: their order, and errors while they are drawn."""

from __future__ import annotations

import pytest
import torch

from harmnmf.training.batches import draw_batches

every_device = pytest.mark.parametrize(
    "device", ["cpu", "meta", pytest.param("cuda", marks=pytest.mark.cuda)]
)


def draw(step: int) -> dict[str, torch.Tensor]:
    if step == 7:
        raise OSError("the file of step 7 is gone")
    return {"x": torch.zeros(step)}


@every_device
@pytest.mark.parametrize("n_steps", [0, 1, 2, 3, 6])
def test_batches_are_on_the_device_in_the_order_of_the_steps(device: str, n_steps: int) -> None:
    batches = list(draw_batches(draw, range(1, 1 + n_steps), torch.device(device)))
    assert [len(batch["x"]) for batch in batches] == [*range(1, 1 + n_steps)]
    assert all(batch["x"].device.type == device for batch in batches)


@every_device
def test_errors_come_with_their_step(device: str) -> None:
    batches = draw_batches(draw, range(10), torch.device(device))
    assert [len(next(batches)["x"]) for _ in range(7)] == [*range(7)]
    with pytest.raises(OSError, match="step 7"):
        next(batches)
