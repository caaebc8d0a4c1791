"""Training of a small network on tones in noise, also as a script for several processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_networks import build

from harmnmf.enhancement.mixtures.mixing import Mixture
from harmnmf.enhancement.mixtures.speech import Mixtures
from harmnmf.enhancement.training import several_processes, train_enhancement
from harmnmf.signal.audio import SAMPLE_RATE


class Tones(Mixtures):
    """Harmonic tones in white noise."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(duration=0.5, seed=seed)

    def _mix(self, rng: np.random.Generator) -> Mixture:
        time = np.arange(self.n_samples) / SAMPLE_RATE
        f0 = rng.uniform(100, 300)
        tone = sum(np.cos(2 * np.pi * k * f0 * time) for k in range(1, 9))
        clean = np.float32(0.05 * tone)
        return Mixture(clean + rng.normal(0, 0.1, len(clean)).astype(np.float32), clean)


def train(run: Path, n_steps: int, validation: Mixtures | None = None, **options: Any) -> Any:
    model = build("harmonic-light", n_channels=8, n_features=8).train()
    defaults = {"batch_size": 2, "n_validation": 6, "n_workers": 0, "device": "cpu"}
    train_enhancement(
        model, Tones(), validation or Tones(1), run, n_steps=n_steps, **{**defaults, **options}
    )
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    with several_processes():
        train(Path(sys.argv[1]), 3)
