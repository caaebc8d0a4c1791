"""JSON of scores."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from scores import make_score, played, rows, scores

from harmnmf import HarmnmfError
from harmnmf.score.bars import TICKS
from harmnmf.score.engraving.score_json import write_score_json
from harmnmf.score.score import Key

Q = TICKS


def content(tmp_path, score):
    write_score_json(tmp_path / "a.json", score)
    return json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))


@settings(deadline=None, max_examples=20)
@given(score=scores())
def test_all_notes_and_bars(tmp_path_factory, score):
    found = content(tmp_path_factory.getbasetemp(), score)
    names = ("position", "duration", "pitch", "staff", "voice", "fifths", "ornament")
    assert sorted(tuple(note[name] for name in names) for note in found["notes"]) == rows(
        score.notes
    )
    starts = score.bars.starts.tolist()
    assert [bar["position"] for bar in found["bars"]] == starts[:-1]
    assert found["bars"][-1]["position"] + found["bars"][-1]["duration"] == starts[-1]
    assert [Key(**key) for key in found["keys"]] == list(score.keys)
    assert "played" not in found


def test_performance(tmp_path):
    rows_of_notes = [(0, Q, "Db4"), (Q, Q, "F##4", 2), (2 * Q, Q, "C4")]
    score = make_score(rows_of_notes, [[3, 4]] * 2, pickup=Q, title="Für Elise")
    score = played(score, [0.5, 1.0, 1.5, 2.25], velocity=[30, 40, 50], pedal=[[0.6, 1]])
    found = content(tmp_path, score)
    assert (found["format"], found["version"]) == ("harmnmf-score", 1)
    assert (found["title"], found["ticks_per_quarter"]) == ("Für Elise", TICKS)
    assert [bar["number"] for bar in found["bars"]] == [0, 1]
    assert [bar["time_signature"] for bar in found["bars"]] == ["3/4", "3/4"]
    assert [note["name"] for note in found["notes"]] == ["Db4", "F##4", "C4"]
    assert found["beats"][1] == {"position": Q, "time": 1.0, "downbeat": True}
    assert [beat["downbeat"] for beat in found["beats"]] == [False, True, False, False]
    assert [(note["note"], note["velocity"]) for note in found["played"]] == [
        *((0, 30), (1, 40), (2, 50))
    ]
    assert found["pedal"] == [{"time": 0.6, "value": 127}, {"time": 1.0, "value": 0}]


def test_folder_that_is_missing(tmp_path):
    with pytest.raises(HarmnmfError, match="cannot write to this folder"):
        write_score_json(tmp_path / "missing" / "a.json", make_score([]))
