"""Training of the learned decoder's network on excerpts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .checkpoint import load_checkpoint, save_checkpoint
from .errors import HarmnmfError, ParameterError
from .note_excerpts import NoteExcerpt
from .note_network import NoteLogits, NoteNetwork, NoteProbabilities
from .storage import save_arrays

__all__ = ["note_loss", "train_network"]

# Weights of the terms of the loss: in a trained network, onsets make up half of it.
_WEIGHTS = {"onset": 1.0, "sounding": 0.1, "offset": 0.3, "velocity": 10.0, "pedal": 0.1}
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 5.0
_WARM_UP = 100  # steps
_LAST_RATE = 0.02  # of the learning rate
# Decibels: standard deviations of an excerpt's gain and of its equaliser, and the bands of that.
_GAIN, _EQUALISER, _N_BANDS = 5.0, 3.0, 8
_DECIBELS = 20.0  # in a unit of the levels
_CHECKPOINT_SECONDS = 180.0
_KIND = "note-training"


def note_loss(logits: NoteLogits, targets: NoteLogits) -> dict[str, torch.Tensor]:
    """Measure how wrong a network is.

    Binary cross entropies, and the squared error of velocities, added up over keys and frames
    and divided by the frames' worth of onsets, so that dense music does not count for more.

    Parameters
    ----------
    logits : NoteLogits
        What the network says.
    targets : NoteLogits
        What it shall say, from 0 to 1, in the same fields and shapes.

    Returns
    -------
    dict
        Terms by the names of the fields.

    Examples
    --------
    >>> targets = NoteLogits(*torch.zeros(4, 1, 88, 50), torch.zeros(1, 50))
    >>> wrong, right = (NoteLogits(*(x + level for x in targets)) for level in (9.0, -9.0))
    >>> all(note_loss(right, targets)[name] <= loss for name, loss in
    ...     note_loss(wrong, targets).items())
    True
    """
    n_onsets = targets.onset.sum() + 1
    terms = {
        name: functional.binary_cross_entropy_with_logits(
            getattr(logits, name), getattr(targets, name), reduction="sum"
        )
        for name in ("onset", "sounding", "offset", "pedal")
    }
    error = torch.sigmoid(logits.velocity) - targets.velocity
    terms["velocity"] = (targets.onset * error**2).sum()
    return {name: term / n_onsets for name, term in terms.items()}


def train_network(
    network: NoteNetwork,
    excerpts: Sequence[NoteExcerpt],
    run: str | Path,
    *,
    n_steps: int,
    learning_rate: float = 3e-3,
    batch_size: int = 4,
    n_frames: int = 200,
    augment: bool = True,
    seed: int = 0,
    validate: Callable[[NoteNetwork], dict[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Train a network in place, from where an earlier call in the same folder stopped.

    AdamW; the learning rate rises over 100 steps and falls by a cosine to a fiftieth. A
    checkpoint is written every three minutes, with a line of ``metrics.jsonl``.

    Parameters
    ----------
    network : NoteNetwork
        What is trained.
    excerpts : sequence of NoteExcerpt
        What it is trained on.
    run : path-like
        Folder of the checkpoint and the metrics, made if missing.
    n_steps : int
        Steps in all.
    learning_rate : float, default=3e-3
        The highest.
    batch_size, n_frames : int
        Excerpts in a step, and frames that are cut out of each.
    augment : bool, default=True
        Whether levels get a random gain and a random smooth equaliser.
    seed : int, default=0
        Of the choice of excerpts. Each step has a generator of its own: a training that was
        interrupted continues as it would have.
    validate : callable, optional
        Called with the network before each checkpoint; gives numbers for ``metrics.jsonl``.
    progress : callable, optional
        Called with the number of steps done.

    Raises
    ------
    ParameterError
        If there are no excerpts or no steps.
    FormatError
        If the folder holds a checkpoint of another network, or a damaged one.
    HarmnmfError
        If the loss is not finite; the batch is saved.
    """
    if not excerpts or n_steps < 1:
        raise ParameterError("training needs at least one excerpt and one step")
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.npz"
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY
    )
    first = 0
    if checkpoint.exists():
        _, description = load_checkpoint(checkpoint, network, optimizer, kind=_KIND)
        first = int(description["step"])
    targets = [excerpt.targets() for excerpt in excerpts]
    network.train()
    recent: list[dict[str, float]] = []
    saved = time.monotonic()
    for step in range(first, n_steps):
        inputs, wanted = _batch(
            excerpts, targets, np.random.default_rng([seed, step]), batch_size, n_frames, augment
        )
        terms = note_loss(network(*inputs), wanted)
        loss = torch.stack([_WEIGHTS[name] * term for name, term in terms.items()]).sum()
        if not torch.isfinite(loss):
            names = ("spectrum", "onset_spectrum", "activations")
            batch = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
            save_arrays(run / "failed_batch.npz", batch, {"kind": "batch", "step": step})
            raise HarmnmfError(
                f"{run}: the loss of step {step} is not finite; its batch is in failed_batch.npz"
            )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _schedule(step, n_steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        recent.append({name: float(term.detach()) for name, term in terms.items()})
        if progress is not None:
            progress(step + 1)
        if step + 1 == n_steps or time.monotonic() - saved > _CHECKPOINT_SECONDS:
            metrics: dict[str, float] = {
                "step": step + 1,
                **{name: float(np.mean([terms[name] for terms in recent])) for name in _WEIGHTS},
            }
            if validate is not None:
                network.eval()
                metrics.update(validate(network))
                network.train()
            with (run / "metrics.jsonl").open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(metrics) + "\n")
            save_checkpoint(checkpoint, network, optimizer, {"kind": _KIND, "step": step + 1})
            recent.clear()
            saved = time.monotonic()
    network.eval()


def _schedule(step: int, n_steps: int) -> float:
    cosine = 0.5 * (1 + np.cos(np.pi * step / n_steps))
    return float(min(1.0, (step + 1) / _WARM_UP) * (_LAST_RATE + (1 - _LAST_RATE) * cosine))


def _batch(
    excerpts: Sequence[NoteExcerpt],
    targets: Sequence[NoteProbabilities],
    rng: np.random.Generator,
    batch_size: int,
    n_frames: int,
    augment: bool,
) -> tuple[list[torch.Tensor], NoteLogits]:
    """Cut frames out of random excerpts."""
    inputs, wanted = [], []
    for index in rng.integers(len(excerpts), size=batch_size):
        features = excerpts[index].features
        start = rng.integers(max(1, features.n_frames - n_frames + 1))
        frames = slice(int(start), int(start) + n_frames)
        levels: Sequence[torch.Tensor] = features[frames].tensors()
        if augment:
            levels = tuple(_augmented(levels, rng))
        missing = n_frames - levels[0].shape[-1]
        inputs.append([functional.pad(x, (0, missing)) for x in levels])
        wanted.append(
            [functional.pad(torch.from_numpy(x[..., frames]), (0, missing)) for x in targets[index]]
        )
    stacked = (torch.stack(same) for same in zip(*wanted, strict=True))
    return [torch.stack(same) for same in zip(*inputs, strict=True)], NoteLogits(*stacked)


def _augmented(levels: Sequence[torch.Tensor], rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Change the gain, and that of smooth bands; what is at the floor stays there."""
    n_bins = levels[0].shape[0]
    centres = np.linspace(0, n_bins - 1, _N_BANDS)
    curve = np.interp(np.arange(n_bins), centres, rng.normal(0, _EQUALISER, _N_BANDS))
    gain = torch.tensor(rng.normal(0, _GAIN) / _DECIBELS, dtype=torch.float32)
    bins = gain + torch.tensor(curve[:, None] / _DECIBELS, dtype=torch.float32)
    for x, change in zip(levels, (bins, bins, gain), strict=True):
        yield torch.where(x > 0, x + change, x).clamp_min(0)
