"""Spelling of pitches."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.score.bars import TICKS, Bars
from harmnmf.score.score import Key
from harmnmf.score.spelling import spell

BARS = Bars([[4, 4]] * 4)
SCALE = np.array([60, 62, 64, 65, 67, 69, 71, 72])
SCALE_FIFTHS = np.array([0, 2, 4, -1, 1, 3, 5, 0])


@given(
    st.lists(st.tuples(st.integers(0, 16 * TICKS), st.integers(21, 108)), max_size=30),
    st.integers(-7, 7),
    st.sampled_from(["major", "minor"]),
)
@settings(deadline=None)
def test_spelling_names_the_pitch(notes, fifths, mode):
    onset = [note[0] for note in notes]
    pitch = np.array([note[1] for note in notes], int)
    spelled = spell(onset, pitch, [Key(0, fifths, mode)], BARS)
    assert ((7 * spelled - pitch) % 12 == 0).all()
    assert ((spelled >= -15) & (spelled <= 19)).all()


@given(st.integers(-7, 7))
@settings(deadline=None)
def test_a_scale_has_the_accidentals_of_its_key(fifths):
    pitch = SCALE + 7 * fifths % 12
    spelled = spell(TICKS * np.arange(8), pitch, [Key(0, fifths)], BARS)
    np.testing.assert_array_equal(spelled, SCALE_FIFTHS + fifths)


def test_minor_raises_its_seventh():
    harmonic = [57, 59, 60, 62, 64, 65, 68, 69]
    spelled = spell(TICKS * np.arange(8), harmonic, [Key(0, 0, "minor")], BARS)
    assert spelled[6] == 8


def test_each_bar_has_its_own_key():
    onset = 4 * TICKS * np.arange(4)
    keys = [Key(0, 3), Key(2, -4)]
    np.testing.assert_array_equal(spell(onset, [61] * 4, keys, BARS), [7, 7, -5, -5])


def test_no_notes_have_no_spelling():
    assert spell([], [], [Key(0, 0)], BARS).shape == (0,)
