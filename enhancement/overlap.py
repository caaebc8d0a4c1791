"""Overlapping segments of long signals, and the crossfade that joins them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["crossfade", "split_overlapping"]


def split_overlapping(
    blocks: Iterable[NDArray], n_step: int, n_overlap: int
) -> Iterator[NDArray[np.floating]]:
    """Cut a signal into segments of `n_step + n_overlap` samples that begin every `n_step`.

    The blocks may have any shape (..., n_samples). The last segment may be shorter, but
    is longer than `n_overlap` if there are others.

    Examples
    --------
    >>> [part.tolist() for part in split_overlapping([np.arange(6)], n_step=3, n_overlap=1)]
    [[0, 1, 2, 3], [3, 4, 5]]
    """
    n_segment = n_step + n_overlap
    pending: list[NDArray] = []
    for block in blocks:
        pending.append(block)
        if sum(part.shape[-1] for part in pending) <= n_segment:
            continue
        joined = np.concatenate(pending, axis=-1)
        while joined.shape[-1] > n_segment:
            yield joined[..., :n_segment]
            joined = joined[..., n_step:]
        pending = [joined]
    yield np.concatenate(pending, axis=-1)


def crossfade(
    segments: Iterable[NDArray[np.float32]], n_step: int, n_overlap: int
) -> Iterator[NDArray[np.float32]]:
    """Join the segments of `split_overlapping`, whose overlap is at most a step, by linear fades.

    Examples
    --------
    >>> parts = [np.zeros(4, np.float32), np.ones(3, np.float32)]
    >>> np.concatenate(list(crossfade(parts, n_step=2, n_overlap=2)))
    array([0.  , 0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    fade_in = (np.arange(n_overlap, dtype=np.float32) + 0.5) / n_overlap
    tail: NDArray[np.float32] | None = None
    for segment in segments:
        if tail is None:
            yield segment[..., :n_step]
        else:
            head = segment[..., :n_overlap]
            yield head + (1 - fade_in) * (tail - head)
            yield segment[..., n_overlap:n_step]
        tail = segment[..., n_step:]
    if tail is not None and tail.shape[-1]:
        yield tail
