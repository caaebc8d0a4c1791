"""Positions of notes in a score."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import Bars, BeatGrid
from harmnmf.score.quantization import quantize

GRID = BeatGrid(np.arange(16) * 0.6, Bars([[4, 4]] * 4))


def played(position, pitch, staff, *, noise=0.01, seed=0):
    """Notes at positions in beats, with onsets that deviate by `noise` seconds."""
    generator = np.random.default_rng(seed)
    onset = np.interp(position, np.arange(16), GRID.time) + generator.normal(0, noise, len(pitch))
    onset = np.maximum(onset, 0)
    order = np.lexsort((pitch, onset))
    notes = NoteList(onset, onset + 0.3, pitch, [70] * len(pitch))
    return notes, np.array(staff)[order], np.array(position)[order] * 480


@pytest.mark.parametrize("division", [1, 2, 3, 4, 6])
def test_even_notes_keep_their_positions(division):
    position = np.arange(8 * division) / division
    size = len(position)
    notes, staff, expected = played(position, 60 + np.arange(size) % 12, [1] * size)
    quantized = quantize(notes, GRID, staff)
    np.testing.assert_array_equal(quantized.onset[quantized.written], np.round(expected))


def test_empty():
    quantized = quantize(NoteList([], [], [], []), GRID, [])
    assert len(quantized) == 0
    assert quantized.written.size == 0


def test_staff_of_each_note_is_needed():
    with pytest.raises(ParameterError, match="staff"):
        quantize(NoteList([0], [1], [60], [70]), GRID, [])
    with pytest.raises(ParameterError, match="staff"):
        quantize(NoteList([0], [1], [60], [70]), GRID, [3])
