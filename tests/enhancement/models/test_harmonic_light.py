"""Harmonic Light: its size, its causality, its stream, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harmnmf import ParameterError
from harmnmf.enhancement.losses.speech import negative_si_snr
from harmnmf.enhancement.models.harmonic_light import HarmonicLight, HarmonicLightConfig
from harmnmf.enhancement.models.layers.integration import integrate_harmonics
from harmnmf.enhancement.transform import Waveform

SMALL = HarmonicLightConfig(
    n_channels=4, n_bands=6, n_features=4, n_heads=2, n_blocks=2, n_cells=3, n_candidates=12
)


def model(config: HarmonicLightConfig | None = None) -> HarmonicLight:
    torch.manual_seed(0)
    return HarmonicLight(config).eval()


def spectra(n_frames: int, n_batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_batch, 257, n_frames, dtype=torch.complex64, generator=generator)


def test_integration_is_the_formula() -> None:
    K, U = torch.randn(2, 3, 7, 5), torch.randn(4, 7)
    found = integrate_harmonics(K, U)
    for b, c, t in np.ndindex(2, 3, 5):
        significance = np.array([np.dot(U[n].numpy(), K[b, c, :, t].numpy()) for n in range(4)])
        weights = np.exp(significance) / np.exp(significance).sum()
        np.testing.assert_allclose(found.significance[b, c, :, t], significance, rtol=1e-4)
        expected = sum(weight * row for weight, row in zip(weights, U.numpy(), strict=True))
        np.testing.assert_allclose(found.harmonics[b, c, :, t], expected, rtol=1e-4, atol=1e-6)


def test_it_is_slim() -> None:
    light = model()
    assert sum(x.numel() for x in light.parameters()) <= 150_000
    n_frames = 125  # two seconds
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        light(spectra(n_frames, 1))
    assert counter.get_total_flops() / 2 <= 2 * 100e6


def test_it_does_not_look_ahead() -> None:
    spectrum = spectra(20)
    changed = spectrum.clone()
    changed[..., 12:] = spectra(8)
    light = model(SMALL)
    with torch.no_grad():
        before, after = light(spectrum), light(changed)
    torch.testing.assert_close(before[..., :12], after[..., :12])
    assert not torch.allclose(before[..., 12:], after[..., 12:])


@pytest.mark.parametrize("sizes", [(1,) * 20, (3, 1, 9, 7)])
def test_streams_are_equal_to_the_whole(sizes: tuple[int, ...]) -> None:
    spectrum = spectra(20)
    light = model()
    parts, state = [], None
    with torch.no_grad():
        for part in spectrum.split(sizes, dim=-1):
            estimate, state = light.step(part, state)
            parts.append(estimate)
        torch.testing.assert_close(torch.cat(parts, dim=-1), light(spectrum), atol=1e-5, rtol=0)


def test_real_and_imaginary_parts_suffice() -> None:
    spectrum = spectra(20)
    light = model(SMALL)
    parts = torch.view_as_real(spectrum).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected, expected_state = light.step(spectrum, None)
        estimate, state = light.step_parts(parts, torch.zeros_like(expected_state))
    torch.testing.assert_close(
        torch.view_as_complex(estimate.movedim(1, -1).contiguous()), expected
    )
    torch.testing.assert_close(state, expected_state)
    assert expected_state.shape == (2, 2 * 257 * 2 + 2 * 6 * 4)


def test_silence_has_a_gradient() -> None:
    silence = torch.zeros(2, 257, 3, dtype=torch.complex64, requires_grad=True)
    model(SMALL)(silence).real.sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()


def test_it_masks_and_filters_as_the_formula_says() -> None:
    light, spectrum = model(SMALL), spectra(6)
    z: dict[str, torch.Tensor] = {}
    for name in ("low", "high"):
        layer = getattr(light.last.spread, name)
        layer.register_forward_hook(lambda _, __, output, name=name: z.update({name: output}))
    with torch.no_grad():
        estimate = light(spectrum)
    for b, k, t in np.ndindex(2, 256, 6):
        expected = 0j
        for age in range(3 if k < 64 else 1):
            # The last two channels are for the present frame, those before for the one before.
            tap = torch.complex(
                *(z["low"][b, 4 - 2 * age :, k] if k < 64 else z["high"][b, :, k - 64])[:2, t]
            )
            if t >= age:
                expected += complex(spectrum[b, k, t - age] * tap * tap.abs().tanh() / tap.abs())
        assert estimate[b, k, t].item() == pytest.approx(expected, abs=1e-5)
    assert not estimate[:, 256].any()


def test_masks_are_bounded_and_silence_stays() -> None:
    light, spectrum = model(SMALL), spectra(10)
    with torch.no_grad():
        for parameter in light.last.parameters():
            parameter.mul_(1000)
        louder = light(spectrum).abs() / (spectrum.abs() * (1 + 1e-5))
        assert (louder[:, 64:-1] <= 1).all()
        assert (louder[:, :64, 0] <= 1).all()
        assert light(torch.zeros_like(spectrum)).abs().max() == 0


def test_every_parameter_learns() -> None:
    light = model(SMALL).train()
    light(spectra(10)).abs().square().sum().backward()
    for name, parameter in light.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("change", [{"n_candidates": 0}, {"comb": "published"}])
def test_combs_can_be_changed(change: dict[str, object]) -> None:
    from dataclasses import asdict

    other = model(HarmonicLightConfig(**{**asdict(SMALL), **change}))
    assert other(spectra(10)).shape == (2, 257, 10)


def test_the_pitch_of_a_voice_is_seen_from_the_beginning() -> None:
    light = model()
    time = torch.arange(16000) / 16000
    voice = sum(torch.cos(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    found = light.integrate(light.transform.analyze(voice[None]))
    candidates = np.geomspace(60, 420, 120)
    pitches = candidates[found.significance[0, 0, 1:, 5:-5].argmax(dim=0).numpy()]
    np.testing.assert_allclose(pitches, 150, rtol=0.02)


@pytest.mark.parametrize(
    "change",
    [{"n_channels": 0}, {"n_features": 30}, {"n_candidates": -1}, {"n_blocks": 0}, {"n_cells": 0}],
)
def test_sizes_that_make_no_sense_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ParameterError, match=next(iter(change))):
        HarmonicLightConfig(**change)


@pytest.mark.slow
def test_it_overfits_four_mixtures() -> None:
    torch.manual_seed(0)
    time = torch.arange(4000) / 16000
    pitches = torch.tensor([[110.0], [150.0], [200.0], [260.0]])
    clean = sum(torch.cos(2 * np.pi * pitches * k * time) / k for k in range(1, 12))
    noisy = clean + clean.std() * torch.randn(4, 4000)
    network = Waveform(HarmonicLight())
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(220):
        loss = negative_si_snr(network(noisy), clean).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        gain = negative_si_snr(noisy, clean) - negative_si_snr(network.eval()(noisy), clean)
    assert gain.min() > 15
