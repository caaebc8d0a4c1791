"""Training of the note network on excerpts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harmnmf.device import low_precision, resolve_device
from harmnmf.errors import ParameterError
from harmnmf.training.batches import draw_batches
from harmnmf.training.loop import Batch, train_network
from harmnmf.validation import check_flag, check_integer

from .causal_network import CausalNetwork
from .excerpts import NoteExcerpt
from .features import UNIT_DB, FeatureSettings
from .network import NoteLogits, NoteNetwork

__all__ = ["note_loss", "train_note_network"]

# Weights of the loss terms: in a trained network, onsets make up half of the loss.
_WEIGHTS = {"onset": 1.0, "sounding": 0.1, "offset": 0.3, "velocity": 10.0, "pedal": 0.1}
# Standard deviations in dB of random gains: of an excerpt, of the bands of a coarse and of a fine
# equaliser (number of bands, deviation), and of the activations of a key.
_GAIN = 5.0
_EQUALISERS = ((8, 3.0), (98, 2.0))
_KEY_GAIN = 1.5
_AVERAGING = 0.999
_LEVELS = ("spectrum", "onset_spectrum", "activations")
_KIND = "note-training"


def note_loss(logits: NoteLogits, targets: NoteLogits) -> dict[str, torch.Tensor]:
    """Compute the terms of the loss by the names of the fields; targets are from 0 to 1.

    Binary cross entropies, and the squared error of velocities, are summed over keys and frames
    and divided by the number of onsets, so that dense music does not count for more.
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


def train_note_network(
    network: NoteNetwork | CausalNetwork,
    excerpts: Sequence[NoteExcerpt],
    run: str | Path,
    *,
    n_steps: int,
    learning_rate: float = 3e-3,
    batch_size: int = 4,
    n_frames: int = 256,
    augment: bool = True,
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Train a network in place; resume an earlier call with the same folder.

    Parameters
    ----------
    network : NoteNetwork or CausalNetwork
        The network; the heads of a causal one count equally.
    excerpts : sequence of NoteExcerpt
        Training data.
    run : path-like
        Folder of the checkpoint and the metrics, created if missing.
    n_steps : int
        Total number of steps.
    learning_rate : float, default=3e-3
        Peak learning rate.
    batch_size, n_frames : int
        Excerpts in a batch, and frames of each.
    augment : bool, default=True
        Whether levels get random gains and equalisers.
    seed : int, default=0
        Random seed. Each step has its own generator, so that a resumed training gives the same
        result as an uninterrupted one.
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
        If there are no excerpts, their features were measured with other settings than the
        network's, a parameter is outside its domain, or the folder holds another training.
    """
    check_integer("batch_size", batch_size)
    longest = network.config.delays[-1] if isinstance(network, CausalNetwork) else 0
    check_integer("n_frames", n_frames, longest + 1)  # each head must know a frame
    check_integer("n_steps", n_steps)
    check_integer("seed", seed, 0)
    check_flag("augment", augment)
    place = resolve_device(device)
    if not excerpts:
        raise ParameterError("training needs at least one excerpt")
    if any(excerpt.settings != network.settings for excerpt in excerpts):
        raise ParameterError(
            "the excerpts were measured with other settings than the network's; render them again"
        )

    def draw(step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        return _batch(network.settings, excerpts, rng, batch_size, n_frames, augment)

    return train_network(
        network.to(place),
        lambda first: draw_batches(draw, range(first, n_steps), place),
        _loss,
        run,
        kind=_KIND,
        settings={
            **(settings or {}),
            "excerpts": _describe(excerpts),
            "network": asdict(network.config),
            "batch_size": batch_size,
            "n_frames": n_frames,
            "augment": augment,
            "seed": seed,
        },
        weights=_WEIGHTS,
        n_steps=n_steps,
        learning_rate=learning_rate,
        averaging=_AVERAGING,
        validate=validate,
        progress=progress,
    )


def _describe(excerpts: Sequence[NoteExcerpt]) -> str:
    """Describe excerpts by their number, length, and a checksum of their notes."""
    n_frames = sum(excerpt.features.n_frames for excerpt in excerpts)
    n_notes = sum(len(excerpt.notes) for excerpt in excerpts)
    checksum = 0
    for excerpt in excerpts:
        for column in (excerpt.notes.onset, excerpt.notes.pitch):
            checksum = crc32(column.tobytes(), checksum)
    return f"{len(excerpts)} excerpts, {n_frames} frames, {n_notes} notes, checksum {checksum:08x}"


def _loss(network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    wanted = NoteLogits(*(batch[name] for name in NoteLogits._fields))
    with low_precision(wanted.onset.device.type):
        heads = network(*(batch[name] for name in _LEVELS))
    if isinstance(heads, NoteLogits):
        heads = [heads]
    losses = []
    for logits in heads:
        known = slice(logits.onset.shape[-1])  # a causal network does not know the last frames
        targets = NoteLogits(*(x[..., known] for x in wanted))
        losses.append(note_loss(NoteLogits(*(x.float() for x in logits)), targets))
    return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}


def _batch(
    settings: FeatureSettings,
    excerpts: Sequence[NoteExcerpt],
    rng: np.random.Generator,
    batch_size: int,
    n_frames: int,
    augment: bool,
) -> Batch:
    """Draw random frames of random excerpts."""
    inputs, wanted = [], []
    for index in rng.integers(len(excerpts), size=batch_size):
        excerpt = excerpts[index]
        features = excerpt.features
        start = rng.integers(max(1, features.n_frames - n_frames + 1))
        frames = slice(int(start), int(start) + n_frames)
        levels: Sequence[torch.Tensor] = settings.tensors(features[frames])
        if augment:
            levels = tuple(_augmented(levels, rng))
        missing = n_frames - levels[0].shape[-1]
        inputs.append([functional.pad(x, (0, missing)) for x in levels])
        wanted.append(
            [functional.pad(torch.from_numpy(x), (0, missing)) for x in excerpt.targets(frames)]
        )
    stacked = [torch.stack(same) for both in (inputs, wanted) for same in zip(*both, strict=True)]
    return dict(zip((*_LEVELS, *NoteLogits._fields), stacked, strict=True))


def _augmented(levels: Sequence[torch.Tensor], rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Apply random gains and equalisers to all levels above the floor."""
    n_bins, n_pitches = levels[0].shape[0], levels[2].shape[0]
    curve = np.zeros(n_bins)
    for n_bands, deviation in _EQUALISERS:
        centres = np.linspace(0, n_bins - 1, n_bands)
        curve += np.interp(np.arange(n_bins), centres, rng.normal(0, deviation, n_bands))
    gain = rng.normal(0, _GAIN)
    keys = rng.normal(gain, _KEY_GAIN, n_pitches)
    bins, rows = (torch.tensor(x / UNIT_DB, dtype=torch.float32) for x in (curve + gain, keys))
    for x, change in zip(levels, (bins[:, None], bins[:, None], rows[:, None, None]), strict=True):
        yield torch.where(x > 0, x + change, x).clamp_min(0)
