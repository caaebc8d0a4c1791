"""`harmnmf train notes` from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pianos import write_piano

from harmnmf import Audio, NoteList, Transcriber, write_audio
from harmnmf.cli.main import main
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
    (folder / "street").mkdir()
    cars = 0.1 * np.random.default_rng(0).standard_normal(16000)
    write_audio(folder / "street" / "cars.wav", Audio(cars, 16000))
    result = train(folder, folder / "run")
    assert result.exit_code == 0, result.output
    assert "held-out" in result.stdout
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    copy: Path = shutil.copytree(folder / "run", tmp_path / "run")
    return copy


def train(folder: Path, run: Path, *change: str) -> Result:
    arguments = ["--pianos", str(folder / "pianos"), "--performances", str(folder / "songs")]
    arguments += ["--background", str(folder / "street")]
    arguments += ["-o", str(run), "--excerpts", "1", "--steps", "1", *change]
    return CliRunner().invoke(main, ["train", "notes", *arguments])


def content(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_network_is_trained_and_used(folder: Path, run: Path) -> None:
    Transcriber(decoder=run / "network.safetensors")
    metrics = json.loads((run / "metrics.jsonl").read_text())
    assert metrics["step"] == 1
    assert 0 <= metrics["f_measure"] <= 1
    assert (run / "learning_curve.png").exists()
    # The same command again resumes the training, which is done.
    assert train(folder, run, "-q").output == ""
    result = train(folder, run)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "trained before for 1 steps with these settings, nothing to do" in result.stdout


def test_validation_on_an_excerpt_without_notes(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "songs", tmp_path / "songs")
    # The first performance is held out.
    write_midi(tmp_path / "songs" / "a pause.mid", NoteList([], [], [], []))
    result = train(folder, tmp_path / "run", "--performances", str(tmp_path / "songs"))
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert metrics["f_measure"] in (0, 1)


@pytest.mark.parametrize("lost", ["network.safetensors", "metrics.jsonl", "learning_curve.png"])
def test_lost_files_are_written_again(folder: Path, run: Path, lost: str) -> None:
    (run / lost).unlink()
    result = train(folder, run)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (run / lost).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--excerpts", "2"], "excerpts was 1 and is 2"),
        (["--seed", "1"], "seed was 0 and is 1"),
        (["--pianos"], "pianos.b was not given and is"),
        (["--performances"], "performances was"),
        (["--background"], "backgrounds was"),
    ],
)
def test_other_settings_are_refused(
    folder: Path, run: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    if change == ["--pianos"]:
        shutil.copytree(folder / "pianos", tmp_path / "pianos")
        shutil.copytree(folder / "pianos" / "a", tmp_path / "pianos" / "b")
        change.append(str(tmp_path / "pianos"))
    elif change == ["--performances"]:
        shutil.copytree(folder / "songs", tmp_path / "songs")
        shutil.copy(folder / "songs" / "one.mid", tmp_path / "songs" / "three.mid")
        change.append(str(tmp_path / "songs"))
    elif change == ["--background"]:
        change.append(str(shutil.copytree(folder / "street", tmp_path / "rooms")))
    before = content(run)
    result = train(folder, run, *change)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "--restart" in result.stderr
    assert content(run) == before


def test_excerpts_of_unknown_settings_need_a_restart(folder: Path, run: Path) -> None:
    (run / "settings.json").unlink()
    result = train(folder, run)
    assert result.exit_code == 1
    assert "does not say how the training was begun" in result.stderr
    (run / "training" / "000007.safetensors").touch()
    result = train(folder, run, "--seed", "1", "--restart")
    assert result.exit_code == 0, result.output
    assert "nothing to do" not in result.stdout
    assert [path.name for path in (run / "training").iterdir()] == ["000000.safetensors"]


def test_material_is_needed(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for option in ("--pianos", "--performances", "--background"):
        result = train(folder, tmp_path / "r", option, str(empty))
        assert result.exit_code == 1
        assert "empty" in result.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("option", ["--excerpts", "--steps", "--jobs", "--seed"])
@pytest.mark.parametrize("value", ["-1", "1.5", "nan", "many"])
def test_wrong_numbers(folder: Path, tmp_path: Path, option: str, value: str) -> None:
    result = train(folder, tmp_path / "r", option, value)
    assert result.exit_code == 2
    assert option in result.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.cuda
def test_training_on_a_gpu_goes_on_from_one_on_the_processor(folder: Path, run: Path) -> None:
    result = train(folder, run, "--steps", "3", "--device", "cuda")
    assert result.exit_code == 0, result.output
    assert "held-out" in result.stdout
    Transcriber(decoder=run / "network.safetensors", device="cpu")
