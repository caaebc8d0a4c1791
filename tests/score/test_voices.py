"""Voices and note values."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import Bars, BeatGrid
from harmnmf.score.quantization import quantize
from harmnmf.score.voices import assign_voices

from .test_quantization import NOTES, SIGNATURES

GRID = BeatGrid(np.arange(16) * 0.6, Bars([[4, 4]] * 4))


def read(rows, grid=GRID):
    """Voices and durations of notes (position and length in quarters, pitch, staff) as given."""
    onset, length, pitch, staff = np.array(rows, float).T
    start = grid.time_at(onset * 480)
    notes = NoteList(start, grid.time_at((onset + length) * 480), pitch, [70] * len(rows))
    found = quantize(notes, grid, staff[np.lexsort((pitch, start))])
    voice, duration = assign_voices(found, grid.bars)
    columns = zip(found.onset / 480, found.pitch, voice, duration / 480, strict=True)
    return {(float(on), int(p)): (int(v), float(d)) for on, p, v, d in columns}


def test_legato_and_small_gaps_make_one_voice():
    rows = [(i, length, 60 + i, 1) for i, length in enumerate([1.1, 0.9, 0.7, 1.2, 0.8])]
    found = read([*rows, (5, 3, 70, 1)])
    assert all(found[i, 60 + i] == (1, 1) for i in range(5))


def test_staccato_quarters_have_no_rests():
    found = read([(i, 0.3, 60 + i, 1) for i in range(8)])
    assert all(value == (1, 1) for (onset, _), value in found.items() if onset < 7)


def test_short_note_before_a_long_gap_has_a_rest():
    found = read([(0, 0.4, 60, 1), (4, 1, 62, 1), (5, 1, 64, 1)])
    assert found[0, 60][1] <= 1


def test_notes_of_a_chord_end_together():
    found = read([(0, 0.8, 60, 1), (0, 1.0, 64, 1), (0, 0.9, 67, 1), (1, 1, 65, 1)])
    assert [found[0, pitch] for pitch in (60, 64, 67)] == [(1, 1)] * 3


def test_held_melody_against_moving_notes():
    rows = [(0, 1.95, 79, 1), (2, 1.95, 77, 1)]
    rows += [(i / 2, 0.5, 64 + i % 3, 1) for i in range(8)]
    found = read([*rows, (4, 1, 76, 1)])
    assert found[0, 79] == (1, 2)
    assert found[2, 77] == (1, 2)
    assert all(found[i / 2, 64 + i % 3] == (2, 0.5) for i in range(7))


def test_held_bass_against_moving_notes():
    rows = [(0, 3.9, 36, 2)] + [(i / 2, 0.5, 48 + 2 * (i % 3), 2) for i in range(1, 8)]
    found = read([*rows, (4, 1, 41, 2)])
    assert found[0, 36][0] == 2
    assert found[0, 36][1] >= 3.5
    assert all(found[i / 2, 48 + 2 * (i % 3)] == (1, 0.5) for i in range(1, 7))


def test_each_hand_has_voices_of_its_own():
    found = read([(0, 3.9, 36, 2), *((i / 2, 0.5, 72 + i % 3, 1) for i in range(8))])
    assert {value[0] for value in found.values()} == {1}


def test_grace_note_is_in_the_voice_of_its_main_note():
    onset = [0.0, 0.54, 0.6, 1.2]
    notes = NoteList(onset, [0.5, 0.62, 1.1, 1.8], [60, 65, 64, 62], [70] * 4)
    found = quantize(notes, GRID, [1] * 4)
    voice, duration = assign_voices(found, GRID.bars)
    np.testing.assert_array_equal(voice, 1)
    np.testing.assert_array_equal(duration == 0, found.ornament == "grace")


@given(NOTES, SIGNATURES)
@settings(deadline=None, max_examples=60)
def test_voices_of_any_notes(rows, signatures):
    bars = Bars([*signatures, (4, 4), (3, 4)])
    grid = BeatGrid(0.4 * np.arange(bars.beats().size), bars)
    onset, length, pitch, staff = np.array(rows).reshape(-1, 4).T
    order = np.lexsort((pitch, onset))
    found = quantize(NoteList(onset, onset + length, pitch, [70] * len(rows)), grid, staff[order])
    voice, duration = assign_voices(found, bars)
    assert np.isin(voice, (1, 2)).all()
    np.testing.assert_array_equal(duration == 0, found.ornament == "grace")
    assert (duration >= 0).all()
    assert (found.onset + duration <= bars.starts[-1]).all()
    for part in {(s, v) for s, v in zip(found.staff, voice, strict=True)}:
        chosen = (found.staff == part[0]) & (voice == part[1]) & (duration > 0)
        chords = {}
        for start, end in zip(found.onset[chosen], duration[chosen], strict=True):
            chords.setdefault(start, set()).add(start + end)
        assert all(len(ends) == 1 for ends in chords.values())
        starts = sorted(chords)
        ends = [max(chords[start]) for start in starts]
        assert all(end <= start for end, start in zip(ends[:-1], starts[1:], strict=True))
