"""The trained networks of the package: their size, their cards, and that they do what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmnmf import read_audio
from harmnmf.enhancement import Enhancer, shipped_models
from harmnmf.enhancement.metrics.scores import si_sdr
from harmnmf.enhancement.models.registry import load_model

SHIPPED = shipped_models()


def test_the_default_is_there() -> None:
    assert "harmonic-light" in SHIPPED
    assert sum(path.stat().st_size for path in SHIPPED.values()) < 3e6


@pytest.mark.parametrize("name", SHIPPED)
def test_each_has_a_card_with_its_licence(name: str) -> None:
    card = SHIPPED[name].with_suffix(".md").read_text(encoding="utf-8")
    for word in ("Licence", "Command", "Scores", "Limits"):
        assert f"**{word}" in card
    _, metadata = load_model(SHIPPED[name])
    assert "Licence" in metadata["about"]


def test_the_default_goes_first_as_it_is() -> None:
    default, _ = load_model(SHIPPED["harmonic-light"])
    refining, _ = load_model(SHIPPED["spectrum-attention-fusion"])
    kept = refining.light.state_dict()
    for name, values in default.state_dict().items():
        assert torch.equal(kept[name], values), name


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("snr", [0, 10])
def test_each_takes_noise_out_of_a_voice(root, name: str, snr: int) -> None:
    speech = read_audio(root / "tests" / "data" / "speech.flac", sample_rate=16_000).samples
    noise = np.random.default_rng(0).normal(size=len(speech))
    noise *= np.linalg.norm(speech) / np.linalg.norm(noise) * 10 ** (-snr / 20)
    enhance = Enhancer.load(name, device="cpu")
    enhanced = enhance(speech + noise, 16_000)
    assert si_sdr(speech, enhanced) > si_sdr(speech, speech + noise) + 3
    # At any level.
    soft = enhance(0.05 * (speech + noise), 16_000)
    assert si_sdr(speech, soft) > si_sdr(speech, speech + noise) + 3


def test_silence_and_impossible_rates() -> None:
    enhance = Enhancer.load("harmonic-light", device="cpu")
    assert not enhance(np.zeros(4800), 48_000).any()
    assert enhance(np.zeros((2, 144)), 48_000).shape == (2, 144)
