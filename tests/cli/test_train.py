"""`harmnmf train notes` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pianos import write_piano

from harmnmf import NoteList, Transcriber
from harmnmf.cli.main import main
from harmnmf.notes.files import write_midi


@pytest.fixture
def material(tmp_path: Path) -> list[str]:
    write_piano(tmp_path / "pianos" / "a", 1.0)
    onsets = np.arange(0.5, 25.0, 0.5)
    for name in ("one", "two"):
        (tmp_path / "songs").mkdir(exist_ok=True)
        notes = NoteList(onsets, onsets + 0.4, 50 + np.arange(49) % 20, [80] * 49)
        write_midi(tmp_path / "songs" / f"{name}.mid", notes)
    return ["--pianos", str(tmp_path / "pianos"), "--performances", str(tmp_path / "songs")]


def test_network_is_trained_and_used(material: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["train", "notes", *material, "-o", str(run), "--excerpts", "1", "--steps", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "held-out" in result.stdout
    Transcriber(decoder=run / "network.safetensors")
    metrics = json.loads((run / "metrics.jsonl").read_text())
    assert metrics["step"] == 1
    assert 0 <= metrics["f_measure"] <= 1
    assert (run / "learning_curve.png").exists()
    # The same command again resumes the training, which is done.
    assert CliRunner().invoke(main, [*arguments, "-q"]).output == ""


def test_material_is_needed(material: list[str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for option in (1, 3):
        arguments = list(material)
        arguments[option] = str(empty)
        result = CliRunner().invoke(main, ["train", "notes", *arguments, "-o", str(tmp_path / "r")])
        assert result.exit_code == 1
        assert "empty" in result.stderr
    assert not (tmp_path / "r").exists()
