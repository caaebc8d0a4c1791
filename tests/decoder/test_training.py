"""Training of the note network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import FormatError, NoteList, ParameterError
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.features import FeatureSettings, NoteFeatures
from harmnmf.decoder.network import NoteLogits, NoteNetwork, NoteNetworkConfig
from harmnmf.decoder.training import note_loss, train_note_network

SMALL = NoteNetworkConfig(n_channels=6, n_partials=2, time_dilations=(1,), key_dilations=(12,))


def excerpt(seed: int) -> NoteExcerpt:
    """An excerpt whose activations show its notes."""
    rng = np.random.default_rng(seed)
    onsets = np.sort(rng.uniform(0.1, 1.0, 6))
    notes = NoteList(onsets, onsets + 0.2, rng.permutation(np.arange(40, 80))[:6], [80] * 6)
    activations = np.zeros((88, 3, 60), np.uint8)
    for note in zip(notes.pitch - 21, np.round(notes.onset / 0.02).astype(int), strict=True):
        activations[note[0], 0, note[1]] = 180
        activations[note[0], 1, note[1] : note[1] + 10] = 150
    levels = rng.integers(0, 40, (390, 60), np.uint8)
    return NoteExcerpt(NoteFeatures(levels, levels, activations), notes, 0.02)


def trained(run: Path, n_steps: int, *calls: int, device: str = "cpu") -> NoteNetwork:
    """Train in several calls, interrupted after some steps."""
    for stop in (*calls, n_steps):
        torch.manual_seed(0)
        network = NoteNetwork(SMALL)
        excerpts = [excerpt(seed) for seed in range(3)]

        def interrupt(step: int, stop: int = stop) -> None:
            if step == stop < n_steps:
                raise KeyboardInterrupt

        try:
            train_note_network(
                network, excerpts, run, n_steps=n_steps, batch_size=2, n_frames=40,
                progress=interrupt, device=device,
            )  # fmt: skip
        except KeyboardInterrupt:
            continue
    return network


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_loss_falls(tmp_path: Path, device: str) -> None:
    def loss(network: NoteNetwork) -> float:
        one = excerpt(0)
        inputs = (x[None] for x in network.settings.tensors(one.features))
        targets = NoteLogits(*(torch.from_numpy(x)[None] for x in one.targets()))
        return float(note_loss(network(*inputs), targets)["onset"].detach())

    torch.manual_seed(0)
    assert loss(trained(tmp_path, 100, device=device).cpu()) < 0.7 * loss(NoteNetwork(SMALL).eval())


ticks = st.integers(0, 70)  # of 10 ms: half a frame, where rounding matters
note = st.tuples(ticks, st.integers(1, 40), st.integers(59, 62), st.integers(1, 127))
pedal = st.tuples(ticks, st.integers(1, 40)).map(lambda i: (i[0] / 100, (i[0] + i[1]) / 100))
bound = st.none() | st.integers(-40, 40)


@settings(deadline=None)
@given(st.lists(note, max_size=8), st.lists(pedal, max_size=3), st.builds(slice, bound, bound))
def test_targets_of_a_part_are_a_part_of_the_targets(
    rows: list[tuple[int, ...]], pedal: list[tuple[float, float]], frames: slice
) -> None:
    start, length, pitch, velocity = np.array(rows, dtype=float).reshape(-1, 4).T
    notes = NoteList(start / 100, (start + length) / 100, pitch, velocity, pedal)
    silence = np.zeros((390, 30), np.uint8)
    features = NoteFeatures(silence, silence, np.zeros((88, 3, 30), np.uint8))
    one = NoteExcerpt(features, notes, 0.02)
    for part, whole in zip(one.targets(frames), one.targets(), strict=True):
        np.testing.assert_array_equal(part, whole[..., frames])


def test_resumed_training_equals_uninterrupted_training(tmp_path: Path) -> None:
    whole, parts = trained(tmp_path / "a", 8), trained(tmp_path / "b", 8, 3, 5)
    metrics = (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics] == [3, 5, 8]
    for x, y in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(x, y)
    assert not whole.training


def test_training_needs_excerpts(tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        train_note_network(NoteNetwork(SMALL), [], tmp_path, n_steps=1)


def test_excerpts_of_other_settings_are_refused(tmp_path: Path) -> None:
    network = NoteNetwork(SMALL, settings=FeatureSettings(n_iter=20))
    with pytest.raises(ParameterError, match="render them again"):
        train_note_network(network, [excerpt(0)], tmp_path, n_steps=1)


def test_excerpt_files(tmp_path: Path) -> None:
    one = excerpt(0)
    one.save(tmp_path / "0.safetensors")
    again = NoteExcerpt.load(tmp_path / "0.safetensors")
    assert again.notes == one.notes
    for name, levels in one.features.arrays.items():
        np.testing.assert_array_equal(again.features.arrays[name], levels)
    (tmp_path / "1.safetensors").write_bytes(b"no archive")
    with pytest.raises(FormatError, match=r"1\.safetensors"):
        NoteExcerpt.load(tmp_path / "1.safetensors")
