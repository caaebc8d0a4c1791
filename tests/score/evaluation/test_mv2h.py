"""Expected values are computed by hand from the definitions of the papers."""

from __future__ import annotations

import numpy as np
import pytest
from made_scores import make_score, melody

from harmnmf.errors import ParameterError
from harmnmf.score.evaluation.mv2h import mv2h
from harmnmf.score.score import Key, Score

PARTS = ("Multi-pitch", "Voice", "Metre", "Value", "Harmony")
SCALE = melody(*[(pitch, 1) for pitch in (60, 62, 64, 65, 67, 69, 71, 72)])


def parts(reference, estimated):
    return [mv2h(reference, estimated)[part] for part in PARTS]


def random_score(seed, transposition=0, stretch=1, denominator=4, fifths=0):
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.integers(0, 60, 80)) * 120 * stretch
    duration = rng.integers(1, 8, 80) * 120 * stretch
    pitch = rng.integers(40, 90, 80) + transposition
    notes = zip(onset, duration, pitch, rng.integers(1, 3, 80), rng.integers(1, 3, 80), strict=True)
    return make_score(notes, [[4, denominator]] * 5, pickup=480 * stretch, fifths=fifths)


@pytest.mark.parametrize("seed", range(3))
def test_a_score_equals_itself(seed):
    score = random_score(seed)
    assert parts(score, score) == [1] * 5


@pytest.mark.parametrize(
    "change",
    [
        {"stretch": 2, "denominator": 2},  # all in note values twice as long
        {"stretch": 1},
    ],
)
def test_the_unit_of_time_does_not_matter(change):
    assert parts(random_score(0), random_score(0, **change)) == [1] * 5


def test_transposing_both_does_not_matter():
    low = mv2h(random_score(0), random_score(1))
    high = mv2h(random_score(0, transposition=5), random_score(1, transposition=5))
    assert low == high


MINUET = [
    *melody((74, 1), (67, 0.5), (69, 0.5), (71, 0.5), (72, 0.5), (74, 1), (67, 1), (67, 1)),
    *melody(
        (76, 1), (72, 0.5), (74, 0.5), (76, 0.5), (77, 0.5), (79, 1), (67, 1), (67, 1), start=6
    ),
    *melody((55, 2), (57, 1), (59, 3), (60, 3), (59, 3), staff=2, voice=2),
    (0, 960, 59, 2, 1),
    (0, 960, 62, 1, 2),
]
IN_TWO = [
    *melody((74, 1.5), (69, 0.5), (71, 0.5), (72, 0.5), (74, 1), (67, 2)),
    *melody((76, 1.5), (74, 0.5), (76, 0.5), (77, 0.5), (79, 1), (67, 2), start=6),
    *melody((55, 2), (57, 1), (59, 1.5), (None, 0.5), (67, 1), (60, 1.5), staff=2, voice=2),
    (9 * 480, 1440, 59, 2, 2),
    (0, 960, 59, 2, 1),
    (0, 960, 62, 1, 2),
]
WRONG_PITCHES = [
    *melody((74, 1), (79, 0.5), (69, 0.5), (71, 0.5), (72, 0.5), (74, 1), (67, 1), (67, 1)),
    *melody(
        (76, 1), (72, 0.5), (74, 0.5), (76, 0.5), (77, 0.5), (71, 1), (67, 1), (67, 1), start=6
    ),
    *melody((64, 1), (59, 3), (60, 3), (47, 3), staff=2, voice=2, start=2),
    (0, 960, 59, 2, 1),
]


@pytest.mark.parametrize(
    ("notes", "time_signature", "fifths", "expected"),
    [
        (IN_TWO, (6, 8), 1, [40 / 43, 0.8125, 28 / 38, 27 / 28, 1]),
        (WRONG_PITCHES, (3, 4), 2, [34 / 44, 1, 1, 1, 0.5]),
    ],
)
def test_examples_of_the_authors(notes, time_signature, fifths, expected):
    """The program of the authors has the same values for this minuet; chords are left out."""
    reference = make_score(MINUET, [(3, 4)] * 4, fifths=1)
    estimated = make_score(notes, [time_signature] * 4, fifths=fifths)
    assert parts(reference, estimated) == pytest.approx(expected)


def test_bars_that_drift():
    """After an inserted beat all notes are found, and one lasts too short."""
    late = [(onset + 480 * (onset >= 960), *rest) for onset, *rest in SCALE]
    scores = mv2h(make_score(SCALE, [[4, 4]] * 2), make_score(late, [[4, 4]] * 3))
    assert [scores[part] for part in ("Multi-pitch", "Voice", "Value")] == [1, 1, 7.5 / 8]
    assert scores["Metre"] < 1


def test_note_values():
    """One note of eight is half as long, and one twice: errors of 1/2 and 1."""
    played = [list(note) for note in SCALE]
    played[2][1], played[7][1] = 240, 960
    scores = mv2h(make_score(SCALE), make_score(played))
    assert scores["Value"] == pytest.approx((6 + 1 / 2 + 0) / 8)
    assert scores["Voice"] == 1


def test_voices():
    """The last four notes in another voice break one link of seven."""
    moved = [(*note[:3], 2 if note[0] >= 1920 else 1, 1) for note in SCALE]
    # A link of the reference only has half the weight of one in both, and counts twice.
    scores = mv2h(make_score(SCALE), make_score(moved))
    assert scores["Voice"] == pytest.approx(2 * 6 / (6 + 2 + 6))
    # The note before the break is not checked for its value.
    assert scores["Value"] == 1


def test_names_of_voices_do_not_matter():
    left = [(*note[:3], 2, 2) for note in SCALE]
    assert mv2h(make_score(SCALE), make_score(left))["Voice"] == 1


def test_chords_count_as_one():
    """A chord of three in two voices, or in one: its links count as much as that of a note."""
    chord = [(0, 480, pitch) for pitch in (60, 64, 67)] + [(480, 480, 72)]
    split = [(*note[:3], 1, 1 if note[2] > 64 else 2) for note in chord]
    # Found is the link of G: 1 of the weight 1 * (3 + 1) / 2. Those of C and E are missing, each
    # of the weight 1/2 * (3 + 2) / 2.
    scores = mv2h(make_score(chord), make_score(split))
    assert scores["Voice"] == pytest.approx(2 * 0.5 / (0.5 + 0.5 + 2 * 0.8))


@pytest.mark.parametrize(
    ("fifths", "expected"), [(0, 1), (1, 0.5), (-1, 0.5), (2, 0), (-3, 0), (6, 0)]
)
def test_keys(fifths, expected):
    assert mv2h(make_score(SCALE), make_score(SCALE, fifths=fifths))["Harmony"] == expected


def test_keys_change():
    """Right in the first and the last of four bars, a fifth off in the third."""
    score = make_score(SCALE)
    other = Score(score.notes, score.bars, (Key(0, 0), Key(1, 2), Key(2, 1), Key(3, 0)))
    assert mv2h(score, other)["Harmony"] == (1 + 0 + 0.5 + 1) / 4


@pytest.mark.parametrize(
    ("time_signature", "expected"),
    [
        # Of 2 bars, 8 beats and 16 halves are right all but the bars; 4 bars of 2/4 are found.
        ((2, 4), 2 * 24 / (26 + 28)),
        # Half notes are wrong, quarters are found as halves of beats.
        ((4, 2), 2 * 8 / (26 + 1 + 4 + 8)),
        ((2, 2), 2 * (2 + 8) / (26 + 2 + 4 + 8)),
    ],
)
def test_metre(time_signature, expected):
    n_bars = {(2, 4): 4, (4, 2): 1, (2, 2): 2}[time_signature]
    reference = make_score(SCALE, [[4, 4]] * 2)
    estimated = make_score(SCALE, [time_signature] * n_bars)
    assert mv2h(reference, estimated)["Metre"] == pytest.approx(expected)


def test_pickup_is_no_bar():
    """Without the pickup all bars are wrong: 2 of them, in 8 beats and 16 halves of beats."""
    notes = melody(*[(60 + pitch, 1) for pitch in range(9)])
    with_pickup = make_score(notes, [[4, 4]] * 3, pickup=480)
    without = make_score(notes, [[4, 4]] * 2 + [[1, 4]])
    # The single beat of the last bar is a bar and a beat, which match a beat and nothing.
    assert mv2h(with_pickup, without)["Metre"] == pytest.approx(2 * 27 / (29 + 30))


def test_grace_notes_are_left_out():
    with_grace = make_score([*SCALE, (480, 0, 61)])
    assert parts(make_score(SCALE), with_grace) == [1] * 5


def test_nothing_was_found():
    scores = mv2h(make_score(SCALE), make_score([]))
    assert [scores[part] for part in ("Multi-pitch", "Value")] == [0, 0]
    with pytest.raises(ParameterError, match="no notes"):
        mv2h(make_score([]), make_score(SCALE))
