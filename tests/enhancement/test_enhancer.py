from __future__ import annotations

import itertools
import resource
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf import AudioError, FormatError, HarmnmfError, ParameterError
from harmnmf.enhancement import enhancer
from harmnmf.enhancement.enhancer import Enhancer, shipped_models
from harmnmf.enhancement.models.registry import build_model, save_model
from harmnmf.enhancement.transform import ShortTimeFourier, Waveform


class Gains(nn.Module):
    """Weaken bins by what a function of their frequencies in Hz says."""

    def __init__(self, gain):
        super().__init__()
        self.transform = ShortTimeFourier(512, 256)
        self.gain = gain(torch.linspace(0, 8000, 257))[:, None]

    def forward(self, spectrum):
        return spectrum * self.gain


def constant(gain):
    return Gains(lambda hz: torch.full_like(hz, gain))


def make(model, **options):
    return Enhancer(model, device="cpu", **options)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def tone(hz, rate, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("n_samples", [1, 48, 20001])
def test_what_is_left_as_it_is_comes_out_as_it_was(rate, n_samples):
    noisy = noise(2, n_samples)
    np.testing.assert_allclose(make(constant(1.0))(noisy, rate), noisy, atol=1e-6)
    # All above 8 kHz is weakened by as much as all below.
    np.testing.assert_allclose(make(constant(0.5))(noisy, rate), noisy / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025])
def test_lower_rates_are_heard_as_they_are(rate):
    noisy = tone(440, rate)
    assert make(constant(1.0))(noisy[:1], rate).shape == (1,)
    enhanced = make(constant(0.5))(noisy, rate)
    np.testing.assert_allclose(enhanced[500:-500], noisy[500:-500] / 2, atol=1e-4)


def test_what_is_above_8_khz_becomes_as_much_weaker_as_what_is_above_4():
    model = Gains(lambda hz: torch.where(hz < 4000, 1.0, 0.25))
    low, middle, high = (tone(hz, 48000) for hz in (1000, 6000, 15000))
    enhanced = make(model)(low + middle + high, 48000)
    inner = slice(2000, -2000)
    np.testing.assert_allclose(enhanced[inner], (low + (middle + high) / 4)[inner], atol=2e-3)


def test_the_gain_above_8_khz_follows_time():
    class Gate(Gains):
        def forward(self, spectrum):
            gate = torch.arange(spectrum.shape[-1]) < spectrum.shape[-1] / 2
            return spectrum * gate

    noisy = tone(5000, 48000) + tone(15000, 48000)
    enhanced = make(Gate(torch.zeros_like))(noisy, 48000)
    np.testing.assert_allclose(enhanced[1000:22000], noisy[1000:22000], atol=1e-3)
    assert np.abs(enhanced[26000:]).max() < 1e-3


@pytest.mark.parametrize("rate", [16000, 44100])
def test_noise_that_is_kept(rate):
    noisy = noise(rate)
    silent = constant(0.0)
    limited = make(silent, attenuation_limit=20)(noisy, rate)
    np.testing.assert_allclose(limited, noisy / 10, atol=1e-6)
    unlimited = make(constant(0.5), attenuation_limit=20)(noisy, rate)
    np.testing.assert_allclose(unlimited, noisy / 2, atol=1e-6)
    mixed = make(constant(0.5), dry=0.25)(noisy, rate)
    np.testing.assert_allclose(mixed, (0.25 + 0.75 / 2) * noisy, atol=1e-6)
    for options in ({"dry": 1.5}, {"dry": np.nan}, {"attenuation_limit": -1.0}):
        with pytest.raises(ParameterError, match=next(iter(options))):
            make(silent, **options)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_parts_fade_into_each_other(monkeypatch, rate):
    """Parts of a model that does the same everywhere are what it makes of the whole."""
    model = Gains(lambda hz: torch.where(hz < 1000, 0.3, 0.8))
    noisy = noise(round(11.1 * rate))
    whole = make(model)(noisy, rate)
    monkeypatch.setattr(enhancer, "_STEP", 2)
    monkeypatch.setattr(enhancer, "_COMMON", 2)
    parts = make(model)(noisy, rate)
    assert parts.shape == whole.shape
    # Half a frame at both ends of a part, a resampler hears silence.
    assert np.abs(parts - whole).max() < 2e-3
    assert np.sqrt(np.mean((parts - whole) ** 2)) < 5e-5


def test_long_recordings_of_a_recurrent_model_are_nearly_what_it_makes_of_the_whole():
    torch.manual_seed(0)
    model = build_model("harmonic-light").eval()
    noisy = noise(47 * 16000) * np.repeat(noise(47, seed=1) * 10, 16000)
    with torch.no_grad():
        whole = Waveform(model)(torch.from_numpy(noisy)).numpy()
    difference = make(model)(noisy, 16000) - whole
    assert 10 * np.log10(np.mean(difference**2) / np.mean(whole**2)) < -60
    np.testing.assert_allclose(difference[: 20 * 16000], 0, atol=1e-5)


@pytest.mark.parametrize("size", [1000, 16000, 70000])
def test_blocks_may_be_of_any_length(monkeypatch, size):
    monkeypatch.setattr(enhancer, "_STEP", 1)
    monkeypatch.setattr(enhancer, "_COMMON", 1)
    enhance = make(constant(0.5))
    noisy = noise(2, 5 * 16000 + 123)
    n_read = 0

    def blocks():
        nonlocal n_read
        for i in range(0, noisy.shape[1], size):
            n_read += noisy[:, i : i + size].shape[1]
            yield noisy[:, i : i + size]

    enhanced = []
    for block in enhance.enhance_blocks(blocks(), 16000):
        enhanced.append(block)
        # No more is waited for than a part and a block.
        assert n_read - sum(part.shape[1] for part in enhanced) <= 16000 + size
    np.testing.assert_array_equal(np.concatenate(enhanced, axis=1), enhance(noisy, 16000))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hours_take_no_more_memory_than_two_minutes():
    block = noise(2, 30 * 48000)

    def enhanced_seconds(n_blocks):
        blocks = make(constant(0.5)).enhance_blocks(itertools.repeat(block, n_blocks), 48000)
        return sum(part.shape[1] for part in blocks) / 48000

    assert enhanced_seconds(4) == 120
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert enhanced_seconds(360) == 3 * 3600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_inputs_at_the_edge():
    torch.manual_seed(0)
    enhance = make(build_model("harmonic-light"))
    assert not enhance(np.zeros(5000), 16000).any()
    for noisy in (np.ones((2, 4000)), noise(48), 1e6 * noise(3000), 1e-30 * noise(3000)):
        enhanced = enhance(noisy, 16000)
        assert enhanced.shape == noisy.shape
        assert enhanced.dtype == np.float32
        assert np.isfinite(enhanced).all()
    for wrong in (np.array([0.0, np.nan]), np.zeros(0), np.zeros((1, 1, 9)), np.zeros(9, int)):
        with pytest.raises(AudioError, match="samples"):
            enhance(wrong, 16000)
    with pytest.raises(AudioError, match="rate"):
        enhance(np.zeros(9), 16000.5)
    with pytest.raises(ParameterError, match="network"):
        make(nn.Linear(2, 2))


def test_models_are_read_from_files_and_by_name(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = build_model("harmonic-light", n_blocks=1)
    save_model(tmp_path / "mine.npz", "harmonic-light", model, {})
    noisy = noise(4000)
    expected = make(model)(noisy, 16000)
    loaded = Enhancer.load(tmp_path / "mine.npz", device="cpu", dry=0.5)
    np.testing.assert_allclose(loaded(noisy, 16000), (noisy + expected) / 2, atol=1e-6)
    with pytest.raises(HarmnmfError, match=r"yours: no such model \(.*give a file\)"):
        Enhancer.load("yours")
    (tmp_path / "text.npz").write_text("Dear diary,\n")
    with pytest.raises(FormatError, match=r"text\.npz"):
        Enhancer.load(tmp_path / "text.npz")
    monkeypatch.setattr(enhancer, "shipped_models", lambda: {"ours": tmp_path / "mine.npz"})
    by_name = Enhancer.load("ours", device="cpu")
    np.testing.assert_array_equal(by_name(noisy, 16000), expected)
    with pytest.raises(HarmnmfError, match="shipped: ours"):
        Enhancer.load("yours")


def test_files_may_recommend_a_limit(tmp_path):
    torch.manual_seed(0)
    model, noisy = build_model("harmonic-light", n_blocks=1), noise(4000)
    save_model(tmp_path / "a.npz", "harmonic-light", model, {"attenuation_limit": 0})
    load = partial(Enhancer.load, tmp_path / "a.npz", device="cpu")
    limited, free = load()(noisy, 16000), load(attenuation_limit=None)(noisy, 16000)
    np.testing.assert_array_equal(limited, make(model, attenuation_limit=0)(noisy, 16000))
    np.testing.assert_array_equal(free, make(model)(noisy, 16000))
    assert np.abs(limited - free).max() > 0.01
    np.testing.assert_array_equal(load(attenuation_limit=np.inf)(noisy, 16000), free)
    save_model(tmp_path / "a.npz", "harmonic-light", model, {"attenuation_limit": "much"})
    with pytest.raises(FormatError, match=r"a\.npz: attenuation_limit must be decibels"):
        load()


def test_all_shipped_models_can_be_used():
    for name in shipped_models():
        assert np.isfinite(Enhancer.load(name, device="cpu")(noise(4000), 16000)).all()
