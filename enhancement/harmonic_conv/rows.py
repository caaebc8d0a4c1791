"""Which rows of a spectrogram each tap of a harmonic convolution reads, and where to compute it.

Rows are moved by matrices that have two entries in a row at most, for linear interpolation. They
are rows of whatever lies along time and channels, and that is what makes a tap cheap: resampling
along frequency commutes with mixing channels and with convolving along time, so that either may
come first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from harmnmf.signal.harmonics import FrequencyAxis, HarmonicSeries

__all__ = [
    "Band",
    "Gather",
    "Plan",
    "RowMatrix",
    "Spread",
    "Tap",
    "Taps",
    "make_bands",
    "make_plan",
    "make_stack",
    "read_positions",
]

# What :meth:`HarmonicSeries.positions` grants to the ends of the axis: nearer than that, a position
# is a bin.
_BIN_TOLERANCE = 1e-6

# A band less costs a call less, and is worth this part of the rows of all taps.
_BAND_COST = 1 / 32


class Taps(NamedTuple):
    """The harmonics that a kernel reads, on a spectrogram of some number of rows.

    Attributes
    ----------
    n_rows : int
        Rows of the input.
    n_taps : int
        Length of the kernel along frequency.
    anchor : int
        Tap i reads harmonic 1 + i·dilation of what the output's row is harmonic `anchor` of.
    stride, dilation : int
        Rows from one output to the next, and harmonics from one tap to the next.
    bins_per_octave : float, optional
        If the rows are logarithmic in frequency.
    """

    n_rows: int
    n_taps: int
    anchor: int
    stride: int = 1
    dilation: int = 1
    bins_per_octave: float | None = None

    @property
    def axis(self) -> FrequencyAxis:
        """The rows of the input: row 0 is 0 Hz if linear, 1 Hz if logarithmic."""
        if self.bins_per_octave is None:
            return FrequencyAxis("linear", self.n_rows, 0.0, 1.0)
        return FrequencyAxis.logarithmic(1.0, self.bins_per_octave, self.n_rows)


def read_positions(
    taps: Taps,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Locate what each tap reads for each row of the output.

    Parameters
    ----------
    taps : Taps
        The kernel's harmonics.

    Returns
    -------
    lower : ndarray of int, shape (n_outputs, n_taps)
        The row at the position or just below.
    fraction : ndarray, shape (n_outputs, n_taps)
        How far above it the position lies, in rows: from 0 to less than 1.
    valid : ndarray of bool, shape (n_outputs, n_taps)
        Whether the position is on the axis. What is not reads zero.

    Examples
    --------
    >>> lower, fraction, valid = read_positions(Taps(n_rows=4, n_taps=3, anchor=2))
    >>> (lower + fraction)[1], valid[3]
    (array([0.5, 1. , 1.5]), array([ True,  True, False]))
    """
    axis = taps.axis
    rows = axis.to_hz(np.arange(0, taps.n_rows, taps.stride))
    series = HarmonicSeries(1 + (taps.n_taps - 1) * taps.dilation)
    positions, valid = series.positions(rows / taps.anchor, axis)
    positions, valid = positions[:, :: taps.dilation], valid[:, :: taps.dilation]
    nearest = np.rint(positions)
    whole = np.abs(positions - nearest) <= _BIN_TOLERANCE
    lower = np.where(whole, nearest, np.floor(positions))
    return lower.astype(np.int64), np.where(whole, 0.0, positions - lower), valid


class Band(NamedTuple):
    """Rows of the output that are computed by one convolution of stacked rows of the input.

    Attributes
    ----------
    taps : slice
        Taps of the kernel that read anything.
    lower : Tensor, shape (n_outputs of the band * n_taps of the band,)
        Rows of the input.
    upper : Tensor, of the same shape, or None
        Rows to interpolate with, if there is anything to interpolate.
    fraction : Tensor, of the same shape
        Weights of these.
    valid : Tensor of bool, of the same shape, or None
        What is not to be read as zero; None if all is read.
    """

    taps: slice
    lower: torch.Tensor
    upper: torch.Tensor | None
    fraction: torch.Tensor
    valid: torch.Tensor | None


def make_bands(
    n_rows: int,
    n_taps: int,
    anchor: int,
    stride: int = 1,
    dilation: int = 1,
    bins_per_octave: float | None = None,
) -> tuple[Band, ...]:
    """Part the rows of the output so that few taps are computed where they read zero.

    Parameters
    ----------
    n_rows, n_taps, anchor, stride, dilation, bins_per_octave
        As of :class:`Taps`, one by one, since compilers take nothing else for constant.

    Returns
    -------
    tuple of Band
        From the first row to the last.

    Examples
    --------
    >>> [len(band.lower) for band in make_bands(n_rows=8, n_taps=2, anchor=1)]
    [8, 4]
    """
    return _make_bands(Taps(n_rows, n_taps, anchor, stride, dilation, bins_per_octave))


# The tables are constants of a compiled graph, and what computes them is none of its business.
# This is what torch.compiler.assume_constant_result does, which would load the compiler.
make_bands._dynamo_marked_constant = True  # type: ignore[attr-defined]


# What is made in inference mode, and kept, could never be trained with.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _make_bands(taps: Taps) -> tuple[Band, ...]:
    lower, fraction, valid = read_positions(taps)
    changes = np.flatnonzero((valid[1:] != valid[:-1]).any(axis=1)) + 1
    bands = []
    edges = _cheapest_parts(valid, [0, *changes.tolist(), len(valid)])
    for start, stop in pairwise(edges):
        rows = slice(start, stop)
        used = _span(valid[rows])
        on_axis = valid[rows, used].ravel()
        low = np.where(on_axis, lower[rows, used].ravel(), 0)
        above = np.where(on_axis, fraction[rows, used].ravel(), 0)
        bands.append(
            Band(
                used,
                torch.from_numpy(low),
                torch.from_numpy(np.where(above > 0, low + 1, low)) if above.any() else None,
                torch.from_numpy(above),
                None if on_axis.all() else torch.from_numpy(on_axis),
            )
        )
    return tuple(bands)


def _span(valid: NDArray[np.bool_]) -> slice:
    """Taps from the first that is valid somewhere to the last; the first, if there is none."""
    used = np.flatnonzero(valid.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)


def _cheapest_parts(valid: NDArray[np.bool_], edges: list[int]) -> list[int]:
    """Choose those edges that make the least work: rows times taps, and something for a part."""
    best: list[tuple[float, list[int]]] = [(0.0, edges[:1])]
    for j, stop in enumerate(edges[1:], 1):
        choices = []
        for (cost, chosen), start in zip(best, edges[:j], strict=True):
            used = _span(valid[start:stop])
            work = (stop - start) * (used.stop - used.start) + _BAND_COST * valid.size
            choices.append((cost + work, [*chosen, stop]))
        best.append(min(choices))
    return best[-1][1]


class RowMatrix:
    """A sparse matrix that acts on the rows of a batch of spectrograms.

    Parameters
    ----------
    matrix : scipy.sparse.csr_matrix, shape (n_to, n_from)
        The matrix.

    Examples
    --------
    >>> double = RowMatrix(scipy.sparse.csr_matrix([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    >>> double(torch.tensor([2.0, 4.0]).view(1, 1, 2, 1)).flatten()
    tensor([2., 3., 4.])
    """

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        self._matrices = matrix, matrix.T.tocsr()
        self._bags = lru_cache(maxsize=4)(self._make_bags)

    def __call__(self, x: torch.Tensor, transposed: bool = False) -> torch.Tensor:
        """Apply the matrix, or its transpose, to dimension -2 of a tensor of four dimensions.

        Whether channels lie innermost or outermost, they and time are carried along: rows of
        both in the one case, in the other rows of time in a matrix for each channel.
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

    @torch.inference_mode(False)
    def _make_bags(
        self, copies: int, transposed: bool, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Arrange the entries of a block-diagonal matrix, one block a copy, for embedding_bag."""
        matrix = self._matrices[transposed]
        blocks = scipy.sparse.kron(scipy.sparse.eye(copies), matrix, format="csr")
        indices, offsets = (
            torch.from_numpy(a.astype(np.int64)) for a in (blocks.indices, blocks.indptr)
        )
        return indices, offsets, torch.from_numpy(blocks.data).to(dtype)


@dataclass(frozen=True)
class Tap:
    """A tap, the rows that it is convolved with, and where their sums go.

    Attributes
    ----------
    index : int
        Position in the kernel.
    outputs : slice
        Rows of the output, or of the stack that is spread over it.
    inputs : slice
        Rows of the input, or of the stack that is gathered from it.
    """

    index: int
    outputs: slice
    inputs: slice


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def make_stack(taps: Taps) -> RowMatrix:
    """Make the matrix that stacks what all taps read for a row, row after row.

    Parameters
    ----------
    taps : Taps
        The kernel's harmonics.

    Returns
    -------
    RowMatrix, shape (n_outputs * n_taps, n_rows)
        Empty where nothing is read.

    Examples
    --------
    >>> make_stack(Taps(n_rows=3, n_taps=2, anchor=1))(torch.arange(3.0).view(1, 1, 3, 1)).flatten()
    tensor([0., 0., 1., 2., 2., 0.])
    """
    lower, fraction, valid = read_positions(taps)
    matrix = _interpolation(lower[valid], fraction[valid], taps.n_rows)
    valid = valid.ravel()
    offsets = np.zeros(len(valid) + 1, matrix.indptr.dtype)
    offsets[1:][valid] = np.diff(matrix.indptr)
    shape = len(valid), taps.n_rows
    return RowMatrix(
        scipy.sparse.csr_matrix((matrix.data, matrix.indices, offsets.cumsum()), shape=shape)
    )


class Spread(NamedTuple):
    """Taps that are convolved where the input has fewer rows than the output.

    Attributes
    ----------
    outputs : slice
        Rows of the output.
    taps : tuple of Tap
        What is convolved to a stack of rows.
    matrix : RowMatrix, shape (n_outputs of these, rows of all taps)
        What spreads the stack over the outputs.
    """

    outputs: slice
    taps: tuple[Tap, ...]
    matrix: RowMatrix


class Gather(NamedTuple):
    """A tap that is convolved where the output has fewer rows than the input.

    Attributes
    ----------
    tap : Tap
        Its inputs are all rows that are gathered.
    matrix : RowMatrix, shape (n_outputs of the tap, n_rows)
        What gathers them from the input.
    """

    tap: Tap
    matrix: RowMatrix


@dataclass(frozen=True)
class Plan:
    """Where each tap is computed.

    Attributes
    ----------
    n_outputs : int
        Rows of the output.
    whole : Tap or None
        A strided tap that reaches every row of the output.
    strided : tuple of Tap
        Other taps that read every so many rows of the input, without interpolation.
    spreads : tuple of Spread
        Taps that are convolved first, by blocks of rows of the output.
    gathers : tuple of Gather
        Taps that are convolved last.
    """

    n_outputs: int
    whole: Tap | None
    strided: tuple[Tap, ...]
    spreads: tuple[Spread, ...]
    gathers: tuple[Gather, ...]


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def make_plan(taps: Taps, fewer_outputs: bool, block: int | None = None) -> Plan:
    """Choose for each tap the side on which it has fewer rows.

    Parameters
    ----------
    taps : Taps
        The kernel's harmonics.
    fewer_outputs : bool
        Whether the output has fewer channels than the input: this decides between sides with the
        same number of rows, as on a logarithmic axis.
    block : int, optional
        Rows of the output that taps are spread over at a time; by default all.

    Returns
    -------
    Plan
        Of the taps that read anything at all.

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
        outputs = _reach(valid[:, index])
        low, above = lower[outputs, index], fraction[outputs, index]
        step = int(low[1] - low[0]) if len(low) > 1 else 1
        inputs = _rows_read(low, above)
        n_outputs, n_inputs = len(low), inputs.stop - inputs.start
        if not above.any() and (np.diff(low) == step).all():
            # Up to the last row if the step leaves these out: all rows are a block of memory.
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
    spreads = [_spread(spread, rows, lower, fraction, valid) for rows in blocks]
    return Plan(
        len(lower),
        whole,
        tuple(strided),
        tuple(spread for spread in spreads if spread.taps),
        tuple(gathers),
    )


def _spread(
    indices: list[int],
    block: slice,
    lower: NDArray[np.int64],
    fraction: NDArray[np.float64],
    valid: NDArray[np.bool_],
) -> Spread:
    """Stack what a block of the output reads of some taps."""
    n_outputs = len(lower[block])
    taps, matrices = [], [scipy.sparse.csr_matrix((n_outputs, 0))]
    n_stacked = 0
    for index in indices:
        if not valid[block, index].any():
            continue
        reached = _reach(valid[block, index])
        low, above = lower[block, index][reached], fraction[block, index][reached]
        inputs = _rows_read(low, above)
        n_inputs = inputs.stop - inputs.start
        matrix = _interpolation(low - inputs.start, above, n_inputs)
        matrices.append(_pad_rows(matrix, reached.start, n_outputs))
        taps.append(Tap(index, slice(n_stacked, n_stacked + n_inputs), inputs))
        n_stacked += n_inputs
    outputs = slice(block.start, block.start + n_outputs)
    return Spread(outputs, tuple(taps), RowMatrix(scipy.sparse.hstack(matrices, format="csr")))


def _reach(valid: NDArray[np.bool_]) -> slice:
    reached = np.flatnonzero(valid)
    return slice(int(reached[0]), int(reached[-1]) + 1)


def _rows_read(lower: NDArray[np.int64], fraction: NDArray[np.float64]) -> slice:
    return slice(int(lower[0]), int(lower[-1]) + (2 if fraction[-1] else 1))


def _interpolation(
    lower: NDArray[np.int64], fraction: NDArray[np.float64], n_rows: int
) -> scipy.sparse.csr_matrix:
    """Make the matrix that reads between rows, without entries for what lies on one."""
    outputs = np.arange(len(lower))
    between = fraction > 0
    entries = np.concatenate([1 - fraction, fraction[between]])
    rows = np.concatenate([outputs, outputs[between]])
    columns = np.concatenate([lower, lower[between] + 1])
    return scipy.sparse.csr_matrix((entries, (rows, columns)), shape=(len(lower), n_rows))


def _pad_rows(matrix: scipy.sparse.csr_matrix, above: int, n_rows: int) -> scipy.sparse.csr_matrix:
    """Put empty rows around a matrix."""
    offsets = np.pad(matrix.indptr, (above, n_rows - above - matrix.shape[0]), mode="edge")
    return scipy.sparse.csr_matrix(
        (matrix.data, matrix.indices, offsets), shape=(n_rows, matrix.shape[1])
    )
