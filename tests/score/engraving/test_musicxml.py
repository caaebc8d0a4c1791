"""MusicXML of scores."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from lxml import etree
from scores import make_score, played, read_back, rows, scores

from harmnmf import HarmnmfError, ParameterError
from harmnmf.score.bars import TICKS
from harmnmf.score.engraving.musicxml import to_musicxml, write_musicxml
from harmnmf.score.reading.musicxml import read_musicxml
from harmnmf.score.score import Key

Q = TICKS

# What the schema of MusicXML takes from elsewhere on the web.
ATTRIBUTES = {
    "xml.xsd": ("http://www.w3.org/XML/1998/namespace", ["lang", "space"]),
    "xlink.xsd": (
        "http://www.w3.org/1999/xlink",
        ["href", "type", "role", "title", "show", "actuate"],
    ),
}


class Offline(etree.Resolver):
    """Schemas of attributes, without what they may hold."""

    def resolve(self, url, public_id, context):
        namespace, names = ATTRIBUTES[url.rpartition("/")[2]]
        declared = "".join(f'<attribute name="{name}"/>' for name in names)
        return self.resolve_string(
            f'<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="{namespace}">'
            f"{declared}</schema>",
            context,
        )


@pytest.fixture(scope="module")
def schema():
    (package,) = importlib.util.find_spec("musicxml").submodule_search_locations
    parser = etree.XMLParser()
    path = Path(package, "generate_classes", "musicxml_4_0.xsd")
    parser.resolvers.add(Offline())
    with path.open("rb") as file:
        return etree.XMLSchema(etree.parse(file, parser))


def elements(score, name):
    return ElementTree.fromstring(to_musicxml(score)).findall(f".//{name}")


@settings(deadline=None, max_examples=25)
@given(score=scores())
def test_notes_are_those_of_the_score(schema, score):
    text = to_musicxml(score)
    found, lengths = read_back(text)
    assert found == rows(score.notes)
    assert lengths == np.diff(score.bars.starts).tolist()
    schema.assertValid(etree.fromstring(text.encode()))
    assert to_musicxml(score) == text


def test_marks_of_a_performance(schema):
    bars = [[4, 4]] * 24
    score = make_score([(i * Q, Q, "C4") for i in range(96)], bars, title="Song")
    time = np.concatenate([np.arange(48) * 0.5, 24 + np.arange(48) * 0.75])
    velocity = np.repeat([50, 95], 48)
    score = played(score, time, velocity=velocity, pedal=[[0.02, 1.99], [2.05, 3.9], [4.0, 4.05]])
    text = to_musicxml(score)
    schema.assertValid(etree.fromstring(text.encode()))
    assert read_back(text)[0] == rows(score.notes)
    assert [m.findtext("per-minute") for m in elements(score, "metronome")] == ["120", "80"]
    assert [float(sound.get("tempo")) for sound in elements(score, "sound")] == [120, 80]
    marks = [mark[0].tag for mark in elements(score, "dynamics")]
    assert marks == ["p", "f"]
    bar = {id(e): m.get("number") for m in elements(score, "measure") for e in m.iter()}
    assert set(bar.values()) == {str(n) for n in range(1, 25)}
    # Half a second is a beat: what lasts less than one is left out.
    assert [p.get("type") for p in elements(score, "pedal")] == ["start", "stop"] * 2


def test_marks_between_notes_have_an_offset():
    score = make_score([(0, 4 * Q, "C4"), (0, 4 * Q, "C3", 2)])
    score = played(score, [0.0, 0.5, 1.0, 1.5], pedal=[[0.5, 1.5]])
    offsets = [direction.findtext("offset") for direction in elements(score, "direction")]
    assert sorted(int(offset) for offset in offsets if offset) == [Q, 3 * Q]
    assert {d.findtext("staff") for d in elements(score, "direction") if d.find(".//pedal")} <= {
        "2"
    }


@pytest.mark.parametrize(
    ("signature", "unit", "dots", "per_minute"),
    [((4, 4), "quarter", 0, "60"), ((2, 2), "half", 0, "60"), ((6, 8), "quarter", 1, "60"),
     ((3, 8), "eighth", 0, "60")],
)  # fmt: skip
def test_tempo_is_that_of_the_beat(signature, unit, dots, per_minute):
    score = make_score([(0, 120, "C4")], [signature] * 2)
    (mark,) = elements(played(score, np.arange(len(score.bars.beats()))), "metronome")
    assert mark.findtext("beat-unit") == unit
    assert len(mark.findall("beat-unit-dot")) == dots
    assert mark.findtext("per-minute") == per_minute


def test_no_performance_no_marks():
    assert not elements(make_score([(0, Q, "C4")]), "direction")


def test_attributes_stand_where_they_change():
    keys = (Key(0, 2, "minor"), Key(2, -3))
    score = make_score([(0, Q, "C4")], [[3, 4], [3, 4], [4, 4], [3, 4]], pickup=Q, keys=keys)
    measures = elements(score, "measure")
    assert [m.get("number") for m in measures] == ["0", "1", "2", "3"]
    assert [m.get("implicit") for m in measures] == ["yes", None, None, None]
    times = [m.findtext("attributes/time/beats") for m in measures]
    assert times == ["3", None, "4", "3"]
    fifths = [(m.findtext(".//fifths"), m.findtext(".//mode")) for m in measures]
    assert fifths == [("2", "minor"), (None, None), ("-3", "major"), (None, None)]
    assert [clef.findtext("sign") for clef in elements(score, "clef")] == ["G", "F"]
    assert [line.findtext("bar-style") for line in elements(score, "barline")] == ["light-heavy"]


def test_head():
    score = make_score([(0, Q, "C4")], title="A & B\x00<c>\ud800")
    root = ElementTree.fromstring(to_musicxml(score))
    assert root.get("version") == "4.0"
    assert root.findtext("work/work-title") == "A & B <c> "
    assert root.findtext("identification/encoding/software") == "harmnmf"
    assert root.find("identification/encoding/encoding-date") is None
    assert root.findtext("part-list/score-part/part-name") == "Piano"
    assert root.find("work") is not None
    assert ElementTree.fromstring(to_musicxml(make_score([]))).find("work") is None


def test_silence_of_a_second_voice_is_not_written():
    score = make_score([(0, 4 * Q, "C5"), (Q, Q, "C4", 1, 2)])
    assert len(elements(score, "rest")) == 1  # the bar of the left hand
    assert [f.findtext("duration") for f in elements(score, "forward")] == [str(Q), str(2 * Q)]


def test_voices_of_the_left_hand_come_after_four():
    score = make_score([(0, Q, n, s, v) for n, s, v in (("C5", 1, 1), ("C3", 2, 1), ("C2", 2, 2))])
    notes = [n for n in elements(score, "note") if n.find("pitch") is not None]
    assert [n.findtext("voice") for n in notes] == ["1", "5", "6"]


def test_grace_notes_with_and_without_slash():
    one = make_score([(Q, 0, "B4", 1, 1, "grace"), (Q, Q, "C5")])
    assert [g.get("slash") for g in elements(one, "grace")] == ["yes"]
    two = make_score([(Q, 0, "A4", 1, 1, "grace"), (Q, 0, "B4", 1, 1, "grace"), (Q, Q, "C5")])
    assert [g.get("slash") for g in elements(two, "grace")] == ["no", "no"]


def test_brackets_where_no_beam_shows_the_tuplet():
    third = Q * 2 // 3
    quarters = make_score([(i * third, third, "C5") for i in range(3)])
    assert elements(quarters, "tuplet")[0].get("bracket") == "yes"
    eighths = make_score([(i * third // 2, third // 2, "C5") for i in range(3)])
    assert elements(eighths, "tuplet")[0].get("bracket") == "no"


def test_nothing_is_left_of_a_score_that_cannot_be_written(tmp_path):
    with pytest.raises(ParameterError, match="staff 1 at tick 1440 need more than 4 voices"):
        write_musicxml(tmp_path / "song.musicxml", make_score([(3 * Q, 2 * Q, "C4")]))
    assert not list(tmp_path.iterdir())


def test_file(tmp_path):
    score = make_score([(0, Q, "C4")], title="Für Elise")
    write_musicxml(tmp_path / "song.musicxml", score)
    assert (tmp_path / "song.musicxml").read_text(encoding="utf-8") == to_musicxml(score)
    with pytest.raises(HarmnmfError, match="cannot write to this folder"):
        write_musicxml(tmp_path / "missing" / "song.musicxml", score)


BARCAROLLE = make_score(
    [
        (0, Q // 2, "F#5"),
        (Q // 2, 5 * Q // 2, "B5"),
        (3 * Q, Q // 2, "A#5"),
        *((Q // 2 + i * Q // 2, Q // 2, name, 2) for i, name in enumerate(["B2", "F#3", "D4"] * 4)),
        (Q // 2, 3 * Q // 2, "D5", 1, 2),
        (13 * Q // 2, 3 * Q // 2, "E##5"),
    ],
    [[6, 8], [6, 8], [6, 8], [9, 8]],
    pickup=Q // 2,
    keys=(Key(0, 2, "minor"), Key(2, 5)),
    title="Barcarolle",
)
ORNAMENTS = make_score(
    [
        (0, 0, "Ab4", 1, 1, "grace"),
        (0, 0, "Bb4", 1, 1, "grace"),
        (0, Q, "C5", 1, 1, "trill"),
        *((Q + i * Q // 3, Q // 3, name) for i, name in enumerate(["Db5", "C5", "Cb5"])),
        (2 * Q, 6 * Q, "Bb4"),
        *((0, 4 * Q, name, 2, 1, "arpeggio") for name in ("Eb3", "Bb3", "G4")),
        (4 * Q, 4 * Q, "Eb3", 2),
        (4 * Q, Q, "Ab2", 2, 2),
        (6 * Q, 2 * Q // 5, "G2", 2, 2),
        (6 * Q + 2 * Q // 5, 3 * Q // 5, "G2", 2, 2),
    ],
    [[4, 4]] * 2,
    keys=(Key(0, -4, "minor"),),
)


@pytest.mark.parametrize("score", [BARCAROLLE, ORNAMENTS])
def test_scores_are_read_as_they_were_written(tmp_path, score):
    write_musicxml(tmp_path / "song.musicxml", score)
    read = read_musicxml(tmp_path / "song.musicxml")
    assert rows(read.notes) == rows(score.notes)
    assert read.bars.time_signatures.tolist() == score.bars.time_signatures.tolist()
    assert read.bars.pickup == score.bars.pickup
    assert read.keys == score.keys
    assert read.title == score.title
