"""Hands of notes."""

import numpy as np

from harmnmf.notes.note_list import NoteList
from harmnmf.score.hands import assign_hands


def test_a_split_pitch_begins_the_right_hand():
    notes = NoteList([0, 0, 0], [1, 1, 1], [59, 60, 61], [70, 70, 70])
    assert assign_hands(notes, split_pitch=60).tolist() == [2, 1, 1]


def test_no_notes():
    hands = assign_hands(NoteList([], [], [], []))
    assert hands.shape == (0,)
    assert np.issubdtype(hands.dtype, np.integer)
