"""`harmnmf train live` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pianos import write_piano

from harmnmf import NoteList
from harmnmf.cli.main import main
from harmnmf.decoder.causal_network import CausalNetwork
from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig
from harmnmf.live.transcriber import LiveTranscriber
from harmnmf.notes.files import write_midi


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the material of a training, and its run."""
    folder = tmp_path_factory.mktemp("trained")
    write_piano(folder / "pianos" / "a", 1.0)
    onsets = np.arange(0.5, 25.0, 0.5)
    (folder / "songs").mkdir()
    for name in ("one", "two"):
        notes = NoteList(onsets, onsets + 0.4, 50 + np.arange(49) % 20, [80] * 49)
        write_midi(folder / "songs" / f"{name}.mid", notes)
    result = train(folder, folder / "run", "--about", "A toy. CC0.")
    assert result.exit_code == 0, result.output
    assert "at a look-ahead of 200 ms on held-out performances" in result.stdout
    return folder


def train(folder: Path, run: Path, *change: str, kind: str = "live") -> Result:
    arguments = ["--pianos", str(folder / "pianos"), "--performances", str(folder / "songs")]
    arguments += ["-o", str(run), "--excerpts", "1", "--steps", "1", *change]
    return CliRunner().invoke(main, ["train", kind, *arguments])


def test_network_is_trained_and_used(folder: Path) -> None:
    path = folder / "run" / "network.safetensors"
    about = CausalNetwork.load(path).metadata
    assert (about["name"], about["about"]) == ("run", "A toy. CC0.")
    assert about["start"] == "learned"
    LiveTranscriber(
        16000, network=path, dictionary=folder / "run" / "dictionaries" / "a.safetensors"
    )


def test_scores_of_each_look_ahead(folder: Path) -> None:
    metrics = json.loads((folder / "run" / "metrics.jsonl").read_text())
    scores = [metrics[f"f_measure_{seconds}"] for seconds in (0.06, 0.12, 0.2, 0.32, 0.5)]
    assert all(0 <= score <= 1 for score in scores)
    assert metrics["f_measure"] == metrics["f_measure_0.2"]
    # At random, it would find nothing: onsets are rare.
    assert metrics["f_measure_0.5"] > 0
    assert (folder / "run" / "learning_curve.png").exists()


def test_the_same_command_has_nothing_to_do(folder: Path) -> None:
    result = train(folder, folder / "run", "--about", "A toy. CC0.")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "trained before for 1 steps with these settings, nothing to do" in result.stdout


def test_other_settings_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    NoteNetwork().save(other)
    for change, kind, message in (
        (["--start", str(other)], "live", 'start was "learned.safetensors'),
        ([], "notes", 'start was "learned.safetensors'),
        (["--seed", "1"], "live", "seed was 0 and is 1"),
    ):
        result = train(folder, folder / "run", *change, kind=kind)
        assert result.exit_code == 1
        assert message in result.stderr
        assert "--restart" in result.stderr


def test_networks_that_cannot_be_begun_with(folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.safetensors"
    NoteNetwork(NoteNetworkConfig(n_channels=4)).save(small)
    trained = folder / "run" / "network.safetensors"
    for start, message in (
        (small, "small.safetensors: to begin with, a network must have the same channels"),
        (trained, "holds causal-note-network, where note-network is needed"),
        (tmp_path / "missing", "no such network (shipped: learned; or give a file)"),
    ):
        result = train(folder, tmp_path / "r", "--start", str(start))
        assert (result.exit_code, result.stdout) == (1, "")
        assert message in result.stderr
        assert not (tmp_path / "r").exists()


@pytest.mark.cuda
def test_training_on_a_gpu_goes_on_from_one_on_the_processor(folder: Path) -> None:
    result = train(folder, folder / "run", "--steps", "3", "--device", "cuda")
    assert result.exit_code == 0, result.output
    assert "held-out" in result.stdout
