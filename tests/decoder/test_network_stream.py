"""A causal network on features that arrive step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_streams import CONFIG, SETTINGS, network, random_features

from harmnmf.decoder.causal_network import CausalNetwork
from harmnmf.decoder.network import NoteProbabilities, join_frames
from harmnmf.decoder.network_stream import NetworkStream

N_FRAMES = 40
NETWORK = network()
FEATURES = random_features(N_FRAMES)


def whole(head: int, one: CausalNetwork = NETWORK) -> NoteProbabilities:
    """Probabilities of a head from all features at once."""
    with torch.inference_mode():
        logits = one(*(x[None] for x in SETTINGS.tensors(FEATURES)))[head]
        return NoteProbabilities(*(torch.sigmoid(x)[0].numpy() for x in logits))


def assert_close(a: NoteProbabilities, b: NoteProbabilities) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    head=st.integers(0, len(CONFIG.delays) - 1),
    cuts=st.lists(st.integers(1, N_FRAMES - 1), max_size=10, unique=True).map(sorted),
    data=st.data(),
)
def test_any_steps_give_the_frames_of_the_whole(
    head: int, cuts: list[int], data: st.DataObject
) -> None:
    stream, parts, n_read = NetworkStream(NETWORK), [], 0
    for start, end in zip([0, *cuts], [*cuts, N_FRAMES], strict=True):
        stream.push(FEATURES[start:end])
        if end == N_FRAMES or data.draw(st.booleans()):
            parts.append(stream.read(head, n_read))
            n_read += parts[-1].pedal.shape[-1]
            assert n_read == max(0, end - CONFIG.delays[head])
    assert_close(join_frames(parts), whole(head))


def test_another_head_may_be_read_midway() -> None:
    stream, parts, n_read = NetworkStream(NETWORK), [], 0
    expected = [whole(head) for head in range(len(CONFIG.delays))]
    for n in range(0, N_FRAMES, 2):
        stream.push(FEATURES[n : n + 2])
        head = (n // 8) % len(expected)
        part = stream.read(head, n_read)
        frames = slice(n_read, n_read + part.pedal.shape[-1])
        assert frames.stop == max(n_read, n + 2 - CONFIG.delays[head])
        assert_close(part, NoteProbabilities(*(x[..., frames] for x in expected[head])))
        n_read = frames.stop
        parts.append(part)
    assert join_frames(parts).onset.shape == (24, n_read)


def test_frames_may_be_read_again() -> None:
    stream = NetworkStream(NETWORK)
    stream.push(FEATURES[:20])
    first = stream.read(1, 5)
    assert_close(stream.read(1, 5), first)
    assert_close(stream.read(1, 9), NoteProbabilities(*(x[..., 4:] for x in first)))


@pytest.mark.parametrize("head", range(len(CONFIG.delays)))
def test_nothing_is_known_at_first(head: int) -> None:
    stream, delay = NetworkStream(NETWORK), CONFIG.delays[head]
    assert [x.shape for x in stream.read(head, 0)] == [(24, 0)] * 4 + [(0,)]
    if delay:
        stream.push(FEATURES[:delay])
        assert stream.read(head, 0).onset.shape == (24, 0)
    stream.push(FEATURES[delay : delay + 1])
    assert_close(stream.read(head, 0), NoteProbabilities(*(x[..., :1] for x in whole(head))))


def test_streams_are_independent_and_leave_the_network_as_it_is() -> None:
    one = network().train()
    before = {name: x.clone() for name, x in one.state_dict().items()}
    first, second = NetworkStream(one), NetworkStream(one)
    first.push(FEATURES[:10])
    second.push(FEATURES)
    assert_close(second.read(1, 0), whole(1))
    first.push(FEATURES[10:])
    assert_close(first.read(1, 0), whole(1))
    assert one.training
    for name, x in one.state_dict().items():
        assert torch.equal(x, before[name]), name
