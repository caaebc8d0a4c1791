"""`harmnmf train MODEL` from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from harmnmf import Audio, write_audio
from harmnmf.cli.main import main
from harmnmf.cli.train_enhancement import MODELS
from harmnmf.enhancement.models.registry import MODELS as BUILT
from harmnmf.enhancement.models.registry import load_model
from harmnmf.enhancement.shipped import find_model

SMALL = ["n_channels=4", "n_bands=5", "n_features=4", "n_heads=2", "n_blocks=1"]
LIGHT = [argument for setting in SMALL for argument in ("--set", setting)]
QUICK = ["--steps", "2", "--batch-size", "2", "--seconds", "0.3", "-j", "0", "--device", "cpu"]


def tone(path: Path, *frequencies: float, seconds: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(16000 * seconds)) / 16000
    samples = [0.3 * np.sin(2 * np.pi * f * time) for f in frequencies]
    write_audio(path, Audio(np.stack(samples) if len(samples) > 1 else samples[0], 16000))


def speech_options(folder: Path) -> list[str]:
    return ["--speech", str(folder / "speech"), "--noise", str(folder / "noise")]


def write_speech(folder: Path) -> list[str]:
    for i, speaker in enumerate(("ann", "bob", "cid")):
        tone(folder / "speech" / speaker / "1.wav", 150.0 + 40 * i)
        tone(folder / "noise" / f"{i}.wav", 1500.0 + 300 * i)
    return speech_options(folder)


@pytest.fixture
def speech(tmp_path: Path) -> list[str]:
    return write_speech(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", *arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the speech and noise of a training, and its run."""
    folder = tmp_path_factory.mktemp("trained")
    result = run("harmonic-light", *write_speech(folder), *LIGHT, *QUICK, "-o", str(folder / "run"),
                 "--about", "tones", "--weight", "perceptual=0")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "SI-SDR" in result.stdout
    return folder


def test_names_are_those_of_the_registry() -> None:
    assert list(MODELS) == list(BUILT)


def test_a_training_is_resumed(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained / "run", folder)
    model, metadata = load_model(folder / "model.safetensors")
    assert model.config.n_channels == 4
    assert (metadata["about"], metadata["task"]) == ("tones", "speech")
    assert (folder / "learning_curve.png").stat().st_size > 1000
    arguments = ["harmonic-light", *speech_options(trained), *QUICK, "-o", str(folder)]
    result = run(*arguments)
    assert result.exit_code == 1
    assert "another network" in result.stderr
    result = run(*arguments, *LIGHT, "--weight", "perceptual=0", "--steps", "3", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]


def test_a_training_starts_from_weights(trained: Path, tmp_path: Path) -> None:
    weights = str(trained / "run" / "model.safetensors")
    arguments = [*speech_options(trained), *QUICK, "-o", str(tmp_path / "run")]
    result = run("harmonic-light", *arguments, "--learning-rate", "1e-9", "--init", weights)
    assert result.exit_code == 0, result.output
    before, after = (
        load_model(folder / "run" / "model.safetensors")[0] for folder in (trained, tmp_path)
    )
    assert before.config == after.config
    for x, y in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(x, y)
    for change, message in (
        (["harmonic-light", "--init", weights, "--set", "n_channels=4"], "leave out --set"),
        (["harmonic-light", "--init", "nothing.safetensors"], "nothing.safetensors: no such model"),
        (["spectrogram-fusion", "--init", weights], "is a HarmonicLight, not a spectrogram-fusion"),
    ):
        result = run(*change, *arguments)
        assert result.exit_code in (1, 2)
        assert message in result.stderr


def test_refinement_keeps_the_shipped_network(speech: list[str], tmp_path: Path) -> None:
    arguments = [
        "harmonic-refinement", *speech, *QUICK, "-o", str(tmp_path / "run"),
        "--init", "harmonic-light", "--set", "n_channels=4", "--set", "n_blocks=1",
    ]  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    model, _ = load_model(tmp_path / "run" / "model.safetensors")
    shipped, _ = load_model(find_model("harmonic-light"))
    # Including the statistics of batch normalisation.
    kept = model.light.state_dict()
    for name, values in shipped.state_dict().items():
        assert torch.equal(kept[name], values), name
    assert model.mask_decoder.bins.low.weight.abs().max() > 0


def test_singing_is_trained(tmp_path: Path) -> None:
    for part in ("train", "dev"):
        for i in range(2):
            tone(tmp_path / "clips" / part / f"{i}.wav", 1000.0 + 100 * i, 200.0 + 20 * i)
    result = run(
        "spectrogram-fusion", "--task", "singing", "--clips", str(tmp_path / "clips"), *QUICK,
        "--set", "lstm_size=4", "--set", "hidden_size=8", "-o", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert load_model(tmp_path / "run" / "model.safetensors")[1]["task"] == "singing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--task", "singing"], "--clips"),
        (["--clips", "."], "--speech and --noise"),
        (["--set", "n_cats=3"], "n_cats"),
        (["--set", "n_channels"], "NAME=VALUE"),
        (["--weight", "beauty=1"], "beauty"),
        (["--mix", "beauty=1"], "beauty"),
        (["--mix", "room=dry"], "room must be a probability"),
    ],
)
def test_wrong_options(speech: list[str], tmp_path: Path, change: list[str], message: str) -> None:
    result = run("harmonic-light", *speech, *LIGHT, *QUICK, "-o", str(tmp_path / "run"), *change)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_clips_need_both_folders(tmp_path: Path) -> None:
    tone(tmp_path / "clips" / "train" / "1.wav", 900.0, 150.0)
    result = run(
        "spectrogram-fusion", "--task", "singing", "--clips", str(tmp_path / "clips"), *QUICK,
        "-o", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.exit_code == 1
    assert "dev" in result.stderr
