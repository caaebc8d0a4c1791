"""Groups of frequency bins: the bins in each, and the transpose."""

from __future__ import annotations

import torch

from harmnmf.enhancement.models.layers.grouping import (
    N_GROUPS,
    N_LOW,
    SPLIT,
    Grouping,
    Ungrouping,
)


def test_groups_see_their_bins_and_half_of_their_neighbours() -> None:
    group = Grouping(1, 1)
    for layer in (group.low, group.high):
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    seen = group(torch.eye(256)[:, None, :, None])[:, 0, :, 0].T
    assert len(seen) == N_GROUPS == 56
    for i, bins in enumerate(seen):
        low = i < N_LOW
        width, start = (2, 2 * i) if low else (8, SPLIT + 8 * (i - N_LOW))
        first, last = (0, SPLIT) if low else (SPLIT, 256)
        expected = torch.zeros(256)
        expected[max(first, start - width // 2) : min(last, start + width + width // 2)] = 1
        assert torch.equal(bins, expected)


def test_ungrouping_is_the_transpose() -> None:
    group, ungroup = Grouping(4, 3).double(), Ungrouping(3, 4, 4).double()
    with torch.no_grad():
        for layer, back in ((group.low, ungroup.low), (group.high, ungroup.high)):
            torch.nn.init.zeros_(layer.bias)
            torch.nn.init.zeros_(back.bias)
            back.weight.copy_(layer.weight)
        x, y = torch.randn(1, 4, 256, 2).double(), torch.randn(1, 3, 56, 2).double()
        torch.testing.assert_close((group(x) * y).sum(), (x * torch.cat(ungroup(y), dim=2)).sum())
