"""Conversion of blocks of samples to another sample rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

__all__ = ["PromptResampler", "resample_blocks"]

# Half the length of the filter, in periods of the lower rate; the frequency of -6 dB, as a part of
# the lower Nyquist frequency; and the parameter of the Kaiser window, for a stopband of -80 dB.
_HALF = 32
_CUTOFF = 0.92
_KAISER = 8.0
# Samples that are filtered at once: each takes as much memory as the filter.
_PIECE = 2**14


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


class PromptResampler:
    """Convert a stream to another sample rate with a delay of milliseconds.

    SoX's resampler, which is the choice for files, transforms blocks and returns samples up to a
    tenth of a second late. This one filters each sample by a windowed sinc as soon as it can [1]_.

    Parameters
    ----------
    rate, sample_rate : int
        Samples per second of the input and of the output.

    Attributes
    ----------
    delay : float
        Seconds from a sample of the input until the output at its time is complete.

    References
    ----------
    .. [1] J. O. Smith and P. Gossett, "A flexible sampling-rate conversion method", Proc. ICASSP,
       1984, pp. 19.4.1-19.4.4.

    Examples
    --------
    >>> resampler = PromptResampler(48000, 16000)
    >>> [len(resampler.push(np.zeros(480, np.float32))) for _ in range(3)]
    [128, 160, 160]
    >>> len(resampler.finish())
    32
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        common = math.gcd(rate, sample_rate)
        self._up, self._down = sample_rate // common, rate // common
        lower = min(rate, sample_rate)
        half = math.ceil(_HALF * rate / lower)  # samples of the input
        self.delay = half / rate
        # A filter for each of the positions that the output may have between two samples.
        t = np.arange(-half + 1, half + 1) - np.arange(self._up)[:, None] / self._up
        cutoff = _CUTOFF * lower / rate
        window = np.i0(_KAISER * np.sqrt(np.maximum(0, 1 - (t / half) ** 2))) / np.i0(_KAISER)
        filters = np.sinc(cutoff * t) * window
        self._filters = (filters / filters.sum(axis=1, keepdims=True)).astype(np.float32)
        self._half = half
        # Samples from the first that the next output needs, and the number of that output.
        self._samples = np.zeros(half - 1, np.float32)
        self._first, self._next = -(half - 1), 0
        self._n_pushed = 0

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples, (n_samples,); return those that are complete."""
        output = [np.empty(0, np.float32)]
        for start in range(0, len(samples), _PIECE):
            piece = samples[start : start + _PIECE]
            self._n_pushed += len(piece)
            output.append(self._filter(piece, self._n_pushed - self._half))
        return np.concatenate(output)

    def finish(self) -> NDArray[np.float32]:
        """End the stream; return the last samples."""
        return self._filter(np.zeros(self._half, np.float32), self._n_pushed)

    def _filter(self, samples: NDArray[np.float32], end: int) -> NDArray[np.float32]:
        """Compute the output that lies before the sample `end` of the input."""
        self._samples = np.append(self._samples, samples)
        n_end = -(-end * self._up // self._down)
        if n_end <= self._next:
            return np.empty(0, np.float32)
        whole, part = np.divmod(np.arange(self._next, n_end) * self._down, self._up)
        starts = whole - (self._half - 1) - self._first
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, 2 * self._half)
        output = np.einsum("nt,nt->n", windows[starts], self._filters[part])
        self._next = n_end
        kept = n_end * self._down // self._up - (self._half - 1) - self._first
        self._samples, self._first = self._samples[kept:], self._first + kept
        return output
