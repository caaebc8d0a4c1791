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
    arguments = ["train", "notes", *material, "-o", str(run), "--excerpts", "1", "--steps"]
    result = CliRunner().invoke(main, [*arguments, "1"])
    assert result.exit_code == 0, result.output
    assert "held-out" in result.stdout
    Transcriber(decoder=run / "network.safetensors")
    # More steps resume the training with the same excerpts.
    times = {path: path.stat().st_mtime_ns for path in (run / "training").iterdir()}
    assert CliRunner().invoke(main, [*arguments, "2", "-q"]).output == ""
    assert times == {path: path.stat().st_mtime_ns for path in (run / "training").iterdir()}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0 <= line["f_measure"] <= 1 for line in lines)


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
