"""Levels: what the learned decoder reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmnmf import ParameterError
from harmnmf.decoder.features import NoteFeatures, reference_level
from harmnmf.nmf.solvers.convolutive import NoteActivations


def spectra_and_activations(gain: float = 1.0) -> tuple[np.ndarray, np.ndarray, NoteActivations]:
    rng = np.random.default_rng(0)
    V, onset_V = gain * rng.random((2, 390, 20)).astype(np.float32) ** 4
    A, S = (torch.from_numpy(gain * rng.random(shape)) for shape in ((88, 20), (88, 2, 20)))
    return V, onset_V, NoteActivations(A, S, torch.ones(390), torch.zeros(1), 20, False)


def test_gain_does_not_matter() -> None:
    quiet, loud = (
        NoteFeatures.measure(*arrays, reference_level(arrays[0]))
        for arrays in (spectra_and_activations(0.5), spectra_and_activations(4.0))
    )
    for name, levels in quiet.arrays.items():
        # A power of two changes no rounding, but the reference is not one of the values.
        assert np.abs(levels.astype(int) - loud.arrays[name]).max() <= 1, name


def test_levels_are_decibels_above_the_floor() -> None:
    V = np.array([[1.0, 0.1, 1e-3, 0.0]], np.float32)
    A, S = torch.zeros(1, 4), torch.zeros(1, 2, 4)
    played = NoteActivations(A, S, torch.ones(1), torch.zeros(1), 20, False)
    features = NoteFeatures.measure(V, V, played, reference=1.0)
    np.testing.assert_array_equal(features.spectrum, [[180, 120, 0, 0]])
    np.testing.assert_allclose(features.tensors()[0], [[3.0, 2.0, 0.0, 0.0]])
    assert features.activations.shape == (1, 3, 4)


def test_silence_between_does_not_raise_the_reference() -> None:
    V = np.random.default_rng(0).random((10, 400)).astype(np.float32)
    padded = np.pad(V, ((0, 0), (0, 4000)))
    assert reference_level(padded) == pytest.approx(reference_level(V), rel=0.01)
    assert reference_level(np.zeros((10, 0), np.float32)) > 0
    assert reference_level(np.zeros((10, 50), np.float32)) > 0


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 5), (4, 6), (3, 3, 5)),
        ((4, 5), (4, 5), (3, 3, 6)),
        ((4, 5), (4, 5), (3, 5)),
    ],
)
def test_shapes_must_agree(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ParameterError):
        NoteFeatures(*(np.zeros(shape, np.uint8) for shape in shapes))


def test_levels_must_be_bytes() -> None:
    with pytest.raises(ParameterError, match="uint8"):
        NoteFeatures(np.zeros((4, 5)), np.zeros((4, 5)), np.zeros((3, 3, 5)))
