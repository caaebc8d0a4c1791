"""Tracks of the notes of MIDI files."""

from __future__ import annotations

import mido
import numpy as np
import pytest

from harmnmf import FormatError, NoteList, read_notes, write_csv, write_midi
from harmnmf.notes.tracks import read_tracks


def track(*notes, name=None):
    """A track of notes: onset and end in ticks, pitch, and perhaps channel."""
    events = [(0, mido.MetaMessage("track_name", name=text)) for text in (name,) if text]
    for onset, end, pitch, *channel in notes:
        options = {"note": pitch, "channel": channel[0] if channel else 0}
        events.append((onset, mido.Message("note_on", velocity=70, **options)))
        events.append((end, mido.Message("note_off", velocity=0, **options)))
    made, now = mido.MidiTrack(), 0
    for tick, message in sorted(events, key=lambda event: (event[0], event[1].type != "note_off")):
        made.append(message.copy(time=tick - now))
        now = tick
    return made


def saved(path, *tracks, kind=1, charset="utf-8"):
    mido.MidiFile(type=kind, tracks=list(tracks), charset=charset).save(path)
    return path


def found(path):
    tracks = read_tracks(path)
    assert tracks.notes == read_notes(path, offset="key")
    return tracks.names, tracks.track.tolist()


def test_tracks_with_notes_have_their_names(tmp_path):
    path = saved(
        tmp_path / "a.mid",
        track(name="Sonata"),
        track((0, 480, 72), (480, 960, 74), name="Piano right"),
        track(name="Pedal"),
        track((0, 960, 48), (480, 960, 50)),
    )
    assert found(path) == (("Piano right", ""), [1, 0, 1, 0])


def test_a_note_in_two_tracks_is_in_both(tmp_path):
    path = saved(tmp_path / "a.mid", track((0, 480, 60)), track((0, 240, 60), (480, 960, 60)))
    names, tracks = found(path)
    assert (len(names), tracks) == (2, [1, 0, 1])


def test_channels_of_a_single_track_are_tracks(tmp_path):
    one = track((0, 480, 60, 4), (0, 480, 40, 0), (0, 480, 35, 9))
    one.append(mido.Message("note_on", note=35, velocity=0, channel=9))  # an end
    with pytest.warns(UserWarning, match="1 note of the drum channel is left out"):
        tracks = read_tracks(saved(tmp_path / "a.mid", one, kind=0))
    assert (tracks.names, tracks.track.tolist()) == (("Channel 1", "Channel 5"), [0, 1])
    # Channels divide no tracks.
    both = saved(tmp_path / "b.mid", track((0, 480, 60, 4), (0, 480, 40, 0)), track((0, 480, 50)))
    assert found(both) == (("", ""), [0, 1, 0])


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_names_in_two_encodings(tmp_path, charset):
    path = saved(tmp_path / "a.mid", track((0, 480, 60), name="Flügel"), charset=charset)
    assert found(path) == (("Flügel",), [0])


def test_the_first_name_of_a_track_counts(tmp_path):
    made = track((0, 480, 60), name="right")
    made.append(mido.MetaMessage("track_name", name="end"))
    assert found(saved(tmp_path / "a.mid", made)) == (("right",), [0])


def test_tables_and_empty_files(tmp_path):
    notes = NoteList([0, 1], [1, 2], [60, 62], [70, 70])
    write_csv(tmp_path / "a.csv", notes)
    assert found(tmp_path / "a.csv") == (("",), [0, 0])
    write_midi(tmp_path / "a.mid", NoteList([], [], [], []))
    assert found(tmp_path / "a.mid") == ((), [])


def test_unreadable_files(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"no MIDI")
    (tmp_path / "a.wav").touch()
    for name, message in (
        ("a.mid", "cannot be read as MIDI"),
        ("b.mid", "No such file"),
        ("a.wav", "not a note file"),
    ):
        with pytest.raises(FormatError, match=message):
            read_tracks(tmp_path / name)


def test_the_order_is_that_of_the_notes(tmp_path):
    rng = np.random.default_rng(0)
    tracks = []
    for low in (0, 64):
        starts, pitches = rng.integers(0, 40, 200) * 120, low + rng.integers(0, 64, 200)
        notes = [(s, s + 90, p) for s, p in zip(starts.tolist(), pitches.tolist(), strict=True)]
        tracks.append(track(*notes))
    read = read_tracks(saved(tmp_path / "a.mid", *tracks))
    np.testing.assert_array_equal(read.track, read.notes.pitch >= 64)
