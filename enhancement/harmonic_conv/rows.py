"""The rows of a spectrogram that each tap of a harmonic convolution reads, and where to compute it.

Rows are resampled by sparse matrices with at most two entries per row, for linear interpolation.
Resampling along frequency commutes with mixing channels and with convolving along time, so that
each tap can be computed on whichever side has fewer rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from harmnmf.signal.harmonics import FrequencyAxis, HarmonicSeries

__all__ = [
    *("Plan", "RowMatrix", "Tap", "Taps"),
    *("make_bands", "make_plan", "make_stack", "read_positions"),
]

# Positions nearer to a row than this are that row, as in :meth:`HarmonicSeries.positions`.
_TOLERANCE = 1e-6

# Overhead of a band, as a fraction of the rows of all taps.
_BAND_COST = 1 / 32


class Taps(NamedTuple):
    """The harmonics of a kernel, on a spectrogram with a number of rows.

    Tap i reads harmonic 1 + i·dilation of the fundamental whose harmonic `anchor` is the output.
    """

    n_rows: int
    n_taps: int
    anchor: int
    stride: int = 1  # rows from one output to the next
    dilation: int = 1  # harmonics from one tap to the next
    bins_per_octave: float | None = None  # of a logarithmic axis

    @property
    def axis(self) -> FrequencyAxis:
        """Frequency axis of the input: row 0 is 0 Hz if linear, 1 Hz if logarithmic."""
        if self.bins_per_octave is None:
            return FrequencyAxis("linear", self.n_rows, 0.0, 1.0)
        return FrequencyAxis.logarithmic(1.0, self.bins_per_octave, self.n_rows)


def read_positions(
    taps: Taps,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Locate the row that each tap reads for each row of the output.

    Returns the row at the position or just below it, the distance from that row, from 0 to less
    than 1, and whether the position is on the axis; if not, the tap reads zero. All have shape
    (n_outputs, n_taps).
    """
    axis = taps.axis
    rows = axis.to_hz(np.arange(0, taps.n_rows, taps.stride))
    series = HarmonicSeries(1 + (taps.n_taps - 1) * taps.dilation)
    positions, valid = series.positions(rows / taps.anchor, axis)
    positions, valid = positions[:, :: taps.dilation], valid[:, :: taps.dilation]
    nearest = np.rint(positions)
    is_row = np.abs(positions - nearest) <= _TOLERANCE
    lower = np.where(is_row, nearest, np.floor(positions))
    return lower.astype(np.int64), np.where(is_row, 0.0, positions - lower), valid


class Band(NamedTuple):
    """Consecutive output rows that are one convolution of a stack of n_outputs · n_taps rows."""

    taps: slice  # those that read anything
    lower: torch.Tensor  # input rows of the stack
    upper: torch.Tensor | None  # rows to interpolate with, if any
    fraction: torch.Tensor  # weights of the upper rows
    valid: torch.Tensor | None  # whether the position is on the axis; None if all are


def make_bands(
    n_rows: int,
    n_taps: int,
    anchor: int,
    stride: int = 1,
    dilation: int = 1,
    bins_per_octave: float | None = None,
) -> tuple[Band, ...]:
    """Divide the output into bands, in which few taps are computed where they read zero.

    The arguments are the fields of :class:`Taps`: compilers treat only plain numbers as constants.

    Examples
    --------
    >>> [len(band.lower) for band in make_bands(n_rows=8, n_taps=2, anchor=1)]
    [8, 4]
    """
    taps = Taps(n_rows, n_taps, anchor, stride, dilation, bins_per_octave)
    return tuple(
        Band._make([used, *(None if a is None else torch.from_numpy(a) for a in arrays)])
        for used, *arrays in _band_arrays(taps)
    )


# Makes the tables constants of a compiled graph, as torch.compiler.assume_constant_result does,
# which would import the compiler.
make_bands._dynamo_marked_constant = True  # type: ignore[attr-defined]


# Not as tensors: those made during an export would be cached as placeholders.
@lru_cache(maxsize=64)
def _band_arrays(taps: Taps) -> list[tuple[Any, ...]]:
    lower, fraction, valid = read_positions(taps)
    changes = np.flatnonzero((valid[1:] != valid[:-1]).any(axis=1)) + 1
    bands = []
    for start, stop in pairwise(_cheapest_edges(valid, [0, *changes.tolist(), len(valid)])):
        rows = slice(start, stop)
        used = _used_taps(valid[rows])
        on_axis = valid[rows, used].ravel()
        low = np.where(on_axis, lower[rows, used].ravel(), 0)
        above = np.where(on_axis, fraction[rows, used].ravel(), 0)
        upper = np.where(above > 0, low + 1, low) if above.any() else None
        bands.append((used, low, upper, above, None if on_axis.all() else on_axis))
    return bands


def _used_taps(valid: NDArray[np.bool_]) -> slice:
    """Taps from the first to the last that are valid somewhere; the first one if none is."""
    return _extent(np.any(valid, axis=0)) if valid.any() else slice(0, 1)


def _cheapest_edges(valid: NDArray[np.bool_], edges: list[int]) -> list[int]:
    """Choose the edges with the least work, rows times taps and an overhead per band."""
    best: list[tuple[float, list[int]]] = [(0.0, edges[:1])]
    for j, stop in enumerate(edges[1:], 1):
        choices = []
        for (cost, chosen), start in zip(best, edges[:j], strict=True):
            used = _used_taps(valid[start:stop])
            work = (stop - start) * (used.stop - used.start) + _BAND_COST * valid.size
            choices.append((cost + work, [*chosen, stop]))
        best.append(min(choices))
    return best[-1][1]


class RowMatrix:
    """A sparse matrix, (n_to, n_from), that acts on the rows of a batch of spectrograms."""

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        self._matrices = matrix, matrix.T.tocsr()
        self._bags = lru_cache(maxsize=4)(self._make_bags)

    def __call__(self, x: torch.Tensor, transposed: bool = False) -> torch.Tensor:
        """Multiply dimension 2 of (n, n_channels, n_from, n_frames) by the matrix or its transpose.

        Channels last, the channels are part of a row of the table that is mixed; otherwise, part of
        the batch.
        """
        n, n_channels, n_rows, n_frames = x.shape
        n_to = self._matrices[transposed].shape[0]
        if x.is_contiguous(memory_format=torch.channels_last):
            table = x.permute(0, 2, 3, 1).reshape(n * n_rows, n_frames * n_channels)
            mixed = self._mix(table, n, transposed)
            return mixed.view(n, n_to, n_frames, n_channels).permute(0, 3, 1, 2)
        table = x.reshape(n * n_channels * n_rows, n_frames)
        return self._mix(table, n * n_channels, transposed).view(n, n_channels, n_to, n_frames)

    def _mix(self, table: torch.Tensor, copies: int, transposed: bool) -> torch.Tensor:
        # The one operation of PyTorch that sums weighted rows in a single pass over memory.
        indices, offsets, weights = self._bags(copies, transposed, table.dtype)
        return torch.embedding_bag(table, indices, offsets, False, 0, False, weights, True)[0]

    # Tensors made in inference mode and cached could not be used in training.
    @torch.inference_mode(False)
    def _make_bags(
        self, copies: int, transposed: bool, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Entries of a block-diagonal matrix of `copies` blocks, as embedding_bag takes them."""
        matrix = self._matrices[transposed]
        blocks = scipy.sparse.kron(scipy.sparse.eye(copies), matrix, format="csr")
        indices, offsets = (
            torch.from_numpy(a.astype(np.int64)) for a in (blocks.indices, blocks.indptr)
        )
        return indices, offsets, torch.from_numpy(blocks.data).to(dtype)


@lru_cache(maxsize=64)
def make_stack(taps: Taps) -> RowMatrix:
    """Make the matrix, (n_outputs * n_taps, n_rows), that stacks the rows read by all taps."""
    lower, fraction, valid = read_positions(taps)
    matrix = _interpolation(lower[valid], fraction[valid], taps.n_rows)
    valid = valid.ravel()
    offsets = np.zeros(len(valid) + 1, matrix.indptr.dtype)
    offsets[1:][valid] = np.diff(matrix.indptr)
    shape = len(valid), taps.n_rows
    return RowMatrix(
        scipy.sparse.csr_matrix((matrix.data, matrix.indices, offsets.cumsum()), shape=shape)
    )


@dataclass(frozen=True)
class Tap:
    """A tap of the kernel, the rows that it convolves, and where the result is added."""

    index: int  # in the kernel
    outputs: slice  # rows of the output; of a Spread, rows of the stack
    inputs: slice  # rows of the input; of a Gather, rows that are gathered


class Spread(NamedTuple):
    """Taps that are convolved before resampling, since they read fewer rows than they write."""

    outputs: slice
    taps: tuple[Tap, ...]  # their results are stacked
    matrix: RowMatrix  # from the stack to the outputs


class Gather(NamedTuple):
    """A tap that is convolved after resampling, since it reads more rows than it writes."""

    tap: Tap
    matrix: RowMatrix  # from the input to the rows that the tap convolves


@dataclass(frozen=True)
class Plan:
    """Taps by the way in which they are computed."""

    n_outputs: int
    whole: Tap | None  # a strided tap that reaches all rows of the output
    strided: tuple[Tap, ...]  # others that read every n-th row, without interpolation
    spreads: tuple[Spread, ...]
    gathers: tuple[Gather, ...]


@lru_cache(maxsize=64)
def make_plan(taps: Taps, fewer_outputs: bool, block: int | None = None) -> Plan:
    """Choose for each tap the side of the resampling that has fewer rows.

    If both have the same number, as on a logarithmic axis, `fewer_outputs` decides: whether the
    output has fewer channels than the input. A `Spread` has `block` output rows, by default all.

    Examples
    --------
    >>> plan = make_plan(Taps(n_rows=13, n_taps=4, anchor=3), fewer_outputs=False)
    >>> plan.whole.index, plan.spreads[0].taps[0].inputs, plan.gathers[0].tap.outputs
    (2, slice(0, 5, None), slice(0, 10, None))
    """
    lower, fraction, valid = read_positions(taps)
    whole, strided = None, []
    spread, gathers = [], []
    for index in np.flatnonzero(valid.any(axis=0)).tolist():
        outputs = _extent(valid[:, index])
        low, above = lower[outputs, index], fraction[outputs, index]
        step = int(low[1] - low[0]) if len(low) > 1 else 1
        inputs = _rows_read(low, above)
        n_outputs, n_inputs = len(low), inputs.stop - inputs.start
        if not above.any() and (np.diff(low) == step).all():
            # Up to the last row if the stride skips the rest: all rows are contiguous memory.
            rest = range(inputs.start, taps.n_rows, step)
            stop = taps.n_rows if len(rest) == n_outputs else inputs.stop
            tap = Tap(index, outputs, slice(inputs.start, stop, step))
            if whole is None and n_outputs == len(lower):
                whole = tap
            else:
                strided.append(tap)
        elif n_inputs < n_outputs or (fewer_outputs and n_inputs <= n_outputs + 1):
            spread.append(index)
        else:
            tap = Tap(index, outputs, slice(0, n_outputs))
            gathers.append(Gather(tap, RowMatrix(_interpolation(low, above, taps.n_rows))))
    edges = range(0, len(lower) if spread else 0, block or len(lower))
    blocks = [slice(start, start + edges.step) for start in edges]
    spreads = [_make_spread(spread, rows, lower, fraction, valid) for rows in blocks]
    return Plan(
        len(lower),
        whole,
        tuple(strided),
        tuple(spread for spread in spreads if spread.taps),
        tuple(gathers),
    )


def _make_spread(
    indices: list[int],
    block: slice,
    lower: NDArray[np.int64],
    fraction: NDArray[np.float64],
    valid: NDArray[np.bool_],
) -> Spread:
    n_outputs = len(lower[block])
    taps, matrices = [], [scipy.sparse.csr_matrix((n_outputs, 0))]
    n_stacked = 0
    for index in indices:
        if not valid[block, index].any():
            continue
        outputs = _extent(valid[block, index])
        low, above = lower[block, index][outputs], fraction[block, index][outputs]
        inputs = _rows_read(low, above)
        n_inputs = inputs.stop - inputs.start
        matrix = _interpolation(low - inputs.start, above, n_inputs)
        matrices.append(_pad_rows(matrix, outputs.start, n_outputs))
        taps.append(Tap(index, slice(n_stacked, n_stacked + n_inputs), inputs))
        n_stacked += n_inputs
    rows = slice(block.start, block.start + n_outputs)
    return Spread(rows, tuple(taps), RowMatrix(scipy.sparse.hstack(matrices, format="csr")))


def _extent(valid: NDArray[np.bool_]) -> slice:
    """From the first to the last that is valid."""
    indices = np.flatnonzero(valid)
    return slice(int(indices[0]), int(indices[-1]) + 1)


def _rows_read(lower: NDArray[np.int64], fraction: NDArray[np.float64]) -> slice:
    return slice(int(lower[0]), int(lower[-1]) + (2 if fraction[-1] else 1))


def _interpolation(
    lower: NDArray[np.int64], fraction: NDArray[np.float64], n_rows: int
) -> scipy.sparse.csr_matrix:
    """Matrix of linear interpolation, with a single entry for positions that are rows."""
    outputs = np.arange(len(lower))
    between = fraction > 0
    entries = np.concatenate([1 - fraction, fraction[between]])
    rows = np.concatenate([outputs, outputs[between]])
    columns = np.concatenate([lower, lower[between] + 1])
    return scipy.sparse.csr_matrix((entries, (rows, columns)), shape=(len(lower), n_rows))


def _pad_rows(matrix: scipy.sparse.csr_matrix, above: int, n_rows: int) -> scipy.sparse.csr_matrix:
    """Put empty rows above and below a matrix, `n_rows` in total."""
    offsets = np.pad(matrix.indptr, (above, n_rows - above - matrix.shape[0]), mode="edge")
    return scipy.sparse.csr_matrix(
        (matrix.data, matrix.indices, offsets), shape=(n_rows, matrix.shape[1])
    )
