"""From notes to a score, through all stages."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf import (
    Bars,
    BeatGrid,
    Key,
    NoteList,
    ParameterError,
    find_beats,
    transcribe_score,
)

BEAT = 0.5
BEATS = BEAT * np.arange(24)
NUMBERED = np.column_stack([BEATS, 1 + np.arange(24) % 3])


def piece(jitter=0.0):
    """Six bars of 4/4 in D major: bass, and a melody in quarters and eighths."""
    rng = np.random.default_rng(0)
    rows = [(4 * bar, 4, pitch) for bar, pitch in enumerate((38, 43, 45, 38, 45, 38))]
    melody = [62, 66, 69, 74, 73, 71, 69, 67, 66, 64, 62, 61]
    rows += [(2 * i, 1, pitch) for i, pitch in enumerate(melody)]
    rows += [(2 * i + 1 + half, 0.5, pitch) for i, pitch in enumerate(melody) for half in (0, 0.5)]
    start, length, pitch = np.array(rows).T
    onset = BEAT * start + jitter * rng.random(len(rows))
    return NoteList(onset, onset + 0.95 * BEAT * length, pitch, np.full(len(rows), 70))


def test_a_score_of_given_beats():
    notes = piece()
    score = transcribe_score(notes, title="A piece", beats=BeatGrid(BEATS, Bars([[4, 4]] * 6)))
    assert (score.title, len(score.bars), score.bars.pickup) == ("A piece", 6, 0)
    assert score.keys == (Key(0, 2),)
    assert score.performance.notes is notes
    written = score.performance.written
    np.testing.assert_array_equal(score.notes.onset[written], np.rint(960 * notes.onset))
    np.testing.assert_array_equal(score.notes.pitch[written], notes.pitch)
    assert set(score.notes.staff[score.notes.pitch < 50]) == {2}
    assert np.mean(score.notes.staff[score.notes.pitch > 60] == 1) > 0.8
    assert set(score.notes.fifths[score.notes.pitch == 66]) == {6}  # F sharp
    columns = (score.notes.pitch, score.notes.voice, score.notes.staff, score.notes.onset)
    np.testing.assert_array_equal(np.lexsort(columns), np.arange(len(score.notes)))


def test_the_performance_is_not_changed_by_stages():
    notes = piece(jitter=0.02)
    score = transcribe_score(notes, tempo=120, time_signature=(4, 4), pickup=0)
    grid = score.performance.grid
    assert len(score.bars) == 6
    np.testing.assert_allclose(grid.time, BEATS, atol=0.05)
    again = transcribe_score(notes, beats=grid)
    for name, column in vars(score.notes).items():
        np.testing.assert_array_equal(vars(again.notes)[name], column)


@pytest.mark.parametrize("key", ["Bb minor", Key(0, -5, "minor")])
def test_a_key_is_set(key):
    score = transcribe_score(piece(), beats=BEATS, time_signature=(4, 4), key=key)
    assert score.keys == (Key(0, -5, "minor"),)
    assert set(score.notes.fifths[score.notes.pitch == 66]) == {-6}  # G flat


def test_a_split_is_set():
    score = transcribe_score(piece(), beats=BEATS, split_pitch=70)
    np.testing.assert_array_equal(score.notes.staff, np.where(score.notes.pitch >= 70, 1, 2))


def test_beats_with_numbers():
    numbers = 1 + (np.arange(24) + 1) % 3
    grid = find_beats(piece(), beats=np.column_stack([BEATS, numbers]))
    np.testing.assert_array_equal(grid.time[:24], BEATS)
    np.testing.assert_array_equal(grid.downbeats[:7], BEATS[2::3][:7])
    assert grid.bars.time_signatures[0].tolist() == [3, 4]
    assert grid.bars.pickup == 960


@pytest.mark.parametrize("beats", [BEATS[:8], NUMBERED[:8], BEATS + 60])
def test_beats_that_end_before_the_notes(beats):
    with pytest.warns(UserWarning, match="the given beats are from .* the nearest tempo is"):
        grid = find_beats(piece(), beats=beats)
    assert grid.time[0] <= 0
    assert grid.time[-1] >= 11.5


def test_beats_at_other_levels():
    notes = piece()
    periods = [np.median(np.diff(find_beats(notes, level=level).time)) for level in (1, 0, -1)]
    np.testing.assert_allclose(periods / periods[1], [0.5, 1, 2], rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beats": "beats.txt"}, "beats must be a BeatGrid, or times in seconds"),
        ({"beats": [1.0]}, "two or more"),
        ({"beats": [2.0, 1.0]}, "ascending"),
        ({"beats": [0.0, 11.0, 12.0, 13.0]}, r"after 0\.0 s, the given beats are too far apart"),
        ({"beats": NUMBERED, "pickup": 1}, "leave out the pickup"),
        ({"beats": NUMBERED, "time_signature": (6, 8)}, "have 3, but bars of 6/8 have 2"),
        ({"beats": np.zeros((4, 3))}, "beats|times"),
        ({"beats": BEATS, "time_signature": (0, 4)}, "time signature 0/4 is not possible"),
        ({"beats": BEATS, "tempo": 120}, "leave out tempo, level and rubato"),
        ({"beats": np.stack([BEATS, BEATS], 1), "pickup": 1}, "leave out the pickup"),
        ({"beats": BeatGrid([0, 1], Bars([[2, 4]])), "pickup": 1}, "leave out time_signature"),
        ({"key": "H major"}, "'H major' is not a key"),
        ({"tempo": -1}, "tempo"),
    ],
)
def test_wrong_parameters(options, message):
    with pytest.raises(ParameterError, match=message):
        transcribe_score(piece(), **options)


def test_no_notes():
    for function in (find_beats, transcribe_score):
        with pytest.raises(ParameterError, match="there are no notes to make a score of"):
            function(NoteList([], [], [], []))
