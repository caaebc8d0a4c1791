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
    assert "parameters.n_channels was 4 and is 24" in result.stderr
    same = [*arguments, *LIGHT, "--weight", "perceptual=0"]
    result = run(*same, "--steps", "3", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]
    result = run(*same, "--steps", "3")
    assert result.exit_code == 0
    assert "trained before for 3 steps with these settings, nothing to do" in result.stdout
    result = run(*same)
    assert result.exit_code == 1
    assert "has been trained for 3 steps, more than 2" in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "1"], "seed was 0 and is 1"),
        (["--batch-size", "3"], "batch_size was 2 and is 3"),
        (["--seconds", "0.4"], "training.duration was 0.3 and is 0.4"),
        (["--learning-rate", "0.1"], "learning_rate was 0.002 and is 0.1"),
        (["--mix", "room=0"], "training.conditions.room was 0.5 and is 0"),
        (["--weight", "magnitude=0"], "loss.magnitude was"),
        (["--speech"], "training.speech was"),
        (["--noise"], "training.noise was"),
    ],
)
def test_other_settings_need_a_restart(
    trained: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained / "run", folder)
    if len(change) == 1:
        write_speech(tmp_path)
        tone(tmp_path / "speech" / "ann" / "2.wav", 160.0, seconds=0.5)
        tone(tmp_path / "noise" / "9.wav", 1600.0, seconds=0.5)
        change = [*change, str(tmp_path / change[0].strip("-"))]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    options = ["harmonic-light", *LIGHT, *speech_options(trained), *QUICK, "-o", str(folder)]
    arguments = [*options, "--weight", "perceptual=0", *change]
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "--restart" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_restart_trains_anew(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained / "run", folder)
    options = ["harmonic-light", *LIGHT, *speech_options(trained), *QUICK, "-o", str(folder)]
    result = run(*options, "--seed", "1", "--restart")
    assert result.exit_code == 0, result.output
    assert "nothing to do" not in result.stdout
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1


def test_any_state_of_a_killed_run_is_resumed(trained: Path, tmp_path: Path) -> None:
    arguments = ["harmonic-light", *speech_options(trained), *LIGHT, *QUICK]
    arguments += ["--weight", "perceptual=0"]
    for number, lost in enumerate(
        (["model.safetensors"], ["metrics.jsonl", "learning_curve.png"], ["learning_curve.png"])
    ):
        folder = tmp_path / str(number)
        shutil.copytree(trained / "run", folder)
        for name in lost:
            (folder / name).unlink()
        result = run(*arguments, "-o", str(folder))
        assert (result.exit_code, result.stderr) == (0, "")
        assert {path.name for path in folder.iterdir()} == {
            path.name for path in (trained / "run").iterdir()
        }
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"step": 3, "mag')
    result = run(*arguments, "-o", str(folder), "-q")
    assert result.exit_code == 0
    assert "metrics.jsonl: 1 of 2 lines are damaged" in result.stderr
    (folder / "checkpoint.safetensors").unlink()
    result = run(*arguments, "-o", str(folder))
    assert result.exit_code == 1
    assert "model.safetensors: exists without the checkpoint" in result.stderr


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
        (["--mix", "room=dry"], "room must be"),
        (["--mix", "room=NaN"], "room must be"),
        (["--mix", "snr_db=3"], "snr_db must be"),
        (["--weight", "magnitude=nan"], "magnitude must be"),
        (["--weight", "magnitude=NaN"], "magnitude must be"),
        (["--weight", "magnitude=-1"], "magnitude must be"),
        (["--weight", "magnitude=true"], "magnitude must be"),
        (["--set", "n_channels=0"], "n_channels must be"),
        (["--set", "n_channels=4.5"], "n_channels must be"),
        (["--set", "n_channels=many"], "n_channels must be"),
        (["--set", "comb=1"], "comb must be"),
        (["--steps", "0"], "--steps"),
        (["--batch-size", "-1"], "--batch-size"),
        (["--seconds", "nan"], "--seconds"),
        (["--seconds", "inf"], "--seconds"),
        (["--seconds", "0"], "--seconds"),
        (["--learning-rate", "-1"], "--learning-rate"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--seed", "-1"], "--seed"),
        (["-j", "-1"], "--jobs"),
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


@pytest.mark.cuda
def test_training_on_a_gpu_goes_on_from_one_on_the_processor(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained / "run", folder)
    arguments = ["harmonic-light", *LIGHT, *speech_options(trained), *QUICK, "-o", str(folder)]
    result = run(*arguments, "--weight", "perceptual=0", "--steps", "4", "--device", "cuda")
    assert result.exit_code == 0, result.output
    model, _ = load_model(folder / "model.safetensors")
    assert not next(model.parameters()).is_cuda
