"""Training loop of neural networks, which resumes from its checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from harmnmf.errors import FormatError, HarmnmfError, ParameterError
from harmnmf.storage.arrays import save_arrays

from .checkpoint import load_checkpoint, save_checkpoint

__all__ = ["train_network"]

_WARM_UP = 100  # steps
_LAST_RATE = 0.02  # relative to the peak learning rate
_WEIGHT_DECAY = 0.01
_MAX_GRADIENT_NORM = 5.0
_CHECKPOINT_SECONDS = 180.0
_FAILED_BATCH = "failed_batch.safetensors"

Batch = Mapping[str, torch.Tensor]


def train_network(
    network: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]],
    run: str | Path,
    *,
    kind: str,
    weights: Mapping[str, float],
    n_steps: int,
    learning_rate: float,
    averaging: float | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Train a network in place, resuming from a checkpoint in the folder if there is one.

    AdamW with a warm-up of 100 steps and cosine decay to a fiftieth of the peak learning rate. A
    checkpoint and a line of ``metrics.jsonl`` are written every three minutes, on an interrupt and
    at the end. If `torch.distributed` is initialised, gradients are averaged over the processes,
    and the first process writes.

    Parameters
    ----------
    network : torch.nn.Module
        Network to train; weights that require no gradient do not change.
    batches : callable
        Called with the number of steps done; returns an iterable of the remaining batches, each a
        mapping of names to tensors.
    loss : callable
        Called with the network and a batch; returns the terms of the loss by name.
    run : path-like
        Folder for the checkpoint and the metrics, created if missing.
    kind : str
        Kind of training, which a checkpoint must match.
    weights : mapping of str to float
        Weights of the loss terms.
    n_steps : int
        Number of steps, earlier ones included.
    learning_rate : float
        Peak learning rate.
    averaging : float, optional
        Decay of a moving average of the weights, smaller in the first steps. The averaged
        network is validated, and is the result.
    validate : callable, optional
        Called with the network before each checkpoint; returns numbers for ``metrics.jsonl``.
    progress : callable, optional
        Called with the number of steps done.

    Raises
    ------
    ParameterError
        If `n_steps` is not positive.
    HarmnmfError
        If the loss is not finite, or (FormatError) the checkpoint does not match the network.
    """
    if n_steps < 1:
        raise ParameterError(f"training needs at least one step, not {n_steps}")
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    training = _Training(network, run, kind, averaging)
    parallel = DistributedDataParallel(network) if distributed.is_initialized() else network
    network.train()
    saved = time.monotonic()
    first = training.n_done
    try:
        for batch in batches(first):
            terms = loss(parallel, batch)
            total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
            if not torch.isfinite(total):
                _save_failed_batch(run, training.n_done, batch)
                raise HarmnmfError(
                    f"{run}: the loss of step {training.n_done} is not finite; its batch is in "
                    f"{_FAILED_BATCH}"
                )
            training.step(total, learning_rate * _schedule(training.n_done, n_steps))
            training.recent.append({name: float(term.detach()) for name, term in terms.items()})
            if progress is not None:
                progress(training.n_done)
            if training.n_done == n_steps or time.monotonic() - saved > _CHECKPOINT_SECONDS:
                training.save(validate)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if training.recent:
            training.save(None)
        raise
    network.load_state_dict(training.result.state_dict())
    network.eval()


class _Training:
    """A network in training, with its optimiser, its average and the number of steps done."""

    def __init__(self, network: nn.Module, run: Path, kind: str, averaging: float | None) -> None:
        self.network, self.run, self.kind = network, run, kind
        self.optimizer = torch.optim.AdamW(
            [x for x in network.parameters() if x.requires_grad], weight_decay=_WEIGHT_DECAY
        )
        self.average: AveragedModel | None = None
        if averaging:
            self.average = AveragedModel(
                network, multi_avg_fn=_moving_average(averaging), use_buffers=True
            )
        self.n_done = 0
        self.recent: list[dict[str, float]] = []
        self.checkpoint = run / "checkpoint.safetensors"
        if self.checkpoint.exists():
            self._resume()

    @property
    def result(self) -> nn.Module:
        """Network that is validated and kept."""
        return self.average.module if self.average else self.network

    def step(self, loss: torch.Tensor, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT_NORM)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        self.n_done += 1

    def save(self, validate: Callable[[nn.Module], Mapping[str, float]] | None) -> None:
        """Write a line of metrics and a checkpoint."""
        if distributed.is_initialized() and distributed.get_rank() > 0:
            return
        metrics: dict[str, float] = {"step": self.n_done}
        for name in self.recent[0]:
            metrics[name] = float(np.mean([terms[name] for terms in self.recent]))
        if validate is not None:
            metrics.update(validate(self.result.eval()))
            self.network.train()
        with (self.run / "metrics.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(metrics) + "\n")
        metadata = {"kind": self.kind, "step": self.n_done}
        save_checkpoint(
            self.checkpoint, self.network, self.optimizer, metadata, average=self.average
        )
        self.recent.clear()

    def _resume(self) -> None:
        _, metadata = load_checkpoint(
            self.checkpoint, self.network, self.optimizer, kind=self.kind, average=self.average
        )
        step = metadata.get("step")
        if not isinstance(step, int) or step < 0:
            raise FormatError(
                f"{self.checkpoint}: a damaged checkpoint; remove it, or choose another place"
            )
        self.n_done = step


def _moving_average(decay: float) -> Callable[..., None]:
    def update(
        average: Sequence[torch.Tensor], current: Sequence[torch.Tensor], n_averaged: torch.Tensor
    ) -> None:
        n = float(n_averaged)
        share = 1 - min(decay, (1 + n) / (10 + n))
        for x, y in zip(average, current, strict=True):
            # The number of batches that batch normalisation has seen is an integer.
            x.lerp_(y, share) if x.is_floating_point() else x.copy_(y)

    return update


def _save_failed_batch(run: Path, step: int, batch: Batch) -> None:
    arrays = {name: x.detach().cpu().numpy() for name, x in batch.items()}
    save_arrays(run / _FAILED_BATCH, arrays, {"kind": "batch", "step": step})


def _schedule(step: int, n_steps: int) -> float:
    cosine = 0.5 * (1 + np.cos(np.pi * step / n_steps))
    return float(min(1.0, (step + 1) / _WARM_UP) * (_LAST_RATE + (1 - _LAST_RATE) * cosine))
