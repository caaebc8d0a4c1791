from __future__ import annotations

import json
import re

import numpy as np
import pytest

from harmnmf import FormatError, NoteList, evaluate_files, read_notes, write_midi
from harmnmf.notes.event_lines import parse_event_line
from harmnmf.notes.tracks import read_tracks

LINES = [
    '{"event":"note_on","time":0.5,"pitch":60,"velocity":80,"confidence":0.93}',
    '{"event":"pedal","time":0.6,"down":true}',
    '{"event":"note_on","time":1.25,"pitch":64,"velocity":70,"confidence":0.8}',
    '{"event":"note_off","time":1.0,"pitch":60}',
    '{"event":"note_off","time":1.5,"pitch":64}',
    '{"event":"pedal","time":2.0,"down":false}',
]
NOTES = NoteList([0.5, 1.25], [1.0, 1.5], [60, 64], [80, 70], pedal=[[0.6, 2.0]])


def write(path, lines, end="\n", encoding="utf-8"):
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("end", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig"), ("\r\n", "utf-16")]
)
def test_events_are_notes_and_pedal(tmp_path, end, encoding):
    path = write(tmp_path / "take.jsonl", LINES, end, encoding)
    assert read_notes(path, offset="key") == NOTES
    assert read_notes(path) == NOTES.pedalled()
    assert read_tracks(path).notes == NOTES


def test_empty_lines_and_spaces(tmp_path):
    spaced = [json.dumps(json.loads(line)) for line in LINES]
    assert read_notes(write(tmp_path / "a.jsonl", ["", *spaced, ""]), offset="key") == NOTES


def test_a_file_without_events_has_no_notes(tmp_path):
    assert len(read_notes(write(tmp_path / "a.jsonl", []))) == 0


def test_times_are_exact(tmp_path):
    times = np.round(np.random.default_rng(0).uniform(0, 40_000, 50), 4)
    lines = [
        json.dumps({"event": event, "time": time + wait, "pitch": 60, "velocity": 1})
        for time in sorted(times.tolist())
        for event, wait in (("note_on", 0), ("note_off", 0.5))
    ]
    notes = read_notes(write(tmp_path / "a.jsonl", lines))
    np.testing.assert_allclose(notes.onset, np.sort(times), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", range(1, len(LINES[-1])))
def test_a_last_line_that_is_cut_off_is_left_out(tmp_path, n):
    path = write(tmp_path / "take.jsonl", LINES[:-1])
    path.write_bytes(path.read_bytes() + LINES[-1][:n].encode())
    with pytest.warns(UserWarning, match=r"take\.jsonl: its last line, 6, is cut off and left out"):
        notes = read_notes(path, offset="key")
    # The pedal, too, is up at the last event.
    np.testing.assert_array_equal(notes.pedal, [[0.6, 1.5]])
    assert len(notes) == 2


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\xff\xfe{", "ü".encode()[:1]])
def test_a_last_line_that_is_no_text(tmp_path, tail):
    path = write(tmp_path / "take.jsonl", LINES)
    path.write_bytes(path.read_bytes() + tail)
    with pytest.warns(UserWarning, match="its last line, 7, is cut off"):
        assert read_notes(path, offset="key") == NOTES


def test_a_last_line_without_a_break_counts(tmp_path):
    path = tmp_path / "take.jsonl"
    path.write_text("\n".join(LINES))
    assert read_notes(path, offset="key") == NOTES


def test_notes_that_are_not_released(tmp_path):
    with pytest.warns(UserWarning, match="1 note is not released before the end"):
        notes = read_notes(write(tmp_path / "take.jsonl", LINES[:4]), offset="key")
    np.testing.assert_array_equal(notes.onset, [0.5, 1.25])
    assert notes.offset[1] > 1.25


BROKEN = {
    "half": (LINES[0][:30], "is not a JSON object"),
    "list": ("[1, 2]", "is not a JSON object"),
    "nested": ("[" * 100_000, "is not a JSON object"),
    "text": ("onset,offset,pitch", "is not a JSON object"),
    "event": ('{"time": 1}', 'has no "event" that is one of note_on, note_off, pedal'),
    "kind": ('{"event": ["note_on"], "time": 1}', 'has no "event" that is one of'),
    "time": ('{"event": "note_off", "pitch": 60}', 'has no "time"'),
    "before": ('{"event": "note_off", "time": -1, "pitch": 60}', 'its "time", -1, is not a time'),
    "nan": ('{"event": "note_off", "time": NaN, "pitch": 60}', 'its "time", nan, is not a time'),
    "late": ('{"event": "note_off", "time": 1e300, "pitch": 60}', "is not a time"),
    "pitch": ('{"event": "note_off", "time": 1, "pitch": 128}', "whole number from 0 to 127"),
    "name": ('{"event": "note_off", "time": 1, "pitch": "C4"}', "whole number from 0 to 127"),
    "velocity": (
        '{"event": "note_on", "time": 1, "pitch": 60, "velocity": 0}',
        "whole number from 1 to 127",
    ),
    "down": ('{"event": "pedal", "time": 1, "down": 127}', 'its "down", 127, is not true or false'),
}


@pytest.mark.parametrize(("line", "message"), BROKEN.values(), ids=BROKEN)
def test_other_damage_is_an_error_that_names_the_line(tmp_path, line, message):
    path = write(tmp_path / "take.jsonl", [*LINES[:2], line, *LINES[2:]])
    with pytest.raises(FormatError, match=rf"take\.jsonl, line 3: .*{re.escape(message)}"):
        read_notes(path)
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_event_line(line)


@pytest.mark.parametrize("text", ["hello", '{"event":"note_on","ti'])
def test_a_file_without_a_whole_event(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(FormatError, match=r"a\.jsonl, line 1: is not a JSON object"):
        read_notes(tmp_path / "a.jsonl")


def test_files_of_hours(tmp_path):
    """More than the 8 MB that are allowed for MIDI files."""
    lines = [
        f'{{"event":"{kind}","time":{i / 10 + wait},"pitch":{21 + i % 88},"velocity":64}}'.ljust(
            1000
        )
        for i in range(5000)
        for kind, wait in (("note_on", 0), ("note_off", 0.0625))
    ]
    path = write(tmp_path / "take.jsonl", lines)
    assert path.stat().st_size > 2**23
    assert len(read_notes(path)) == 5000


def test_folders_are_evaluated(tmp_path):
    references, estimates = tmp_path / "a", tmp_path / "b"
    references.mkdir()
    estimates.mkdir()
    write_midi(references / "song.mid", NOTES)
    write(estimates / "song.jsonl", LINES)
    write(estimates / "manifest.jsonl", ['{"source": "song.wav"}'])
    result = evaluate_files(references, estimates)
    assert (list(result.pieces), result.unused, result.failures) == (["song"], [], {})
    assert result.mean["F-measure"] == 1
