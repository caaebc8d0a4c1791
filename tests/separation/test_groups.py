"""Groups of notes, and their names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_strategies import note_lists

from harmnmf import NoteList, ParameterError, pitch_from_name
from harmnmf.notes.tracks import TrackNotes
from harmnmf.score.hands import assign_hands
from harmnmf.separation.groups import (
    find_groups,
    group_by_hand,
    group_by_note,
    group_by_pitch,
    group_by_range,
    group_by_track,
    range_names,
)

quick = settings(deadline=None, max_examples=50)


def chords(*pitches):
    """Notes of the given pitches, one after another."""
    onset = np.arange(len(pitches)) * 0.5
    return NoteList(onset, onset + 0.4, pitches, [70] * len(pitches))


def tracks_of(names, *pitches):
    """Notes of the given pitches, one of each track in turn."""
    notes = chords(*pitches)
    return TrackNotes(notes, np.arange(len(notes)) % len(names), tuple(names))


def lists(groups):
    return {name: index.tolist() for name, index in groups.items()}


@quick
@given(note_lists, st.lists(st.integers(1, 127), min_size=1, max_size=12, unique=True))
def test_each_note_is_in_one_group_and_names_sort(notes, splits):
    for groups in (
        group_by_hand(notes),
        group_by_note(notes),
        group_by_pitch(notes),
        group_by_range(notes, sorted(splits)),
    ):
        everything = np.concatenate([np.zeros(0, np.int64), *groups.values()])
        assert sorted(everything.tolist()) == list(range(len(notes)))
        assert list(groups) == sorted(groups)
        assert "residual" not in groups
        for name, index in groups.items():
            assert not set(name) & set('<>:"/\\|?*#% ')
            assert (np.diff(index) > 0).all()


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (["Piano right", "Piano left"], [0, 2]),
        (["Piano left", "Piano right"], [1, 3]),
        (["L.H.", "R.H."], [1, 3]),
        (["Lower Staff", "upper staff"], [1, 3]),
        (["linke Hand", "rechte Hand"], [1, 3]),
        (["main gauche", "main droite"], [1, 3]),
        (["左手", "右手"], [1, 3]),
        (["Piano", "Right hand"], [1, 3]),
        (["LH", "Piano"], [1, 3]),
        # Without a hand in the names the higher track is the right hand.
        (["Piano", "Piano"], [0, 2]),
        (["right", "right"], [0, 2]),
        (["", ""], [0, 2]),
        (["copyright", "leftover"], [0, 2]),
    ],
)
def test_hands_are_two_tracks(names, right):
    tracks = tracks_of(names, 72, 48, 74, 50)
    assert lists(group_by_hand(tracks.notes, tracks))["right"] == right


def test_hands_may_have_several_tracks():
    tracks = tracks_of(["RH 1", "LH 1", "RH 2"], 48, 72, 50)
    assert lists(group_by_hand(tracks.notes, tracks)) == {"left": [1], "right": [0, 2]}


@pytest.mark.parametrize("names", [[""], ["right"], ["Soprano", "Alto", "right"]])
def test_hands_are_found_where_tracks_do_not_say_them(names):
    tracks = tracks_of(names, *[48, 76, 74, 50, 77, 79] * 3)
    expected = assign_hands(tracks.notes) == 1
    assert 0 < expected.sum() < len(expected)
    for groups in (group_by_hand(tracks.notes, tracks), group_by_hand(tracks.notes)):
        assert lists(groups) == {
            "left": np.flatnonzero(~expected).tolist(),
            "right": np.flatnonzero(expected).tolist(),
        }


def test_names_of_pitches_are_those_of_a_dictionarys_notes():
    groups = group_by_pitch(chords(*range(21, 109)))
    assert [pitch_from_name(f"{name}.wav") for name in groups] == list(range(21, 109))
    names = group_by_note(chords(60, 61))
    assert [pitch_from_name(f"{name}.wav") for name in names] == [60, 61]


def test_names_of_many_notes_sort():
    names = list(group_by_note(chords(*[60] * 10_001)))
    assert names == sorted(names)
    assert names[0] == "00001_0000.000s_C4"


def test_names_of_tracks_are_safe():
    names = ["Right: hand", "06/30  4~5", "CON", "", "\0../x", "Flügel", "x" * 300]
    groups = group_by_track(tracks_of(names, *range(60, 67)))
    assert list(groups) == [
        "1_Right_hand", "2_06_30_4_5", "3_CON", "4_track", "5_x", "6_Flügel", f"7_{'x' * 60}",
    ]  # fmt: skip
    many = list(group_by_track(tracks_of(["a"] * 12, *range(60, 72))))
    assert many == sorted(many)


def test_ranges():
    assert range_names([60]) == ["1_below_C4", "2_from_C4"]
    assert lists(group_by_range(chords(59, 60))) == {"1_below_C4": [0], "2_from_C4": [1]}
    assert range_names([60, 61]) == ["1_below_C4", "2_C4", "3_from_Cs4"]
    for splits in ([], [60, 60], [72, 60], [0], [128], [60.5]):
        with pytest.raises(ParameterError, match="split"):
            group_by_range(chords(60), splits)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("060_C4", ["060_C4"]),
        ("c4", ["060_C4"]),
        ("60", ["060_C4"]),
        ("Bb3", ["058_As3"]),
        ("A#3", ["058_As3"]),
        ("As3", ["058_As3"]),
        ("C5", []),
        ("", []),
    ],
)
def test_pitches_are_found_by_name(name, expected):
    assert find_groups(group_by_pitch(chords(58, 60)), name) == expected


def test_other_groups_are_found_by_name():
    tracks = ["1_Violin_I", "2_Piano", "3_Piano"]
    assert find_groups(tracks, "violin i") == ["1_Violin_I"]
    assert find_groups(tracks, "Piano") == ["2_Piano", "3_Piano"]
    assert find_groups(tracks, "3") == ["3_Piano"]
    assert find_groups(["1_below_Fs3", "2_from_Fs3"], "from_F#3") == ["2_from_Fs3"]
    notes = list(group_by_note(chords(*[60] * 20)))
    assert find_groups(notes, "17") == [notes[16]]
    assert find_groups(notes, notes[3].upper()) == [notes[3]]
    # The name of its file has the time at which the sound begins.
    assert find_groups(["0001_0001.573s_Cs6", "0002_0001.573s_E6"], "0001_0001.437s_Cs6") == [
        "0001_0001.573s_Cs6"
    ]
    assert find_groups(["left", "right"], "LEFT") == ["left"]
    assert find_groups(["33_x"], "A1") == []  # A1 has the number 33
