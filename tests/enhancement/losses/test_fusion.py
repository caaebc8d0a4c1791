"""Losses of spectrogram fusion: by hand, and which weights they train."""

from __future__ import annotations

import pytest
import torch
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


def test_labels_select_the_nearer_estimate():
    # In the last bin both are as near.
    mapped, masked = torch.tensor([1.1, 3.0, 0.0]), torch.tensor([0.5, 1.5, 2.0])
    labels = minimum_difference_masks(mapped, masked, torch.ones(3))
    assert torch.stack(labels).tolist() == [[1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_each_stage_learns_from_its_own_loss_only(attention):
    for own, loss in (("first", multi_target_loss), ("second", tend_loss)):
        model = build("spectrogram-fusion", attention=attention)
        voice, noise = model.transform.analyze(torch.randn(2, 1, 1500))
        outputs = model.estimate(voice + noise)
        loss(outputs, model.compress(voice, outputs.level)).backward()
        for name, weights in model.named_parameters():
            assert (weights.grad is not None) == name.startswith(f"{own}."), name
