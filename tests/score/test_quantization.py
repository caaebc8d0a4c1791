"""Positions of notes in a score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import Bars, BeatGrid
from harmnmf.score.quantization import quantize

GRID = BeatGrid(np.arange(16) * 0.6, Bars([[4, 4]] * 4))

NOTES = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0.01, 3), st.integers(21, 108), st.integers(1, 2)),
    max_size=40,
)
SIGNATURES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([1, 2, 4, 8, 16])), min_size=1, max_size=6
)


def played(position, pitch, staff, *, grid=GRID, noise=0.01, length=0.3, seed=0):
    """Notes at positions in ticks, with onsets that deviate by `noise` seconds."""
    generator = np.random.default_rng(seed)
    deviation = np.clip(generator.normal(0, noise, len(pitch)), -2 * noise, 2 * noise)
    onset = np.maximum(grid.time_at(position) + deviation, 0)
    order = np.lexsort((pitch, onset))
    notes = NoteList(onset, onset + length, pitch, [70] * len(pitch))
    return notes, np.array(staff)[order], np.array(position)[order]


def positions(notes, staff, grid=GRID):
    quantized = quantize(notes, grid, staff)
    return quantized.onset[quantized.written]


@pytest.mark.parametrize("division", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("seed", range(3))
def test_even_notes(division, seed):
    position = np.arange(12 * division) * 480 // division
    pitch = 60 + np.arange(position.size) * 5 % 12
    notes, staff, expected = played(position, pitch, np.ones_like(pitch), seed=seed)
    np.testing.assert_array_equal(positions(notes, staff), expected)


def test_three_against_four():
    right = np.arange(16) * 480 // 4
    left = np.arange(12) * 480 // 3
    pitch = np.r_[72 + np.arange(16) % 5, 48 + np.arange(12) % 7]
    staff = np.r_[np.ones(16, int), np.full(12, 2)]
    notes, staff, expected = played(np.r_[right, left], pitch, staff, noise=0.005)
    np.testing.assert_array_equal(positions(notes, staff), expected)


def test_compound_time():
    grid = BeatGrid(np.arange(8) * 0.9, Bars([[6, 8]] * 4))
    position = np.cumsum([0, 480, 240, 240, 240, 240, 720, 360, 120, 240, 720, 480])
    notes, staff, expected = played(position, 60 + np.arange(12), np.ones(12, int), grid=grid)
    np.testing.assert_array_equal(positions(notes, staff, grid), expected)


def test_dotted_rhythm_and_chords_with_melody_lead():
    position = np.array([0, 0, 0, 360, 480, 480, 480, 840, 960, 960, 960])
    pitch = np.array([48, 64, 76, 77, 48, 65, 79, 77, 48, 64, 76])
    lead = np.where(pitch > 70, -0.03, 0.0)
    onset = 0.1 + GRID.time_at(position) + lead
    notes = NoteList(onset, onset + 0.3, pitch, [70] * 11)
    staff = np.where(notes.pitch > 60, 1, 2)
    grid = BeatGrid(0.1 + GRID.time, GRID.bars)
    found = quantize(notes, grid, staff)
    assert sorted(zip(found.onset, found.pitch, strict=True)) == sorted(
        zip(position, pitch, strict=True)
    )


def test_tempo_that_bends_within_beats():
    position = np.arange(48) * 160
    onset = GRID.time_at(position) + 0.04 * np.sin(np.arange(48) * 2 * np.pi / 9)
    notes = NoteList(onset + 0.1, onset + 0.2, 60 + np.arange(48) * 5 % 12, [70] * 48)
    grid = BeatGrid(GRID.time + 0.1, GRID.bars)
    np.testing.assert_array_equal(positions(notes, np.ones(48, int), grid), position)


def test_grace_note_is_before_its_main_note():
    onset = [0.0, 0.54, 0.6, 1.2]
    notes = NoteList(onset, [0.5, 0.62, 1.1, 1.8], [60, 65, 64, 62], [70] * 4)
    found = quantize(notes, GRID, [1] * 4)
    np.testing.assert_array_equal(found.onset, [0, 480, 480, 960])
    np.testing.assert_array_equal(found.ornament, ["", "", "grace", ""])
    assert found.duration[2] == 0
    assert (found.duration[[0, 1, 3]] > 0).all()


def test_grace_note_on_the_beat():
    notes = NoteList([0.6, 0.6, 0.67], [1.1, 0.7, 1.1], [48, 65, 64], [70] * 3)
    found = quantize(notes, GRID, [2, 1, 1])
    np.testing.assert_array_equal(found.onset, 480)
    assert dict(zip(found.pitch, found.ornament, strict=True)) == {48: "", 64: "", 65: "grace"}


def test_trill_is_one_note():
    trill = 0.6 + 0.08 * np.arange(14)
    onset = np.r_[0.0, trill, 1.8]
    pitch = np.r_[64, 67 + 2 * (np.arange(14) % 2 == 0), 67]
    notes = NoteList(onset, onset + np.r_[0.5, np.full(14, 0.1), 0.5], pitch, [70] * 16)
    found = quantize(notes, GRID, [1] * 16)
    np.testing.assert_array_equal(found.onset, [0, 480, 1440])
    np.testing.assert_array_equal(found.pitch, [64, 67, 67])
    np.testing.assert_array_equal(found.ornament, ["", "trill", ""])
    np.testing.assert_array_equal(found.written, np.r_[0, [1] * 14, 2])
    assert found.duration[1] == pytest.approx((trill[-1] + 0.1 - 0.6) * 800, abs=2)


def test_sixteenths_that_alternate_are_no_trill():
    position = np.arange(32) * 120
    grid = BeatGrid(np.arange(16) * 0.42, GRID.bars)
    pitch = 60 + 2 * (np.arange(32) % 2)
    notes, staff, expected = played(position, pitch, np.ones(32, int), grid=grid, noise=0.005)
    found = quantize(notes, grid, staff)
    np.testing.assert_array_equal(found.onset, expected)
    assert not found.ornament.any()


def test_rolled_chord_is_one_chord():
    onset = [0.0, 0.55, 0.61, 0.67, 0.73, 1.2]
    offset = [0.5, 1.1, 1.1, 1.1, 1.1, 1.8]
    notes = NoteList(onset, offset, [60, 60, 64, 67, 72, 71], [70] * 6)
    found = quantize(notes, GRID, [1] * 6)
    np.testing.assert_array_equal(found.onset, [0, 480, 480, 480, 480, 960])
    np.testing.assert_array_equal(found.ornament, ["", *["arpeggio"] * 4, ""])


def test_piece_in_triplets_stays_in_triplets():
    grid = BeatGrid(np.arange(32) * 0.5, Bars([[4, 4]] * 8))
    position = np.concatenate([480 * beat + np.array([0, 320]) for beat in range(30)])
    generator = np.random.default_rng(1)
    onset = grid.time_at(position) + np.tile([0, 0.01], 30) + generator.uniform(0, 0.02, 60)
    triplets = np.concatenate([480 * beat + np.array([160]) for beat in range(0, 30, 2)])
    onset = np.r_[onset, grid.time_at(triplets)]
    notes = NoteList(onset, onset + 0.1, np.r_[60 + np.arange(60) % 12, np.full(15, 50)], [70] * 75)
    found = positions(notes, np.ones(75, int), grid)
    assert set(found % 480) == {0, 160, 320}


@given(NOTES, SIGNATURES, st.floats(0, 5), st.floats(0.05, 2))
@settings(deadline=None, max_examples=60)
def test_any_notes(rows, signatures, start, period):
    bars = Bars([*signatures, (4, 4)])
    grid = BeatGrid(start + period * np.arange(bars.beats().size), bars)
    onset, length, pitch, staff = np.array(rows).reshape(-1, 4).T
    order = np.lexsort((pitch, onset))
    notes = NoteList(onset, onset + length, pitch, [70] * len(rows))
    found = quantize(notes, grid, staff[order])
    assert found.written.shape == (len(notes),)
    assert set(found.written) == set(range(len(found)))
    assert ((found.onset >= 0) & (found.onset < bars.starts[-1])).all()
    assert len(set(zip(found.onset, found.pitch, strict=True))) == len(found)
    assert ((found.duration == 0) == (found.ornament == "grace")).all()
    order = np.lexsort((found.pitch, found.staff, found.onset))
    np.testing.assert_array_equal(order, np.arange(len(found)))
    same = found.ornament[found.written] != "trill"
    np.testing.assert_array_equal(found.pitch[found.written][same], notes.pitch[same])


def test_empty():
    quantized = quantize(NoteList([], [], [], []), GRID, [])
    assert len(quantized) == 0
    assert quantized.written.size == 0


def test_staff_of_each_note_is_needed():
    with pytest.raises(ParameterError, match="staff"):
        quantize(NoteList([0], [1], [60], [70]), GRID, [])
    with pytest.raises(ParameterError, match="staff"):
        quantize(NoteList([0], [1], [60], [70]), GRID, [3])
