"""Harmonic Light: its size, its stream, and the equations of its parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import build, spectra
from torch.utils.flop_counter import FlopCounterMode

from harmnmf.enhancement import HarmonicLight


@torch.no_grad()
def test_size_is_as_documented() -> None:
    model = HarmonicLight().eval()
    n_parameters = sum(weights.numel() for weights in model.parameters())
    assert f"{n_parameters / 1000:.0f} thousand parameters" in HarmonicLight.__doc__
    with FlopCounterMode(display=False) as counter:
        model(spectra(125, 1))  # two seconds
    assert counter.get_total_flops() / 2 <= 2 * 100e6


@torch.no_grad()
def test_streams_equal_the_whole() -> None:
    model, spectrum = build("harmonic-light"), spectra(20)
    parts, state = [], None
    for part in spectrum.split((3, 1, 9, 1, 6), dim=-1):
        estimate, state = model.step(part, state)
        parts.append(estimate)
    torch.testing.assert_close(torch.cat(parts, dim=-1), model(spectrum), atol=1e-5, rtol=0)


@torch.no_grad()
def test_output_is_a_filter_below_2_khz_and_a_mask_above() -> None:
    model, spectrum = build("harmonic-light"), spectra(6)
    z: dict[str, torch.Tensor] = {}
    for name in ("low", "high"):
        layer = getattr(model.last.spread, name)
        layer.register_forward_hook(lambda _, __, output, name=name: z.update({name: output}))
    estimate = model(spectrum)
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


@torch.no_grad()
def test_untrained_weights_detect_pitch() -> None:
    model = HarmonicLight().eval()
    time = torch.arange(16000) / 16000
    voice = sum(torch.cos(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    found = model.integrate(model.transform.analyze(voice[None]))
    pitches = model.candidates[found.significance[0, 0, 1:, 5:-5].argmax(dim=0).numpy()]
    np.testing.assert_allclose(pitches, 150, rtol=0.02)
    assert (model.candidates.min(), model.candidates.max()) == pytest.approx((60, 420))
