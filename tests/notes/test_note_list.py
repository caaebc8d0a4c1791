from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from note_strategies import crowded, note_lists

from harmnmf import NoteList, ParameterError


class TestNoteList:
    @given(crowded, st.randoms())
    def test_order_of_input_does_not_matter(self, notes, random):
        order = list(range(len(notes)))
        random.shuffle(order)
        columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
        assert NoteList(*(column[order] for column in columns), notes.pedal) == notes

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"onset": [np.nan]}, "onset nan s"),
            ({"offset": [0.5]}, "offset 0.5 s is not after onset 0.5 s"),
            ({"offset": [np.inf]}, "offset inf s"),
            ({"pitch": [60.5]}, "pitch 60.5"),
            ({"velocity": [0]}, "note 0: velocity 0"),
            ({"velocity": [70, 70]}, "of one length"),
            ({"pitch": [[60]]}, "1-D"),
            ({"pitch": ["C4"]}, "pitch must be an array of numbers"),
            ({"pitch": [60 + 0j]}, "pitch must be an array of numbers"),
            ({"pedal": [1.0, 2.0]}, "shape"),
            ({"pedal": [[2.0, 1.0]]}, "pedal"),
            ({"pedal": [[1.0, np.nan]]}, "pedal"),
        ],
    )
    def test_invalid_notes_and_slices(self, changed, message):
        good = {"onset": [0.5], "offset": [1.0], "pitch": [60], "velocity": [70]}
        with pytest.raises(ParameterError, match=message):
            NoteList(**{**good, **changed})
        with pytest.raises(ParameterError, match="after its start"):
            NoteList(**good).slice(1, 1)

    def test_copies_its_input_and_is_immutable(self):
        onset = np.array([1.0, 0.0])
        notes = NoteList(onset, [2, 2], [60, 61], [70, 70])
        onset[0] = 5
        assert notes.onset.tolist() == [0.0, 1.0]
        with pytest.raises(ValueError, match="read-only"):
            notes.onset[0] = 1

    def test_empty(self):
        empty = NoteList([], [], [], [])
        assert len(empty) == 0
        assert empty.intervals.shape == (0, 2)
        assert empty.pedal.shape == (0, 2)
        assert empty == empty.pedalled() == empty.without_overlaps() == empty.shift(1)

    def test_equality_sees_every_field(self):
        notes = NoteList([0], [1], [60], [70])
        assert notes == NoteList([0], [1], [60], [70])
        assert notes != NoteList([0], [1], [60], [71])
        assert notes != NoteList([0], [1], [60], [70], pedal=[[0, 1]])
        assert notes != "notes"

    def test_pedal_intervals_merge_if_they_overlap(self):
        notes = NoteList([], [], [], [], pedal=[[3, 4], [0, 2], [1, 1.5], [4, 5]])
        assert notes.pedal.tolist() == [[0, 2], [3, 4], [4, 5]]


class TestShiftAndSlice:
    @given(note_lists, st.floats(0, 100))
    def test_shift_there_and_back(self, notes, time):
        back = notes.shift(time).shift(-time)
        assert len(back) == len(notes)
        np.testing.assert_allclose(np.sort(back.onset), notes.onset, atol=1e-9)
        np.testing.assert_allclose(back.pedal, notes.pedal, atol=1e-9)

    def test_shift_across_zero(self):
        notes = NoteList([0, 1], [0.5, 2], [60, 61], [70, 70], pedal=[[0, 0.4], [0.5, 3]])
        shifted = notes.shift(-0.5)
        assert shifted.intervals.tolist() == [[0.5, 1.5]]
        assert shifted.pedal.tolist() == [[0, 2.5]]

    @given(crowded, st.integers(0, 18))
    def test_two_slices_hold_all_notes(self, notes, cut):
        cut += 0.5
        parts = notes.slice(0, cut), notes.slice(cut, 20)
        assert sum(map(len, parts)) == len(notes)
        assert (parts[0].offset <= cut).all()
        assert (parts[1].onset >= cut).all()

    def test_slice_cuts_the_pedal(self):
        part = NoteList([], [], [], [], pedal=[[0.5, 1.5], [2, 3]]).slice(1, 2)
        assert part.pedal.tolist() == [[1, 1.5]]


class TestOverlaps:
    @given(crowded)
    def test_without_overlaps(self, notes):
        clean = notes.without_overlaps()
        assert clean.without_overlaps() == clean
        assert set(zip(clean.onset, clean.pitch, strict=True)) == set(
            zip(notes.onset, notes.pitch, strict=True)
        )
        for pitch in set(clean.pitch):
            own = clean.pitch == pitch
            assert (clean.offset[own][:-1] <= clean.onset[own][1:]).all()

    def test_the_longest_of_coinciding_notes_is_kept(self):
        clean = NoteList([0, 0, 0], [2, 5, 3], [60, 60, 60], [1, 2, 3]).without_overlaps()
        assert clean == NoteList([0], [5], [60], [2])


class TestPedal:
    @pytest.mark.parametrize(
        ("pedal", "offset"),
        [
            ([], 1.0),
            ([[0.5, 2.0]], 2.0),  # down when the key is released
            ([[1.0, 2.0]], 2.0),  # pressed at that very time
            ([[0.2, 1.0]], 1.0),  # released at that very time
            ([[1.1, 2.0]], 1.0),  # pressed too late
            ([[0.1, 0.9], [0.95, 1.5]], 1.5),
            ([[0.5, 2.0], [2.0, 3.0]], 2.0),  # changed: the note ends
        ],
    )
    def test_single_note(self, pedal, offset):
        assert NoteList([0], [1], [60], [70], pedal).pedalled().offset.tolist() == [offset]

    def test_ends_at_the_next_onset_of_the_pitch(self):
        notes = NoteList([0, 2, 3], [1, 4, 5], [60, 62, 60], [70] * 3, pedal=[[0, 6]])
        assert notes.pedalled().offset.tolist() == [3, 6, 6]

    @given(crowded)
    def test_never_shortens_and_is_idempotent(self, notes):
        held = notes.pedalled()
        assert (np.sort(held.offset) >= np.sort(notes.offset)).all()
        assert held.pedalled() == held
        assert held.pedal.size == 0


class TestPedalValues:
    VALUES = ((0.0, 20), (0.5, 80), (1.0, 64), (1.5, 30), (2.0, 127), (3.0, 0))

    def notes(self, values=VALUES):
        return NoteList([0, 1], [0.5, 2.5], [60, 62], [70, 70], pedal_values=values)

    def test_the_pedal_is_down_from_64_on(self):
        notes = self.notes()
        assert notes.pedal.tolist() == [[0.5, 1.5], [2, 3]]
        assert notes.pedal_values.tolist() == [list(value) for value in self.VALUES]
        assert notes.pedalled().offset.tolist() == [1.5, 3]
        assert pickle.loads(pickle.dumps(notes)) == notes

    def test_values_of_intervals(self):
        notes = NoteList([0], [1], [60], [70], pedal=[[2, 3], [0.5, 2]])
        assert notes.pedal_values.tolist() == [[0.5, 127], [2, 0], [2, 127], [3, 0]]
        again = NoteList([0], [1], [60], [70], pedal_values=notes.pedal_values)
        assert again == notes

    def test_slice_and_shift(self):
        part = self.notes().slice(0.75, 2.5)
        assert part.pedal_values.tolist() == [*([0.75, 80], [1, 64], [1.5, 30], [2, 127], [2.5, 0])]
        assert part.pedal.tolist() == [[0.75, 1.5], [2, 2.5]]
        earlier = self.notes().shift(-1.25)
        assert earlier.pedal_values.tolist() == [[0, 64], [0.25, 30], [0.75, 127], [1.75, 0]]
        assert self.notes().without_overlaps() == self.notes()

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([[0, 127]], "less than 64 at last"),
            ([[0, 128], [1, 0]], "from 0 to 127"),
            ([[0, 1.5], [1, 0]], "whole"),
            ([[1, 70], [0, 0]], "ascend"),
            ([[-1, 70], [0, 0]], "from 0 on"),
            ([[np.nan, 0]], "finite"),
            ([0, 127, 1, 0], "shape"),
        ],
    )
    def test_invalid(self, values, message):
        with pytest.raises(ParameterError, match=message):
            self.notes(values)

    def test_both(self):
        with pytest.raises(ParameterError, match="must not both be given"):
            NoteList([0], [1], [60], [70], [[0, 1]], [[0, 127], [1, 0]])
