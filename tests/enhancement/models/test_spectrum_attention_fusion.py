"""Spectrum Attention Fusion: its parts against their formulas, and its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import build, spectra

from harmnmf.enhancement import SpectrumAttentionFusion

NAME = "spectrum-attention-fusion"


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def n_parameters(model):
    return sum(weights.numel() for weights in model.parameters())


def test_size_is_that_of_the_paper():
    assert 570_000 <= n_parameters(SpectrumAttentionFusion()) <= 590_000
    # A bias for each relative band, and taps of a depthwise convolution, in two blocks.
    small = n_parameters(build(NAME))
    assert n_parameters(build(NAME, band_window=7)) - small == 2 * 4 * 2
    assert small - n_parameters(build(NAME, kernel_size=3)) == 2 * 8 * (11**2 - 3**2)


@pytest.mark.parametrize("dilation", [1, 8])
@torch.no_grad()
def test_temporal_convolution_is_its_formula(dilation):
    layer = build(NAME, time_dilations=(dilation,)).double().blocks[0][-1]
    x = noise(8, 5, 20).double().numpy()
    weights = {name: values.numpy() for name, values in layer.named_parameters()}

    def normalize(x):
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    def mix(name, x):
        weight, bias = weights[f"layer.{name}.weight"], weights[f"layer.{name}.bias"]
        return np.einsum("oc,cft->oft", weight, x) + bias[:, None, None]

    def activate(x):
        return x / (1 + np.exp(-x))

    hidden = activate(mix("0", normalize(x)))
    padded = np.pad(hidden, [(0, 0), (0, 0), (dilation, dilation)])
    convolved = weights["layer.2.bias"][:, None, None] + sum(
        weights["layer.2.weight"][:, 0, :, i, None] * padded[..., i * dilation :][..., :20]
        for i in range(3)
    )
    expected = x + mix("5", activate(normalize(convolved)))
    np.testing.assert_allclose(layer(torch.from_numpy(x)[None])[0], expected, atol=1e-10)


@pytest.mark.parametrize("n_bins", [9, 10])
@torch.no_grad()
def test_bands_are_spread_by_a_transposed_convolution(n_bins):
    decoder, x = build(NAME).mask_decoder, noise(2, 8, 5, 4)
    decoder.bins = torch.nn.Identity()
    weight, bias = decoder.fill.weight.flip(2), decoder.fill.bias
    expected = torch.nn.functional.conv_transpose2d(
        decoder.bands(x), weight, bias, (2, 1), (1, 0), (n_bins - 9, 0), groups=8
    )
    torch.testing.assert_close(decoder(x, n_bins), expected)


@torch.no_grad()
def test_output_is_mask_and_bias_of_compressed_spectra():
    model, spectrum = build(NAME), 0.01 * spectra(n_bins=21)
    for x, estimate in zip(spectrum.numpy(), model(spectrum).numpy(), strict=True):
        level = np.sqrt(np.mean(np.abs(x) ** 2))
        X = np.abs(x / level) ** 0.3 * np.exp(1j * np.angle(x))
        M, B = (part[0].numpy() for part in model.decode(torch.from_numpy(X)[None]))
        assert ((M >= 0) & (M <= 1)).all()
        S = M * X + B
        expected = level * np.abs(S) ** (1 / 0.3) * np.exp(1j * np.angle(S))
        np.testing.assert_allclose(estimate, expected, rtol=1e-4, atol=1e-8)


@torch.no_grad()
def test_encoders_read_polar_and_cartesian_parts():
    model, X = build(NAME), spectra(n_bins=21)
    inputs = []
    for encoder in (model.polar_encoder, model.cartesian_encoder):
        encoder.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    model.decode(X)
    for found, expected in zip(
        inputs, [[X.abs(), X.angle() / np.pi], [X.real, X.imag]], strict=True
    ):
        torch.testing.assert_close(found, torch.stack(expected, dim=1))


def test_the_receptive_field_is_as_documented():
    sizes = {"n_channels": 4, "n_fft": 8, "hop_length": 4, "n_blocks": 5}
    model = build(NAME, **sizes, time_dilations=(1, 2, 4, 8)).double()
    n_frames, n, reach = 240, 120, 103
    assert f"{reach} frames" in SpectrumAttentionFusion.__doc__
    parts = noise(1, 5, n_frames, 2).double().requires_grad_()
    M, B = model.decode(torch.view_as_complex(parts))
    (M[..., n].sum() + B[..., n].abs().sum()).backward()
    seen = np.flatnonzero(parts.grad.abs().sum((0, 1, 3)))
    assert (seen[0], seen[-1]) == (n - reach, n + reach)
