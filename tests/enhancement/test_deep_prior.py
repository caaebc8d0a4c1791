from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pytest
import torch

from harmnmf import Audio, FormatError, ParameterError
from harmnmf.enhancement import DeepPrior, si_sdr
from harmnmf.enhancement.deep_prior import PriorFit, PriorNetwork

SMALL = {"n_channels": (4, 4), "device": "cpu"}
RATE = 1000


def tone(duration=0.5, sample_rate=8000):
    """Five partials of 200 Hz that decay."""
    t = np.arange(round(duration * sample_rate)) / sample_rate
    partials = sum(np.sin(2 * np.pi * 200 * h * t) / h for h in range(1, 6))
    return 0.3 * np.exp(-2 * t) * partials


def noisy(duration=0.5, seed=0):
    clean = tone(duration)
    noise = np.random.default_rng(seed).standard_normal(len(clean))
    return clean + noise * np.sqrt(np.mean(clean**2) / np.mean(noise**2))


@pytest.fixture(scope="module")
def long():
    """A stereo recording that is fitted in three segments a channel."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 9 * RATE))
    return Audio(noise, RATE)


@pytest.fixture(scope="module")
def enhanced(long):
    return DeepPrior(n_steps=3, **SMALL)(long).samples


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "checkpoint.safetensors"


@pytest.mark.parametrize("convolution", ["harmonic", "dilated", "plain"])
@pytest.mark.parametrize("n_frames", [1, 20, 21])
def test_networks_have_equal_shapes(convolution, n_frames):
    network = PriorNetwork(convolution, (3, 5, 4), anchor=2)
    assert network(torch.randn(1, 3, 65, n_frames)).shape == (1, 2, 65, n_frames)
    plain = PriorNetwork("plain", (3, 5, 4))
    assert [x.shape for x in network.parameters()] == [x.shape for x in plain.parameters()]


def test_levels_keep_frequency_ratios():
    """Bin 2f of the finer level is bin f of the coarser one."""
    row = torch.zeros(1, 1, 65, 3)
    row[0, 0, 24] = 1.0
    network = PriorNetwork("harmonic", (1, 1), anchor=1)
    down = network.down[0][0][0]
    with torch.no_grad():
        down.weight.zero_()
        down.bias.zero_()
        down.weight[0, 0, 0, 1] = 1.0  # the harmonic at the output's own frequency
    assert down(row)[0, 0, :, 0].nonzero().flatten().tolist() == [12]


def test_the_fit_approaches_the_noisy_recording():
    fit = PriorFit(DeepPrior(learning_rate=1e-3, **SMALL), noisy(), 8000)
    distances = []
    for _ in range(20):
        fit.step()
        distances.append(np.sum((fit.estimate() - noisy()) ** 2))
    assert (np.diff(distances) < 0).all()


@pytest.mark.slow
def test_noise_is_learned_later_than_a_tone():
    enhanced = DeepPrior(n_channels=(8, 8), device="cpu")(noisy(1.0), 8000)
    assert si_sdr(tone(1.0), enhanced) > si_sdr(tone(1.0), noisy(1.0)) + 3


def test_results_depend_on_the_seed_and_the_convolution():
    state = torch.random.get_rng_state()
    variants = [{}, {"seed": 1}, {"convolution": "plain"}, {"convolution": "dilated"}]
    first, *others = (DeepPrior(n_steps=2, **SMALL, **x)(noisy(), 8000) for x in variants)
    np.testing.assert_array_equal(DeepPrior(n_steps=2, **SMALL)(noisy(), 8000), first)
    assert all(np.abs(first - other).max() > 1e-4 for other in others)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_level_is_kept():
    prior = DeepPrior(n_steps=3, **SMALL)
    soft, loud = (prior(gain * noisy(), 8000) for gain in (0.01, 1.0))
    np.testing.assert_allclose(100 * soft, loud, atol=1e-4 * np.abs(loud).max())


def test_channels_are_enhanced_separately(long, enhanced):
    right = DeepPrior(n_steps=3, **SMALL)(long.samples[1], RATE)
    np.testing.assert_array_equal(enhanced[1], right)


@pytest.mark.parametrize("rate", [3000, 44100, 192000])
@pytest.mark.parametrize("n_samples", [1, 100])
def test_any_rate_and_any_length(rate, n_samples):
    enhanced = DeepPrior(n_steps=1, **SMALL)(np.full(n_samples, 0.1), rate)
    assert enhanced.shape == (n_samples,)
    assert np.isfinite(enhanced).all()


def test_a_constant_offset_is_removed():
    fit = DeepPrior(n_steps=2, **SMALL)
    expected = fit(tone(), 8000)
    np.testing.assert_allclose(fit(tone() + 0.4, 8000), expected, atol=1e-4)


def test_silence_stays_silent():
    assert not DeepPrior(n_steps=10**9, **SMALL)(np.zeros((2, 4000)), 8000).any()


def interrupt(audio, n_steps):
    """Make a callback that raises KeyboardInterrupt after some steps of the recording."""

    def progress(seconds):
        if seconds > audio.duration * n_steps / 18 - 1e-9:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("stops", [[1], [3], [7, 18]])
def test_an_interrupted_fit_is_resumed(long, enhanced, checkpoint, stops):
    prior = DeepPrior(n_steps=3, **SMALL)
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            prior.enhance(long, checkpoint=checkpoint, progress=interrupt(long, stop))
        assert checkpoint.exists()
    seconds = []
    resumed = prior.enhance(long, checkpoint=checkpoint, progress=seconds.append)
    np.testing.assert_array_equal(resumed.samples, enhanced)
    assert len(seconds) == 18 - stops[-1]
    assert seconds == sorted(seconds)
    assert seconds[-1:] in ([], [pytest.approx(long.duration)])
    again = prior.enhance(long, checkpoint=checkpoint, progress=interrupt(long, 0))
    np.testing.assert_array_equal(again.samples, enhanced)


def test_an_interrupt_in_the_first_step(long, enhanced, checkpoint):
    prior = DeepPrior(n_steps=3, **SMALL)
    fails = patch.object(PriorFit, "step", side_effect=KeyboardInterrupt)
    with fails, pytest.raises(KeyboardInterrupt):
        prior.enhance(long, checkpoint=checkpoint)
    np.testing.assert_array_equal(prior.enhance(long, checkpoint=checkpoint).samples, enhanced)


def test_a_checkpoint_is_written_every_three_minutes(long, checkpoint, monkeypatch):
    minutes = itertools.count()
    monkeypatch.setattr("time.monotonic", lambda: 60.0 * next(minutes))
    seen = []

    def progress(seconds):
        seen.append(checkpoint.exists())

    DeepPrior(n_steps=1, **SMALL).enhance(long, checkpoint=checkpoint, progress=progress)
    assert seen == [False] * 4 + [True] * 2


def test_checkpoints_of_other_recordings_or_parameters(long, checkpoint):
    with pytest.raises(KeyboardInterrupt):
        DeepPrior(n_steps=3, **SMALL).enhance(
            long, checkpoint=checkpoint, progress=interrupt(long, 1)
        )
    other_steps, other_audio = DeepPrior(n_steps=4, **SMALL), Audio(noisy(seed=1), 8000)
    for prior, audio in ((other_steps, long), (DeepPrior(n_steps=3, **SMALL), other_audio)):
        with pytest.raises(FormatError, match=r"checkpoint\.safetensors: a checkpoint of another"):
            prior.enhance(audio, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("convolution", "round"),
        ("n_channels", ()),
        ("n_channels", (4, 0)),
        ("anchor", 0),
        ("n_steps", 0),
        ("learning_rate", float("nan")),
        ("device", "abacus"),
    ],
)
def test_invalid_parameters(name, value):
    with pytest.raises(ParameterError, match=name):
        DeepPrior(**{name: value})


@pytest.mark.cuda
def test_a_gpu_gives_the_same(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    cpu, gpu = (
        DeepPrior(n_steps=2, n_channels=(4, 4), device=device)(noisy(), 8000)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu, cpu, atol=1e-3)
