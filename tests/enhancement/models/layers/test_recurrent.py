"""Recurrent layers with a cell for each range of bands, against those of PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from harmnmf.enhancement.models.layers.recurrent import BandGRU


def layer() -> BandGRU:
    torch.manual_seed(0)
    return BandGRU(size=4, n_cells=3).double()


def features() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (2, 6, 7, 4), (2, 6, 4)
    x, memory = (torch.randn(s, dtype=torch.float64, generator=generator) for s in shapes)
    return x, memory


@torch.no_grad()
def test_each_cell_is_a_gated_recurrent_unit_for_its_bands() -> None:
    gru, (x, memory) = layer(), features()
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


@torch.no_grad()
def test_low_precision_is_kept_along_time() -> None:
    gru, inputs = layer().float(), [x.float() for x in features()]
    with torch.autocast("cpu", torch.bfloat16):
        output, memory = gru(*inputs)
    assert output.dtype == memory.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), gru(*inputs)[0], atol=0.05, rtol=0)
