"""The shipped networks: their size, their cards, and that they reduce noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmnmf import read_audio
from harmnmf.enhancement import Enhancer, load_model, shipped_models, si_sdr
from harmnmf.signal.audio import SAMPLE_RATE

SHIPPED = shipped_models()


@pytest.fixture(scope="module")
def loaded():
    """Network and metadata by name."""
    return {name: load_model(path) for name, path in SHIPPED.items()}


def test_files_are_small_and_have_cards_with_their_licences(loaded) -> None:
    assert list(SHIPPED) == ["harmonic-light", "harmonic-refinement"]
    assert sum(path.stat().st_size for path in SHIPPED.values()) < 3e6
    for name, path in SHIPPED.items():
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        for word in ("Licence", "Command", "Scores", "Limits"):
            assert f"**{word}" in card
        _, metadata = loaded[name]
        assert "Licence" in metadata["about"]
        assert f"See {name}.md" in metadata["about"]


def test_the_refinement_contains_the_default(loaded) -> None:
    default, _ = loaded["harmonic-light"]
    refining, _ = loaded["harmonic-refinement"]
    kept = refining.light.state_dict()
    for name, values in default.state_dict().items():
        assert torch.equal(kept[name], values), name


@pytest.mark.parametrize(
    ("name", "snr", "expected"),
    [
        ("harmonic-light", 0, 11.03),
        ("harmonic-light", 10, 6.73),
        ("harmonic-refinement", 0, 11.21),
        ("harmonic-refinement", 10, 6.31),
    ],
)
def test_each_reduces_noise_at_any_level(root, loaded, name: str, snr: int, expected) -> None:
    speech = read_audio(root / "tests" / "data" / "speech.flac", sample_rate=SAMPLE_RATE).samples
    noise = np.random.default_rng(0).normal(size=len(speech))
    noise *= np.linalg.norm(speech) / np.linalg.norm(noise) * 10 ** (-snr / 20)
    model, metadata = loaded[name]
    enhance = Enhancer(model, attenuation_limit=metadata["attenuation_limit"], device="cpu")
    before = si_sdr(speech, speech + noise)
    for gain, tolerance in ((1.0, 0.05), (0.05, 0.3)):
        after = si_sdr(speech, enhance(gain * (speech + noise), SAMPLE_RATE))
        assert after - before == pytest.approx(expected, abs=tolerance)
