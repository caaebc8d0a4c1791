"""`harmnmf train beats` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mini_scores import musicxml, waltz

from harmnmf.cli.main import main
from harmnmf.score.beats.network import BeatNetwork


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two scores."""
    (tmp_path / "scores").mkdir()
    for seed, name in enumerate(("A__One.musicxml", "B__Two.musicxml")):
        (tmp_path / "scores" / name).write_text(musicxml(waltz(30, seed)))
    return tmp_path


def train(folder: Path, *options: str) -> Result:
    arguments = ["-o", str(folder / "run"), "--excerpts", "1", "--steps", "1", *options]
    return CliRunner().invoke(main, ["train", "beats", *arguments])


def test_network_is_trained_from_scores(folder: Path) -> None:
    result = train(folder, "--scores", str(folder / "scores"), "--about", "waltzes")
    assert result.exit_code == 0, result.output
    assert "held-out" in result.stdout
    network = BeatNetwork.load(folder / "run" / "network.safetensors")
    assert network.metadata["about"] == "waltzes"
    metrics = json.loads((folder / "run" / "metrics.jsonl").read_text())
    assert 0 <= metrics["f_measure_downbeat"] <= 1
    again = train(folder, "--scores", str(folder / "scores"), "--about", "waltzes")
    assert again.exit_code == 0, again.output
    assert "nothing to do" in again.stdout


def test_training_needs_scores(folder: Path) -> None:
    result = train(folder)
    assert result.exit_code == 1
    assert "--scores" in result.output
    (folder / "scores" / "A__One.musicxml").unlink()
    result = train(folder, "--scores", str(folder / "scores"))
    assert result.exit_code == 1
    assert "two composers" in result.output


@pytest.mark.cuda
def test_training_on_the_processor_goes_on_from_one_on_a_gpu(folder: Path) -> None:
    for device, steps in (("cuda", "2"), ("cpu", "3")):
        result = train(
            folder, "--scores", str(folder / "scores"), "--device", device, "--steps", steps
        )
        assert result.exit_code == 0, result.output
        assert "held-out" in result.stdout
