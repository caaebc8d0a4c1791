"""Tracks of MIDI files that are written; other properties are tested with reading."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import NoteList, ParameterError, read_notes, write_midi
from harmnmf.notes.tracks import read_tracks

NOTES = NoteList(
    [0.0, 0.5, 0.5, 1.0], [0.5, 1.0, 1.5, 2.0], [60, 40, 67, 60], [70, 80, 90, 60], [[0.2, 1.2]]
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["Right hand", "Left hand", "Ünison"]), min_size=4, max_size=4))
def test_tracks_are_read_back(tmp_path_factory, owners):
    path = tmp_path_factory.mktemp("midi") / "song.mid"
    names = sorted(set(owners))
    tracks = {name: np.flatnonzero(np.array(owners) == name) for name in names}
    write_midi(path, NOTES, tracks=tracks)
    notes, track, found = read_tracks(path)
    assert list(found) == names
    assert [found[index] for index in track] == owners
    assert notes == read_notes(path, offset="key")
    np.testing.assert_allclose(notes.intervals, NOTES.intervals, atol=0.012)
    np.testing.assert_allclose(notes.pedal, NOTES.pedal, atol=1e-3)


def test_keys_of_other_tracks_end_notes(tmp_path):
    """A key that is struck again ends its note, whatever the track."""
    notes = NoteList([0.0, 1.0], [3.0, 2.0], [60, 60], [70, 70])
    write_midi(tmp_path / "song.mid", notes, tracks={"a": [0], "b": [1]})
    np.testing.assert_allclose(read_notes(tmp_path / "song.mid").offset, [1.0, 2.0], atol=0.012)


@pytest.mark.parametrize("tracks", [{}, {"a": [0, 1, 2]}, {"a": [0, 1, 2, 3], "b": [3]}])
def test_each_note_must_be_in_one_track(tracks, tmp_path):
    with pytest.raises(ParameterError, match="each of 4 notes must be in one of the tracks"):
        write_midi(tmp_path / "song.mid", NOTES, tracks=tracks)
    assert not list(tmp_path.iterdir())
