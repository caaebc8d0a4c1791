"""Events, and the notes they make."""

from __future__ import annotations

import numpy as np

from harmnmf import NoteList
from harmnmf.live.events import NoteOff, NoteOn, PedalEvent, notes_from_events


def test_events_become_notes_and_pedal() -> None:
    events = [
        NoteOn(0.5, 60, 70, 0.9),
        NoteOn(0.6, 64, 80, 0.8),
        PedalEvent(0.4, True),  # announced late
        NoteOff(1.0, 60),
        NoteOn(1.0, 60, 90, 1.0),
        PedalEvent(1.2, False),
        NoteOff(1.5, 64),
        NoteOff(2.0, 60),
    ]
    expected = NoteList(
        [0.5, 0.6, 1.0], [1.0, 1.5, 2.0], [60, 64, 60], [70, 80, 90], pedal=[[0.4, 1.2]]
    )
    assert notes_from_events(events) == expected
    assert notes_from_events(iter(events), end=9.0) == expected


def test_what_has_not_ended_ends_at_the_end() -> None:
    events = [NoteOn(0.5, 60, 70, 0.9), PedalEvent(0.6, True), NoteOn(1.0, 64, 80, 0.8)]
    notes = notes_from_events(events, end=3.0)
    np.testing.assert_array_equal(notes.offset, [3.0, 3.0])
    np.testing.assert_array_equal(notes.pedal, [[0.6, 3.0]])
    # The last event is the end, though a note that begins there has a length.
    notes = notes_from_events(events)
    np.testing.assert_allclose(notes.offset, [1.0, 1.04])
    np.testing.assert_array_equal(notes.pedal, [[0.6, 1.0]])
    assert len(notes_from_events([PedalEvent(0.6, True)]).pedal) == 0


def test_parts_of_a_stream() -> None:
    assert len(notes_from_events([])) == 0
    assert len(notes_from_events([NoteOff(0.3, 60), PedalEvent(0.4, False)])) == 0
    again = [NoteOn(0.5, 60, 70, 0.9), NoteOn(1.0, 60, 80, 0.9), NoteOff(1.5, 60)]
    np.testing.assert_array_equal(notes_from_events(again).intervals, [[0.5, 1.0], [1.0, 1.5]])
    # A latency has moved both ends to 0.
    assert len(notes_from_events([NoteOn(0.0, 60, 70, 0.9), NoteOff(0.0, 60)])) == 0
