"""Analysis in blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.decoder.analysis import OverlappingBlocks


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12),
    st.integers(1, 25),
    st.integers(0, 10),
)
def test_every_frame_is_an_inner_one_of_one_block(
    lengths: list[int], n_frames: int, context: int
) -> None:
    stream = OverlappingBlocks(n_frames, context)
    numbers = np.arange(sum(lengths), dtype=np.float32)[None]
    parts = np.split(numbers, np.cumsum(lengths)[:-1], axis=1)
    blocks = [block for part in parts for block in stream.push(part)] + [stream.finish()]
    inner = [block[0, frames] for block, frames in blocks]
    np.testing.assert_array_equal(np.concatenate(inner), numbers[0])
    for i, (block, frames) in enumerate(blocks):
        np.testing.assert_array_equal(np.diff(block[0]), 1)
        # As much context as there is.
        assert frames.start == min(context, inner[i][0] if len(inner[i]) else 0)
        assert block.shape[1] - frames.stop == (0 if i == len(blocks) - 1 else context)
        assert len(inner[i]) >= min(n_frames, numbers.size)
        assert block.shape[1] < 2 * (n_frames + context) + max(lengths)
