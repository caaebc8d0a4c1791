"""Accuracy of live transcription by look-ahead."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.data import on_sound
from benchmarks.live import (
    OFFLINE,
    REAL_SCORES,
    RENDERED,
    SYSTEMS,
    Piece,
    events_of,
    real_rows,
    real_scores,
    register_counts,
    register_rows,
    rendered_rows,
)
from harmnmf import Audio, NoteList, NoteOff, NoteOn

REFERENCE = NoteList([0.5, 10, 12], [0.9, 11, 13], [24, 60, 90], [60, 70, 80])


def test_recordings_are_pushed_whole():
    class Transcriber:
        pushed = 0

        def push(self, samples):
            self.pushed += len(samples)
            return [NoteOn(0.0, 60, 70, 0.9)] if self.pushed == 800 else []

        def finish(self):
            return [NoteOff(self.pushed / 1000, 60)]

    events = events_of(Transcriber(), Audio(np.zeros(1700), 1000), block=0.4)
    assert [event.time for event in events] == [0.0, 1.7]


def test_real_recordings_are_scored_with_their_annotations_moved():
    """The sound is found 60 ms later than it is annotated."""
    piece = Piece("ENSTDkCl", REFERENCE, {OFFLINE: REFERENCE.shift(0.06)})
    scores = real_scores(piece, OFFLINE)
    assert scores[: len(REAL_SCORES)] == [1.0] * len(REAL_SCORES)
    assert scores[len(REAL_SCORES) :] == [0.0, 1.0]


def test_notes_count_in_the_register_of_their_key():
    found = NoteList([0.5, 10, 10], [0.9, 11, 11], [24, 60, 84], [60, 70, 80])
    right, n_found, true = register_counts(REFERENCE, found).tolist()
    assert right == [1, 0, 1, 0]
    assert n_found == [1, 0, 1, 1]
    assert true == [1, 0, 1, 1]


@pytest.fixture
def pieces():
    """Pieces that all systems find, but for the first note with the shortest look-ahead."""
    short, *others = SYSTEMS

    def piece(name, notes):
        return Piece(
            name, REFERENCE, {short: notes.slice(1.0, 60.0), **dict.fromkeys(others, notes)}
        )

    sound = on_sound(REFERENCE)
    return [piece("ENSTDkCl", sound), piece("ENSTDkAm", sound), piece(RENDERED, REFERENCE)]


def test_rows_compare_look_aheads_with_the_whole_file(pieces):
    rows = list(real_rows(pieces[:2]))
    assert len(rows) == 2 * len(SYSTEMS)
    assert rows[0][:2] == ["ENSTDkCl", "60 ms"]
    assert rows[0][3:7] == ["1.000", "0.667", "0.800", "20.0"]
    assert rows[-1][:7] == ["ENSTDkAm", OFFLINE, "–", "1.000", "1.000", "1.000", "0.0"]

    rows = list(rendered_rows(pieces[2:]))
    assert len(rows) == len(SYSTEMS)
    assert rows[0][2:6] == ["1.000", "0.667", "0.800", "20.0"]
    assert rows[-1][-1] == "0.0"

    rows = list(register_rows(pieces))
    assert [row[:3] for row in rows[:2]] == [
        ["ENSTDkCl", "A0 to B1", "1"],
        ["ENSTDkCl", "C2 to B3", "0"],
    ]
    assert rows[0][3:] == ["–", "0.000", "0.000", *["1.000"] * 6]
    assert rows[1][3:] == ["–"] * 9
