from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf import AudioError, ParameterError
from harmnmf.enhancement.enhancer import Enhancer
from harmnmf.enhancement.models.registry import build_model
from harmnmf.enhancement.transform import ShortTimeFourier


class Smoothed(nn.Module):
    """Weaken each frame by a mean over the frames before it."""

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
    return build_model("harmonic-light")


def noise(n_samples):
    return np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)


def streamed(stream, noisy, sizes):
    blocks, start = [], 0
    while start < len(noisy):
        size = int(sizes.integers(1, 1500))
        block = noisy[start : start + size]
        blocks.append(stream.process(block))
        assert blocks[-1].shape == block.shape
        start += size
    return np.concatenate([*blocks, stream.flush()])


@pytest.mark.parametrize("options", [{}, {"dry": 0.3, "attenuation_limit": 6.0}])
@pytest.mark.parametrize("n_samples", [1, 200, 256, 4096, 10007])
def test_a_stream_is_the_whole_a_latency_later(light, n_samples, options):
    enhancer = Enhancer(light, device="cpu", **options)
    stream = enhancer.stream()
    assert stream.latency == 511  # less than the 32 ms of a frame
    noisy = noise(n_samples)
    for seed in range(2):  # flush begins anew
        out = streamed(stream, noisy, np.random.default_rng(seed))
        assert len(out) == n_samples + stream.latency
        assert not out[: stream.latency].any()
        whole = enhancer(noisy, 16000)
        np.testing.assert_allclose(out[stream.latency :], whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("hop_length", [16, 32, 64])
def test_any_hop(hop_length):
    enhancer = Enhancer(Smoothed(128, hop_length), device="cpu")
    stream = enhancer.stream()
    noisy = noise(1001)
    out = streamed(stream, noisy, np.random.default_rng(0))[stream.latency :]
    whole = enhancer(noisy, 16000)
    np.testing.assert_allclose(out, whole, atol=1e-5 * np.abs(whole).max())


def test_nothing_comes_later_than_its_latency(light):
    """A sample out depends on no sample that came after its block: it could not be known."""
    stream = Enhancer(light, device="cpu").stream()
    first = stream.process(noise(5000))
    stream.flush()
    changed = noise(5000)
    changed[-1] += 1
    np.testing.assert_array_equal(stream.process(changed)[: -stream.latency], first[:-511])
    assert len(stream.process(np.zeros(0))) == 0


def test_what_cannot_stream_says_so(light):
    model = nn.Identity()
    model.transform = ShortTimeFourier(64, 32)
    with pytest.raises(ParameterError, match="Identity needs what comes later"):
        Enhancer(model, device="cpu").stream()
    stream = Enhancer(light, device="cpu").stream()
    with pytest.raises(ParameterError, match="shape"):
        stream.process(np.zeros((2, 9)))
    with pytest.raises(AudioError, match="NaN"):
        stream.process([np.nan])
