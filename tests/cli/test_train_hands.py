"""`harmnmf train hands` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

from commands import invoke

from harmnmf.cli.main import main
from harmnmf.notes.note_list import NoteList
from harmnmf.score.hands import HandNetwork


def note(step: str, octave: int, staff: int) -> str:
    return (
        f"<note><pitch><step>{step}</step><octave>{octave}</octave></pitch>"
        f"<duration>1</duration><staff>{staff}</staff></note>"
    )


def write_song(path: Path) -> None:
    """Write sixteen bars for both hands."""
    upper = "".join(note(step, 5, 1) for step in "CDEF")
    lower = "".join(note(step, 3, 2) for step in "CGEG")
    bars = f"{upper}<backup><duration>4</duration></backup>{lower}</measure><measure>" * 16
    path.write_text(
        "<score-partwise><part-list><score-part id='P1'><part-name>Piano</part-name></score-part>"
        "</part-list><part id='P1'><measure><attributes><divisions>1</divisions><time><beats>4"
        "</beats><beat-type>4</beat-type></time><staves>2</staves></attributes>"
        f"{bars.removesuffix('<measure>')}</part></score-partwise>"
    )


def train(scores: Path, run: Path, *options: str):
    return invoke(main, "train", "hands", "--scores", scores, "-o", run, *options)


def test_a_network_is_trained_and_the_training_resumed(tmp_path: Path) -> None:
    scores, run = tmp_path / "scores", tmp_path / "run"
    scores.mkdir()
    for name in "abc":
        write_song(scores / f"{name}.musicxml")
    (scores / "d.xml").write_text("not a score")
    result = train(scores, run, "--steps", "2")
    assert result.exit_code == 0
    assert "1 of 4 scores are left out" in result.stderr
    assert "held-out scores" in result.stdout
    assert 0 <= json.loads((run / "metrics.jsonl").read_text())["accuracy"] <= 1
    network = HandNetwork.load(run / "network.safetensors")
    assert network.logits(NoteList([0], [1], [60], [70])).shape == (1,)
    assert "nothing to do" in train(scores, run, "--steps", "2").stdout
    result = train(scores, run, "--steps", "2", "--seed", "1")
    assert result.exit_code == 1
    assert "--restart" in result.stderr
    assert train(scores, run, "--steps", "1", "--seed", "1", "--restart").exit_code == 0


def test_scores_for_one_hand_are_not_enough(tmp_path: Path) -> None:
    (tmp_path / "d.xml").write_text("not a score")
    result = train(tmp_path, tmp_path / "run", "--steps", "1")
    assert result.exit_code == 1
    assert "both hands" in result.stderr
