"""Losses of spectrogram fusion: by hand, and which weights they train."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import build

from harmnmf.enhancement.losses.fusion import (
    minimum_difference_masks,
    multi_target_loss,
    tend_loss,
)
from harmnmf.enhancement.models.spectrogram_fusion import ATTENTIONS, FusionOutputs

# One bin and two frames: in the first the mapped estimate is nearer, in the second the masked one.
CLEAN = torch.tensor([[[1.0, 2.0]]])
OUTPUTS = FusionOutputs(
    mapped=torch.tensor([[[1.5, 0.0]]]),
    masked=torch.tensor([[[3.0, 1.0]]]),
    mask_mapped=torch.tensor([[[0.75, 0.5]]]),
    mask_masked=torch.tensor([[[0.25, 0.5]]]),
    mapped_again=torch.tensor([[[1.0, 3.0]]]),
    masked_again=torch.tensor([[[4.0, 2.0]]]),
    level=torch.ones(1, 1, 1),
)


def test_losses_by_hand():
    mapping, masking = (0.25 + 4) / 2, (4 + 1) / 2
    assert multi_target_loss(OUTPUTS, CLEAN).item() == pytest.approx(mapping + masking)
    masks = (0.25**2 + 0.5**2) / 2 + (0.25**2 + 0.5**2) / 2
    again = 1 / 2 + 9 / 2
    # 0.75 · 1.5 + 0.25 · 3 = 1.875 and 0.5 · 0 + 0.5 · 1 = 0.5
    fused = (0.875**2 + 1.5**2) / 2
    assert tend_loss(OUTPUTS, CLEAN).item() == pytest.approx(masks + again + 30 * fused)


@pytest.mark.parametrize("loss", [multi_target_loss, tend_loss])
def test_repeating_a_recording_changes_no_loss(loss):
    repeated = FusionOutputs(*(x.repeat(3, 1, 2) for x in OUTPUTS))
    torch.testing.assert_close(loss(repeated, CLEAN.repeat(3, 1, 2)), loss(OUTPUTS, CLEAN))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_labels_select_the_nearer_estimate(seed):
    mapped, masked, clean = torch.rand(3, 2, 5, 7, generator=torch.Generator().manual_seed(seed))
    masked[0, 0] = mapped[0, 0]  # ties go to the mapped estimate
    labels = minimum_difference_masks(mapped, masked, clean)
    nearest = np.abs(np.stack([mapped, masked]) - clean.numpy()).argmin(axis=0)
    for i, label in enumerate(labels):
        np.testing.assert_array_equal(label, nearest == i)


def gradients(loss, attention):
    model = build("spectrogram-fusion", attention=attention)
    voice, noise = model.transform.analyze(torch.randn(2, 1, 1500))
    outputs = model.estimate(voice + noise)
    loss(outputs, model.compress(voice, outputs.level)).backward()
    return {name: weights.grad for name, weights in model.named_parameters()}


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_each_stage_learns_from_its_own_loss_only(attention):
    for own, loss in (("first", multi_target_loss), ("second", tend_loss)):
        for name, gradient in gradients(loss, attention).items():
            assert (gradient is not None) == name.startswith(f"{own}."), name


def test_the_fusion_trains_only_the_masks():
    found = gradients(lambda outputs, clean: (outputs.fused - clean).square().sum(), "all-info")
    assert found["second.masks.weight"].any()
    assert found["second.heads.mapping.weight"] is None
    assert found["first.heads.mapping.weight"] is None
