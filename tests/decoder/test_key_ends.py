"""Releases of keys under the pedal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from note_strategies import note_lists

from harmnmf import NoteList
from harmnmf.decoder.key_ends import release_keys

DOWN = [[0.0, 3.0]]


def notes(*rows, pedal=DOWN):
    """Build notes from onsets, ends of the sound and pitches."""
    onset, offset, pitch = zip(*rows, strict=True)
    return NoteList(onset, offset, pitch, [70] * len(rows), pedal)


def test_a_key_is_released_at_the_next_onset_in_reach():
    sound = notes((0, 3, 60), (0.02, 3, 64), (0.5, 3, 36), (1, 3, 67), (1.5, 3, 62))
    released = release_keys(sound)
    # The chord until its next note; the bass, and the last notes, with the sound.
    np.testing.assert_allclose(released.offset, [1, 1, 3, 1.5, 3])
    assert released.pedal.tolist() == DOWN
    assert released.pedalled() == sound.pedalled()


def test_a_key_is_held_until_the_pedal_goes_down():
    sound = notes((0, 3, 60), (1, 3, 62), (2, 3, 64), pedal=[[1.2, 3]])
    assert release_keys(sound).offset.tolist() == [1.2, 2, 3]


def test_sounds_that_end_without_the_pedal():
    sound = notes((0, 0.4, 60), (0.5, 1.5, 62), (1, 4, 64), pedal=[[2, 3]])
    assert release_keys(sound).offset.tolist() == [0.4, 1.5, 4]
    without = notes((0, 2, 60), (1, 3, 62), pedal=())
    assert release_keys(without) == without


def test_the_pedal_holds_notes_until_their_dampers_have_fallen():
    sound = notes((0, 3.08, 60), (1, 3.08, 62), (2, 3.5, 64))
    released = release_keys(sound)
    np.testing.assert_allclose(released.offset, [1, 2, 3.5])
    np.testing.assert_allclose(released.pedal, [[0, 3.08]])
    assert released.pedalled() == sound.pedalled()


def test_a_key_that_is_struck_again():
    sound = notes((0, 1, 60), (1, 3, 60))
    assert release_keys(sound) == sound


def test_few_keys_are_held_at_once():
    onset = 0.1 * np.arange(60)
    pitch = 40 + 3 * (np.arange(60) % 12)
    sound = NoteList(onset, np.full(60, 7.0), pitch, [70] * 60, [[0, 7]]).without_overlaps()
    released = release_keys(sound)

    def most(notes):
        return max(((notes.onset <= t) & (notes.offset > t)).sum() for t in notes.onset)

    assert most(sound) == 12
    assert most(released) <= 3


@settings(deadline=None, max_examples=100)
@given(note_lists)
def test_sounds_stay(notes):
    """Keys are released before the sound ends, and the pedal gives its end back."""
    sound = notes.without_overlaps().pedalled()
    sound = NoteList(sound.onset, sound.offset, sound.pitch, sound.velocity, notes.pedal)
    released = release_keys(sound)
    np.testing.assert_array_equal(released.onset, sound.onset)
    assert (released.offset <= sound.offset).all()
    np.testing.assert_allclose(released.pedalled().offset, sound.pedalled().offset, atol=0.1)


@pytest.mark.parametrize("n_pedals", [0, 1])
def test_no_notes(n_pedals):
    empty = NoteList([], [], [], [], DOWN[:n_pedals])
    assert release_keys(empty) == empty
