"""Scores made by hand and at random, and the notes that MusicXML has."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
from hypothesis import strategies as st

from harmnmf import NoteList
from harmnmf.score.bars import TICKS, Bars, BeatGrid, beat_duration
from harmnmf.score.score import Key, Performance, Score, ScoreNotes

STEPS = "FCGDAEB"
SEMITONES = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
QUARTER = TICKS
KINDS = {
    "128th": QUARTER // 32, "64th": QUARTER // 16, "32nd": QUARTER // 8, "16th": QUARTER // 4,
    "eighth": QUARTER // 2, "quarter": QUARTER, "half": 2 * QUARTER, "whole": 4 * QUARTER,
    "breve": 8 * QUARTER,
}  # fmt: skip


def spelled(name):
    """Pitch and place on the line of fifths of a name such as C#4 or Bb3."""
    sharps = name.count("#") - name.count("b")
    pitch = 12 * (int(name.strip("ABCDEFG#b")) + 1) + SEMITONES[name[0]] + sharps
    return pitch, STEPS.index(name[0]) - 1 + 7 * sharps


def make_score(notes, bars=((4, 4),), *, pickup=0, key=0, keys=None, title=""):
    """Make a score of rows: onset and duration in ticks, name, staff, voice, ornament.

    What comes after the name may be left out.
    """
    rows = []
    for onset, duration, name, *rest in notes:
        staff, voice, ornament = [*rest, *(1, 1, "")[len(rest) :]]
        pitch, fifths = spelled(name)
        rows.append((onset, duration, pitch, staff, voice, fifths, ornament))
    rows.sort(key=lambda row: (row[0], row[3], row[4], row[2]))
    *columns, ornaments = list(zip(*rows, strict=True)) or [[]] * 7
    return Score(
        ScoreNotes(*(np.array(c, np.int64) for c in columns), np.array(ornaments, np.str_)),
        Bars(bars, pickup),
        keys or (Key(0, key),),
        title,
    )


def played(score, time, *, velocity=64, pedal=()):
    """Add a performance with the given times of beats, as written but for grace notes."""
    grid = BeatGrid(time, score.bars)
    notes = score.notes
    onset = grid.time_at(notes.onset - 60 * (notes.duration == 0))
    offset = grid.time_at(notes.onset + notes.duration - 10)
    order = np.lexsort((offset, notes.pitch, onset))
    velocities = np.broadcast_to(velocity, len(notes))[order]
    note_list = NoteList(onset[order], offset[order], notes.pitch[order], velocities, pedal=pedal)
    return Score(notes, score.bars, score.keys, score.title, Performance(note_list, grid, order))


def rows(notes):
    """Rows of the notes of a score, sorted."""
    return sorted(zip(*(column.tolist() for column in vars(notes).values()), strict=True))


SIGNATURES = (
    *((4, 4), (3, 4), (2, 4), (2, 2), (6, 8), (9, 8), (12, 8), (3, 8), (5, 8), (7, 8), (5, 4)),
    *((1, 4), (6, 4), (3, 2), (4, 2), (6, 16), (2, 8)),
)
DIVISIONS = (1, 2, 3, 4, 5, 6, 8, 12)  # of a beat


@st.composite
def scores(draw):
    """Scores whose voices have notes and rests on a grid of each bar, some of them tied."""
    signatures = draw(st.lists(st.sampled_from(SIGNATURES), min_size=1, max_size=4))
    full = signatures[0][0] * 4 * TICKS // signatures[0][1]
    pickup = draw(st.sampled_from([0, 0, 240, 480]))
    bars = Bars(signatures, pickup if pickup < full else 0)
    notes = []
    for staff, voice in ((1, 1), (1, 2), (2, 1), (2, 2)):
        cuts = {0}
        for start, end, signature in zip(
            bars.starts[:-1], bars.starts[1:], signatures, strict=True
        ):
            beat = beat_duration(*signature)
            step = beat // draw(st.sampled_from([n for n in DIVISIONS if beat % n == 0]))
            places = range(int(start), int(end), step)
            cuts |= set(draw(st.lists(st.sampled_from(places), max_size=8)))
        edges = [*sorted(cuts), int(bars.starts[-1])]
        for left, right in pairwise(edges):
            chord = draw(st.sets(st.integers(21, 108), max_size=3))
            if draw(st.booleans()):
                ornament = draw(st.sampled_from(["", "", "", "arpeggio", "trill"]))
                notes += [(left, right - left, p, staff, voice, ornament) for p in chord]
                if chord and draw(st.integers(0, 5)) == 0:
                    notes.append((left, 0, draw(st.integers(21, 108)), staff, voice, "grace"))
    notes.sort(key=lambda row: (row[0], row[3], row[4], row[2]))
    *columns, ornaments = list(zip(*notes, strict=True)) or [[]] * 6
    onset, duration, pitch, staff, voice = (np.array(c, np.int64) for c in columns)
    shift = draw(st.integers(-7, 12))
    fifths = np.mod(7 * pitch - shift, 12) + shift
    keys = (Key(0, draw(st.integers(-7, 7)), draw(st.sampled_from(["major", "minor"]))),)
    if len(bars) > 2:
        keys += (Key(2, draw(st.integers(-7, 7))),)
    columns = onset, duration, pitch, staff, voice, fifths, np.array(ornaments, np.str_)
    return Score(ScoreNotes(*columns), bars, keys, "Ünnamed & <untitled>")


def read_back(text):
    """Rows of notes, and ticks of each measure, of MusicXML; checks what a program relies on."""
    root = ElementTree.fromstring(text)
    found, open_ties, lengths = [], {}, []
    divisions, start = None, 0
    for measure in root.iter("measure"):
        now = onset = end = 0
        open_tuplets, open_beams = {}, defaultdict(set)
        for element in measure:
            divisions = int(element.findtext("divisions") or divisions or 0)
            step = int(element.findtext("duration") or 0) * TICKS // divisions
            if element.tag in ("backup", "forward"):
                now += step if element.tag == "forward" else -step
                assert now >= 0
            elif element.tag == "note":
                onset = onset if element.find("chord") is not None else now
                voice = element.findtext("voice")
                _check_value(element, step)
                _check_groups(element, voice, open_tuplets, open_beams[voice])
                now = max(now, onset + step)
                if element.find("pitch") is not None:
                    _add_note(element, start + onset, step, found, open_ties)
            end = max(end, now)
        assert not open_tuplets
        assert not any(open_beams.values())
        lengths.append(end)
        start += end
    assert not open_ties
    return sorted(map(tuple, found)), lengths


def _check_value(element, step):
    """A note lasts as long as its value, dots and tuplet say."""
    kind = element.findtext("type")
    if kind is None or element.find("grace") is not None:
        assert kind or element.find("rest").get("measure") == "yes"
        return
    dots = len(element.findall("dot"))
    value = KINDS[kind] * (2 - 0.5**dots)
    value *= int(element.findtext("time-modification/normal-notes") or 1)
    value /= int(element.findtext("time-modification/actual-notes") or 1)
    assert value == step


def _check_groups(element, voice, tuplets, beams):
    """Tuplets and beams end where they began; a tuplet has as many units as it says."""
    kinds = [tuplet.get("type") for tuplet in element.iterfind("notations/tuplet")]
    if "start" in kinds:
        assert voice not in tuplets
        tuplets[voice] = Fraction(0)
    ratio = element.find("time-modification")
    if ratio is not None and element.find("chord") is None:
        kind = ratio.findtext("normal-type") or element.findtext("type")
        actual = int(ratio.findtext("actual-notes"))
        value = KINDS[element.findtext("type")] * (
            2 - Fraction(1, 2 ** len(element.findall("dot")))
        )
        tuplets[voice] += value / KINDS[kind] / actual
    if "stop" in kinds:
        assert tuplets.pop(voice) == 1
    for beam in element.iterfind("beam"):
        level = beam.get("number")
        assert (level in beams) == (beam.text in ("continue", "end"))
        if beam.text == "begin":
            beams.add(level)
        elif beam.text == "end":
            beams.discard(level)


def _add_note(element, onset, duration, found, open_ties):
    name = element.findtext("pitch/step")
    sharps = int(element.findtext("pitch/alter") or 0)
    pitch = 12 * (int(element.findtext("pitch/octave")) + 1) + SEMITONES[name] + sharps
    staff = int(element.findtext("staff"))
    number = int(element.findtext("voice"))
    ties = {tie.get("type") for tie in element.iterfind("tie")}
    assert ties == {tie.get("type") for tie in element.iterfind("notations/tied")}
    key = pitch, staff, number
    if "stop" in ties:
        row = open_ties.pop(key)
        assert row[0] + row[1] == onset
        row[1] += duration
    else:
        ornament = "grace" if element.find("grace") is not None else ""
        for kind in ("arpeggiate", "ornaments/trill-mark"):
            if element.find(f"notations/{kind}") is not None:
                ornament = {"arpeggiate": "arpeggio"}.get(kind, "trill")
        fifths = STEPS.index(name) - 1 + 7 * sharps
        row = [onset, duration, pitch, staff, (number - 1) % 4 + 1, fifths, ornament]
        found.append(row)
    if "start" in ties:
        open_ties[key] = row
