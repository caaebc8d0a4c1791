"""Recurrent layers with a cell for each range of bands, against those of PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from harmnmf.enhancement.models.layers.recurrent import BandGRU


@torch.no_grad()
def test_each_cell_is_a_gated_recurrent_unit_for_its_bands() -> None:
    torch.manual_seed(0)
    gru = BandGRU(size=4, n_cells=3).double()
    x, memory = torch.randn(2, 6, 7, 4).double(), torch.randn(2, 6, 4).double()
    output, last = gru(x, memory)
    for band in range(6):
        expected = nn.GRU(4, 4, batch_first=True).double()
        for theirs, ours in (
            (expected.weight_ih_l0, gru.W_input),
            (expected.weight_hh_l0, gru.W_memory),
            (expected.bias_ih_l0, gru.b_input),
            (expected.bias_hh_l0, gru.b_memory),
        ):
            theirs.copy_(ours[band // 2].mT.reshape(theirs.shape))
        whole, end = expected(x[:, band], memory[None, :, band])
        torch.testing.assert_close(output[:, band], whole)
        torch.testing.assert_close(last[:, band], end[0])
