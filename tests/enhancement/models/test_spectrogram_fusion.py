"""Spectrogram fusion: its attention and stages by their formulas, and its phase."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from small_networks import build

from harmnmf import ParameterError
from harmnmf.enhancement.models.spectrogram_fusion import ATTENTIONS

N_BINS = 257


def small_model(attention="all-info", **config):
    return build("spectrogram-fusion", attention=attention, **config)


def random_spectrum(n_batch=2):
    samples = 0.1 * torch.randn(n_batch, 2000, generator=torch.Generator().manual_seed(0))
    return small_model().transform.analyze(samples)


def dense(layer, x):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def dense_attention(attention, query, source):
    """Attention over frames, (n_frames, n_features), one head at a time."""
    n_heads = attention.n_heads
    Q, K, V = (
        np.split(dense(layer, x), n_heads, axis=1)
        for layer, x in (
            (attention.query, query), (attention.key, source), (attention.value, source)
        )
    )  # fmt: skip
    frames = np.arange(len(query))
    distance = np.abs(frames - frames[:, None])
    heads = []
    for h in range(n_heads):
        scores = Q[h] @ K[h].T / np.sqrt(Q[h].shape[1])
        heads.append(softmax(scores - 2.0 ** (-8 * (h + 1) / n_heads) * distance, axis=1) @ V[h])
    return dense(attention.output, np.concatenate(heads, axis=1))


def dense_branch(branch, query, source=None):
    Q = np.maximum(dense(branch.query_layer, np.concatenate(query, axis=1)), 0)
    S = Q
    if source is not None:
        S = np.maximum(dense(branch.source_layer, np.concatenate(source, axis=1)), 0)
    y = Q + dense_attention(branch.attention, Q, S)
    return (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)


def dense_features(branches, attention, mixture, mapped, masked):
    arguments = {
        "all-info": [([mixture, mapped, masked],)],
        "separate-info": [([mixture], [mapped, masked])],
        "no-encoder-info": [([mixture, mapped],), ([mixture, masked],)],
        "dual": [([mixture],), ([mapped, masked],)],
    }[attention]
    return np.concatenate(
        [dense_branch(branch, *inputs) for branch, inputs in zip(branches, arguments, strict=True)],
        axis=1,
    )


def dense_heads(heads, features, mixture):
    """Estimates by mapping and by masking."""
    mapped = np.log1p(np.exp(dense(heads.mapping, features)))
    return mapped, expit(dense(heads.masking, features)) * mixture


@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_both_stages_are_their_formulas(attention):
    model = small_model(attention)
    x = torch.rand(2, 7, N_BINS)
    inputs = [x, *model.first(x)]
    lstm, _ = model.first.lstm(x)
    found = model.second(*inputs)
    for i in range(2):
        mixture, *estimates = (part[i].double().numpy() for part in inputs)
        expected = dense_heads(model.first.heads, lstm[i].double().numpy(), mixture)
        np.testing.assert_allclose(estimates, expected, atol=1e-5)
        features = dense_features(model.second.branches, attention, mixture, *estimates)
        masks = dense(model.second.masks, features).reshape(7, 2, N_BINS)
        expected = (
            *softmax(masks, axis=1).transpose(1, 0, 2),
            *dense_heads(model.second.heads, features, mixture),
        )
        np.testing.assert_allclose([part[i] for part in found], expected, atol=1e-5)


@torch.no_grad()
def test_fusion_has_the_phase_of_the_linear_fusion_analysed_again():
    model, spectrum = small_model(power=0.3), random_spectrum(1)
    estimate, outputs = model(spectrum), model.estimate(spectrum)
    linear = model.expand((outputs.mapped + outputs.masked) / 2, outputs.level)
    samples = model.transform.synthesize(torch.polar(linear, spectrum.angle()), 8 * 256)
    again = model.transform.analyze(samples)
    torch.testing.assert_close(estimate.abs(), model.expand(outputs.fused, outputs.level))
    # Rounding decides on the phase of weak bins.
    clear = again.abs() > 1e-3 * again.abs().max()
    assert clear.float().mean() > 0.9
    assert (estimate[clear] / again[clear]).angle().abs().max() < 1e-3
    # It differs from the phase of the mixture.
    assert (estimate / spectrum).angle().abs().mean() > 0.05


def test_single_stages_have_the_phase_of_the_mixture():
    model, spectrum = small_model(), random_spectrum()
    outputs = model.estimate(spectrum)
    phase = torch.polar(torch.ones(spectrum.shape), spectrum.angle())
    for output, estimate in (("mapping", outputs.mapped), ("masking", outputs.masked)):
        expected = outputs.level * estimate.square() * phase
        torch.testing.assert_close(model(spectrum, output), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ParameterError, match="fusion or mapping or masking, not 'both'"):
        model(spectrum, "both")


def test_compressed_magnitudes_are_relative_to_the_level():
    model, spectrum = small_model(power=0.3), random_spectrum(1)
    level = model.estimate(spectrum).level
    np.testing.assert_allclose(level, np.sqrt(np.mean(np.abs(spectrum.numpy()) ** 2)), rtol=1e-5)
    compressed = model.compress(spectrum, level)
    np.testing.assert_allclose(compressed, np.abs((spectrum / level).numpy()) ** 0.3, rtol=1e-4)
    torch.testing.assert_close(model.expand(compressed, level), spectrum.abs())


@pytest.mark.parametrize("tiny", [1e-30, 1e-12])
def test_near_silence_has_finite_gradients(tiny):
    model, spectrum = small_model(), tiny * random_spectrum()
    model(spectrum).abs().sum().backward()
    for weights in model.parameters():
        assert weights.grad is None or torch.isfinite(weights.grad).all()
