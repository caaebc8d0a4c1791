"""The loop that trains a network: what was interrupted goes on where it stopped."""

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

from .checkpoint import (
    load_checkpoint,
    load_weights,
    save_checkpoint,
    state_arrays,
    take_prefixed,
)  # fmt: skip

__all__ = ["train_network"]

_WARM_UP = 100  # steps
_LAST_RATE = 0.02  # of the learning rate
_CHECKPOINT_SECONDS = 180.0

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
    weight_decay: float = 0.01,
    largest_gradient: float = 5.0,
    averaging: float | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Train a network in place, from where an earlier call in the same folder stopped.

    AdamW; the learning rate rises over 100 steps and falls by a cosine to a fiftieth. A checkpoint
    is written every three minutes and on an interrupt, with a line of ``metrics.jsonl``. Where
    `torch.distributed` is initialised, gradients are averaged over the processes, and the first one
    writes.

    Parameters
    ----------
    network : torch.nn.Module
        What is trained, but for weights that require no gradient.
    batches : callable
        Called with the number of steps that are done; gives the batches of all others, each of
        them tensors by their names.
    loss : callable
        Called with the network and a batch; gives the terms of the loss by their names.
    run : path-like
        Folder of the checkpoint and the metrics, made if missing.
    kind : str
        Of the checkpoint: one of another kind is refused.
    weights : mapping of str to float
        Of the terms.
    n_steps : int
        Steps in all.
    learning_rate : float
        The highest.
    weight_decay : float, default=0.01
        Of AdamW.
    largest_gradient : float, default=5.0
        Norm that gradients are scaled down to.
    averaging : float, optional
        Decay of a moving average of the weights, less in the first steps, which is validated, and
        which the network has at the end.
    validate : callable, optional
        Called with the network before each checkpoint; gives numbers for ``metrics.jsonl``.
    progress : callable, optional
        Called with the number of steps done.

    Raises
    ------
    ParameterError
        If there are no steps.
    FormatError
        If the folder holds a checkpoint of another network, or a damaged one.
    HarmnmfError
        If the loss is not finite; the batch is saved.

    Examples
    --------
    >>> import tempfile
    >>> network = nn.Linear(1, 1)
    >>> def batches(first):
    ...     for step in range(first, 300):
    ...         x = torch.randn(32, 1, generator=torch.Generator().manual_seed(step))
    ...         yield {"x": x, "y": 3 * x}
    >>> def loss(network, batch):
    ...     return {"error": (network(batch["x"]) - batch["y"]).square().mean()}
    >>> with tempfile.TemporaryDirectory() as run:
    ...     train_network(network, batches, loss, run, kind="example", weights={"error": 1.0},
    ...                   n_steps=300, learning_rate=0.1)
    >>> round(network.weight.item(), 1)
    3.0
    """
    if n_steps < 1:
        raise ParameterError(f"training needs at least one step, not {n_steps}")
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    training = _Training(network, run, kind, learning_rate, weight_decay, averaging)
    parallel = DistributedDataParallel(network) if distributed.is_initialized() else network
    network.train()
    saved = time.monotonic()
    first = training.n_done
    try:
        for batch in batches(first):
            terms = loss(parallel, batch)
            total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
            if not torch.isfinite(total):
                _refuse(run, training.n_done, batch)
            training.step(
                total, learning_rate * _schedule(training.n_done, n_steps), largest_gradient
            )
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
    """A network, its optimiser, its average, and how far they are."""

    def __init__(
        self,
        network: nn.Module,
        run: Path,
        kind: str,
        learning_rate: float,
        weight_decay: float,
        averaging: float | None,
    ) -> None:
        self.network, self.run, self.kind = network, run, kind
        self.optimizer = torch.optim.AdamW(
            [x for x in network.parameters() if x.requires_grad],
            lr=learning_rate,
            weight_decay=weight_decay,
        )
        self.average = averaging and AveragedModel(
            network, multi_avg_fn=_moving_average(averaging), use_buffers=True
        )
        self.n_done = 0
        self.recent: list[dict[str, float]] = []
        self.checkpoint = run / "checkpoint.safetensors"
        if self.checkpoint.exists():
            self._resume()

    @property
    def result(self) -> nn.Module:
        """What is validated, and kept."""
        return self.average.module if self.average else self.network

    def step(self, loss: torch.Tensor, learning_rate: float, largest_gradient: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), largest_gradient)
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
        arrays = {}
        if self.average:
            arrays = {f"average.{name}": x for name, x in state_arrays(self.average).items()}
        metadata = {"kind": self.kind, "step": self.n_done}
        save_checkpoint(self.checkpoint, self.network, self.optimizer, metadata, arrays)
        self.recent.clear()

    def _resume(self) -> None:
        arrays, metadata = load_checkpoint(
            self.checkpoint, self.network, self.optimizer, kind=self.kind
        )
        try:
            self.n_done = int(metadata["step"])
            if self.n_done < 0:
                raise ValueError("no number of steps")
            if self.average:
                load_weights(self.average, take_prefixed(arrays, "average."))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"{self.checkpoint}: a checkpoint of another training, or damaged; remove it, or "
                "choose another place"
            ) from error


def _moving_average(decay: float) -> Callable[..., None]:
    def update(
        average: Sequence[torch.Tensor], current: Sequence[torch.Tensor], n_averaged: torch.Tensor
    ) -> None:
        n = float(n_averaged)
        share = 1 - min(decay, (1 + n) / (10 + n))
        for x, y in zip(average, current, strict=True):
            # Numbers of batches are no floats.
            x.lerp_(y, share) if x.is_floating_point() else x.copy_(y)

    return update


def _refuse(run: Path, step: int, batch: Batch) -> None:
    arrays = {name: x.detach().cpu().numpy() for name, x in batch.items()}
    save_arrays(run / "failed_batch.safetensors", arrays, {"kind": "batch", "step": step})
    raise HarmnmfError(
        f"{run}: the loss of step {step} is not finite; its batch is in failed_batch.safetensors"
    )


def _schedule(step: int, n_steps: int) -> float:
    cosine = 0.5 * (1 + np.cos(np.pi * step / n_steps))
    return float(min(1.0, (step + 1) / _WARM_UP) * (_LAST_RATE + (1 - _LAST_RATE) * cosine))
