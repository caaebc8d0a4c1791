from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harmnmf import Audio, FormatError, ParameterError
from harmnmf.enhancement import DeepPrior, deep_prior
from harmnmf.enhancement.deep_prior import PriorFit, PriorNetwork

SMALL = {"n_channels": (4, 4), "device": "cpu"}


def tone(duration: float = 0.5, sample_rate: int = 8000) -> np.ndarray:
    """Give five partials of 200 Hz that decay."""
    t = np.arange(round(duration * sample_rate)) / sample_rate
    partials = sum(np.sin(2 * np.pi * 200 * h * t) / h for h in range(1, 6))
    return 0.3 * np.exp(-2 * t) * partials


def noisy(duration: float = 0.5, seed: int = 0) -> np.ndarray:
    clean = tone(duration)
    noise = np.random.default_rng(seed).standard_normal(len(clean))
    return clean + noise * np.sqrt(np.mean(clean**2) / np.mean(noise**2))


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    target = reference * (estimate @ reference) / (reference @ reference)
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


@pytest.mark.parametrize("convolution", ["harmonic", "dilated", "plain"])
@pytest.mark.parametrize("n_frames", [1, 20, 21])
def test_networks_differ_only_in_where_their_taps_lie(convolution, n_frames):
    network = PriorNetwork(convolution, (3, 5, 4), anchor=2)
    assert network(torch.randn(1, 3, 65, n_frames)).shape == (1, 2, 65, n_frames)
    plain = PriorNetwork("plain", (3, 5, 4))
    assert [x.shape for x in network.parameters()] == [x.shape for x in plain.parameters()]


def test_levels_keep_the_ratios_of_frequencies():
    """What the finer level has in bin 2f is in bin f of the coarser, and comes back to 2f."""
    row = torch.zeros(1, 1, 65, 3)
    row[0, 0, 24] = 1.0
    network = PriorNetwork("harmonic", (1, 1), anchor=1)
    down = network.down[0][0][0]
    with torch.no_grad():
        down.weight.zero_()
        down.bias.zero_()
        down.weight[0, 0, 0, 1] = 1.0  # the harmonic at the output's own frequency
    coarse = down(row)
    assert coarse[0, 0, :, 0].nonzero().flatten().tolist() == [12]
    fine = torch.nn.functional.interpolate(
        coarse, size=(65, 3), mode="bilinear", align_corners=True
    )
    assert fine[0, 0, :, 0].argmax() == 24


def test_the_fit_approaches_what_is_heard():
    fit = PriorFit(DeepPrior(learning_rate=1e-3, **SMALL), noisy(), 8000)
    distances = []
    for _ in range(30):
        fit.step()
        distances.append(np.sum((fit.estimate() - noisy()) ** 2))
    assert (np.diff(distances) < 0).all()


@pytest.mark.slow
def test_noise_is_learned_later_than_a_tone():
    prior = DeepPrior(n_channels=(8, 8), device="cpu")
    enhanced = prior.enhance(Audio(noisy(1.0), 8000)).samples
    assert si_sdr(tone(1.0), enhanced) > si_sdr(tone(1.0), noisy(1.0)) + 3


def test_seeds_decide():
    audio = Audio(noisy(), 8000)
    state = torch.random.get_rng_state()
    one, again, other = (
        DeepPrior(n_steps=2, seed=seed, **SMALL).enhance(audio).samples for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-4
    assert torch.equal(torch.random.get_rng_state(), state)


def test_loudness_is_kept():
    prior = DeepPrior(n_steps=3, **SMALL)
    soft, loud = (prior.enhance(Audio(gain * noisy(), 8000)).samples for gain in (0.01, 1.0))
    np.testing.assert_allclose(100 * soft, loud, atol=1e-4 * np.abs(loud).max())


def test_channels_are_enhanced_one_by_one():
    prior = DeepPrior(n_steps=2, **SMALL)
    left, right = noisy(seed=1), noisy(seed=2)
    both = prior.enhance(Audio(np.stack([left, right]), 8000)).samples
    for channel, samples in zip(both, (left, right), strict=True):
        np.testing.assert_array_equal(channel, prior.enhance(Audio(samples, 8000)).samples)


@pytest.mark.parametrize("rate", [3000, 44100, 192000])
def test_any_rate_and_any_length(rate):
    for n_samples in (1, 100):
        audio = Audio(np.full(n_samples, 0.1), rate)
        enhanced = DeepPrior(n_steps=1, **SMALL).enhance(audio)
        assert (enhanced.sample_rate, enhanced.samples.shape) == (rate, (n_samples,))
        assert np.isfinite(enhanced.samples).all()


def test_silence_stays_silent():
    audio = Audio(np.zeros((2, 4000)), 8000)
    assert not DeepPrior(n_steps=10**9, **SMALL).enhance(audio).samples.any()


@given(n_samples=st.integers(1, 200_000), rate=st.integers(1000, 20_000))
def test_parts_join_to_what_was_parted(n_samples, rate):
    places = deep_prior._parts(n_samples, rate)
    lengths = [place.stop - place.start for place in places]
    assert max(lengths) <= 4 * rate + 1
    assert max(lengths) - min(lengths) <= len(places)
    samples = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    joined = deep_prior._join([samples[place] for place in places], places)
    np.testing.assert_allclose(joined, samples, atol=1e-6)


@pytest.fixture
def in_parts(monkeypatch):
    """Make parts of a quarter of a second: the recording has three in each of two channels."""
    monkeypatch.setattr(deep_prior, "_LONGEST", 0.25)
    monkeypatch.setattr(deep_prior, "_COMMON", 0.1)
    return Audio(np.stack([noisy(seed=1), noisy(seed=2)]), 8000)


@pytest.mark.parametrize("stops", [[1], [3], [4], [7, 18]])
def test_what_was_interrupted_ends_as_if_it_had_not_been(in_parts, tmp_path, stops):
    checkpoint = tmp_path / "checkpoint.npz"
    prior = DeepPrior(n_steps=3, **SMALL)
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            prior.enhance(in_parts, checkpoint=checkpoint, progress=Interrupt(in_parts, stop))
        assert checkpoint.exists()
    seconds = []
    enhanced = prior.enhance(in_parts, checkpoint=checkpoint, progress=seconds.append)
    np.testing.assert_array_equal(enhanced.samples, prior.enhance(in_parts).samples)
    assert len(seconds) == 18 - stops[-1]
    assert seconds == sorted(seconds)
    assert seconds[-1:] in ([], [pytest.approx(0.5)])
    again = prior.enhance(in_parts, checkpoint=checkpoint, progress=Interrupt(in_parts, 0))
    np.testing.assert_array_equal(again.samples, enhanced.samples)


class Interrupt:
    """Stop at the end of a step, counted from the first of the recording."""

    def __init__(self, audio, stop):
        self.seconds = audio.duration * stop / 18

    def __call__(self, seconds):
        if seconds > self.seconds - 1e-9:
            raise KeyboardInterrupt


def test_an_interrupt_in_the_first_step_leaves_nothing_half_done(in_parts, tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.npz"
    prior = DeepPrior(n_steps=2, **SMALL)
    with monkeypatch.context() as patch:

        def interrupted(self):
            raise KeyboardInterrupt

        patch.setattr(PriorFit, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prior.enhance(in_parts, checkpoint=checkpoint)
    enhanced = prior.enhance(in_parts, checkpoint=checkpoint)
    np.testing.assert_array_equal(enhanced.samples, prior.enhance(in_parts).samples)


def test_checkpoints_are_written_on_the_way(in_parts, tmp_path, monkeypatch):
    monkeypatch.setattr(deep_prior, "_CHECKPOINT_SECONDS", 0.0)
    checkpoint = tmp_path / "checkpoint.npz"
    seen = []

    def progress(seconds):
        seen.append(checkpoint.exists())

    DeepPrior(n_steps=1, **SMALL).enhance(in_parts, checkpoint=checkpoint, progress=progress)
    assert seen == [False] + [True] * 5


def test_checkpoints_of_other_work_are_refused(in_parts, tmp_path):
    checkpoint = tmp_path / "checkpoint.npz"
    with pytest.raises(KeyboardInterrupt):
        DeepPrior(n_steps=3, **SMALL).enhance(
            in_parts, checkpoint=checkpoint, progress=Interrupt(in_parts, 1)
        )
    for prior, audio in (
        (DeepPrior(n_steps=4, **SMALL), in_parts),
        (DeepPrior(n_steps=3, **SMALL), Audio(noisy(seed=1), 8000)),
    ):
        with pytest.raises(FormatError, match=r"checkpoint\.npz: a checkpoint of another"):
            prior.enhance(audio, checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(FormatError, match=r"checkpoint\.npz: is corrupt"):
        DeepPrior(n_steps=3, **SMALL).enhance(in_parts, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"convolution": "round"}, "harmonic, dilated, plain"),
        ({"n_channels": ()}, "n_channels"),
        ({"n_channels": (4, 0)}, "n_channels"),
        ({"anchor": 0}, "anchor"),
        ({"n_steps": 0}, "n_steps"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_parameters_are_checked(parameters, message):
    with pytest.raises(ParameterError, match=message):
        DeepPrior(**parameters)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_same_on_a_gpu():
    audio = Audio(noisy(), 8000)
    cpu, gpu = (
        DeepPrior(n_steps=2, n_channels=(4, 4), device=device).enhance(audio).samples
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu, cpu, atol=1e-3)
