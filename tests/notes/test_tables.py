"""Tables of notes of this and of other programs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from note_strategies import note_lists

from harmnmf import FormatError, NoteList, read_notes, write_csv

files = settings(deadline=None, max_examples=50)
NO_VELOCITY = "it has no velocities: 64 is taken for all"


def read(tmp_path, text, *, warning=None, name="a.csv", offset="pedal"):
    """Read text or bytes as a table, with a warning about it, or without any."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        notes = read_notes(path, offset=offset)
    messages = [str(item.message) for item in caught]
    assert messages == ([] if warning is None else [f"{path}: {warning}"])
    return notes


@files
@given(note_lists)
def test_round_trip(tmp_path_factory, notes):
    path = tmp_path_factory.getbasetemp() / "round.csv"
    write_csv(path, notes)
    for offset, expected in (("key", notes), ("pedal", notes.pedalled())):
        read = read_notes(path, offset=offset)
        assert len(read) == len(notes)
        np.testing.assert_allclose(read.onset, expected.onset, rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            np.sort(read.offset), np.sort(expected.offset), rtol=0, atol=2e-6
        )


@pytest.mark.parametrize(
    ("header", "row", "pedal", "key"),
    [
        ("onset\tkey_offset\tpedal_offset\tnote\tvelocity", "1\t2\t3\t60\t70", 3, 2),
        ("onset\tkey_offset\tnote\tvelocity", "1\t2\t60\t70", 2, 2),
        ("onset,offset,pitch,velocity", "1,2,60,70", 2, 2),
        ("\ufeffPitch, Velocity, Onset, comment, pedal_offset", "60, 70, 1, x, 3", 3, 3),
        ("start;end;pitch;velocity", "1,0;2,5;60;70", 2.5, 2.5),
        ("onset_time offset_time midi_pitch velocity", "1   2  60 70", 2, 2),
        ("Onset (s),Offset (s),MIDI note,Velocity", "1,2,60,70", 2, 2),
        ('"onset","offset","note","vel"', '"1,0","2,5","C4","70"', 2.5, 2.5),
        ("onset_sec duration_sec pitch velocity id", "1 1.5 60 70 n0", 2.5, 2.5),
        ("begin\tend\tf0_hz\tvelocity", "1\t2\t262\t70", 2, 2),
        ("# onset offset pitch velocity", "1 2 60 70", 2, 2),
        ("# by A\n# velocity pitch offset onset", "70 60 2 1", 2, 2),
        ("# onset and offset in s\nonset offset pitch velocity", "1 2 60 70", 2, 2),
        ("% exported\nonset offset pitch velocity", "1 2 60 70 # first", 2, 2),
        ("onset\toffset\tpitch\tvelocity", "1 2 60 70", 2, 2),  # spaces for tabs
        ("1.0\t2.5\t60\t70", "", 2.5, 2.5),
        ("1,0 2,5 60 70", "", 2.5, 2.5),
        ("1,2,C4,70", "", 2, 2),
    ],
)
def test_columns(tmp_path, header, row, pedal, key):
    text = f"{header}\r\n{row}\r\n\r\n"
    is_hz = "its pitches are taken for frequencies in Hz" if "hz" in header else None
    for offset, expected in (("pedal", pedal), ("key", key)):
        notes = read(tmp_path, text, name="score.tsv", offset=offset, warning=is_hz)
        assert notes == NoteList([1], [expected], [60], [70])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path, encoding):
    text = "onset,offset,pitch,velocity,comment\n0,1,60,70,Étude\n"
    assert len(read(tmp_path, text.encode(encoding))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "OnsetTime\tOffsetTime\tMidiPitch\n0.5\t1\t60\n\n1\t2\t62\n",
        "onset,offset,pitch\n0.5,1,C4\n1,2,D4\n",
        "0.5 1 60\n1 2 62\n",
        "0.5\t1\t261.6\n1\t2\t293.7\n",  # as mir_eval writes them
        "0.5\t1\tC4\n1\t2\tD4\n",
    ],
)
def test_no_velocities(tmp_path, text):
    is_hz = "; its pitches are taken for frequencies in Hz" if "261.6" in text else ""
    notes = read(tmp_path, text, name="MAPS.txt", warning=NO_VELOCITY + is_hz)
    assert notes == NoteList([0.5, 1], [1, 2], [60, 62], [64, 64])


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        ("1,1,60,70\n", "1 note of no length is left out (line 3)"),
        ("1,1,60,70\n1,1,62,70\n", "2 notes of no length are left out (line 3 is the first)"),
    ],
)
def test_notes_without_length(tmp_path, rows, warning):
    text = f"onset,offset,pitch,velocity\n0,1,60,70\n{rows}2,3,64,70\n"
    assert read(tmp_path, text, warning=warning).pitch.tolist() == [60, 64]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", ": the first line names no columns"),
        (b"A song\nby somebody\n", ": the first line names no columns"),
        (b"onset,offset,velocity\n", ": the first line names no column pitch"),
        (b"pitch,velocity\n", ": the first line names no column onset and no offset"),
        (b"onset_ms,offset_ms,pitch,velocity\n", ": the first line names no column onset"),
        (b"onset,offset,pitch,velocity\n0,1,60,70\n\n0,1,H4,70\n", ", line 4: 'H4' is not a pitch"),
        (b"onset,offset,pitch,velocity\n0,1,60,70\n2,1,60,70\n", ", line 3: offset 1.0 s is"),
        (b"onset,offset,pitch,velocity\nnan,1,60,70\n", ", line 2: onset nan"),
        (b"onset,offset,pitch,velocity\n0,1,60,128\n", ", line 2: velocity 128"),
        (b"onset,offset,pitch,velocity\n0,1,60.5,70\n", ", line 2: pitch 60.5"),
        (b"onset,offset,pitch,velocity\n0,1\n", ", line 2: has 2 of 4 columns"),
        (b"onset,offset,hz,velocity\n0,1,0,70\n", ", line 2: 0 Hz is not a pitch"),
        (b"onset,offset,pitch,velocity\n0,x,60,70\n", ", line 2: 'x' is not a number"),
        (b"onset;offset;pitch;velocity\n0;1;60;\n", ", line 2: '' is not a number"),
        (b"\0\x01\x02\0", ": not a text file"),
    ],
)
def test_malformed(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(FormatError, match=rf"a\.csv{message}"):
        read_notes(tmp_path / "a.csv")


@pytest.mark.parametrize("number", ["1e999", "9" * 5000, "-0.1", "0x1", "", '"1'])
def test_numbers(tmp_path, number):
    (tmp_path / "a.csv").write_text(f"onset,offset,pitch,velocity\n{number},1,60,70\n")
    with pytest.raises(FormatError, match=r"a\.csv, line 2: "):
        read_notes(tmp_path / "a.csv")
