"""Training of a causal network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_streams import CONFIG, PITCHES, SETTINGS

from harmnmf import NoteList, ParameterError
from harmnmf.decoder.causal_network import CausalNetwork
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.features import NoteFeatures
from harmnmf.decoder.network import NoteLogits
from harmnmf.decoder.training import note_loss, train_note_network

HOP = 0.02
N_FRAMES = 60


def excerpt(late: tuple[float, ...] = ()) -> NoteExcerpt:
    """An excerpt whose activations show its notes, and further notes that they do not show."""
    rng = np.random.default_rng(0)
    onsets = np.array([0.1, 0.26, 0.4, 0.52, 0.7, 0.85])
    pitches = rng.permutation(PITCHES)[: len(onsets)]
    activations = np.zeros((len(PITCHES), SETTINGS.n_inputs, N_FRAMES), np.uint8)
    for pitch, onset in zip(pitches, onsets, strict=True):
        frame = round(onset / HOP)
        activations[pitch - PITCHES[0], 0, frame] = 180
        activations[pitch - PITCHES[0], 1, frame : frame + 5] = 150
    levels = rng.integers(0, 40, (120, N_FRAMES), np.uint8)
    start = np.append(onsets, late)
    notes = NoteList(start, start + 0.1, [*pitches, *PITCHES[: len(late)]], np.full(len(start), 80))
    return NoteExcerpt(NoteFeatures(levels, levels, activations), notes, HOP, SETTINGS)


def train(
    run: Path, one: NoteExcerpt, n_steps: int, delays: tuple[int, ...], n_frames: int = N_FRAMES
) -> CausalNetwork:
    torch.manual_seed(0)
    network = CausalNetwork(replace(CONFIG, n_channels=8, delays=delays), settings=SETTINGS)
    train_note_network(
        network, [one], run, n_steps=n_steps, batch_size=1, n_frames=n_frames, augment=False,
        learning_rate=0.03, device="cpu",
    )  # fmt: skip
    return network.eval()


def head_losses(network: CausalNetwork, one: NoteExcerpt) -> list[float]:
    """Loss of the onsets of each head in the frames that it knows."""
    with torch.no_grad():
        heads = network(*(x[None] for x in SETTINGS.tensors(one.features)))
    losses = []
    for logits in heads:
        known = slice(logits.onset.shape[-1])
        targets = NoteLogits(*(torch.from_numpy(x)[None, ..., known] for x in one.targets()))
        losses.append(float(note_loss(logits, targets)["onset"]))
    return losses


def test_all_heads_learn_an_excerpt(tmp_path: Path) -> None:
    one, delays = excerpt(), (0, 4)
    before = CausalNetwork(replace(CONFIG, n_channels=8, delays=delays), settings=SETTINGS).eval()
    network = train(tmp_path, one, 40, delays)
    for old, new in zip(head_losses(before, one), head_losses(network, one), strict=True):
        assert new < 0.8 * old


def test_what_a_head_does_not_know_yet_is_no_loss(tmp_path: Path) -> None:
    # The target of an onset begins two frames before it.
    late = (N_FRAMES - 7) * HOP, (N_FRAMES - 5) * HOP
    delays = (10,)
    known, unknown = (
        train(tmp_path / str(len(notes)), excerpt(notes), 3, delays) for notes in ((), late)
    )
    for x, y in zip(known.parameters(), unknown.parameters(), strict=True):
        assert torch.equal(x, y)
    early = train(tmp_path / "early", excerpt(late), 3, (4,))
    reference = train(tmp_path / "reference", excerpt(), 3, (4,))
    assert any(
        not torch.equal(x, y)
        for x, y in zip(early.parameters(), reference.parameters(), strict=True)
    )


def test_each_head_must_know_a_frame(tmp_path: Path) -> None:
    train(tmp_path / "a", excerpt(), 1, (0, 9), n_frames=10)
    with pytest.raises(ParameterError, match="n_frames"):
        train(tmp_path / "b", excerpt(), 1, (0, 9), n_frames=9)
