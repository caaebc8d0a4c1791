"""What the networks are trained for: modules from mixtures to the terms of a loss."""

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

# Processors that emulate bfloat16: it takes them several times as long, and LSTMs cannot be done.
_EMULATING = ("DEFAULT", "AVX2")


class Objective(nn.Module, ABC):
    """The terms of a loss, and their weights.

    Parameters
    ----------
    model : torch.nn.Module
        What is trained.
    weights : mapping of str to float
        Of the terms.
    low_precision : bool
        Whether the model works in bfloat16 where that is exact enough, and not emulated by the
        processor; losses never do.
    """

    def __init__(
        self, model: nn.Module, weights: Mapping[str, float], low_precision: bool = False
    ) -> None:
        super().__init__()
        self.waveform = Waveform(model)
        self.weights = weights
        self.low_precision = low_precision

    def precision(self, samples: torch.Tensor) -> torch.autocast:
        """Give the context that the model works in."""
        device = samples.device.type
        emulated = device == "cpu" and torch.backends.cpu.get_cpu_capability() in _EMULATING
        return torch.autocast(device, torch.bfloat16, enabled=self.low_precision and not emulated)

    @abstractmethod
    def forward(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the terms for samples, (batch, n_samples), by their names."""


class _SpeechObjective(Objective):
    """Clean samples, by `speech_loss`."""

    def forward(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        with self.precision(noisy):
            estimate = self.waveform(noisy)
        return speech_loss(estimate.float(), clean, noisy)


class _FusionObjective(Objective):
    """The two stages of spectrogram fusion, neither of which reaches the other's weights."""

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
    """Choose what a model is trained for.

    Parameters
    ----------
    model : torch.nn.Module
        Spectrogram fusion has losses of its own; all others have `speech_loss`.
    weights : mapping of str to float, optional
        Of terms of the loss, where they shall not have those that they usually have.
    low_precision : bool, default=False
        Whether the model works in bfloat16 where that is exact enough, and not emulated by the
        processor.

    Returns
    -------
    Objective
        A module that holds the model.

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
        usual: Mapping[str, float] = {"first_stage": 1.0, "second_stage": 1.0}
    else:
        kind, usual = _SpeechObjective, SPEECH_WEIGHTS
    if unknown := set(weights or {}) - set(usual):
        raise ParameterError(
            f"there is no term {', '.join(sorted(unknown))} in the loss; it has {', '.join(usual)}"
        )
    return kind(model, {**usual, **(weights or {})}, low_precision)
