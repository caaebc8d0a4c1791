"""Hands of notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.errors import FormatError, ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.hands import HandNetwork, HandNetworkConfig, assign_hands

RIGHT, LEFT = 1, 2


def note_list(rows) -> NoteList:
    """Notes from rows of onset, duration and pitch."""
    onset, duration, pitch = np.array(rows, float).reshape(-1, 3).T
    return NoteList(onset, onset + duration, pitch, np.full(len(onset), 70))


def melody(pitches, duration=0.25) -> NoteList:
    return note_list([(i * duration, duration, pitch) for i, pitch in enumerate(pitches)])


def sonatina() -> tuple[NoteList, np.ndarray]:
    """A melody over broken chords, and its hands."""
    tune = [72, 76, 79, 77, 76, 74, 72, 71, 72, 74, 76, 72, 74, 71, 67, 67] * 2
    broken = [48, 55, 52, 55, 48, 57, 53, 57, 47, 55, 50, 55, 48, 55, 52, 55] * 4
    rows = [(0.5 * i, 0.5, pitch) for i, pitch in enumerate(tune)]
    rows += [(0.25 * i, 0.25, pitch) for i, pitch in enumerate(broken)]
    notes = note_list(rows)
    return notes, np.where(notes.pitch >= 60, RIGHT, LEFT)


def test_split_pitch_is_the_lowest_of_the_right_hand():
    notes = note_list([(0, 1, 59), (0, 1, 60), (0, 1, 61)])
    assert assign_hands(notes, split_pitch=60).tolist() == [LEFT, RIGHT, RIGHT]
    assert assign_hands(notes, split_pitch=0).tolist() == [RIGHT] * 3


@pytest.mark.parametrize("pitch", [-1, 128, 60.5, "C4"])
def test_split_pitch_is_a_midi_number(pitch):
    with pytest.raises(ParameterError, match="split_pitch"):
        assign_hands(melody([60, 62]), split_pitch=pitch)


@pytest.mark.parametrize("split_pitch", [None, 60])
def test_no_notes(split_pitch):
    hands = assign_hands(note_list([]), split_pitch=split_pitch)
    assert hands.shape == (0,)
    assert np.issubdtype(hands.dtype, np.integer)


def test_melody_and_broken_chords():
    notes, hands = sonatina()
    assert (assign_hands(notes) == hands).all()


def test_high_and_low_melodies_are_of_one_hand():
    scale = np.tile([0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2], 6)
    assert (assign_hands(melody(72 + scale)) == RIGHT).all()
    assert (assign_hands(melody(36 + scale)) == LEFT).all()
    assert assign_hands(melody([84])).tolist() == [RIGHT]
    assert assign_hands(melody([36])).tolist() == [LEFT]


def test_hands_share_a_wide_chord():
    chords = [(i, 1, pitch) for i in range(8) for pitch in (36, 43, 67, 72, 76)]
    assert assign_hands(note_list(chords)).reshape(8, 5).tolist() == [[LEFT] * 2 + [RIGHT] * 3] * 8


def test_repeated_notes_of_a_chord_are_of_one_hand():
    notes = note_list([(0.1 * i, 1, pitch) for i in range(2) for pitch in (36, 60, 84)] * 2000)
    hands = assign_hands(notes)
    for i in range(2):
        for pitch in (36, 60, 84):
            assert len(set(hands[(notes.onset == 0.1 * i) & (notes.pitch == pitch)])) == 1


def test_velocity_does_not_matter():
    notes, _ = sonatina()
    velocity = np.random.default_rng(0).integers(1, 128, len(notes))
    louder = NoteList(notes.onset, notes.offset, notes.pitch, velocity)
    assert (assign_hands(louder) == assign_hands(notes)).all()


@pytest.mark.parametrize("semitones", [-3, 2, 4])
def test_transposition_changes_little(semitones):
    notes, _ = sonatina()
    moved = NoteList(notes.onset, notes.offset, notes.pitch + semitones, notes.velocity)
    assert (assign_hands(moved) == assign_hands(notes)).mean() > 0.95


def test_time_of_the_first_note_does_not_matter():
    notes, _ = sonatina()
    assert (assign_hands(notes.shift(100.0)) == assign_hands(notes)).all()


def test_both_ends_of_the_keyboard_and_of_midi():
    hands = assign_hands(note_list([(0, 1, 0), (0, 1, 127), (1, 1, 21), (1, 1, 108)]))
    assert hands.tolist() == [LEFT, RIGHT, LEFT, RIGHT]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.floats(0.01, 3), st.integers(0, 127)),
        min_size=1,
        max_size=40,
    )
)
def test_the_left_hand_plays_the_lower_notes_of_a_chord(rows):
    notes = note_list([(0.1 * onset, duration, pitch) for onset, duration, pitch in rows])
    hands = assign_hands(notes)
    assert hands.shape == (len(notes),)
    assert set(hands) <= {LEFT, RIGHT}
    for onset in np.unique(notes.onset):
        chord = notes.onset == onset
        left, right = (notes.pitch[chord & (hands == hand)] for hand in (LEFT, RIGHT))
        assert left.max(initial=0) <= right.min(initial=127)


def test_logits_are_in_the_order_of_the_notes():
    # The chord is spread downwards.
    notes = note_list([(0.00, 1, 84), (0.01, 1, 80), (0.02, 1, 40), (0.03, 1, 33)])
    logits = HandNetwork.load("hands").logits(notes)
    assert (logits > 0).tolist() == [True, True, False, False]


def test_network_is_saved_and_loaded(tmp_path: Path):
    network = HandNetwork(HandNetworkConfig(n_channels=4, dilations=(1, 2)), {"about": "x"}).eval()
    network.save(tmp_path / "small.safetensors")
    loaded = HandNetwork.load(tmp_path / "small.safetensors")
    notes, _ = sonatina()
    assert (loaded.config, loaded.metadata) == (network.config, {"about": "x"})
    assert (loaded.logits(notes) == network.logits(notes)).all()


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "text.safetensors").write_text("x")
    with pytest.raises(FormatError, match=r"text\.safetensors"):
        HandNetwork.load(tmp_path / "text.safetensors")
    from harmnmf.decoder.network import shipped_networks

    with pytest.raises(FormatError, match="hand-network"):
        HandNetwork.load(shipped_networks()["learned"])
