"""`harmnmf train MODEL` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from harmnmf import Audio, write_audio
from harmnmf.cli.main import main
from harmnmf.cli.train_enhancement import MODELS
from harmnmf.enhancement.enhancer import find_model
from harmnmf.enhancement.models.registry import MODELS as BUILT
from harmnmf.enhancement.models.registry import load_model

SMALL = ["n_channels=4", "n_bands=5", "n_features=4", "n_heads=2", "n_blocks=1"]
LIGHT = [argument for setting in SMALL for argument in ("--set", setting)]
QUICK = ["--steps", "2", "--batch-size", "2", "--seconds", "0.3", "-j", "0", "--device", "cpu"]


def tone(path: Path, *frequencies: float, seconds: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(16000 * seconds)) / 16000
    samples = [0.3 * np.sin(2 * np.pi * f * time) for f in frequencies]
    write_audio(path, Audio(np.stack(samples) if len(samples) > 1 else samples[0], 16000))


@pytest.fixture
def speech(tmp_path: Path) -> list[str]:
    for i, speaker in enumerate(("ann", "bob", "cid")):
        tone(tmp_path / "speech" / speaker / "1.wav", 150.0 + 40 * i)
        tone(tmp_path / "noise" / f"{i}.wav", 1500.0 + 300 * i)
    return ["--speech", str(tmp_path / "speech"), "--noise", str(tmp_path / "noise")]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", *arguments])


def test_names_are_those_of_the_registry() -> None:
    assert list(MODELS) == list(BUILT)


def test_a_model_is_trained_and_goes_on(speech: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["harmonic-light", *speech, *LIGHT, *QUICK, "-o", str(folder)]
    result = run(*arguments, "--about", "tones", "--weight", "perceptual=0")
    assert result.exit_code == 0, result.output
    assert "SI-SDR" in result.stdout
    model, metadata = load_model(folder / "model.safetensors")
    assert model.config.n_channels == 4
    assert (metadata["about"], metadata["task"]) == ("tones", "speech")
    assert (folder / "learning_curve.png").stat().st_size > 1000
    assert run(*arguments, "--steps", "3").exit_code == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]


def test_a_network_learns_on_from_weights(speech: list[str], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("harmonic-light", *speech, *LIGHT, *QUICK, "-o", str(first)).exit_code == 0
    arguments = [*speech, *QUICK, "-o", str(second), "--learning-rate", "1e-9"]
    weights = str(first / "model.safetensors")
    result = run("harmonic-light", *arguments, "--init", weights)
    assert result.exit_code == 0, result.output
    before, after = (load_model(folder / "model.safetensors")[0] for folder in (first, second))
    assert before.config == after.config
    for x, y in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(x, y)
    for change, message in (
        (["harmonic-light", "--init", weights, "--set", "n_channels=4"], "leave out --set"),
        (["harmonic-light", "--init", "nothing.safetensors"], "nothing.safetensors: no such model"),
        (
            ["spectrogram-fusion", "--init", weights],
            "has a HarmonicLight, not a spectrogram-fusion",
        ),
        (
            ["spectrum-attention-fusion", "--init", weights],
            "has a HarmonicLight, not a spectrum-attention-fusion",
        ),
    ):
        result = run(*change, *arguments)
        assert result.exit_code in (1, 2)
        assert message in result.stderr


def test_what_refines_keeps_the_shipped_network(speech: list[str], tmp_path: Path) -> None:
    arguments = [
        "spectrum-attention-fusion", *speech, *QUICK, "-o", str(tmp_path / "run"),
        "--init", "harmonic-light", "--set", "refines=true", "--set", "n_fft=512",
        "--set", "hop_length=256", "--set", "n_channels=4", "--set", "n_blocks=1",
    ]  # fmt: skip
    for n_steps in ("2", "3"):
        result = run(*arguments, "--steps", n_steps)
        assert result.exit_code == 0, result.output
    model, _ = load_model(tmp_path / "run" / "model.safetensors")
    shipped, _ = load_model(find_model("harmonic-light"))
    # Statistics of batches, too.
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
        (["--set", "n_cats=3"], "n_cats"),
        (["--set", "n_channels"], "NAME=VALUE"),
        (["--weight", "beauty=1"], "beauty"),
        (["--mix", "beauty=1"], "beauty"),
        (["--mix", "room=2"], "room must be a probability"),
        (["--mix", "room=dry"], "room must be a probability"),
        (["--mix", "snr_db=5"], "snr_db must be two finite numbers"),
        (["--seconds", "0"], "duration"),
    ],
)
def test_wrong_options_are_refused(
    speech: list[str], tmp_path: Path, change: list[str], message: str
) -> None:
    result = run("harmonic-light", *speech, *LIGHT, *QUICK, "-o", str(tmp_path / "run"), *change)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_both_materials_are_needed(speech: list[str], tmp_path: Path) -> None:
    for part in (speech[:2], speech[2:]):
        result = run("harmonic-light", *part, "-o", str(tmp_path / "run"))
        assert result.exit_code == 2
        assert "--speech and --noise" in result.stderr


def test_one_speaker_is_not_enough(tmp_path: Path) -> None:
    tone(tmp_path / "speech" / "ann" / "1.wav", 150.0)
    tone(tmp_path / "noise" / "1.wav", 900.0)
    tone(tmp_path / "noise" / "2.wav", 990.0)
    result = run(
        "harmonic-light", "--speech", str(tmp_path / "speech"), "--noise", str(tmp_path / "noise"),
        *QUICK, "-o", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.exit_code == 1
    assert "two speakers" in result.stderr
    assert result.stderr.count("\n") == 1


def test_clips_need_both_folders(tmp_path: Path) -> None:
    tone(tmp_path / "clips" / "train" / "1.wav", 900.0, 150.0)
    result = run(
        "spectrogram-fusion", "--task", "singing", "--clips", str(tmp_path / "clips"), *QUICK,
        "-o", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.exit_code == 1
    assert "dev" in result.stderr


def test_checkpoints_of_another_model_are_refused(speech: list[str], tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    assert run("harmonic-light", *speech, *LIGHT, *QUICK, "-o", folder).exit_code == 0
    result = run("harmonic-light", *speech, *QUICK, "-o", folder)
    assert result.exit_code == 1
    assert "another network" in result.stderr
