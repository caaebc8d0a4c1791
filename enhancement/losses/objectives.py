"""Training objectives: modules that compute the terms of a loss from mixtures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn

from harmnmf.enhancement.models.spectrogram_fusion import SpectrogramFusion
from harmnmf.enhancement.transform import Waveform
from harmnmf.errors import ParameterError

from .fusion import multi_target_loss, tend_loss
from .speech import SPEECH_WEIGHTS, speech_loss

__all__ = ["Objective", "build_objective"]

# CPUs that emulate bfloat16 take several times as long, and cannot run LSTMs in it.
_EMULATING = ("DEFAULT", "AVX2")


class Objective(nn.Module, ABC):
    """A model, and the terms of its loss with their weights.

    With `low_precision`, the model uses bfloat16 by autocast unless the CPU would emulate it; the
    loss never does.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, float], low_precision: bool) -> None:
        super().__init__()
        self.waveform = Waveform(model)
        self.weights = weights
        self.low_precision = low_precision

    def precision(self, samples: torch.Tensor) -> torch.autocast:
        """Autocast context in which the model runs."""
        device = samples.device.type
        emulated = device == "cpu" and torch.backends.cpu.get_cpu_capability() in _EMULATING
        return torch.autocast(device, torch.bfloat16, enabled=self.low_precision and not emulated)

    @abstractmethod
    def forward(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        """Terms of the loss by name, from samples (batch, n_samples)."""


class _SpeechObjective(Objective):
    """Objective of networks that estimate clean speech: `speech_loss`."""

    def forward(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        with self.precision(noisy):
            estimate = self.waveform(noisy)
        return speech_loss(estimate.float(), clean, noisy)


class _FusionObjective(Objective):
    """Objective of spectrogram fusion: the losses of its two stages."""

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
    """Build the training objective of a model.

    Parameters
    ----------
    model : torch.nn.Module
        Spectrogram fusion has losses of its own; all others have `speech_loss`.
    weights : mapping of str to float, optional
        Weights of terms of the loss that replace the defaults.
    low_precision : bool, default=False
        Whether the model runs in bfloat16 by autocast, unless the CPU would emulate it.

    Returns
    -------
    Objective
        Module that holds the model.

    Raises
    ------
    ParameterError
        If there is no such term.

    Examples
    --------
    >>> from harmnmf.enhancement.models.registry import build_model
    >>> build_objective(build_model("harmonic-light"), {"perceptual": 0.0}).weights["perceptual"]
    0.0
    """
    if isinstance(model, SpectrogramFusion):
        kind: type[Objective] = _FusionObjective
        defaults: Mapping[str, float] = {"first_stage": 1.0, "second_stage": 1.0}
    else:
        kind, defaults = _SpeechObjective, SPEECH_WEIGHTS
    weights = weights or {}
    if unknown := weights.keys() - defaults.keys():
        raise ParameterError(
            f"the loss has no term {', '.join(sorted(unknown))}; choose from {', '.join(defaults)}"
        )
    return kind(model, {**defaults, **weights}, low_precision)
