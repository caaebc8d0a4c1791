from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from small_networks import SMALL, build
from torch import nn

from harmnmf import Audio, AudioError, FormatError, HarmnmfError, ParameterError
from harmnmf.enhancement import DeepPrior, Enhancer, shipped_models
from harmnmf.enhancement.models.registry import build_model, save_model
from harmnmf.enhancement.transform import ShortTimeFourier, Waveform


class Gains(nn.Module):
    """Multiply bins by a function of their frequencies in Hz."""

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


@pytest.fixture(scope="module")
def light():
    torch.manual_seed(0)
    return build_model("harmonic-light", n_blocks=1)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def tone(hz, rate, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 96000])
@pytest.mark.parametrize("n_samples", [1, 48, 20001])
def test_constant_gains_hold_at_all_frequencies(rate, n_samples):
    noisy = noise(2, n_samples)
    np.testing.assert_allclose(make(constant(0.5))(noisy, rate), noisy / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025])
def test_lower_sample_rates(rate):
    noisy = tone(440, rate)
    assert make(constant(1.0))(noisy[:1], rate).shape == (1,)
    enhanced = make(constant(0.5))(noisy, rate)
    np.testing.assert_allclose(enhanced[500:-500], noisy[500:-500] / 2, atol=1e-4)


def test_the_gain_above_8_khz_is_that_from_4_to_8_khz():
    """It is 1/4, and 0 in the second half."""

    class Gate(Gains):
        def forward(self, spectrum):
            gate = torch.arange(spectrum.shape[-1]) < spectrum.shape[-1] / 2
            return super().forward(spectrum) * gate

    model = Gate(lambda hz: torch.where(hz < 4000, 1.0, 0.25))
    low, middle, high = (tone(hz, 48000) for hz in (1000, 6000, 15000))
    enhanced = make(model)(low + middle + high, 48000)
    inner = slice(2000, 22000)
    np.testing.assert_allclose(enhanced[inner], (low + (middle + high) / 4)[inner], atol=2e-3)
    assert np.abs(enhanced[26000:]).max() < 1e-3


@pytest.mark.parametrize("rate", [16000, 44100])
def test_attenuation_limit_and_dry_mix(rate):
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


class Turned(Gains):
    """Change phases, amplify the lower half and remove the rest."""

    def forward(self, spectrum):
        return super().forward(spectrum) * 1j


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 16000, 44100, 192000])
def test_no_attenuation_and_only_dry_give_the_input(rate):
    model = Turned(lambda hz: torch.where(hz < 4000, 3.0, 0.0))
    noisy = 0.3 + noise(2, rate)
    unlimited = make(model)(noisy, rate)
    np.testing.assert_allclose(make(model, attenuation_limit=0)(noisy, rate), noisy, atol=1e-6)
    np.testing.assert_array_equal(make(model, dry=1)(noisy, rate), noisy)
    assert np.abs(unlimited - noisy).max() > 0.2


@pytest.mark.parametrize("limit", [0.1, 1.0, 6.0])
def test_small_limits_change_little(limit):
    noisy = noise(16000)
    model = Turned(lambda hz: torch.where(hz < 4000, 3.0, 0.0))
    difference = make(model, attenuation_limit=limit)(noisy, 16000) - noisy
    largest = (10 ** (limit / 20) - 1) * np.linalg.norm(noisy)
    assert 0.5 * largest < np.linalg.norm(difference) <= largest


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_constant_offset_is_removed(light, rate):
    enhance, noisy = make(light), noise(2, rate)
    expected = enhance(noisy, rate)
    shifted = noisy + np.float32([[0.4], [-0.05]])
    np.testing.assert_allclose(enhance(shifted, rate), expected, atol=5e-3)
    assert not enhance(np.full(rate, 0.5), rate).any()


@pytest.mark.parametrize("rate", [16000.0, np.float32(16000), np.int64(16000)])
def test_whole_rates_of_any_type(rate):
    enhance, noisy = make(constant(0.5)), noise(5000)
    expected = enhance(noisy, 16000)
    np.testing.assert_array_equal(enhance(noisy, rate), expected)
    np.testing.assert_array_equal(next(enhance.enhance_blocks([noisy], rate)), expected)
    for invalid in (16000.5, "16000", np.nan, 0):
        with pytest.raises(AudioError, match="sample rate"):
            enhance(noisy, invalid)
        with pytest.raises(ParameterError, match="sample_rate"):
            enhance.enhance_blocks([noisy], invalid)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_frames_of_all_segments_coincide(rate):
    """Segments of 30 s equal a single segment that begins a whole number of frames later."""
    model = Gains(lambda hz: torch.where(hz < 1000, 0.3, 0.8))
    noisy = noise(30 * rate)
    segments, single = make(model)(noisy, rate), make(model)(noisy[6 * rate :], rate)
    assert segments.shape == noisy.shape
    # A resampler pads both ends of a segment with silence.
    difference = (segments[6 * rate :] - single)[rate // 10 :]
    assert np.abs(difference).max() < 2e-3
    assert np.sqrt(np.mean(difference**2)) < 5e-5


def test_segments_of_a_recurrent_network_are_nearly_the_whole(light):
    noisy = noise(26 * 16000) * np.repeat(noise(26, seed=1) * 10, 16000)
    with torch.no_grad():
        whole = Waveform(light.eval())(torch.from_numpy(noisy)).numpy()
    difference = make(light)(noisy, 16000) - whole
    assert 10 * np.log10(np.mean(difference**2) / np.mean(whole**2)) < -60
    np.testing.assert_allclose(difference[: 20 * 16000], 0, atol=1e-5)


def test_blocks_may_have_any_length():
    enhance, noisy = make(constant(0.5)), noise(2, 45 * 16000 + 123)
    blocks = (noisy[:, i : i + 70_001] for i in range(0, noisy.shape[1], 70_001))
    enhanced = np.concatenate(list(enhance.enhance_blocks(blocks, 16000)), axis=1)
    np.testing.assert_array_equal(enhanced, enhance(noisy, 16000))


def test_edge_cases(light):
    enhance = make(light)
    assert not enhance(np.zeros(5000), 16000).any()
    for noisy in (np.ones((2, 4000)), noise(1), noise(48), 50 * noise(3000), 1e-30 * noise(3000)):
        enhanced = enhance(noisy, 16000)
        assert enhanced.shape == noisy.shape
        assert enhanced.dtype == np.float32
        assert np.isfinite(enhanced).all()
    with pytest.warns(UserWarning, match="they look like integers; divide them by 32768"):
        enhance(noise(3000) * 32768, 16000)
    with pytest.raises(AudioError, match="int16; divide them by 32768"):
        enhance(np.zeros(9, np.int16), 16000)
    with pytest.raises(AudioError, match="samples"):
        enhance(np.array([0.0, np.nan]), 16000)
    with pytest.raises(ParameterError, match="network"):
        make(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "enhance",
    [make(constant(0.5)), DeepPrior(n_steps=1, n_channels=(2,), device="cpu")],
    ids=lambda enhance: type(enhance).__name__,
)
def test_audio_gives_audio_and_arrays_give_arrays(enhance):
    audio = Audio(noise(2, 4000), 8000)
    enhanced = enhance(audio)
    assert isinstance(enhanced, Audio)
    assert enhanced.sample_rate == 8000
    np.testing.assert_array_equal(enhance(audio.samples.tolist(), 8000), enhanced.samples)
    with pytest.raises(ParameterError, match="an array of samples needs its sample_rate"):
        enhance(audio.samples)
    with pytest.raises(ParameterError, match="an Audio has its own"):
        enhance(audio, 8000)


def test_load_by_path_and_by_name(tmp_path, light):
    save_model(tmp_path / "mine.safetensors", "harmonic-light", light, {})
    noisy = noise(4000)
    expected = make(light)(noisy, 16000)
    loaded = Enhancer.load(tmp_path / "mine.safetensors", device="cpu", dry=0.5)
    np.testing.assert_allclose(loaded(noisy, 16000), (noisy + expected) / 2, atol=1e-6)
    name, path = "harmonic-light", shipped_models()["harmonic-light"]
    by_name, by_path = (Enhancer.load(x, device="cpu")(noisy, 16000) for x in (name, path))
    np.testing.assert_array_equal(by_name, by_path)
    with pytest.raises(HarmnmfError, match=r"yours: no such model \(shipped: .*or give a file"):
        Enhancer.load("yours")


def test_files_may_recommend_a_limit(tmp_path, light):
    noisy = noise(4000)
    save_model(tmp_path / "a.safetensors", "harmonic-light", light, {"attenuation_limit": 0})
    load = partial(Enhancer.load, tmp_path / "a.safetensors", device="cpu")
    limited, free = load()(noisy, 16000), load(attenuation_limit=None)(noisy, 16000)
    np.testing.assert_array_equal(limited, make(light, attenuation_limit=0)(noisy, 16000))
    np.testing.assert_array_equal(free, make(light)(noisy, 16000))
    assert np.abs(limited - free).max() > 0.01
    save_model(tmp_path / "a.safetensors", "harmonic-light", light, {"attenuation_limit": "much"})
    with pytest.raises(FormatError, match=r"a\.safetensors: attenuation_limit must be decibels"):
        load()


@pytest.mark.cuda
@pytest.mark.parametrize("name", SMALL)
def test_a_gpu_gives_the_same(name):
    noisy = noise(1, 16000)
    here, there = (Enhancer(build(name), device=device)(noisy, 16000) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there, here, atol=1e-3)


@pytest.mark.cuda
def test_a_stream_on_a_gpu_gives_the_same():
    noisy = noise(16000)
    streams = (
        Enhancer(build("harmonic-light"), device=device).stream() for device in ("cpu", "cuda")
    )
    here, there = (np.concatenate([stream.process(noisy), stream.flush()]) for stream in streams)
    np.testing.assert_allclose(there, here, atol=1e-3)
