"""The network of beats: features, probabilities, files, training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mini_scores import waltz

from harmnmf import FormatError, HarmnmfError, NoteList, ParameterError
from harmnmf.score.beats.network import PERIODS, BeatNetwork, BeatNetworkConfig
from harmnmf.score.beats.onset_features import N_FEATURES, ONES, group_onsets, onset_features
from harmnmf.score.training.beat_excerpts import BeatExcerpt, beat_targets, draw_excerpt, transposed
from harmnmf.score.training.beat_training import beat_loss, stacked, train_beat_network
from harmnmf.score.training.simulation import SimulatedPerformance, simulate_performance

SMALL = BeatNetworkConfig(n_channels=16, dilations=(1, 2))


def performance(seed: int = 0) -> SimulatedPerformance:
    return simulate_performance(waltz(), np.random.default_rng(seed))


def small_network() -> BeatNetwork:
    torch.manual_seed(0)
    return BeatNetwork(SMALL).eval()


def random_notes(n: int, seed: int = 0) -> NoteList:
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.choice([0, 0.12, 0.25, 0.5], n) * rng.uniform(0.9, 1.1, n))
    return NoteList(onset, onset + 0.3, rng.integers(30, 90, n), [64] * n)


def changed(
    notes: NoteList, *, seconds: float = 0, semitones: int = 0, velocity: int | None = None
) -> NoteList:
    velocities = notes.velocity if velocity is None else np.full(len(notes), velocity)
    return NoteList(
        notes.onset + seconds, notes.offset + seconds, notes.pitch + semitones, velocities
    )


def features(notes: NoteList) -> np.ndarray:
    return onset_features(notes, group_onsets(notes))[1]


def test_features_do_not_depend_on_the_start() -> None:
    notes = random_notes(200)
    np.testing.assert_allclose(features(notes), features(changed(notes, seconds=8.0)), atol=1e-5)


def test_features_are_of_each_onset() -> None:
    time, values = onset_features(notes := random_notes(100), group_onsets(notes))
    assert values.shape == (N_FEATURES, len(time))
    assert (np.diff(time) > 0).all()
    assert (values[ONES] == 1).all()
    assert np.isfinite(values).all()


@pytest.mark.parametrize("semitones", [-5, 0, 3])
def test_excerpts_are_transposed_as_notes_are(semitones: int) -> None:
    notes = random_notes(60)
    quantized = np.round(24 * features(notes)).astype(np.int8)
    expected = features(changed(notes, semitones=semitones))
    np.testing.assert_allclose(transposed(quantized, semitones), expected, atol=0.03)


def test_equal_velocities_are_those_of_any_level() -> None:
    notes = random_notes(60)
    soft, loud = (features(changed(notes, velocity=level)) for level in (1, 127))
    np.testing.assert_array_equal(soft, loud)


def test_targets_are_beats_at_onsets_and_between_them() -> None:
    onset = np.array([0, 0.25, 0.5, 1.5, 2.0])
    beats = np.arange(5) / 2
    made_up = SimulatedPerformance(
        NoteList(onset, onset + 0.1, [60] * 5, [70] * 5),
        beats, np.array([True, False, False, False, True]), np.full(5, 4),
    )  # fmt: skip
    beat, downbeat, between, period, beats_a_bar = beat_targets(onset, made_up)
    assert beat.tolist() == [1, 0, 1, 1, 1]
    assert downbeat.tolist() == [1, 0, 0, 0, 1]
    assert between.tolist() == [0, 0, 1, 0, 0]
    np.testing.assert_allclose(PERIODS[0] * 2 ** (period / 8), 0.5, rtol=1e-5)
    assert set(beats_a_bar) == {2}


@pytest.mark.parametrize("n_notes", [1, 2, 30])
def test_probabilities_are_of_frames_up_to_the_last_onset(n_notes: int) -> None:
    notes = random_notes(n_notes)
    found = small_network().probabilities(notes)
    n_frames = len(found.beat)
    assert abs(n_frames / found.frame_rate - notes.onset[-1]) < 0.1
    assert found.downbeat.shape == (n_frames,)
    assert found.period.shape == (len(PERIODS), n_frames)
    np.testing.assert_allclose(found.period.sum(axis=0), 1, rtol=1e-4)
    assert (found.downbeat <= found.beat).all()
    assert (found.beat >= 0).all()
    assert (found.beat <= 1).all()
    frames = np.round(found.onset * found.frame_rate).astype(int)
    assert (found.beat[frames] >= found.onset_beat).all()


def test_probabilities_of_later_notes_are_later() -> None:
    network, notes = small_network(), random_notes(100)
    first, second = (network.probabilities(changed(notes, seconds=x)) for x in (0, 2))
    np.testing.assert_allclose(first.onset_beat, second.onset_beat, atol=1e-4)
    assert second.beat[: round(2 * second.frame_rate)].max() == 0


def test_windows_give_nearly_the_probabilities_of_the_whole() -> None:
    network, notes = small_network(), random_notes(4000)
    whole = network.probabilities(notes)
    part = network.probabilities(notes.slice(0, notes.onset[1500]))
    n = 700
    assert np.abs(whole.onset_beat[:n] - part.onset_beat[:n]).mean() < 0.02


def test_shipped_network_hears_the_beats_of_a_waltz() -> None:
    made_up = performance()
    found = BeatNetwork.load().probabilities(made_up.notes)
    distance = np.abs(found.onset[:, None] - made_up.beat).min(axis=1)
    on, off = found.onset_beat[distance < 0.03], found.onset_beat[distance > 0.1]
    assert on.mean() > off.mean() + 0.3


def test_no_notes_are_an_error() -> None:
    with pytest.raises(ParameterError, match="no notes"):
        small_network().probabilities(NoteList([], [], [], []))


def test_a_network_is_the_same_from_its_file(tmp_path: Path) -> None:
    network, notes = small_network(), random_notes(50)
    network.save(tmp_path / "network.safetensors")
    loaded = BeatNetwork.load(tmp_path / "network.safetensors")
    assert loaded.config == SMALL
    np.testing.assert_array_equal(
        network.probabilities(notes).beat, loaded.probabilities(notes).beat
    )


def test_other_files_are_no_networks(tmp_path: Path) -> None:
    with pytest.raises(HarmnmfError, match="no such network"):
        BeatNetwork.load(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(FormatError):
        BeatNetwork.load(tmp_path / "text.safetensors")


def excerpts(n: int) -> list[BeatExcerpt]:
    rng = np.random.default_rng(0)
    return [draw_excerpt(waltz(60, seed), rng, n_onsets=96) for seed in range(n)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_training_lowers_the_loss_and_resumes(tmp_path: Path, device: str) -> None:
    material = excerpts(8)

    def loss(network: BeatNetwork) -> float:
        batch = stacked(material)
        with torch.inference_mode():
            return float(beat_loss(network(batch["features"]), batch)["beat"])

    torch.manual_seed(0)
    network = BeatNetwork(SMALL)
    before = loss(network.eval())
    options = {"batch_size": 4, "learning_rate": 1e-2, "device": device}
    assert train_beat_network(network, material, tmp_path, n_steps=90, **options) == 90
    assert loss(network.cpu()) < 0.8 * before
    assert train_beat_network(network, material, tmp_path, n_steps=90, **options) == 0


def test_training_needs_excerpts(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="at least one"):
        train_beat_network(BeatNetwork(SMALL), [], tmp_path, n_steps=1)


def test_odd_channels_are_refused() -> None:
    with pytest.raises(ParameterError, match="n_channels must be even, not 15"):
        BeatNetworkConfig(n_channels=15)
