"""Training loop of neural networks, which resumes from its checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from harmnmf.errors import FormatError, HarmnmfError, ParameterError
from harmnmf.storage.arrays import save_arrays
from harmnmf.storage.files import make_folder, remove_leftovers
from harmnmf.validation import check_integer, check_number

from .checkpoint import load_checkpoint, save_checkpoint
from .metrics import is_metrics, write_metrics
from .settings import ADVICE

__all__ = ["METRICS", "forget_training", "has_checkpoint", "train_network"]

# The file of the metrics in a run's folder.
METRICS = "metrics.jsonl"

_WARM_UP = 100  # steps
_LAST_RATE = 0.02  # relative to the peak learning rate
_WEIGHT_DECAY = 0.01
_MAX_GRADIENT_NORM = 5.0
_CHECKPOINT_SECONDS = 180.0
_CHECKPOINT = "checkpoint.safetensors"
_FAILED_BATCH = "failed_batch.safetensors"

Batch = Mapping[str, torch.Tensor]


def has_checkpoint(run: Path) -> bool:
    """Tell whether there is a training to resume in a folder."""
    return (run / _CHECKPOINT).exists()


def forget_training(run: Path) -> None:
    """Remove the checkpoint and the metrics of a training, so that the next one starts anew."""
    for name in (_CHECKPOINT, METRICS, _FAILED_BATCH):
        (run / name).unlink(missing_ok=True)


def train_network(
    network: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]],
    run: str | Path,
    *,
    kind: str,
    settings: Mapping[str, Any],
    weights: Mapping[str, float],
    n_steps: int,
    learning_rate: float,
    averaging: float | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
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
    settings : mapping of str to JSON data
        What the result depends on beside the other parameters: data, random seeds, the network's
        configuration. A training is resumed with the same settings, weights, learning rate and
        averaging only; the number of steps may change.
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

    Returns
    -------
    int
        Number of steps of this call; 0 if the training was complete before.

    Raises
    ------
    ParameterError
        If a parameter is outside its domain, the training in the folder has other settings, or it
        has more steps than `n_steps`.
    HarmnmfError
        If the loss is not finite, a file cannot be written, or (FormatError) the checkpoint is
        damaged or does not match the network.
    """
    check_integer("n_steps", n_steps)
    check_number("learning_rate", learning_rate, above=0)
    for name, weight in weights.items():
        check_number(f"the weight of {name}", weight, 0)
    if averaging is not None:
        check_number("averaging", averaging, above=0, below=1)
    run = Path(run)
    make_folder(run)
    described = {
        **settings, "loss": dict(weights), "learning_rate": learning_rate, "averaging": averaging
    }  # fmt: skip
    # As the checkpoint gives them back: lists for tuples, and no numbers of NumPy.
    described = json.loads(json.dumps(described, default=float))
    if _is_first():
        remove_leftovers(run)
    if distributed.is_initialized():
        distributed.barrier()  # the first process may have removed a checkpoint
    training = _Training(network, run, kind, described, averaging)
    if training.n_done > n_steps:
        raise ParameterError(
            f"{run}: has been trained for {training.n_done} steps, more than {n_steps}; ask for "
            f"more steps, {ADVICE}"
        )
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
            if training.n_done < n_steps and time.monotonic() - saved > _CHECKPOINT_SECONDS:
                training.save(validate)
                saved = time.monotonic()
        # Without a step to do, a validation may have been interrupted.
        if training.recent or (validate is not None and not training.is_validated):
            training.save(validate)
    except KeyboardInterrupt:
        if training.recent and not training.is_stepping:
            training.save(None)
        raise
    network.load_state_dict(training.result.state_dict())
    network.eval()
    return training.n_done - first


class _Training:
    """A network in training, with its optimiser, its average and the number of steps done."""

    def __init__(
        self,
        network: nn.Module,
        run: Path,
        kind: str,
        settings: Mapping[str, Any],
        averaging: float | None,
    ) -> None:
        self.network, self.run, self.kind, self.settings = network, run, kind, settings
        self.optimizer = torch.optim.AdamW(
            [x for x in network.parameters() if x.requires_grad], weight_decay=_WEIGHT_DECAY
        )
        self.average: AveragedModel | None = None
        if averaging:
            self.average = AveragedModel(
                network, multi_avg_fn=_moving_average(averaging), use_buffers=True
            )
            for module in self.average.modules():
                if isinstance(module, nn.RNNBase):
                    module.flatten_parameters()  # a copy's weights do not lie together on a GPU
        self.n_done = 0
        self.is_stepping = self.is_validated = False
        self.recent: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self.checkpoint = run / _CHECKPOINT
        if has_checkpoint(run):
            self._resume()
        elif _is_first():
            (run / METRICS).unlink(missing_ok=True)

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
        # After an interrupt between the next lines, the state would be of no step.
        self.is_stepping = True
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        self.n_done += 1
        self.is_stepping = False

    def save(self, validate: Callable[[nn.Module], Mapping[str, float]] | None) -> None:
        """Write a checkpoint, and its line of metrics."""
        if not _is_first():
            self.recent.clear()
            return
        metrics: dict[str, float] = dict(self.metrics)
        if self.recent:
            names = self.recent[0]
            metrics = {name: float(np.mean([t[name] for t in self.recent])) for name in names}
        if validate is not None:
            metrics.update(validate(self.result.eval()))
            self.network.train()
        # JSON has neither NaN nor infinity.
        metrics = {name: float(x) for name, x in metrics.items() if math.isfinite(x)}
        metrics["step"] = self.n_done
        metadata = {
            "kind": self.kind,
            "step": self.n_done,
            "settings": self.settings,
            "metrics": metrics,
            "validated": validate is not None,
        }
        # The checkpoint first: the metrics are made to agree with it when a training is resumed.
        save_checkpoint(
            self.checkpoint, self.network, self.optimizer, metadata, average=self.average
        )
        write_metrics(self.run / METRICS, metrics)
        self.metrics, self.is_validated = metrics, validate is not None
        self.recent.clear()

    def _resume(self) -> None:
        try:
            _, metadata = load_checkpoint(
                self.checkpoint,
                self.network,
                self.optimizer,
                kind=self.kind,
                average=self.average,
                settings=self.settings,
            )
            step, metrics = metadata.get("step"), metadata.get("metrics")
            if not isinstance(step, int) or step < 1 or not is_metrics(metrics):
                raise FormatError("its step or its metrics are damaged")
        except FormatError as error:
            raise FormatError(
                f"{self.checkpoint}: cannot be resumed from ({error}); {ADVICE}"
            ) from error
        self.n_done, self.metrics = step, metrics
        self.is_validated = metadata.get("validated") is True
        if _is_first():
            write_metrics(self.run / METRICS, metrics)


def _is_first() -> bool:
    """Whether this is the process that writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


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
