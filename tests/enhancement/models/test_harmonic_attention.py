"""Harmonic Attention: its equations, what it may look at, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harmnmf import ParameterError
from harmnmf.enhancement import comb_matrix, si_sdr
from harmnmf.enhancement.models.harmonic_attention import (
    HarmonicAttention,
    HarmonicAttentionConfig,
    HarmonicIntegration,
)
from harmnmf.enhancement.models.layers.integration import integrate_harmonics, pitch_combs
from harmnmf.enhancement.models.registry import build_model
from harmnmf.enhancement.transform import Waveform
from harmnmf.signal.harmonics import FrequencyAxis

KINDS = [("dprnn", True), ("dprnn", False), ("attention", True), ("attention", False)]


def small(temporal="dprnn", causal=True, n_channels=(4, 4)):
    torch.manual_seed(0)
    config = HarmonicAttentionConfig(n_channels=n_channels, temporal=temporal, causal=causal)
    return HarmonicAttention(config)


def noise(n_frames=6, n_batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_batch, 257, n_frames, dtype=torch.complex64, generator=generator)


def dense_integration(K, U):
    """The definition softmax(K Uᵀ) U for K (n_bins, n_frames), one number at a time."""
    (n_bins, n_frames), n_candidates = K.shape, len(U)
    significance, harmonics = np.zeros((n_candidates, n_frames)), np.zeros(K.shape)
    for t in range(n_frames):
        for c in range(n_candidates):
            significance[c, t] = sum(K[f, t] * U[c, f] for f in range(n_bins))
        weights = [math.exp(significance[c, t]) for c in range(n_candidates)]
        for f in range(n_bins):
            for c in range(n_candidates):
                harmonics[f, t] += weights[c] / sum(weights) * U[c, f]
    return significance, harmonics


def dense_convolution(x, conv):
    """Three taps along frequency of (n_channels, n_bins, n_frames)."""
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    output = np.zeros((len(weight), *x.shape[1:]))
    for o in range(len(weight)):
        for f in range(x.shape[1]):
            output[o, f] = bias[o] + sum(
                weight[o, c, k, 0] * padded[c, f + k] for c in range(len(x)) for k in range(3)
            )
    return output


def dense_norm(x, norm):
    """Over the bins of each channel and frame."""
    output = np.zeros(x.shape)
    for c in range(x.shape[0]):
        for t in range(x.shape[2]):
            normal = (x[c, :, t] - x[c, :, t].mean()) / np.sqrt(x[c, :, t].var() + 1e-5)
            output[c, :, t] = normal * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    return output


def test_integration_is_its_definition():
    rng = np.random.default_rng(0)
    K, U = rng.normal(size=(2, 3, 8, 4)), rng.normal(size=(5, 8))
    found = integrate_harmonics(torch.from_numpy(K), torch.from_numpy(U))
    for b in range(2):
        for c in range(3):
            significance, harmonics = dense_integration(K[b, c], U)
            np.testing.assert_allclose(found.significance[b, c], significance)
            np.testing.assert_allclose(found.harmonics[b, c], harmonics)


def test_pitches_select_their_harmonics():
    U = pitch_combs(range(60, 420), 512, "smooth")
    K = 1000 * U[[0, 41, 141]].T
    found = integrate_harmonics(K, U)
    assert found.significance.argmax(0).tolist() == [0, 41, 141]
    # No pitch is as likely as any if all fit equally badly.
    torch.testing.assert_close(found.harmonics[:, 0], U.mean(0))
    torch.testing.assert_close(found.harmonics[:, 1:], U[[41, 141]].T, atol=0.02, rtol=0)


@pytest.mark.parametrize("construction", ["smooth", "published"])
def test_combs_are_those_of_the_comb_matrix(construction):
    U = pitch_combs([100, 200], 512, construction)
    matrix = comb_matrix(
        FrequencyAxis.linear(512, 16000), [100, 200], construction=construction, normalize=False
    )
    if construction == "smooth":
        matrix[1:] /= np.linalg.norm(matrix[1:], axis=1, keepdims=True)
    np.testing.assert_allclose(U, matrix[:, :256], atol=1e-6)


def test_the_module_is_the_papers_equations():
    torch.manual_seed(0)
    integration = HarmonicIntegration(2, torch.randn(5, 8))
    with torch.no_grad():
        for parameter in integration.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape))
    x = torch.randn(1, 2, 8, 3)
    X, U = x[0].numpy(), integration.U.numpy()
    V = dense_convolution(dense_norm(X, integration.value[0]), integration.value[1])
    K = dense_convolution(dense_norm(X**2, integration.key[0]), integration.key[1])
    H = np.stack([dense_integration(channel, U)[1] for channel in K])
    expected = X + dense_convolution(
        dense_convolution(H, integration.harmonics) * V, integration.output
    )
    np.testing.assert_allclose(integration(x)[0].detach(), expected, rtol=1e-4, atol=1e-4)
    assert V.shape == K.shape == (8, 8, 3)


@pytest.mark.parametrize(("temporal", "causal"), KINDS)
@torch.no_grad()
def test_what_a_frame_may_look_at(temporal, causal):
    model, spectrum = small(temporal, causal).eval(), noise()
    changed = spectrum.clone()
    changed[..., 4:] = noise(2, seed=1)
    difference = (model(spectrum) - model(changed)).abs().amax((0, 1))
    assert (difference[4:] > 1e-3).all()
    if causal:
        assert (difference[:4] < 1e-6).all()
    else:
        assert (difference[:4] > 1e-6).all()


@pytest.mark.parametrize(("temporal", "causal"), KINDS)
@torch.no_grad()
def test_all_earlier_frames_count(temporal, causal):
    model, spectrum = small(temporal, causal).eval(), noise()
    changed = spectrum.clone()
    changed[..., 0] = noise(1, seed=1)[..., 0]
    assert ((model(spectrum) - model(changed)).abs().amax((0, 1)) > 1e-7).all()


@torch.no_grad()
def test_recordings_do_not_mix():
    model, spectrum = small().eval(), noise(n_batch=3)
    for i in range(3):
        torch.testing.assert_close(model(spectrum)[i], model(spectrum[i : i + 1])[0])


@torch.no_grad()
def test_levels_of_frames_do_not_matter():
    # The first normalization is over all that a frame has: both parts of all bins.
    model, spectrum = small().eval(), 100 * noise()
    gains = torch.tensor([1, 2, 0.5, 10, 3, 1])
    torch.testing.assert_close(
        model(gains * spectrum), gains * model(spectrum), rtol=1e-3, atol=1e-2
    )


@torch.no_grad()
def test_nothing_is_amplified():
    model, spectrum = small().eval(), noise()
    model.mask.bias.fill_(10)
    estimate = model(spectrum)
    assert (estimate[:, :256].abs() <= spectrum[:, :256].abs() * 1.00001).all()
    assert (estimate[:, :256].abs() >= spectrum[:, :256].abs() * 0.99).any()
    assert (estimate[:, 256] == 0).all()


@pytest.mark.parametrize(("temporal", "causal"), KINDS)
def test_all_parameters_learn(temporal, causal):
    model = small(temporal, causal)
    (model(noise(n_batch=2)) - noise(n_batch=2, seed=1)).abs().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 1e-9, name


@pytest.mark.parametrize(("temporal", "causal"), KINDS)
def test_silence_stays_silence_and_can_be_learned_from(temporal, causal):
    model = small(temporal, causal)
    spectrum = noise(n_batch=2)
    spectrum[0] = 0
    spectrum[1, :, 2:4] = 0
    estimate = model(spectrum)
    assert (estimate[0] == 0).all()
    assert torch.isfinite(torch.view_as_real(estimate)).all()
    estimate.abs().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("n_samples", [1, 127, 128, 1001])
@torch.no_grad()
def test_samples_of_any_number(n_samples):
    samples = torch.randn(2, n_samples)
    estimate = Waveform(small().eval())(samples)
    assert estimate.shape == samples.shape
    assert torch.isfinite(estimate).all()


def test_integrate_shows_what_the_network_uses():
    model, spectrum = small(n_channels=(4, 6)).eval(), noise()
    inputs = []
    for block in model.blocks:
        block[1].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    model(spectrum)
    used = [block[1].select(x) for block, x in zip(model.blocks, inputs, strict=True)]
    found = model.integrate(spectrum)
    assert [shown.harmonics.shape for shown in found] == [(1, 16, 256, 6), (1, 24, 256, 6)]
    for shown, expected in zip(found, used, strict=True):
        torch.testing.assert_close(shown.significance, expected.significance)
        torch.testing.assert_close(shown.harmonics, expected.harmonics)
    assert found[0].significance.shape[2] == 1 + len(model.candidates)


def test_size_is_as_documented():
    def count(config):
        return sum(weights.numel() for weights in HarmonicAttention(config).parameters())

    assert count(None) == 1_018_581
    assert "1.02 million" in HarmonicAttention.__doc__
    # MODELS: one block of 24 channels to 24.
    assert count(HarmonicAttentionConfig((24, 24))) - count(
        HarmonicAttentionConfig((24,))
    ) == pytest.approx(370_000, rel=0.01)


def test_combs_make_a_difference():
    outputs = []
    for comb in ("smooth", "published"):
        torch.manual_seed(0)
        model = HarmonicAttention(HarmonicAttentionConfig((4,), comb=comb)).eval()
        outputs.append(model(noise()))
    assert not torch.allclose(*outputs)


def test_configuration_survives_json():
    assert HarmonicAttentionConfig(n_channels=[4, 8]).n_channels == (4, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_channels": ()}, "n_channels must be even and positive"),
        ({"n_channels": (4, 5)}, "n_channels must be even"),
        ({"n_channels": (0,)}, "n_channels must be even"),
        ({"temporal": "lstm"}, "temporal must be 'dprnn' or 'attention', not 'lstm'"),
        ({"comb": "rounded"}, "comb must be 'smooth' or 'published', not 'rounded'"),
    ],
)
def test_invalid_configurations_are_refused(change, message):
    with pytest.raises(ParameterError, match=message) as refused:
        HarmonicAttentionConfig(**change)
    assert "\n" not in str(refused.value)


def voice(f0, n_samples):
    """A tone with vibrato and a slow tremolo."""
    t = torch.arange(n_samples) / 16000
    phase = 2 * math.pi * f0 * (t + 0.002 * torch.sin(2 * math.pi * 5 * t))
    tone = sum(torch.sin(k * phase) / k for k in range(1, 6))
    return (1 + 0.5 * torch.sin(2 * math.pi * 3 * t)) * tone


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("temporal", ["dprnn", "attention"])
def test_four_mixtures_are_learned_by_heart(temporal):
    torch.manual_seed(0)
    clean = torch.stack([voice(f0, 2000) for f0 in (130.0, 180.0, 250.0, 340.0)])
    noisy = clean + clean.std() * torch.randn(clean.shape)
    model = Waveform(build_model("harmonic-attention", temporal=temporal))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        loss = (model(noisy) - clean).square().mean().log()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    estimate = model(noisy).detach()
    gains = [
        si_sdr(c.numpy(), e.numpy()) - si_sdr(c.numpy(), n.numpy())
        for c, e, n in zip(clean, estimate, noisy, strict=True)
    ]
    assert min(gains) > 15
