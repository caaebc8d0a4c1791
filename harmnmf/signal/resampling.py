"""Conversion of blocks of samples to another sample rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

__all__ = ["resample_blocks"]


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Convert blocks of shape (n_samples, n_channels) from `rate` to `sample_rate` in Hz."""
    resampler = None
    for block in blocks:
        if resampler is None:
            resampler = soxr.ResampleStream(
                rate, sample_rate, block.shape[1], dtype="float32", quality="HQ"
            )
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros((0, block.shape[1]), np.float32), last=True)
