from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmnmf.enhancement.overlap import crossfade, split_overlapping


@given(
    n_samples=st.integers(1, 300),
    n_block=st.integers(1, 100),
    n_step=st.integers(1, 50),
    data=st.data(),
)
def test_segments_join_to_the_signal(n_samples, n_block, n_step, data):
    n_overlap = data.draw(st.integers(0, n_step))
    signal = np.random.default_rng(0).normal(size=(2, n_samples)).astype(np.float32)
    blocks = [signal[:, i : i + n_block] for i in range(0, n_samples, n_block)]
    segments = list(split_overlapping(blocks, n_step, n_overlap))
    assert all(part.shape[1] == n_step + n_overlap for part in segments[:-1])
    for i, segment in enumerate(segments):
        expected = signal[:, i * n_step :][:, : n_step + n_overlap]
        np.testing.assert_array_equal(segment, expected)
    joined = np.concatenate(list(crossfade(segments, n_step, n_overlap)), axis=1)
    np.testing.assert_allclose(joined, signal, atol=1e-6)


@pytest.mark.parametrize("n_block", [10, 30, 250])
def test_segments_are_delayed_by_no_more_than_a_segment_and_a_block(n_block):
    n_read = n_joined = 0

    def blocks():
        nonlocal n_read
        for _ in range(20):
            n_read += n_block
            yield np.zeros(n_block, np.float32)

    for joined in crossfade(split_overlapping(blocks(), 60, 20), 60, 20):
        n_joined += len(joined)
        assert n_read - n_joined <= 80 + n_block
    assert n_joined == 20 * n_block
