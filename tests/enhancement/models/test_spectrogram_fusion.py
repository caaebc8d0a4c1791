"""Spectrogram fusion: its attention by plain formulas, its stages and its phase."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import build

from harmnmf import ParameterError
from harmnmf.enhancement.models.spectrogram_fusion import ATTENTIONS

OUTPUTS = ["fusion", "mapping", "masking"]
N_BINS = 257


def small_model(attention="all-info", **config):
    return build("spectrogram-fusion", attention=attention, **config)


def random_spectrum(n_batch=2):
    samples = 0.1 * torch.randn(n_batch, 2000, generator=torch.Generator().manual_seed(0))
    return small_model().transform.analyze(samples)


def dense(layer, x):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def dense_attention(attention, query, source):
    """Attention, one frame of one head at a time."""
    n_frames, size = query.shape
    n_heads = attention.n_heads
    d = size // n_heads
    Q, K, V = (
        dense(attention.query, query), dense(attention.key, source), dense(attention.value, source)
    )  # fmt: skip
    result = np.zeros((n_frames, size))
    for h in range(n_heads):
        part = slice(h * d, (h + 1) * d)
        slope = 2.0 ** (-8 * (h + 1) / n_heads)
        for t in range(n_frames):
            weights = np.array(
                [
                    np.exp(Q[t, part] @ K[s, part] / np.sqrt(d) - slope * abs(t - s))
                    for s in range(n_frames)
                ]
            )
            result[t, part] = weights / weights.sum() @ V[:, part]
    return dense(attention.output, result)


def dense_branch(branch, query, source=None):
    Q = np.maximum(dense(branch.query_layer, np.concatenate(query, axis=1)), 0)
    S = Q
    if source is not None:
        S = np.maximum(dense(branch.source_layer, np.concatenate(source, axis=1)), 0)
    y = Q + dense_attention(branch.attention, Q, S)
    return (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)


def dense_features(branches, attention, mixture, mapped, masked):
    if attention == "all-info":
        return dense_branch(branches[0], [mixture, mapped, masked])
    if attention == "separate-info":
        return dense_branch(branches[0], [mixture], [mapped, masked])
    if attention == "no-encoder-info":
        first = dense_branch(branches[0], [mixture, mapped])
        second = dense_branch(branches[1], [mixture, masked])
    else:
        first = dense_branch(branches[0], [mixture])
        second = dense_branch(branches[1], [mapped, masked])
    return np.concatenate([first, second], axis=1)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_second_stage_is_its_formula(attention):
    model = small_model(attention)
    x = np.random.default_rng(0).random((3, 2, 7, N_BINS))  # inputs, batch, frames, bins
    with torch.no_grad():
        found = model.second(*(torch.from_numpy(part).float() for part in x))
    for i in range(2):
        features = dense_features(list(model.second.branches), attention, *x[:, i])
        first, second = np.split(np.exp(dense(model.second.masks, features)), 2, axis=1)
        mapped = np.log1p(np.exp(dense(model.second.heads.mapping, features)))
        mask = 1 / (1 + np.exp(-dense(model.second.heads.masking, features)))
        expected = (first / (first + second), second / (first + second), mapped, mask * x[0, i])
        for y, y_dense in zip(found, expected, strict=True):
            np.testing.assert_allclose(y[i], y_dense, atol=1e-5)


def test_first_stage_maps_and_masks_from_recurrent_features():
    model = small_model()
    mixture = torch.rand(1, 9, N_BINS)
    with torch.no_grad():
        mapped, masked = model.first(mixture)
        features = model.first.lstm(mixture)[0][0].double().numpy()
    heads = model.first.heads
    np.testing.assert_allclose(
        mapped[0], np.log1p(np.exp(dense(heads.mapping, features))), atol=1e-5
    )
    mask = 1 / (1 + np.exp(-dense(heads.masking, features)))
    np.testing.assert_allclose(masked[0], mask * mixture[0].numpy(), atol=1e-5)


def test_only_magnitudes_matter():
    model, spectrum = small_model(), random_spectrum()
    turned = spectrum * torch.polar(torch.ones(N_BINS, 9), torch.randn(N_BINS, 9))
    torch.testing.assert_close(model.estimate(turned), model.estimate(spectrum))


def reanalyzed(linear):
    """Synthesise and analyse a spectrum, (n_bins, n_frames), frame by frame."""
    n_frames = linear.shape[1]
    window = np.sin(np.pi * np.arange(512) / 512)
    samples = np.zeros(512 + 256 * (n_frames - 1))
    for n in range(n_frames):
        samples[256 * n : 256 * n + 512] += window * np.fft.irfft(linear[:, n])
    samples[:256] = samples[-256:] = 0  # before the first and after the last frame centre
    frames = [window * samples[256 * n : 256 * n + 512] for n in range(n_frames)]
    return np.fft.rfft(frames).T


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0])
def test_fusion_has_the_phase_of_the_linear_fusion_analysed_again(power):
    model, spectrum = small_model(power=power), random_spectrum(1)
    with torch.no_grad():
        estimate = model(spectrum)[0].numpy()
        outputs = model.estimate(spectrum)
    X = spectrum[0].to(torch.complex128).numpy()
    level = np.sqrt((np.abs(X) ** 2).mean())
    linear = (outputs.mapped + outputs.masked)[0].double().numpy() / 2
    again = reanalyzed(level * linear ** (1 / power) * np.exp(1j * np.angle(X)))
    fused = level * outputs.fused[0].double().numpy() ** (1 / power)
    np.testing.assert_allclose(np.abs(estimate), fused, rtol=1e-3)
    # Rounding decides on the phase of weak bins.
    clear = np.abs(again) > 1e-3 * np.abs(again).max()
    assert clear.mean() > 0.9
    np.testing.assert_allclose(np.angle(estimate[clear] / again[clear]), 0, atol=1e-3)
    # It differs from the phase of the mixture.
    assert np.abs(np.angle(estimate / X)).mean() > 0.05


def test_single_stages_have_the_phase_of_the_mixture():
    model, spectrum = small_model(), random_spectrum()
    outputs = model.estimate(spectrum)
    phase = torch.polar(torch.ones(spectrum.shape), spectrum.angle())
    for output, estimate in (("mapping", outputs.mapped), ("masking", outputs.masked)):
        expected = outputs.level * estimate.square() * phase
        torch.testing.assert_close(model(spectrum, output), expected, rtol=1e-4, atol=1e-5)
    assert (model(spectrum, "masking").abs() <= spectrum.abs()).all()
    with pytest.raises(ParameterError, match="fusion or mapping or masking, not 'both'"):
        model(spectrum, "both")


def test_compressed_magnitudes_are_relative_to_the_level():
    model, spectrum = small_model(power=0.3), random_spectrum(1)
    level = model.estimate(spectrum).level
    np.testing.assert_allclose(level, np.sqrt(np.mean(np.abs(spectrum.numpy()) ** 2)), rtol=1e-5)
    compressed = model.compress(spectrum, level)
    np.testing.assert_allclose(compressed, np.abs((spectrum / level).numpy()) ** 0.3, rtol=1e-4)
    torch.testing.assert_close(model.expand(compressed, level), spectrum.abs())


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("gain", [1e-4, -1.0, 100.0])
def test_level_does_not_matter(output, gain):
    model, spectrum = small_model(), random_spectrum()
    torch.testing.assert_close(
        model(gain * spectrum, output) / gain, model(spectrum, output), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("tiny", [1e-30, 1e-12])
def test_near_silence_has_finite_gradients(tiny):
    model, spectrum = small_model(), tiny * random_spectrum()
    model(spectrum).abs().sum().backward()
    for weights in model.parameters():
        assert weights.grad is None or torch.isfinite(weights.grad).all()
