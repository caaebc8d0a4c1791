"""The note network: input, context and file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harmnmf import FormatError, HarmnmfError, ParameterError, TimbreDictionary
from harmnmf.decoder.features import FeatureSettings, NoteFeatures
from harmnmf.decoder.network import HarmonicStack, NoteNetwork, NoteNetworkConfig, shipped_networks
from harmnmf.signal.harmonics import HarmonicSeries, piano_inharmonicity, pitch_to_hz
from harmnmf.signal.spectrogram import LogFrequency
from harmnmf.storage.arrays import save_arrays

SMALL = NoteNetworkConfig(
    n_channels=8, n_partials=3, time_dilations=(1, 2), key_dilations=(12, 1)
)  # fmt: skip


@pytest.fixture
def network() -> NoteNetwork:
    torch.manual_seed(0)
    settings = FeatureSettings(
        LogFrequency(n_bins=200),
        LogFrequency(n_bins=200, max_window=0.1),
        tuple(range(30, 60)),
        n_rows=2,
        n_iter=5,
    )
    return NoteNetwork(SMALL, {"name": "small"}, settings).eval()


def random_features(n_frames: int = 40) -> NoteFeatures:
    rng = np.random.default_rng(0)
    shapes = (200, n_frames), (200, n_frames), (30, 2, n_frames)
    return NoteFeatures(*(rng.integers(0, 200, shape, np.uint8) for shape in shapes))


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_stack_interpolates_at_the_partials(shift: int) -> None:
    axis, pitches = LogFrequency().axis, np.arange(30, 60)
    spectrum = np.random.default_rng(0).random((390, 4)).astype(np.float32)
    stack = HarmonicStack(axis, pitches, 7)(torch.from_numpy(spectrum), shift)
    series = HarmonicSeries(7, piano_inharmonicity(pitches))
    positions, valid = series.positions(pitch_to_hz(pitches), axis)
    for n in range(4):
        expected = np.interp(positions + shift, np.arange(390), spectrum[:, n]) * valid
        np.testing.assert_allclose(stack[:, :, n].T, expected, atol=1e-4)


def test_stack_is_zero_beyond_the_bins() -> None:
    top = HarmonicStack(LogFrequency().axis, [108], 4)(torch.ones(390, 1))
    np.testing.assert_array_equal(top[:, 0, 0], [1.0, 0.0, 0.0, 0.0])


def test_frames_beyond_the_context_change_nothing(network: NoteNetwork) -> None:
    features, n, context = random_features(), 20, network.context
    before = network.probabilities(features)
    arrays = [array.copy() for array in features.arrays.values()]
    for array in arrays:
        array[..., : n - context] = 0
        array[..., n + context + 1 :] = 0
    after = network.probabilities(NoteFeatures(*arrays))
    for x, y in zip(before, after, strict=True):
        np.testing.assert_allclose(x[..., n], y[..., n], atol=1e-6)
        assert not np.allclose(x, y, atol=1e-6)


def test_activations_can_be_left_out(network: NoteNetwork) -> None:
    network = NoteNetwork(replace(SMALL, activations=False), settings=network.settings).eval()
    features = random_features()
    silent = NoteFeatures(
        features.spectrum, features.onset_spectrum, np.zeros_like(features.activations)
    )
    for x, y in zip(network.probabilities(features), network.probabilities(silent), strict=True):
        np.testing.assert_array_equal(x, y)


def test_file_round_trip(network: NoteNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "network.safetensors")
    loaded = NoteNetwork.load(tmp_path / "network.safetensors")
    assert loaded.config == network.config
    assert loaded.settings == network.settings != FeatureSettings()
    assert loaded.metadata == network.metadata
    features = random_features()
    for x, y in zip(network.probabilities(features), loaded.probabilities(features), strict=True):
        np.testing.assert_array_equal(x, y)


def test_shipped_networks_load() -> None:
    for name in shipped_networks():
        network = NoteNetwork.load(name)
        assert network.metadata
        network.check_dictionary(TimbreDictionary.load("default"))


def test_damaged_files(network: NoteNetwork, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    with pytest.raises(HarmnmfError, match="no such network"):
        NoteNetwork.load(path)
    network.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="corrupt"):
        NoteNetwork.load(path)
    features = FeatureSettings().to_dict()
    for config, settings in (
        ({}, features),
        ({"n_channels": -1}, features),
        ({"n_cats": 3}, features),
        ("small", features),
        ({}, {**features, "pitches": [21, 21]}),
        ({}, None),
    ):
        metadata = {"kind": "note-network", "about": {}, "config": config, "features": settings}
        save_arrays(path, {"stem.weight": np.zeros(3)}, metadata)
        with pytest.raises(FormatError, match="damaged"):
            NoteNetwork.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"n_channels": 0},
        {"n_partials": 1.5},
        {"time_dilations": (1,)},
        {"key_dilations": (1, 0)},
    ],
)
def test_sizes_must_be_positive(change: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        replace(SMALL, **change)  # type: ignore[arg-type]


def test_dictionary_must_match_the_training() -> None:
    network, default = NoteNetwork(SMALL), TimbreDictionary.load("default")
    network.check_dictionary(default)
    for change in (
        {"front_end": LogFrequency(n_cycles=99.0)},
        {"W": default.W[:, 1:], "pitches": default.pitches[1:], "tuning": default.tuning[1:]},
        {"W": default.W[:, :, :-1]},
        {"W": default.W[:, :, 1:], "n_attack": default.n_attack - 1},
    ):
        with pytest.raises(ParameterError, match="nmf"):
            network.check_dictionary(replace(default, **change))  # type: ignore[arg-type]
