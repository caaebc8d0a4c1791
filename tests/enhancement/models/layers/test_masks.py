from __future__ import annotations

import torch

from harmnmf.enhancement.models.layers.masks import bounded_mask


def test_zero_has_a_gradient():
    z = torch.zeros(1, 2, 3, 4, requires_grad=True)
    mask = bounded_mask(z)
    assert not mask.any()
    mask[:, 0].sum().backward()
    torch.testing.assert_close(z.grad[:, 0], torch.ones(1, 3, 4))


def test_low_precision_becomes_float32():
    assert bounded_mask(torch.ones(1, 2, 3, 4, dtype=torch.bfloat16)).dtype == torch.float32
