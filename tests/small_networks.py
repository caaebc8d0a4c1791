"""Small enhancement networks with random weights, and spectra for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harmnmf.enhancement.models.registry import build_model

SMALL: dict[str, dict[str, Any]] = {
    "harmonic-light": {
        "n_channels": 4, "n_bands": 6, "n_features": 4, "n_heads": 2, "n_blocks": 2, "n_cells": 3,
        "n_candidates": 12,
    },
    "harmonic-attention": {"n_channels": (4, 4)},
    "harmonic-refinement": {"n_channels": 8, "n_blocks": 2},
    "spectrum-attention-fusion": {
        "n_fft": 40, "hop_length": 10, "n_channels": 8, "n_blocks": 2, "n_heads": 2,
        "time_dilations": (1, 2),
    },
    "spectrogram-fusion": {"lstm_size": 8, "n_lstm_layers": 1, "hidden_size": 12, "n_heads": 3},
}  # fmt: skip


def build(name: str, **config: Any) -> Any:
    """Build a small network in evaluation mode."""
    torch.manual_seed(0)
    return build_model(name, **{**SMALL[name], **config}).eval()


def randomized(module: nn.Module, std: float = 0.5) -> nn.Module:
    """Draw all weights, because the effect of an initial 0 or 1 would not be seen."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module.eval()


def spectra(n_frames: int = 12, n_batch: int = 2, n_bins: int = 257, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_batch, n_bins, n_frames, dtype=torch.complex64, generator=generator)
