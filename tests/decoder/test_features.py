"""Features of the note network."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from harmnmf import FormatError, ParameterError
from harmnmf.decoder.features import FeatureSettings, NoteFeatures, SlidingWindow
from harmnmf.decoder.levels import reference_level
from harmnmf.nmf.solvers.convolutive import NoteActivations
from harmnmf.signal.spectrogram import STFT, LogFrequency

SETTINGS = FeatureSettings()


def measure(gain: float) -> NoteFeatures:
    rng = np.random.default_rng(0)
    spectra = gain * rng.random((2, 390, 20)).astype(np.float32) ** 4
    A, S = (torch.from_numpy(gain * rng.random(shape)) for shape in ((88, 20), (88, 2, 20)))
    played = NoteActivations(A, S, torch.ones(390), torch.zeros(1), 20, False)
    return SETTINGS.measure(spectra, played, reference_level(spectra[0]))


def test_gain_does_not_matter() -> None:
    quiet, loud = measure(0.5), measure(4.0)
    for name, levels in quiet.arrays.items():
        # A power of two changes no rounding, but the reference is not one of the values.
        assert np.abs(levels.astype(int) - loud.arrays[name]).max() <= 1, name


def test_levels_are_decibels_above_the_floor() -> None:
    V = np.array([[1.0, 0.1, 1e-3, 0.0]], np.float32)
    A, S = torch.zeros(1, 4), torch.zeros(1, 2, 4)
    played = NoteActivations(A, S, torch.ones(1), torch.zeros(1), 20, False)
    features = SETTINGS.measure([V, V], played, reference=1.0)
    np.testing.assert_array_equal(features.spectrum, [[180, 120, 0, 0]])
    np.testing.assert_allclose(SETTINGS.tensors(features)[0], [[3.0, 2.0, 0.0, 0.0]])
    assert features.activations.shape == (1, 3, 4)


def test_reference_level_ignores_silence() -> None:
    V = np.random.default_rng(0).random((10, 400)).astype(np.float32)
    padded = np.pad(V, ((0, 0), (0, 4000)))
    assert reference_level(padded) == pytest.approx(reference_level(V), rel=0.01)
    assert reference_level(np.zeros((10, 0), np.float32)) > 0
    assert reference_level(np.zeros((10, 50), np.float32)) > 0


@pytest.mark.parametrize(
    ("shapes", "dtype"),
    [
        (((4, 5), (4, 6), (3, 3, 5)), np.uint8),
        (((4, 5), (4, 5), (3, 3, 6)), np.uint8),
        (((4, 5), (4, 5), (3, 5)), np.uint8),
        (((4, 5), (4, 5), (3, 3, 5)), np.float32),
    ],
)
def test_inconsistent_features(shapes: tuple[tuple[int, ...], ...], dtype: type) -> None:
    with pytest.raises(ParameterError):
        NoteFeatures(*(np.zeros(shape, dtype) for shape in shapes))


def test_scale_does_not_change_the_input_of_the_network() -> None:
    V = np.geomspace(1e-2, 1.0, 50, dtype=np.float32)[None]
    silence = torch.zeros(1, 2, 50)
    played = NoteActivations(silence[:, 0], silence, torch.ones(1), torch.zeros(1), 20, False)
    coarse, fine = (
        settings.tensors(settings.measure([V, V], played, 1.0))[0]
        for settings in (FeatureSettings(steps_per_db=1), FeatureSettings(steps_per_db=4))
    )
    torch.testing.assert_close(coarse, fine, atol=0.05, rtol=0)


def test_settings_round_trip_through_json() -> None:
    settings = FeatureSettings(
        front_end=LogFrequency(n_cycles=50.0), pitches=(60, 62), n_iter=7, floor_db=-50.0
    )
    description = json.loads(json.dumps(settings.to_dict()))
    assert FeatureSettings.from_dict(description) == settings
    for wrong in ({}, {**description, "n_rows": 0}, {**description, "front_end": {"name": "CQT"}}):
        with pytest.raises(FormatError):
            FeatureSettings.from_dict(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"onset_front_end": STFT()},
        {"pitches": ()},
        {"pitches": (61, 60)},
        {"pitches": (60, 128)},
        {"n_iter": 0},
        {"n_rows": 1.5},
        {"floor_db": 0.0},
    ],
    ids=str,
)
def test_invalid_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        FeatureSettings(**wrong)


def test_settings_of_streams_round_trip_through_json() -> None:
    settings = FeatureSettings(sliding=SlidingWindow(n_frames=8, n_step=1, ages=(0, 3, 6)))
    description = json.loads(json.dumps(settings.to_dict()))
    assert FeatureSettings.from_dict(description) == settings
    assert (SETTINGS.n_inputs, settings.n_inputs) == (3, 9)
    # Older files say nothing of streams.
    del description["sliding"]
    assert FeatureSettings.from_dict(description).sliding is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_frames": 0},
        {"n_frames": 10**6},
        {"n_frames": 9},  # the frames of age 8 are two
        {"n_step": 0},
        {"n_step": 1.5},
        {"n_step": 3},
        {"ages": ()},
        {"ages": (-1,)},
        {"ages": (0, 9)},
        {"ages": 4},
        {"ages": "048"},
    ],
    ids=str,
)
def test_invalid_windows(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        SlidingWindow(**wrong)
    description = {**FeatureSettings(sliding=SlidingWindow()).to_dict()}
    description["sliding"] = {**description["sliding"], **wrong}
    with pytest.raises(FormatError):
        FeatureSettings.from_dict(description)


@pytest.mark.parametrize("parameters", [{"n_frames": 1, "n_step": 1, "ages": (0,)}, {"n_step": 1}])
def test_short_windows(parameters: dict[str, Any]) -> None:
    SlidingWindow(**parameters)
