"""Training objectives: modules that compute the terms of a loss from mixtures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from harmnmf.device import low_precision
from harmnmf.enhancement.models.spectrogram_fusion import SpectrogramFusion
from harmnmf.enhancement.transform import Waveform
from harmnmf.errors import ParameterError
from harmnmf.validation import check_number

from .fusion import multi_target_loss, tend_loss
from .speech import SPEECH_WEIGHTS, speech_loss

__all__ = ["Objective", "build_objective"]


class Objective(nn.Module):
    """A model, and the terms of its loss with their weights: by default, `speech_loss`.

    With `low_precision`, the model uses bfloat16 by autocast unless the CPU would emulate it; the
    loss never does.
    """

    default_weights: Mapping[str, float] = SPEECH_WEIGHTS

    def __init__(self, model: nn.Module, weights: Mapping[str, float], low_precision: bool) -> None:
        super().__init__()
        if unknown := weights.keys() - self.default_weights.keys():
            raise ParameterError(
                f"the loss has no term {', '.join(sorted(unknown))}; choose from"
                f" {', '.join(self.default_weights)}"
            )
        for name, weight in weights.items():
            check_number(f"the weight of {name}", weight, 0)
        self.waveform = Waveform(model)
        self.weights = {**self.default_weights, **weights}
        self.low_precision = low_precision

    def precision(self, samples: torch.Tensor) -> torch.autocast:
        """Autocast context in which the model runs."""
        return low_precision(samples.device.type, enabled=self.low_precision)

    def forward(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        """Terms of the loss by name, from samples (batch, n_samples)."""
        with self.precision(noisy):
            estimate = self.waveform(noisy)
        return speech_loss(estimate.float(), clean, noisy)


class _FusionObjective(Objective):
    """Objective of spectrogram fusion: the losses of its two stages."""

    default_weights: Mapping[str, float] = {"first_stage": 1.0, "second_stage": 1.0}

    def forward(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        model = self.waveform.model
        assert isinstance(model, SpectrogramFusion)
        with self.precision(noisy):
            outputs = model.estimate(model.transform.analyze(noisy))
        magnitudes = model.compress(model.transform.analyze(clean), outputs.level)
        return {
            "first_stage": multi_target_loss(outputs, magnitudes),
            "second_stage": tend_loss(outputs, magnitudes),
        }


def build_objective(
    model: nn.Module,
    weights: Mapping[str, float] | None = None,
    *,
    low_precision: bool = False,
) -> Objective:
    """Build the training objective of a model, with some of its weights replaced."""
    kind = _FusionObjective if isinstance(model, SpectrogramFusion) else Objective
    return kind(model, weights or {}, low_precision)
