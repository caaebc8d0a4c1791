from __future__ import annotations

import cmath
import math

import pytest
import torch

from harmnmf.enhancement.models.layers.masks import bounded_mask


@pytest.mark.parametrize("z", [0.1 + 0.2j, -3 + 1j, 1e6 - 1e6j, -1e-3j])
def test_phases_remain_and_magnitudes_are_below_one(z):
    parts = torch.tensor([z.real, z.imag]).reshape(1, 2, 1, 1)
    expected = cmath.rect(math.tanh(abs(z)), cmath.phase(z))
    assert bounded_mask(parts).item() == pytest.approx(expected, rel=1e-5)


def test_nothing_gives_nothing_and_has_a_gradient():
    parts = torch.zeros(1, 2, 3, 4, requires_grad=True)
    mask = bounded_mask(parts)
    assert (mask == 0).all()
    mask.real.sum().backward()
    torch.testing.assert_close(parts.grad[:, 0], torch.ones(1, 3, 4))


def test_low_precision_is_raised():
    parts = torch.ones(1, 2, 3, 4, dtype=torch.bfloat16)
    assert bounded_mask(parts).dtype == torch.complex64
