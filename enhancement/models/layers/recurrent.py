"""Recurrent layers along time, with weights of their own for some of the bands each.

A network that is fast has few bands and small layers. Weights for some of the bands each are more
to learn with, at no more operations than weights for all.
"""

from __future__ import annotations

import torch
from torch import nn

from harmnmf.errors import ParameterError

__all__ = ["BandGRU"]


class BandGRU(nn.Module):
    """Gated recurrent units, of which each cell serves its share of the bands.

    What one `torch.nn.GRU` for each cell does, for all of them at a time: one after the other they
    take several times as long, since each product of matrices is small.

    Parameters
    ----------
    n_bands : int
        Bands; a multiple of `n_cells`.
    size : int
        Features of each band, before and after.
    n_cells : int
        Sets of weights.

    Raises
    ------
    ParameterError
        If the bands cannot be shared out.

    References
    ----------
    .. [1] K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
       machine translation", EMNLP 2014; with the reset gate after the product, as cuDNN has it.

    Examples
    --------
    >>> layer = BandGRU(n_bands=6, size=4, n_cells=3)
    >>> output, memory = layer(torch.randn(2, 6, 10, 4), torch.zeros(2, 6, 4))
    >>> output.shape, memory.shape
    (torch.Size([2, 6, 10, 4]), torch.Size([2, 6, 4]))
    """

    def __init__(self, n_bands: int, size: int, n_cells: int) -> None:
        super().__init__()
        if n_cells < 1 or n_bands % n_cells:
            raise ParameterError(f"n_cells must divide n_bands, {n_bands}, but is {n_cells}")

        def uniform(n_rows: int) -> nn.Parameter:
            values = torch.empty(n_cells, n_rows, 3 * size)
            return nn.Parameter(nn.init.uniform_(values, -(size**-0.5), size**-0.5))

        # Columns for the reset gate, the update gate and the candidate.
        self.W_input, self.W_memory = uniform(size), uniform(size)
        self.b_input, self.b_memory = uniform(1), uniform(1)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Go along time.

        Parameters
        ----------
        x : Tensor, shape (batch, n_bands, n_frames, size)
            Features.
        memory : Tensor, shape (batch, n_bands, size)
            The output at the frame before the first; zeros at the beginning.

        Returns
        -------
        output : Tensor, shape (batch, n_bands, n_frames, size)
            Of each frame.
        memory : Tensor, shape (batch, n_bands, size)
            Of the last frame.
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
