from __future__ import annotations

import torch

from harmnmf.enhancement.models.layers.grouping import N_GROUPS, N_LOW, SPLIT, Grouping


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
