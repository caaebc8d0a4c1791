"""Recurrent layers over time whose weights are shared by a few bands each."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["BandGRU"]


class BandGRU(nn.Module):
    """Gated recurrent units along time, one cell for each range of neighbouring bands.

    Equal to one `torch.nn.GRU` per cell, with the reset gate after the product as in cuDNN. All
    cells are computed together, which is several times faster than one after another because each
    matrix product is small. More cells mean more parameters at the same number of operations.
    `size` is the number of features of a band, in input and output.
    """

    def __init__(self, size: int, n_cells: int) -> None:
        super().__init__()

        def uniform(n_rows: int) -> nn.Parameter:
            values = torch.empty(n_cells, n_rows, 3 * size)
            return nn.Parameter(nn.init.uniform_(values, -(size**-0.5), size**-0.5))

        # Columns for the reset gate, the update gate and the candidate.
        self.W_input, self.W_memory = uniform(size), uniform(size)
        self.b_input, self.b_memory = uniform(1), uniform(1)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run along time, (batch, n_bands, n_frames, size).

        `memory`, (batch, n_bands, size), is the output of the frame before: zeros at the beginning.
        Returns the output of all frames, and that of the last.
        """
        n_batch, n_bands, n_frames, size = x.shape
        n_cells = len(self.W_input)
        n_rows = n_batch * n_bands // n_cells

        def by_cell(values: torch.Tensor) -> torch.Tensor:
            return values.unflatten(1, (n_cells, -1)).transpose(0, 1)

        # (n_cells, n_frames * n_rows, size)
        inputs = by_cell(x).permute(0, 3, 1, 2, 4).reshape(n_cells, n_frames * n_rows, size)
        inputs = torch.baddbmm(self.b_input, inputs, self.W_input)
        gates, candidates = (
            part.reshape(n_cells, n_frames, n_rows, -1).unbind(1)
            for part in inputs.split([2 * size, size], dim=-1)
        )
        h = by_cell(memory).reshape(n_cells, n_rows, size).to(inputs)
        outputs = []
        for gate, candidate in zip(gates, candidates, strict=True):
            kept = torch.baddbmm(self.b_memory, h, self.W_memory)
            r, z = (gate + kept[..., : 2 * size]).sigmoid().chunk(2, dim=-1)
            n = torch.addcmul(candidate, r, kept[..., 2 * size :]).tanh()
            h = torch.lerp(n, h, z)
            outputs.append(h)
        output = torch.stack(outputs).reshape(n_frames, n_cells, n_batch, -1, size)
        output = output.permute(2, 1, 3, 0, 4).flatten(1, 2)
        return output, output[:, :, -1]
