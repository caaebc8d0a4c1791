from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf import AudioError, ParameterError
from harmnmf.enhancement import Enhancer
from harmnmf.enhancement.models.registry import build_model
from harmnmf.enhancement.transform import ShortTimeFourier


class Smoothed(nn.Module):
    """Multiply each frame by a recursive mean of the frames before it."""

    def __init__(self, n_fft, hop_length):
        super().__init__()
        self.transform = ShortTimeFourier(n_fft, hop_length)

    def forward(self, spectrum):
        return self.step(spectrum, None)[0]

    def step(self, spectrum, state):
        level = torch.zeros(len(spectrum)) if state is None else state
        frames = []
        for frame in spectrum.unbind(-1):
            level = 0.9 * level + 0.1 * frame.abs().mean(dim=1)
            frames.append(frame * level[:, None])
        return torch.stack(frames, dim=-1), level


@pytest.fixture(scope="module")
def light():
    torch.manual_seed(0)
    return build_model("harmonic-light", n_blocks=1)


def noise(n_samples):
    return np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)


def assert_stream_equals_whole(enhancer, n_samples):
    """Compare with random block sizes, twice: `flush` resets the stream."""
    stream, noisy = enhancer.stream(), noise(n_samples)
    whole = enhancer(noisy, 16000)
    sizes = np.random.default_rng(0)
    for _ in range(2):
        outputs, start = [], 0
        while start < n_samples:
            block = noisy[start : start + int(sizes.integers(0, 1500))]
            outputs.append(stream.process(block))
            assert outputs[-1].shape == block.shape
            start += len(block)
        out = np.concatenate([*outputs, stream.flush()])
        assert len(out) == n_samples + stream.latency
        assert not out[: stream.latency].any()
        np.testing.assert_allclose(out[stream.latency :], whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("options", [{}, {"dry": 0.3, "attenuation_limit": 6.0}])
@pytest.mark.parametrize("n_samples", [1, 200, 256, 4096, 10007])
def test_a_stream_is_the_delayed_whole(light, n_samples, options):
    enhancer = Enhancer(light, device="cpu", **options)
    assert enhancer.stream().latency == 511
    assert_stream_equals_whole(enhancer, n_samples)


@pytest.mark.parametrize("hop_length", [16, 32, 64])
def test_any_hop_length(hop_length):
    assert_stream_equals_whole(Enhancer(Smoothed(128, hop_length), device="cpu"), 1001)


def test_errors(light):
    model = nn.Identity()
    model.transform = ShortTimeFourier(64, 32)
    with pytest.raises(ParameterError, match="Identity is not causal"):
        Enhancer(model, device="cpu").stream()
    stream = Enhancer(light, device="cpu").stream()
    for error, block in ((ParameterError, np.zeros((2, 9))), (AudioError, [np.nan])):
        with pytest.raises(error):
            stream.process(block)
