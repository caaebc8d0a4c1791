"""Expected values are counted by hand."""

from __future__ import annotations

import pytest
from made_scores import make_score, melody

from harmnmf.errors import ParameterError
from harmnmf.score.evaluation.error_rates import error_rates
from harmnmf.score.score import Score, ScoreNotes

PITCHES = (60, 62, 64, 65, 67, 69, 71, 72)
SCALE = melody(*[(pitch, 1) for pitch in PITCHES])


def rates(reference, estimated):
    found = error_rates(make_score(reference), make_score(estimated))
    names = ("Missing_Note", "Extra_Note", "Pitch_Error", "Onset_Error", "Offset_Error")
    return [found[f"{name}_Rate"] for name in names]


def test_no_errors():
    scores = error_rates(make_score(SCALE), make_score(SCALE))
    assert scores.pop("Hands") == scores.pop("Spelling") == 1
    assert set(scores.values()) == {0}


def test_missing_notes_are_of_the_reference():
    assert rates(SCALE, SCALE[:3] + SCALE[4:]) == [1 / 8, 0, 0, 0, 0]


def test_extra_notes_are_of_the_estimate():
    assert rates(SCALE, [*SCALE, (480, 480, 50), (480, 480, 55)]) == [0, 2 / 10, 0, 0, 0]


def test_a_note_of_another_pitch():
    wrong = [(*note[:2], 61 if note[2] == 62 else note[2]) for note in SCALE]
    assert rates(SCALE, wrong) == [0, 0, 1 / 8, 0, 0]


def test_a_note_moved_within_a_chord():
    """Its onset is wrong, and the way to it and from it: two intervals. Its end is right."""
    chords = [*SCALE, (960, 480, 40)]
    moved = [*SCALE, (1200, 240, 40)]
    assert rates(chords, moved) == [0, 0, 0, 2 / 9, 0]


@pytest.mark.parametrize(
    ("durations", "cost"),
    [
        ([2] * 8, 1),  # one change of scale, from the beginning
        ([1] * 4 + [2] * 4, 1),
        ([1] * 3 + [2] * 2 + [1] * 3, 2),  # as short as two wrong intervals
        ([1, 1, 1.5, 1, 1, 1, 1, 1], 1),
        ([1, 1, 1.5, 0.5, 1, 1, 1, 1], 2),
    ],
)
def test_onsets(durations, cost):
    estimated = melody(*zip(PITCHES, durations, strict=True))
    assert rates(SCALE, estimated)[3] == cost / 8


def test_offsets():
    short = [(onset, 240 if onset in (480, 960) else 480, pitch) for onset, _, pitch, *_ in SCALE]
    assert rates(SCALE, short) == [0, 0, 0, 0, 2 / 8]


def test_offsets_are_compared_after_onsets_are_corrected():
    assert rates(SCALE, melody(*[(pitch, 2) for pitch in PITCHES]))[4] == 0


def test_hands_and_spelling():
    score = make_score(SCALE)
    columns = {**vars(score.notes), "fifths": score.notes.fifths.copy()}
    columns["fifths"][0] = 12  # B sharp
    respelled = Score(ScoreNotes(**columns), score.bars, score.keys)
    assert error_rates(score, respelled)["Spelling"] == 7 / 8
    other_hand = make_score([(*note[:3], 2 if note[0] < 960 else 1, 1) for note in SCALE])
    assert error_rates(score, other_hand)["Hands"] == 6 / 8


def test_nothing_was_found():
    assert rates(SCALE, []) == [1, 0, 0, 0, 0]
    with pytest.raises(ParameterError, match="no notes"):
        rates([], SCALE)
