"""Training of enhancement networks on mixtures generated on the fly."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, Dataset

from harmnmf.device import resolve_device
from harmnmf.enhancement.losses.objectives import Objective, build_objective
from harmnmf.enhancement.metrics.scores import si_sdr
from harmnmf.enhancement.mixtures.mixing import Mixture
from harmnmf.enhancement.mixtures.speech import Mixtures
from harmnmf.training.loop import Batch, train_network
from harmnmf.validation import check_choice, check_integer

__all__ = ["several_processes", "train_enhancement"]

_PRECISIONS = ("auto", "float32", "bfloat16")
_KIND = "enhancement-training"
_AVERAGING = 0.998


def train_enhancement(
    model: nn.Module,
    training: Mixtures,
    validation: Mixtures,
    run: str | Path,
    *,
    n_steps: int,
    batch_size: int = 16,
    learning_rate: float = 2e-3,
    weights: Mapping[str, float] | None = None,
    precision: str = "auto",
    n_validation: int = 48,
    n_workers: int = 1,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Train a model in place, resuming from the checkpoint in the folder if there is one.

    See `harmnmf.training.loop.train_network`; the weights are averaged over steps. With several
    processes (`several_processes`), each takes its share of the mixtures of a step.

    Parameters
    ----------
    model : torch.nn.Module
        Network from complex spectra to complex spectra, with a `transform`.
    training, validation : Mixtures
        Mixtures to train on, and to validate on.
    run : path-like
        Folder of the checkpoint and of ``metrics.jsonl``.
    n_steps : int
        Total number of steps.
    batch_size : int, default=16
        Mixtures per step and process.
    learning_rate : float, default=2e-3
        Peak learning rate.
    weights : mapping of str to float, optional
        Weights of terms of the loss that replace the defaults.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the model: "auto" is bfloat16 on a GPU and float32 on a CPU. CPUs without
        instructions for bfloat16 use float32.
    n_validation : int, default=48
        Mixtures to validate on, from the first.
    n_workers : int, default=1
        Processes that make mixtures; 0 to make them in the training process.
    device : str, default="auto"
        PyTorch device.
    settings : mapping of str to JSON data, optional
        What the initial weights were made from. An earlier call is resumed only if these and all
        other parameters but `n_steps`, `n_validation`, `n_workers` and `device` are the same; with
        several processes, the mixtures per step.
    progress : callable, optional
        As in `harmnmf.training.loop.train_network`.

    Returns
    -------
    int
        Number of steps of this call; 0 if the training was complete before.

    Raises
    ------
    ParameterError
        If a parameter is out of range, or the folder holds another training.
    FormatError
        If the checkpoint is damaged.
    HarmnmfError
        If the loss is not finite; the batch is saved.
    """
    check_integer("n_steps", n_steps)
    check_integer("batch_size", batch_size)
    check_integer("n_validation", n_validation)
    check_integer("n_workers", n_workers, 0)
    check_choice("precision", precision, _PRECISIONS)
    place = resolve_device(device)
    low_precision = precision == "bfloat16" or (precision == "auto" and place.type == "cuda")
    objective = build_objective(model, weights, low_precision=low_precision).to(place)
    held_out: list[Mixture] = list(
        DataLoader(cast("Dataset[Mixture]", validation), batch_size, sampler=range(n_validation))
    )
    rank, n_processes = 0, 1
    if distributed.is_initialized():
        rank, n_processes = distributed.get_rank(), distributed.get_world_size()

    in_a_step = batch_size * n_processes

    def batches(first: int) -> Iterator[Batch]:
        loader = DataLoader(
            cast("Dataset[Mixture]", training),
            batch_size,
            sampler=range(first * in_a_step + rank, n_steps * in_a_step, n_processes),
            num_workers=n_workers,
            pin_memory=place.type == "cuda",
        )
        for mixture in loader:
            yield {name: x.to(place, non_blocking=True) for name, x in mixture._asdict().items()}

    return train_network(
        objective,
        batches,
        lambda objective, batch: objective(**batch),
        run,
        kind=_KIND,
        settings={
            "model": type(model).__name__,
            "parameters": asdict(model.config),  # type: ignore[call-overload]
            **(settings or {}),
            "training": training.settings,
            "validation": validation.settings,
            "batch_size": in_a_step,
            "precision": precision,
        },
        weights=objective.weights,
        n_steps=n_steps,
        learning_rate=learning_rate,
        averaging=_AVERAGING,
        validate=lambda objective: _validate(objective, held_out, place),
        progress=progress,
    )


@contextmanager
def several_processes() -> Iterator[bool]:
    """Join the processes started by `torchrun`, if any.

    Yields whether this is the first process, which writes and reports.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        with warnings.catch_warnings():
            # Raised for kernels of one tap, whose strides do not matter.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield distributed.get_rank() == 0
    finally:
        distributed.destroy_process_group()


@torch.no_grad()
def _validate(
    objective: nn.Module, held_out: list[Mixture], place: torch.device
) -> dict[str, float]:
    """Mean terms of the loss, and the mean gain in SI-SDR of mixtures of speech and noise."""
    assert isinstance(objective, Objective)
    terms: dict[str, float] = {}
    gains: list[float] = []
    n_validation = sum(len(mixture.noisy) for mixture in held_out)
    for mixture in held_out:
        noisy, clean = (torch.as_tensor(x).to(place) for x in mixture)
        for name, term in objective(noisy, clean).items():
            share = len(noisy) / n_validation
            terms[f"validation_{name}"] = terms.get(f"validation_{name}", 0.0) + share * float(term)
        samples = (x.cpu().numpy() for x in (objective.waveform(noisy), noisy, clean))
        for after, before, reference in zip(*samples, strict=True):
            if reference.any() and (before != reference).any():
                gains.append(si_sdr(reference, after) - si_sdr(reference, before))
    return {**terms, "si_sdr_gain": sum(gains) / max(1, len(gains))}
