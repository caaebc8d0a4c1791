"""Notes in JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from note_strategies import note_lists

from harmnmf import HarmnmfError, NoteList, ParameterError, pitch_name, write_json

NOTES = NoteList([0.1234567], [1.0], [61], [70], pedal=[[0.5, 2.0]])


@settings(deadline=None, max_examples=20)
@given(note_lists)
def test_all_notes_are_written(tmp_path_factory, notes):
    path = tmp_path_factory.getbasetemp() / "notes.json"
    write_json(path, notes)
    content = json.loads(path.read_text())
    columns = {
        name: [note[name] for note in content["notes"]]
        for name in ("onset", "offset", "pitch", "velocity", "name")
    }
    np.testing.assert_allclose(columns["onset"], notes.onset, rtol=0, atol=1e-6)
    np.testing.assert_allclose(columns["offset"], notes.offset, rtol=0, atol=1e-6)
    assert columns["pitch"] == notes.pitch.tolist()
    assert columns["velocity"] == notes.velocity.tolist()
    assert columns["name"] == list(map(pitch_name, notes.pitch))
    pedal = [[interval["onset"], interval["offset"]] for interval in content["pedal"]]
    np.testing.assert_allclose(np.reshape(pedal, (-1, 2)), notes.pedal, rtol=0, atol=1e-6)


def test_metadata_comes_first(tmp_path):
    metadata = {"source": "café.wav", "tuning": -12.5, "settings": {"adapt": None}}
    write_json(tmp_path / "a.json", NOTES, metadata)
    content = json.loads((tmp_path / "a.json").read_text())
    assert list(content) == ["source", "tuning", "settings", "notes", "pedal"]
    assert content.items() >= metadata.items()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"pedal": 1}, "may not have the name 'pedal'"),
        ({"a": object()}, "cannot be written as JSON"),
        ({"a": float("nan")}, "cannot be written as JSON"),
    ],
)
def test_invalid_metadata(tmp_path, metadata, message):
    with pytest.raises(ParameterError, match=message):
        write_json(tmp_path / "a.json", NOTES, metadata)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder(tmp_path):
    with pytest.raises(HarmnmfError, match="cannot write to this folder"):
        write_json(tmp_path / "missing" / "a.json", NOTES)
