"""How durations are written: values, ties, rests, tuplets, beams, accidentals and clefs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores import make_score, played, scores

from harmnmf import NoteList
from harmnmf.errors import ParameterError
from harmnmf.score.bars import TICKS
from harmnmf.score.engraving.beaming import add_beams
from harmnmf.score.engraving.notation import notate, spelled_pitch
from harmnmf.score.engraving.rhythm import Segment, divide_bar, write_rhythm
from harmnmf.score.score import Performance

Q = TICKS
NAMES = {Q // 8: "32", Q // 4: "16", Q // 2: "8", Q: "4", 2 * Q: "2", 4 * Q: "1", 8 * Q: "breve"}


def text(symbols):
    """Symbols as words: value and dots, "r" before rests, "~" after what is tied to the next."""
    return " ".join(
        "r" * (not s.notes) + NAMES[s.kind] + "." * s.dots + "~" * s.tied_to for s in symbols
    )


def written(signature, *durations):
    """Write durations in quarters, negative ones for rests, and show the symbols."""
    edges = np.rint(Q * np.cumsum([0, *np.abs(durations)])).astype(int).tolist()
    segments = [
        Segment(start, end, (i,) if durations[i] > 0 else ())
        for i, (start, end) in enumerate(pairwise(edges))
    ]
    metre = divide_bar(*signature)
    return add_beams(metre, write_rhythm(metre, segments))


@pytest.mark.parametrize(
    ("signature", "durations", "expected"),
    [
        ((4, 4), [4], "1"),
        ((4, 4), [3, 1], "2. 4"),
        ((4, 4), [1, 3], "4 2."),
        ((4, 4), [2.5, 1.5], "2~ 8 4."),
        ((4, 4), [1.5, 0.5, 2], "4. 8 2"),
        ((4, 4), [0.5, 1.5, 2], "8 4. 2"),
        ((4, 4), [1, 2, 1], "4 2 4"),  # short, long, short
        ((4, 4), [0.5, 1, 0.5, 2], "8 4 8 2"),
        ((4, 4), [1, 1.5, 1.5], "4 4~ 8 4."),  # the middle of the bar stays visible
        ((4, 4), [1.5, 1, 1.5], "4. 8~ 8 4."),
        ((4, 4), [0.5, 2, 1.5], "8 4.~ 8 4."),
        ((4, 4), [0.75, 0.25, 3], "8. 16 2."),
        ((4, 4), [0.25, 0.5, 0.25, 3], "16 8 16 2."),
        ((4, 4), [0.75, 0.5, 2.75], "8. 16~ 16 8.~ 2"),
        ((4, 4), [3.5, 0.5], "2~ 4. 8"),
        ((4, 4), [1.75, 0.25, 2], "4.. 16 2"),
        ((2, 2), [3, 1], "2. 4"),
        ((2, 4), [1.5, 0.5], "4. 8"),
        ((3, 4), [3], "2."),
        ((3, 4), [2.5, 0.5], "2~ 8 8"),
        ((3, 4), [1, 2], "4 2"),
        ((3, 4), [0.5, 2.5], "8 8~ 2"),
        ((3, 4), [0.5, 1, 1.5], "8 4 4."),
        ((6, 8), [3], "2."),
        ((6, 8), [1.5, 1.5], "4. 4."),
        ((6, 8), [2, 1], "4.~ 8 4"),
        ((6, 8), [1, 1, 1], "4 8~ 8 4"),  # the beats stay visible
        ((6, 8), [0.5, 1, 0.5, 1], "8 4 8 4"),
        ((6, 8), [0.75, 0.75, 1.5], "8. 8. 4."),
        ((9, 8), [4.5], "2.~ 4."),
        ((12, 8), [6], "1."),
        ((3, 8), [1.5], "4."),
        ((5, 4), [5], "2.~ 2"),
        ((5, 8), [2.5], "4.~ 4"),
        ((7, 8), [3.5], "2~ 4."),
        ((4, 2), [8], "breve"),
        ((4, 4), [-1, 1, -2], "r4 4 r2"),
        ((4, 4), [1, -2, 1], "4 r4 r4 4"),  # rests show the middle, too
        ((4, 4), [-3, 1], "r2 r4 4"),
        ((4, 4), [0.5, -1.5, 2], "8 r8 r4 2"),
        ((4, 4), [0.25, -3.75], "16 r16 r8 r4 r2"),
        ((3, 4), [1, -2], "4 r4 r4"),
        ((6, 8), [0.5, -2.5], "8 r8 r8 r4."),
        ((6, 8), [-1.5, 1.5], "r4. 4."),
        ((9, 8), [1.5, -3], "4. r4. r4."),
    ],
)
def test_values(signature, durations, expected):
    assert text(written(signature, *durations)) == expected


def tuplets(symbols):
    found = []
    for symbol in symbols:
        if symbol.tuplet is not None and symbol.tuplet not in found:
            found.append(symbol.tuplet)
    return [((t.end - t.start) / Q, t.actual, t.normal) for t in found]


@pytest.mark.parametrize(
    ("signature", "durations", "expected", "ratios"),
    [
        ((2, 4), [1 / 3] * 3 + [1], "8 8 8 4", [(1, 3, 2)]),
        ((2, 4), [2 / 3, 1 / 3, 1], "4 8 4", [(1, 3, 2)]),
        ((2, 4), [2 / 3, -1 / 3, 1], "4 r8 4", [(1, 3, 2)]),
        ((2, 4), [1 / 3, -1 / 3, 1 / 3, 1], "8 r8 8 4", [(1, 3, 2)]),
        ((2, 4), [1 / 3] * 6, "8 8 8 8 8 8", [(1, 3, 2)] * 2),
        ((2, 4), [2 / 3] * 3, "4 4 4", [(2, 3, 2)]),
        ((4, 4), [4 / 3] * 3, "2 2 2", [(4, 3, 2)]),
        ((2, 4), [1 / 6] * 6 + [1], "16 16 16 16 16 16 4", [(1, 6, 4)]),
        ((2, 4), [1 / 6] * 3 + [0.5, 1], "16 16 16 8 4", [(0.5, 3, 2)]),
        ((2, 4), [1 / 3, 1 / 6, 1 / 6, 1 / 3, 1], "8 16 16 8 4", [(1, 3, 2)]),
        ((2, 4), [1 / 2, 1 / 6, 1 / 3, 1], "8 16 8 4", [(0.5, 3, 2)]),
        ((2, 4), [1 / 5] * 5 + [1], "16 16 16 16 16 4", [(1, 5, 4)]),
        ((2, 4), [2 / 5, 3 / 5, 1], "8 8. 4", [(1, 5, 4)]),
        ((2, 4), [1 / 7] * 7 + [1], " ".join(["16"] * 7) + " 4", [(1, 7, 4)]),
        ((6, 8), [3 / 8] * 4 + [1.5], "8 8 8 8 4.", [(1.5, 4, 3)]),
        ((6, 8), [3 / 10] * 5 + [1.5], "8 8 8 8 8 4.", [(1.5, 5, 3)]),
        ((6, 8), [1 / 6] * 3 + [1, 1.5], "16 16 16 4 4.", [(0.5, 3, 2)]),
        # A note into the next beat is tied from the tuplet.
        ((2, 4), [2 / 3, 5 / 6, 0.5], "4 8~ 8 8", [(1, 3, 2)]),
        ((2, 4), [0.5, 0.5 + 1 / 3, 2 / 3], "8 8~ 8 4", [(1, 3, 2)]),
        # Only what is divided is a tuplet.
        ((4, 4), [4 / 3, 8 / 3], "2 1", [(4, 3, 2)]),
        ((4, 4), [1 / 3, 3 + 2 / 3], "8 4~ 2.", [(1, 3, 2)]),
        ((4, 4), [3 + 1 / 3, 2 / 3], "2~ 2 4", [(2, 3, 2)]),
        # Swing: not a triplet of the half bar.
        ((2, 4), [2 / 3, 1, 1 / 3], "4 8~ 4 8", [(1, 3, 2)] * 2),
    ],
)
def test_tuplets(signature, durations, expected, ratios):
    symbols = written(signature, *durations)
    assert text(symbols) == expected
    assert tuplets(symbols) == ratios


@pytest.mark.parametrize(
    ("signature", "durations", "groups"),
    [
        ((4, 4), [0.5] * 8, [2, 2, 2, 2]),
        ((3, 4), [0.5] * 6, [2, 2, 2]),
        ((2, 2), [0.5] * 8, [4, 4]),
        ((6, 8), [0.5] * 6, [3, 3]),
        ((9, 8), [0.5] * 9, [3, 3, 3]),
        ((12, 8), [0.5] * 12, [3, 3, 3, 3]),
        ((3, 8), [0.5] * 3, [3]),
        ((5, 8), [0.5] * 5, [3, 2]),
        ((7, 8), [0.5] * 7, [2, 2, 3]),
        ((6, 8), [0.25] * 12, [6, 6]),
        ((4, 4), [0.25] * 16, [4, 4, 4, 4]),
        ((4, 4), [0.5, 1, 0.5, 2], []),  # never across a beat
        ((4, 4), [-0.5, 0.5, 0.5, -0.5, 2], []),
        ((4, 4), [0.25, -0.25, 0.5, 3], [2]),  # over a rest
        ((2, 4), [1 / 3] * 6, [3, 3]),
    ],
)
def test_beams_join_the_notes_of_a_beat(signature, durations, groups):
    found = []
    for symbol in written(signature, *durations):
        if symbol.beams[:1] == ("begin",):
            found.append(0)
        if symbol.beams:
            found[-1] += 1
    assert found == groups


@pytest.mark.parametrize(
    ("durations", "second"),
    [
        ([0.75, 0.25, 3], [None, "backward hook"]),
        ([0.25, 0.75, 3], ["forward hook", None]),
        ([0.25, 0.5, 0.25, 3], ["forward hook", None, "backward hook"]),
        ([0.5, 0.25, 0.25, 3], [None, "begin", "end"]),
        ([0.25, 0.25, 0.5, 3], ["begin", "end", None]),
    ],
)
def test_second_beams(durations, second):
    beamed = [symbol.beams for symbol in written((4, 4), *durations) if symbol.beams]
    assert [beams[1] if len(beams) > 1 else None for beams in beamed] == second


@settings(deadline=None)
@given(st.lists(st.integers(1, 1919), max_size=9, unique=True))
def test_any_position_is_written(places):
    # Those that no value has are written as the nearest.
    edges = [0, *sorted(places), 1920]
    segments = [
        Segment(start, end, (i,) * (i % 3 > 0)) for i, (start, end) in enumerate(pairwise(edges))
    ]
    symbols = write_rhythm(divide_bar(4, 4), segments)
    assert symbols[0].start == 0
    assert symbols[-1].end == 1920
    assert all(a.end == b.start for a, b in pairwise(symbols))
    assert {s.notes for s in symbols} == {s.notes for s in segments}


@settings(deadline=None, max_examples=30)
@given(scores())
def test_every_voice_fills_its_bars(score):
    for measure in notate(score):
        assert {(v.staff, 1) for v in measure.voices} == {(1, 1), (2, 1)}
        for voice in measure.voices:
            played_symbols = [s for s in voice.symbols if not s.is_grace]
            edges = [s.start for s in played_symbols] + [measure.end]
            assert edges[0] == measure.start
            assert [s.end for s in played_symbols] == edges[1:]
            if voice.number == 1:
                assert not any(s.is_hidden for s in voice.symbols)


def symbols_of(score, staff=1, number=1):
    return [
        symbol
        for measure in notate(score)
        for voice in measure.voices
        if (voice.staff, voice.number) == (staff, number)
        for symbol in voice.symbols
    ]


def test_ties_over_bar_lines():
    score = make_score([(3 * Q, 6 * Q, "C4")], [[4, 4]] * 3)
    assert text(symbols_of(score)) == "r2 r4 4~ 1~ 4 r4 r2"


def test_bars_of_rests():
    score = make_score([(4 * Q, Q, "C4")], [[4, 4]] * 2)
    assert [s.kind for s in symbols_of(score)] == [0, Q, Q, 2 * Q]
    assert [s.kind for s in symbols_of(score, staff=2)] == [0, 0]


def test_a_pickup_is_the_end_of_a_bar():
    score = make_score([(0, Q // 2, "C4"), (Q // 2, Q, "D4")], [[3, 4]] * 2, pickup=3 * Q // 2)
    assert text(symbols_of(score)[:2]) == "8 4"
    assert [measure.number for measure in notate(score)] == [0, 1]


def test_chords_are_one_symbol():
    score = make_score([(0, Q, "C4"), (0, Q, "E4"), (Q, Q, "D4")])
    assert [symbol.notes for symbol in symbols_of(score)] == [(0, 1), (2,), ()]


def grace_order(score):
    return [symbol.notes for symbol in symbols_of(score) if symbol.is_grace]


def test_grace_notes_stand_before_their_note():
    rows = [(Q, 0, "A4", 1, 1, "grace"), (Q, 0, "B4", 1, 1, "grace"), (Q, Q, "C5")]
    score = make_score(rows, [[2, 4]])
    assert [(s.is_grace, s.kind) for s in symbols_of(score)] == [
        *((False, Q), (True, Q // 4), (True, Q // 4), (False, Q))
    ]
    assert grace_order(score) == [(0,), (1,)]
    # One alone is an eighth.
    assert symbols_of(make_score(rows[1:], [[2, 4]]))[1].kind == Q // 2


def test_grace_notes_follow_the_performance():
    score = make_score([(Q, 0, "A4", 1, 1, "grace"), (Q, 0, "B4", 1, 1, "grace"), (Q, Q, "C5")])
    chord = played(score, [0, 1, 2, 3])  # both are played at one time
    assert grace_order(chord) == [(0, 1)]
    performance = chord.performance
    later = type(performance)(
        type(performance.notes)([0.9, 0.8, 1.0], [0.95, 0.85, 1.9], [69, 71, 72], [64] * 3),
        performance.grid,
        np.array([1, 0, 2]),
    )
    score = type(score)(score.notes, score.bars, score.keys, "", later)
    assert grace_order(score) == [(1,), (0,)]


def test_accidentals_of_grace_notes_are_in_the_order_of_playing():
    rows = [(Q, 0, "G#4", 1, 1, "grace"), (Q, 0, "G4", 1, 1, "grace"), (Q, Q, "A4")]
    score = make_score(rows)  # in order of pitch: G first
    backwards = played(score, [1, 2, 3, 4])
    (measure,) = notate(score)
    assert measure.accidentals == {1: 1}
    notes = backwards.performance.notes
    onset = np.where(notes.pitch == 68, notes.onset.min() - 0.1, notes.onset)
    order = np.argsort(onset)
    reordered = NoteList(onset[order], onset[order] + 0.05, notes.pitch[order], [64] * 3)
    performance = Performance(reordered, backwards.performance.grid, np.array([1, 0, 2]))
    (measure,) = notate(replace(score, performance=performance))
    assert measure.accidentals == {1: 1, 0: 0}


def test_grace_notes_without_a_note_of_their_voice():
    rest = [(Q, 0, "A4", 1, 1, "grace"), (0, Q, "C5")]
    held = [(Q, 0, "A4", 1, 1, "grace"), (0, 2 * Q, "C5")]
    other = [(Q, 0, "A4", 1, 1, "grace"), (0, 2 * Q, "C5"), (Q, Q, "C4", 1, 2)]
    end = [(4 * Q, 0, "A4", 1, 1, "grace"), (0, 4 * Q, "C5")]
    assert [s.is_grace for s in symbols_of(make_score(rest))] == [False, True, False, False]
    assert [s.is_grace for s in symbols_of(make_score(held))] == [False, True, False, False]
    assert [s.tied_to for s in symbols_of(make_score(held))] == [True, False, False, False]
    assert any(s.is_grace for s in symbols_of(make_score(other), number=2))
    assert [s.is_grace for s in symbols_of(make_score(end))] == [False, True]


@pytest.mark.parametrize(
    ("key", "notes", "expected"),
    [
        (0, ["F#4", "F#4", "F4", "F4"], {0: 1, 2: 0}),  # once in a bar, then taken back
        (1, ["F#4", "F4", "F#4"], {1: 0, 2: 1}),
        (0, ["F#4", "F#5", "F5"], {0: 1, 1: 1, 2: 0}),  # octaves apart
        (0, ["Gb4", "F#4"], {0: -1, 1: 1}),
        (-2, ["Bb3", "B3", "Bb3", "Eb4"], {1: 0, 2: -1}),
        (0, ["F##4", "F#4", "Bbb4"], {0: 2, 1: 1, 2: -2}),
        (0, ["F#4", "C4", "C4", "C4", "F4", "F#4"], {0: 1, 5: 1}),  # until the bar line
    ],
)
def test_accidentals(key, notes, expected):
    rows = [(i * Q, Q, name) for i, name in enumerate(notes)]
    score = make_score(rows, [[4, 4]] * 2, key=key)
    assert {i: n for measure in notate(score) for i, n in measure.accidentals.items()} == expected


def test_accidentals_of_staves_and_tied_notes():
    both = make_score([(0, Q, "F#4", 1), (Q, Q, "F#4", 2), (2 * Q, Q, "F4", 2)])
    assert notate(both)[0].accidentals == {0: 1, 1: 1, 2: 0}
    voices = make_score([(0, 2 * Q, "F#4"), (Q, Q, "F#4", 1, 2), (Q, Q, "F4", 1, 2)][:2])
    assert notate(voices)[0].accidentals == {0: 1}
    # A note that is tied over a bar line has none there, but the next of its pitch has.
    tied = make_score([(3 * Q, 2 * Q, "F#4"), (5 * Q, Q, "F#4")], [[4, 4]] * 2)
    assert [measure.accidentals for measure in notate(tied)] == [{0: 1}, {1: 1}]


def test_spelled_pitch():
    names = {"C4": ("C", 0, 4), "B#3": ("B", 1, 3), "Cb4": ("C", -1, 4), "F##5": ("F", 2, 5)}
    for name, expected in names.items():
        note = make_score([(0, Q, name)]).notes
        assert spelled_pitch(int(note.pitch[0]), int(note.fifths[0])) == expected


def clefs(left_hand, n=4):
    """Clefs of the left hand where they change, with bars of repeated notes."""
    rows = [
        (4 * Q * bar + Q * i, Q, name, 2) for bar, name in enumerate(left_hand) for i in range(n)
    ]
    score = make_score(rows, [[4, 4]] * len(left_hand))
    return {m.number: m.clefs[2] for m in notate(score) if 2 in m.clefs}


def test_clefs_change_where_a_hand_stays_in_another_register():
    assert clefs(["C3"] * 4) == {1: "F"}
    assert clefs(["C3", "C5", "C5", "C5", "C5", "C3", "C3"]) == {1: "F", 2: "G", 6: "F"}
    assert clefs(["C3", "G4", "C3"]) == {1: "F"}  # not for a bar
    assert clefs(["C5"] * 6) == {1: "G"}
    assert clefs(["C3"], n=0) == {1: "F"}


@pytest.mark.parametrize(
    "notes", [[(0, 2 * Q, "C4"), (Q, Q, "D4")], [(0, 2 * Q, "C4"), (0, Q, "D4")]]
)
def test_notes_of_a_voice_that_overlap_have_further_voices(notes):
    (measure,) = notate(make_score(notes))
    upper = [voice.number for voice in measure.voices if voice.staff == 1]
    assert upper == [1, 3]


@pytest.mark.parametrize(
    "notes",
    [[(3 * Q, 2 * Q, "C4")], [(i * Q // 8, Q, pitch) for i, pitch in enumerate("CDEFG")]],
)
def test_notes_that_no_voice_can_have(notes):
    notes = [(onset, duration, f"{name[0]}4") for onset, duration, name in notes]
    with pytest.raises(ParameterError, match="more than 4 voices, or lie outside the bars"):
        notate(make_score(notes))
