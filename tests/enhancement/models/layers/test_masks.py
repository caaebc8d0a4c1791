from __future__ import annotations

import cmath
import math

import pytest
import torch

from harmnmf.enhancement.models.layers.masks import bounded_mask


@pytest.mark.parametrize("z", [0.1 + 0.2j, -3 + 1j, 1e6 - 1e6j, -1e-3j])
def test_phase_is_kept_and_magnitude_bounded(z):
    mask = bounded_mask(torch.tensor([z.real, z.imag]).reshape(1, 2, 1, 1))
    expected = cmath.rect(math.tanh(abs(z)), cmath.phase(z))
    assert complex(*mask.flatten()) == pytest.approx(expected, rel=1e-5)


def test_zero_has_a_gradient():
    z = torch.zeros(1, 2, 3, 4, requires_grad=True)
    mask = bounded_mask(z)
    assert not mask.any()
    mask[:, 0].sum().backward()
    torch.testing.assert_close(z.grad[:, 0], torch.ones(1, 3, 4))


def test_low_precision_becomes_float32():
    assert bounded_mask(torch.ones(1, 2, 3, 4, dtype=torch.bfloat16)).dtype == torch.float32
