from __future__ import annotations

import numpy as np
import pytest

from benchmarks.data import PIANOS
from benchmarks.note_errors import Sound, find_errors
from benchmarks.transcription_errors import (
    BEGIN,
    END,
    OCTAVES,
    SOUNDING,
    STRUCK,
    VELOCITIES,
    Judged,
    accuracy_tables,
    error_tables,
    piece_table,
    replace_tables,
)
from harmnmf import NoteList

PLAYED = NoteList([0.0, 0.0, 1.0, 2.0], [0.9, 0.9, 1.9, 2.9], [35, 36, 60, 108], [24, 25, 60, 75])
HEARD = NoteList([0.02, 1.02, 2.1, 2.02], [0.9, 1.9, 2.9, 2.9], [36, 60, 108, 96], [60] * 4)


@pytest.fixture
def levels():
    sound = Sound(PLAYED.onset + 0.01, np.array([0.0, 20.0, 20.0, 20.0]))
    loud = Sound(PLAYED.onset - 0.02, np.full(4, 20.0))
    nothing = NoteList([], [], [], [])
    pieces = [
        Judged(PIANOS[0], "a", PLAYED, sound, HEARD, find_errors(PLAYED, HEARD, sound)),
        Judged(PIANOS[1], "b", PLAYED, loud, nothing, find_errors(PLAYED, nothing, loud)),
    ]
    return {"one": pieces, "other": pieces}


def cells(text):
    """Read a table: its rows by their first cells."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert len({len(row) for row in rows}) == 1
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(
    ("feature", "bands"),
    [
        (OCTAVES, ["A0–B1", "C2–B2", "C4–B4", "C6–C8"]),
        (VELOCITIES, ["1–24", "25–34", "55–64", "75 on"]),
        (SOUNDING, ["1–2"] * 4),
        (STRUCK, ["2", "2", "1", "1"]),
    ],
)
def test_notes_fall_into_bands(feature, bands):
    assert [list(feature.bands)[i] for i in feature.band(PLAYED)] == bands


def test_accuracy_has_a_column_for_each_system_and_piano(levels):
    keys, *_, precise = map(cells, accuracy_tables(levels))
    assert keys["C2–B2"] == ["1", "1.000", "1", "0.000", "1.000", "0.000"]
    assert keys["C3–B3"] == ["0", "", "0", "", "", ""]
    assert precise["C4–B4"] == ["1", "1.000", "0", "", "1", "1.000", "0", ""]


def test_classes_are_counted(levels):
    missed, extra, *_ = map(cells, error_tables(levels))
    assert missed["too soft"] == ["1", "0", "17%", "1", "100%"]
    assert missed["all"] == ["2", "4", "100%", "8", "75%"]
    assert extra["with others"] == ["0", "0", "0%", "2", "50%"]


def test_pieces_are_compared(levels):
    rows = cells(piece_table(levels))
    assert rows["a"] == [PIANOS[0], "4", "10", *["20", "0.500", "0.500"] * 2]
    assert rows["b"] == [PIANOS[1], "4", "-20", *["0", "0.000", "0.000"] * 2]
    assert rows["mean"] == [PIANOS[1], "", "", *["", "0.000", "0.000"] * 2]


def test_tables_are_replaced_only_where_there_is_a_place_for_them():
    text = replace_tables(f"a\n{BEGIN}\n{END}\nb\n", "| new |")
    assert replace_tables(text, "| newer |") == f"a\n{BEGIN}\n\n| newer |\n\n{END}\nb\n"
    with pytest.raises(ValueError, match="has no"):
        replace_tables(f"{END}{BEGIN}", "| new |")
