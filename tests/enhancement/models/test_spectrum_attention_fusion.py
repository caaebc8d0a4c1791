"""Spectrum Attention Fusion: its parts against plain formulas, its switches, and what it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from harmnmf import ParameterError
from harmnmf.enhancement.losses.speech import negative_si_snr
from harmnmf.enhancement.models.registry import build_model, load_model, save_model
from harmnmf.enhancement.models.spectrum_attention_fusion import (
    NORMALIZATIONS,
    SpectrumAttentionFusion,
    SpectrumAttentionFusionConfig,
)
from harmnmf.enhancement.transform import Waveform

SMALL = SpectrumAttentionFusionConfig(
    n_fft=40, hop_length=10, n_channels=8, n_blocks=2, n_heads=2, time_dilations=(1, 2)
)
REFINING = replace(SMALL, n_fft=512, hop_length=256, refines=True)
SWITCHES = [
    {"phase_input": False},
    {"bias_decoder": False},
    {"band_window": 1},
    {"band_window": 5},
    {"band_window": 7},
    {"kernel_size": 3},
    {"time_dilations": ()},
    {"normalization": "batch"},
    {"normalization": "instance"},
    {"normalization": "none"},
]


def build(config=SMALL):
    torch.manual_seed(0)
    return SpectrumAttentionFusion(config).eval()


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


def spectra(batch=2, n_bins=21, n_frames=12, seed=0):
    return torch.view_as_complex(noise(batch, n_bins, n_frames, 2, seed=seed))


def what_encoders_read(model, X):
    read = []
    for encoder in (model.polar_encoder, model.cartesian_encoder):
        encoder.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numpy()))
    model.decode(X)
    return read


def test_it_has_as_many_parameters_as_the_paper_says():
    n_parameters = sum(weights.numel() for weights in SpectrumAttentionFusion().parameters())
    assert 570_000 <= n_parameters <= 590_000


@pytest.mark.parametrize("dilation", [1, 2, 8])
def test_what_is_along_time_is_its_formula(dilation):
    layer = build(replace(SMALL, time_dilations=(dilation,))).double().blocks[0][-1]
    x = noise(8, 5, 20).double().numpy()
    weights = {name: values.detach().numpy() for name, values in layer.named_parameters()}

    def normalize(x):
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    def mix(name, x):
        weight, bias = weights[f"layer.{name}.weight"], weights[f"layer.{name}.bias"]
        return np.einsum("oc,cft->oft", weight, x) + bias[:, None, None]

    def activate(x):
        return x / (1 + np.exp(-x))

    hidden = activate(mix("0", normalize(x)))
    around = np.pad(hidden, [(0, 0), (0, 0), (dilation, dilation)])
    convolved = weights["layer.2.bias"][:, None, None] + sum(
        weights["layer.2.weight"][:, 0, :, i, None] * around[..., i * dilation :][..., :20]
        for i in range(3)
    )
    expected = x + mix("5", activate(normalize(convolved)))
    np.testing.assert_allclose(layer(torch.from_numpy(x)[None])[0].detach(), expected, atol=1e-10)


@pytest.mark.parametrize("n_bins", [9, 10])
def test_bands_are_spread_by_a_transposed_convolution(n_bins):
    decoder, x = build().mask_decoder, noise(2, 8, 5, 4)
    decoder.bins = torch.nn.Identity()
    weight, bias = decoder.fill.weight.flip(2), decoder.fill.bias
    expected = torch.nn.functional.conv_transpose2d(
        decoder.bands(x), weight, bias, (2, 1), (1, 0), (n_bins - 9, 0), groups=8
    )
    np.testing.assert_allclose(decoder(x, n_bins).detach(), expected.detach(), atol=1e-6)


def test_output_is_mask_and_bias_of_compressed_spectra():
    model, spectrum = build(), 0.01 * spectra()
    for x, estimate in zip(spectrum.numpy(), model(spectrum).detach().numpy(), strict=True):
        level = np.sqrt(np.mean(np.abs(x) ** 2))
        X = np.abs(x / level) ** 0.3 * np.exp(1j * np.angle(x))
        M, B = (part[0].detach().numpy() for part in model.decode(torch.from_numpy(X)[None, None]))
        assert (M >= 0).all()
        assert (M <= 1).all()
        S = M[0] * X + B
        expected = level * np.abs(S) ** (1 / 0.3) * np.exp(1j * np.angle(S))
        np.testing.assert_allclose(estimate, expected, rtol=1e-4, atol=1e-8)


def test_without_bias_the_phase_stays():
    spectrum = spectra()
    ratio = build(replace(SMALL, bias_decoder=False))(spectrum).detach() / spectrum
    np.testing.assert_allclose(ratio.imag, 0, atol=1e-6)
    assert (ratio.real > 0).all()
    assert not np.allclose(build()(spectrum).detach().angle(), spectrum.angle(), atol=0.01)


@pytest.mark.parametrize("phase_input", [True, False])
def test_encoders_read_what_they_say(phase_input):
    model, X = build(replace(SMALL, phase_input=phase_input)), spectra()
    polar, cartesian = what_encoders_read(model, X[:, None])
    X = X.numpy()
    expected = [np.abs(X), np.angle(X) / np.pi] if phase_input else [np.abs(X)]
    np.testing.assert_allclose(polar, np.stack(expected, axis=1), rtol=1e-5)
    np.testing.assert_allclose(cartesian, np.stack([X.real, X.imag], axis=1), rtol=1e-6)


@pytest.mark.parametrize("bias_decoder", [True, False])
def test_what_refines_begins_with_the_first_estimate(bias_decoder):
    spectrum = spectra(n_bins=257)
    model = build(replace(REFINING, bias_decoder=bias_decoder))
    level = spectrum.abs().square().mean((1, 2), keepdim=True).sqrt()
    noisy, first = (
        (x / level).abs() ** 0.3 * torch.exp(1j * x.angle())
        for x in (spectrum, model.light(spectrum).detach())
    )
    S = noisy / (1 + math.e**3) + first / (1 + math.e**-3)
    expected = level * S.abs() ** (1 / 0.3) * torch.exp(1j * S.angle())
    estimate = model(spectrum).detach()
    np.testing.assert_allclose(estimate[:, :-1], expected[:, :-1], rtol=1e-3, atol=1e-5)


def test_what_goes_first_is_never_in_training():
    model, x = build(REFINING), spectra(n_bins=257)
    expected = model.light(x).detach()
    for _ in range(2):
        torch.testing.assert_close(model.train().light(x).detach(), expected)
    torch.testing.assert_close(model.eval().light(x).detach(), expected)


def test_what_refines_reads_both_spectra():
    model, X = build(REFINING), spectra(n_bins=257)
    noisy, first = X[:1], X[1:]
    polar, cartesian = what_encoders_read(model, torch.stack([noisy, first], dim=1))
    polar_noisy = [noisy.abs(), first.abs(), noisy.angle() / math.pi]
    np.testing.assert_allclose(polar, torch.stack(polar_noisy, dim=1), rtol=1e-5)
    parts = [noisy.real, first.real, noisy.imag, first.imag]
    np.testing.assert_allclose(cartesian, torch.stack(parts, dim=1), rtol=1e-6)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_switches_change_the_estimate_and_not_its_shape(switch):
    spectrum = spectra()
    default, model = build(), build(replace(SMALL, **switch))
    # As far as there are the same weights.
    same = default.state_dict()
    model.load_state_dict(
        {
            name: same[name] if name in same and same[name].shape == values.shape else values
            for name, values in model.state_dict().items()
        }
    )
    estimate = model(spectrum)
    assert estimate.shape == spectrum.shape
    assert torch.isfinite(torch.view_as_real(estimate)).all()
    assert not np.allclose(estimate.detach(), default(spectrum).detach(), atol=1e-3)


@pytest.mark.parametrize(
    ("normalization", "axes"), [("layer", 1), ("batch", (0, 2, 3)), ("instance", (2, 3))]
)
def test_normalization_is_over_the_axes_that_it_says(normalization, axes):
    norm = SpectrumAttentionFusion(replace(SMALL, normalization=normalization)).blocks[0][0].norm
    x = norm(3 * noise(2, 8, 5, 6) + noise(2, 8, 1, 1, seed=1)).detach().numpy()
    np.testing.assert_allclose(x.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axes), 1, atol=1e-3)
    for other in {1, (0, 2, 3), (2, 3)} - {axes, (0, 2, 3) if axes == (2, 3) else axes}:
        assert np.abs(x.mean(other)).max() > 0.1


@pytest.mark.parametrize(
    "config",
    [*(replace(SMALL, normalization=normalization) for normalization in NORMALIZATIONS), REFINING],
    ids=lambda config: f"{config.normalization}-{config.refines}",
)
def test_gradients_reach_every_parameter(config):
    model = build(config).train()
    if config.refines:  # its last layers begin with zeros, which no gradient passes
        for decoder in (model.mask_decoder, model.bias_decoder):
            torch.nn.init.normal_(decoder.bins.low.weight)
            torch.nn.init.normal_(decoder.bins.high.weight)
    model(spectra(n_bins=config.n_fft // 2 + 1)).abs().square().sum().backward()
    for name, parameter in model.named_parameters():
        if name.startswith("light."):  # what goes first is not trained
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("n_samples", [1, 9, 10, 11, 203])
@pytest.mark.parametrize("n_fft", [40, 20, 22])
def test_any_number_of_samples(n_fft, n_samples):
    # 21, 11 and 12 bins.
    model = build(replace(SMALL, n_fft=n_fft, hop_length=n_fft // 2))
    samples = noise(2, n_samples)
    enhanced = Waveform(model)(samples)
    assert enhanced.shape == samples.shape
    assert torch.isfinite(enhanced).all()
    # One spectrum does not depend on another beside it.
    np.testing.assert_allclose(
        Waveform(model)(samples[1]).detach(), enhanced[1].detach(), atol=1e-5
    )


def test_the_level_does_not_matter():
    model, spectrum = build(), spectra()
    estimate = model(spectrum).detach()
    for factor in (1e-4, 3.0, 1e4):
        np.testing.assert_allclose(
            model(factor * spectrum).detach() / factor, estimate, rtol=1e-3, atol=1e-6
        )
    assert (model(torch.zeros_like(spectrum)) == 0).all()


def test_it_sees_as_many_frames_on_both_sides_as_it_says():
    config = SpectrumAttentionFusionConfig(n_channels=4, n_fft=8, hop_length=4)
    model, n_frames, n, reach = build(config).double(), 240, 120, 103
    parts = noise(1, 5, n_frames, 2).double().requires_grad_()
    M, B = model.decode(torch.view_as_complex(parts)[:, None])
    (M[..., n].sum() + B[..., n].abs().sum()).backward()
    seen = np.flatnonzero(parts.grad.abs().sum((0, 1, 3)))
    assert (seen[0], seen[-1]) == (n - reach, n + reach)


def test_mixed_precision_is_close():
    model, spectrum = build(), spectra()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(spectrum)
    assert mixed.dtype == torch.complex64
    expected = model(spectrum).detach()
    error = (mixed.detach() - expected).abs().square().sum() / expected.abs().square().sum()
    assert error < 0.01


@pytest.mark.parametrize("config", [replace(SMALL, normalization="batch"), REFINING])
def test_file_keeps_it(tmp_path, config):
    model = build(config)
    save_model(tmp_path / "model.npz", "spectrum-attention-fusion", model, {"about": "a test"})
    loaded, metadata = load_model(tmp_path / "model.npz")
    assert loaded.config == model.config
    assert metadata == {"about": "a test"}
    X = spectra(n_bins=config.n_fft // 2 + 1)
    np.testing.assert_array_equal(loaded(X).detach(), model(X).detach())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": 401}, "n_fft"),
        ({"hop_length": 150}, "hop_length"),
        ({"n_channels": 0}, "n_channels must be at least 1"),
        ({"n_blocks": 0}, "n_blocks must be at least 1"),
        ({"n_channels": 30}, "a multiple of n_heads, 4, not 30"),
        ({"band_window": 4}, "band_window must be odd, not 4"),
        ({"kernel_size": 10}, "kernel_size must be odd, not 10"),
        ({"kernel_size": -1}, "kernel_size must be at least 1"),
        ({"refines": True}, "n_fft 512 and hop_length 256"),
        ({"time_dilations": [1, 0]}, "time_dilations must be positive"),
        ({"normalization": "group"}, "'layer', 'batch', 'instance', 'none', not 'group'"),
    ],
)
def test_invalid_parameters_are_refused(change, message):
    with pytest.raises(ParameterError, match=message) as refused:
        build_model("spectrum-attention-fusion", **change)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_overfits_four_mixtures():
    t = torch.arange(2000) / 16000
    clean = torch.stack(
        [
            sum(torch.sin(2 * math.pi * k * f0 * t) / k for k in range(1, 6))
            * (1 + 0.5 * torch.sin(2 * math.pi * tremolo * t))
            for f0, tremolo in ((130, 3), (180, 6), (250, 9), (340, 12))
        ]
    )
    mixtures = clean + clean.std() * noise(*clean.shape)
    torch.manual_seed(0)
    model = Waveform(build_model("spectrum-attention-fusion"))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, betas=(0.95, 0.999))
    for _ in range(90):
        loss = negative_si_snr(model(mixtures), clean).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        gains = negative_si_snr(mixtures, clean) - negative_si_snr(model(mixtures), clean)
    assert gains.min() > 15
