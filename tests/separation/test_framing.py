"""Frames of a stream of samples, and samples from frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import get_window

from harmnmf.separation.framing import Frames, Framing, OverlapAdd

RATES = [1000, 8000, 11025, 16000, 22051, 44100, 48000, 96000]
quick = settings(deadline=None, max_examples=50)


def random(n_channels, n_samples, seed=0):
    samples = np.random.default_rng(seed).uniform(-1, 1, (n_channels, n_samples))
    return torch.from_numpy(samples.astype(np.float32))


def transform(framing, samples, cuts=()):
    """Spectra of samples that arrive in blocks that end at the cuts."""
    frames = Frames(framing, len(samples))
    blocks = [frames.push(block) for block in torch.tensor_split(samples, cuts, dim=1)]
    return torch.cat([*blocks, frames.finish()], dim=-1)


def invert(framing, spectra, cuts=()):
    """Samples from spectra that arrive in blocks, without those that precede the recording."""
    synthesis = OverlapAdd(framing, spectra.shape[:-2])
    blocks = [synthesis.push(block) for block in torch.tensor_split(spectra, cuts, dim=-1)]
    return torch.cat([*blocks, synthesis.finish()], dim=-1)[..., framing.n_before :]


@pytest.mark.parametrize("rate", RATES)
def test_windows_of_160_ms_every_40_ms(rate):
    framing = Framing(rate)
    assert framing.n_fft == 4 * framing.hop_length
    assert framing.window_duration == pytest.approx(0.16, rel=0.06)
    assert framing.hop_duration * rate == pytest.approx(framing.hop_length)
    assert framing.axis.n_bins == framing.n_fft // 2 + 1
    assert framing.axis.frequencies[-1] == pytest.approx(rate / 2)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n_hops", [0, 1, 4, 9.7])
def test_spectra_are_those_of_plain_frames(rate, n_hops):
    framing = Framing(rate)
    samples = random(2, 1 + round(n_hops * framing.hop_length))
    found = transform(framing, samples)
    n_fft, hop = framing.n_fft, framing.hop_length
    padded = np.pad(samples.double().numpy(), ((0, 0), (n_fft - hop, n_fft)))
    starts = range(0, samples.shape[1] + n_fft - hop, hop)
    window = get_window("hann", n_fft)
    expected = [np.fft.rfft(window * padded[:, start : start + n_fft]) for start in starts]
    assert found.shape[-1] == len(expected) == framing.n_frames(samples.shape[1])
    np.testing.assert_allclose(found.numpy(), np.stack(expected, axis=-1), atol=1e-3)


def test_each_frame_is_centred_at_its_time():
    framing = Framing(16000)
    samples = torch.zeros(1, 16000)
    samples[0, round(0.5 * 16000)] = 1.0
    energy = transform(framing, samples).abs().square().sum(dim=1)[0]
    centre = (energy * torch.arange(len(energy))).sum() / energy.sum()
    assert float(centre) == pytest.approx(framing.frame_at(0.5), abs=0.1)


@quick
@given(st.sampled_from(RATES), st.integers(1, 3), st.data())
def test_reconstruction_is_perfect_for_any_division(rate, n_channels, data):
    framing = Framing(rate)
    n_samples = data.draw(st.integers(1, 12 * framing.hop_length))
    samples = random(n_channels, n_samples)
    cuts = sorted(data.draw(st.lists(st.integers(0, n_samples), max_size=5)))
    spectra = transform(framing, samples, cuts)
    scale = float(spectra.abs().max())
    np.testing.assert_allclose(spectra, transform(framing, samples), atol=1e-6 * scale)
    cuts = sorted(data.draw(st.sets(st.integers(1, spectra.shape[-1] - 1), max_size=5)))
    found = invert(framing, spectra, cuts)
    assert found.shape[-1] >= n_samples
    np.testing.assert_allclose(found[:, :n_samples], samples, atol=1e-5)
    np.testing.assert_allclose(found[:, n_samples:], 0, atol=1e-5)
    np.testing.assert_allclose(found, invert(framing, spectra), atol=1e-6)


def test_synthesis_is_the_least_squares_inverse():
    """Spectra that belong to no samples give those whose spectra are nearest."""
    framing = Framing(1000)
    n_bins = framing.axis.n_bins
    spectra = torch.complex(random(n_bins, 20, seed=1), random(n_bins, 20, seed=2))[None]
    found = invert(framing, spectra).double().numpy()[0]
    window = get_window("hann", framing.n_fft)
    total = np.zeros(framing.n_fft + 19 * framing.hop_length)
    weight = np.zeros_like(total)
    for n, frame in enumerate(np.fft.irfft(spectra[0].mT.numpy().astype(complex))):
        place = slice(n * framing.hop_length, n * framing.hop_length + framing.n_fft)
        total[place] += window * frame
        weight[place] += window**2
    inside = slice(framing.n_before, -framing.n_before)
    expected = total[inside] / weight[inside]
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-5)
