"""Training of the network of beats on excerpts of simulated performances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harmnmf.device import resolve_device
from harmnmf.errors import ParameterError
from harmnmf.score.beats.network import BeatLogits, BeatNetwork
from harmnmf.training.batches import draw_batches
from harmnmf.training.loop import Batch, train_network
from harmnmf.validation import check_integer

from .beat_excerpts import BeatExcerpt, transposed

__all__ = ["beat_loss", "stacked", "train_beat_network"]

_WEIGHTS = {"beat": 1.0, "downbeat": 1.0, "between": 0.3, "period": 0.15, "beats_a_bar": 0.2}
_AVERAGING = 0.999
_KIND = "beat-training"
_TRANSPOSITIONS = 6  # semitones up or down


def beat_loss(logits: BeatLogits, batch: Batch) -> dict[str, torch.Tensor]:
    """Compute the terms of the loss, means over the onsets, by the names of the fields.

    Binary cross entropies of beats and downbeats, that of a Poisson distribution for the number of
    beats between onsets, and cross entropies of the classes.
    """
    valid = batch["valid"]
    n = valid.sum().clamp(min=1)

    def mean(losses: torch.Tensor) -> torch.Tensor:
        return (losses * valid).sum() / n

    lower = batch["period"].long().clamp(max=logits.period.shape[1] - 2)
    share = batch["period"] - lower
    period = functional.log_softmax(logits.period, 1)
    below, above = (period.gather(1, (lower + i)[:, None])[:, 0] for i in (0, 1))
    return {
        **{
            name: mean(
                functional.binary_cross_entropy_with_logits(
                    getattr(logits, name), batch[name], reduction="none"
                )
            )
            for name in ("beat", "downbeat")
        },
        "between": mean(
            functional.poisson_nll_loss(logits.between, batch["between"], reduction="none")
        ),
        "period": mean(-(1 - share) * below - share * above),
        "beats_a_bar": mean(
            functional.cross_entropy(
                logits.beats_a_bar, batch["beats_a_bar"], ignore_index=-1, reduction="none"
            )
        ),
    }


def train_beat_network(
    network: BeatNetwork,
    excerpts: Sequence[BeatExcerpt],
    run: str | Path,
    *,
    n_steps: int,
    learning_rate: float = 2e-3,
    batch_size: int = 32,
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Train a network in place; resume an earlier call with the same folder.

    Parameters
    ----------
    network : BeatNetwork
        The network.
    excerpts : sequence of BeatExcerpt
        Training data, all of one length.
    run : path-like
        Folder of the checkpoint and the metrics, created if missing.
    n_steps : int
        Total number of steps.
    learning_rate : float, default=2e-3
        Peak learning rate.
    batch_size : int, default=32
        Excerpts in a batch.
    seed : int, default=0
        Random seed. Each step has its own generator, so that a resumed training draws the same
        batches as an uninterrupted one.
    device : str, default="auto"
        PyTorch device, on which the network stays.
    settings : mapping of str to JSON data, optional
        What the excerpts and the initial weights were made from. An earlier call is resumed only
        if these and all other parameters but `n_steps` and `device` are the same.
    validate, progress : callable, optional
        As in :func:`harmnmf.training.loop.train_network`.

    Returns
    -------
    int
        Number of steps of this call; 0 if the training was complete before.

    Raises
    ------
    ParameterError
        If there are no excerpts, a parameter is outside its domain, or the folder holds another
        training.
    """
    check_integer("batch_size", batch_size)
    check_integer("n_steps", n_steps)
    check_integer("seed", seed, 0)
    place = resolve_device(device)
    if not excerpts:
        raise ParameterError("training needs at least one excerpt")

    def generator(step: int) -> tuple[int, np.random.Generator]:
        """Random seed of the dropout, and the generator of the batch."""
        rng = np.random.default_rng([seed, step])
        return int(rng.integers(2**31)), rng

    def batches(first: int) -> Iterator[Batch]:
        steps = range(first, n_steps)
        drawn = draw_batches(
            lambda step: _batch(excerpts, generator(step)[1], batch_size), steps, place
        )
        for step, batch in zip(steps, drawn, strict=True):
            torch.manual_seed(generator(step)[0])
            yield batch

    return train_network(
        network.to(place),
        batches,
        lambda network, batch: beat_loss(network(batch["features"]), batch),
        run,
        kind=_KIND,
        settings={
            **(settings or {}),
            "excerpts": len(excerpts),
            "network": asdict(network.config),
            "batch_size": batch_size,
            "seed": seed,
        },
        weights=_WEIGHTS,
        n_steps=n_steps,
        learning_rate=learning_rate,
        averaging=_AVERAGING,
        validate=validate,
        progress=progress,
    )


def stacked(excerpts: Sequence[BeatExcerpt], shifts: Sequence[int] | None = None) -> Batch:
    """Stack excerpts of one length, each transposed by some semitones if asked."""
    features = [
        transposed(excerpt.features, shift)
        for excerpt, shift in zip(excerpts, shifts or [0] * len(excerpts), strict=True)
    ]
    columns = {
        name: torch.from_numpy(np.stack([getattr(excerpt, name) for excerpt in excerpts]))
        for name in BeatExcerpt._fields[1:]
    }
    return {"features": torch.from_numpy(np.stack(features)), **columns}


def _batch(excerpts: Sequence[BeatExcerpt], rng: np.random.Generator, batch_size: int) -> Batch:
    """Draw random excerpts, each in a random key."""
    chosen = [excerpts[index] for index in rng.integers(len(excerpts), size=batch_size)]
    return stacked(chosen, rng.integers(-_TRANSPOSITIONS, _TRANSPOSITIONS + 1, batch_size).tolist())
