"""Losses of spectrogram fusion, by hand, and which weights they reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harmnmf.enhancement.losses.fusion import (
    minimum_difference_loss,
    minimum_difference_masks,
    multi_target_loss,
    tend_loss,
)
from harmnmf.enhancement.models.spectrogram_fusion import (
    ATTENTIONS,
    FusionOutputs,
    SpectrogramFusion,
    SpectrogramFusionConfig,
)

# Of one bin and two frames: in the first the mapped estimate is nearer, in the second the masked.
CLEAN = torch.tensor([[[1.0, 2.0]]])
BY_HAND = FusionOutputs(
    mapped=torch.tensor([[[1.5, 0.0]]]),
    masked=torch.tensor([[[3.0, 1.0]]]),
    mask_mapped=torch.tensor([[[0.75, 0.5]]]),
    mask_masked=torch.tensor([[[0.25, 0.5]]]),
    mapped_again=torch.tensor([[[1.0, 3.0]]]),
    masked_again=torch.tensor([[[4.0, 2.0]]]),
    level=torch.ones(1, 1, 1),
)
MAPPING, MASKING = (0.25 + 4) / 2, (4 + 1) / 2
MASKS = (0.25**2 + 0.5**2) / 2 + (0.25**2 + 0.5**2) / 2
AGAIN = 1 / 2 + 9 / 2
# 0.75 · 1.5 + 0.25 · 3 = 1.875 and 0.5 · 0 + 0.5 · 1 = 0.5
FUSED = (0.875**2 + 1.5**2) / 2


@pytest.mark.parametrize("alpha", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 0.7])
def test_losses_by_hand(alpha, beta, gamma):
    first = MAPPING + alpha * MASKING
    second = MASKS + beta * AGAIN
    assert multi_target_loss(BY_HAND, CLEAN, alpha=alpha).item() == pytest.approx(first)
    assert minimum_difference_loss(BY_HAND, CLEAN, beta=beta).item() == pytest.approx(second)
    second += gamma * FUSED
    assert tend_loss(BY_HAND, CLEAN, beta=beta, gamma=gamma).item() == pytest.approx(second)


def test_weights_unless_told():
    assert multi_target_loss(BY_HAND, CLEAN).item() == pytest.approx(MAPPING + MASKING)
    assert tend_loss(BY_HAND, CLEAN).item() == pytest.approx(MASKS + AGAIN + 30 * FUSED)


@pytest.mark.parametrize("loss", [multi_target_loss, tend_loss])
def test_repeating_a_recording_changes_no_loss(loss):
    repeated = FusionOutputs(*(x.repeat(3, 1, 2) for x in BY_HAND))
    torch.testing.assert_close(loss(repeated, CLEAN.repeat(3, 1, 2)), loss(BY_HAND, CLEAN))


def test_ties_are_mapped():
    mapped, masked = torch.tensor([2.0, 0.0, 1.0]), torch.tensor([0.0, 2.0, 1.0])
    labels = minimum_difference_masks(mapped, masked, torch.ones(3))
    assert labels[0].tolist() == [1, 1, 1]
    assert labels[1].tolist() == [0, 0, 0]


@given(st.integers(0, 2**32 - 1))
def test_labels_take_the_nearer_estimate(seed):
    mapped, masked, clean = torch.rand(3, 2, 5, 7, generator=torch.Generator().manual_seed(seed))
    labels = minimum_difference_masks(mapped, masked, clean)
    nearest = np.abs(np.stack([mapped, masked]) - clean.numpy()).argmin(axis=0)
    for i, label in enumerate(labels):
        np.testing.assert_array_equal(label, nearest == i)
    fused = labels[0] * mapped + labels[1] * masked
    error = (fused - clean).abs()
    assert (error <= torch.minimum((mapped - clean).abs(), (masked - clean).abs())).all()


def test_the_best_masks_have_the_least_loss():
    labels = minimum_difference_masks(BY_HAND.mapped, BY_HAND.masked, CLEAN)
    best = BY_HAND._replace(mask_mapped=labels[0], mask_masked=labels[1])
    assert minimum_difference_loss(best, CLEAN, beta=0).item() == 0


def both_losses(outputs, clean):
    return multi_target_loss(outputs, clean) + tend_loss(outputs, clean)


def gradients(loss, attention):
    torch.manual_seed(0)
    config = SpectrogramFusionConfig(attention, lstm_size=4, n_lstm_layers=1, hidden_size=8)
    model = SpectrogramFusion(config)
    voice, noise = model.transform.analyze(torch.randn(2, 1, 1500))
    outputs = model.estimate(voice + noise)
    loss(outputs, model.compress(voice, outputs.level)).backward()
    return {name: weights.grad for name, weights in model.named_parameters()}


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_each_stage_learns_from_its_own_loss_only(attention):
    alone = {
        "first": gradients(multi_target_loss, attention),
        "second": gradients(tend_loss, attention),
    }
    together = gradients(both_losses, attention)
    for name, gradient in together.items():
        own = name.partition(".")[0]
        other = "first" if own == "second" else "second"
        torch.testing.assert_close(gradient, alone[own][name])
        assert alone[other][name] is None
        # What is added to all keys alike changes no attention.
        assert gradient.any() or name.endswith("key.bias")


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_fusion_alone_trains_the_masks(attention):
    found = gradients(lambda outputs, clean: (outputs.fused - clean).square().sum(), attention)
    assert found["second.masks.weight"].any()
    assert found["second.heads.mapping.weight"] is None
    assert found["first.heads.mapping.weight"] is None
