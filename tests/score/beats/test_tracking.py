"""Beats and bars of performances, from probabilities made up from the true ones."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.beats.beat_times import fit_constant_tempo
from harmnmf.score.beats.network import BEATS_A_BAR, PERIODS, BeatProbabilities
from harmnmf.score.beats.tracking import grid_from_beats, track_bars, track_beats

RATE = 50


def performance(time, beats_a_bar, pickup=0, jitter=0.0):
    """Chords on downbeats, single notes on beats and between them; and its probabilities."""
    rng = np.random.default_rng(0)
    number = (np.arange(time.size) - pickup) % beats_a_bar
    middle = (time[1:] + time[:-1]) / 2
    chords = time[number == 0]
    onset = np.concatenate([time, middle, chords, chords])
    pitch = np.concatenate([
        60 + 2 * number, np.full(middle.size, 72), np.full(chords.size, 36),
        np.full(chords.size, 48),
    ])  # fmt: skip
    onset = np.maximum(onset + jitter * rng.normal(size=onset.size), 0)
    notes = NoteList(onset, onset + 0.2, pitch, np.full(onset.size, 70))
    return notes, probabilities(notes, time, number == 0, beats_a_bar)


def probabilities(notes, time, is_downbeat, beats_a_bar):
    """Sure probabilities of given beats."""
    n_frames = round(notes.onset[-1] * RATE) + 2
    beat, downbeat = np.full((2, n_frames), 0.01)
    frames = np.round(time * RATE).astype(int)
    beat[frames] = 0.9
    downbeat[frames[is_downbeat]] = 0.8
    period = np.full((len(PERIODS), n_frames), 0.01)
    interval = np.interp(np.arange(n_frames) / RATE, time[1:], np.diff(time))
    nearest = np.abs(np.log(PERIODS[:, None] / interval)).argmin(axis=0)
    period[nearest, np.arange(n_frames)] = 0.7
    metres = np.full((len(BEATS_A_BAR), n_frames), 0.05)
    metres[BEATS_A_BAR.index(beats_a_bar)] = 0.9
    onset = np.unique(notes.onset.round(2))
    at = np.clip(np.round(onset * RATE).astype(int), 0, n_frames - 1)
    between = np.zeros(onset.size)
    return BeatProbabilities(
        RATE, beat, downbeat, period, metres, onset, beat[at], downbeat[at], between
    )


def unknown(notes):
    """Probabilities that tell nothing."""
    n_frames = round(notes.onset[-1] * RATE) + 2
    beat = np.full(n_frames, 0.1)
    onset = np.unique(notes.onset)
    some = np.full(onset.size, 0.3)
    period = np.full((len(PERIODS), n_frames), 1 / len(PERIODS))
    metres = np.full((len(BEATS_A_BAR), n_frames), 1 / len(BEATS_A_BAR))
    return BeatProbabilities(RATE, beat, beat / 4, period, metres, onset, some, some / 4, some)


def assert_spans(grid, notes):
    """Notes at the first beat may begin a little before it."""
    assert grid.time[0] <= notes.onset[0] + 0.2 * (grid.time[1] - grid.time[0])
    assert grid.time_at(grid.bars.starts[-1]) > notes.onset[-1]


def nearest_distance(times, others):
    return np.abs(np.asarray(times)[:, None] - others).min(axis=1)


@pytest.mark.parametrize("beats_a_bar", [3, 4])
def test_beats_at_a_steady_tempo(beats_a_bar):
    time = 0.4 + 0.55 * np.arange(20 * beats_a_bar)
    notes, probable = performance(time, beats_a_bar, jitter=0.008)
    grid = track_beats(notes, probable)
    assert nearest_distance(time, grid.time).max() < 0.03
    assert grid.time.size == time.size
    np.testing.assert_allclose(grid.downbeats, time[::beats_a_bar], atol=0.03)
    assert grid.bars.time_signatures[0].tolist() == [beats_a_bar, 4]
    assert not grid.bars.pickup


def test_beats_follow_a_ritardando():
    interval = 0.5 * 1.3 ** np.sin(np.arange(80) / 8)
    interval[-6:] *= np.linspace(1, 1.7, 6)
    time = 0.3 + np.concatenate([[0], np.cumsum(interval)])
    notes, probable = performance(time, 4)
    grid = track_beats(notes, probable)
    assert nearest_distance(time, grid.time).max() < 0.03
    assert nearest_distance(time[::4], grid.downbeats).max() < 0.03


def test_pickup_is_found_and_can_be_set():
    time = 0.4 + 0.5 * np.arange(61)
    notes, probable = performance(time, 3, pickup=1)
    grid = track_beats(notes, probable)
    assert grid.bars.pickup == 480
    np.testing.assert_allclose(grid.downbeats[:2], [0.9, 2.4], atol=0.03)
    moved = track_beats(notes, probable, time_signature=(3, 4), pickup=2)
    assert moved.bars.pickup == 960
    np.testing.assert_allclose(moved.downbeats[:2], [1.4, 2.9], atol=0.03)
    none = track_beats(notes, probable, time_signature=(3, 4), pickup=0)
    assert not none.bars.pickup
    half = track_beats(notes, probable, time_signature=(3, 4), pickup=0.5)
    assert half.bars.pickup == 480


def test_level_and_tempo_choose_among_levels():
    time = 0.4 + 0.6 * np.arange(80)
    notes, probable = performance(time, 4)
    period = np.median(np.diff(track_beats(notes, probable).time))
    for level in (1, -1):
        found = np.median(np.diff(track_beats(notes, probable, level=level).time))
        assert found == pytest.approx(period / 2.0**level, rel=0.03)
    for tempo in (50, 100, 200):
        found = np.median(np.diff(track_beats(notes, probable, tempo=tempo).time))
        assert found == pytest.approx(60 / tempo, rel=0.03)


def test_constant_tempo_is_exact_over_minutes():
    time = 0.4321 + 0.51234 * np.arange(480)
    notes, probable = performance(time, 4, jitter=0.01)
    grid = track_beats(notes, probable, rubato=False)
    assert np.ptp(np.diff(grid.time)) < 1e-6
    assert nearest_distance(time, grid.time).max() < 0.002
    assert nearest_distance(time[::4], grid.downbeats).max() < 0.002


@pytest.mark.parametrize("signature", [(3, 4), (6, 8), (5, 4), (12, 8), (7, 8), (2, 2), (1, 4)])
def test_time_signature_is_kept(signature):
    time = 0.4 + 0.5 * np.arange(60)
    notes, probable = performance(time, 3)
    grid = track_beats(notes, probable, time_signature=signature)
    signatures = grid.bars.time_signatures.tolist()
    assert signatures.count(list(signature)) > len(signatures) / 2
    assert_spans(grid, notes)


@pytest.mark.parametrize(
    "onset",
    [[0.5], [2.0, 2.0, 2.0], [0.0, 0.01], [0.5, 60.0], [0.1, 0.15, 0.3, 5.0, 5.02, 5.9]],
    ids=str,
)
@pytest.mark.parametrize("rubato", [True, False])
def test_few_notes_have_a_grid(onset, rubato):
    onset = np.array(onset)
    notes = NoteList(onset, onset + 0.2, 60 + np.arange(onset.size), np.full(onset.size, 70))
    assert_spans(track_beats(notes, unknown(notes), rubato=rubato), notes)


def test_notes_without_rhythm_have_a_grid():
    rng = np.random.default_rng(1)
    onset = rng.uniform(0, 40, 300)
    notes = NoteList(onset, onset + 0.3, rng.integers(30, 90, 300), np.full(300, 70))
    for options in ({}, {"rubato": False}, {"tempo": 90}, {"level": 1}, {"time_signature": (6, 8)}):
        assert_spans(track_beats(notes, unknown(notes), **options), notes)


@pytest.mark.parametrize(
    "options",
    [
        {"tempo": 0}, {"tempo": 5000}, {"level": 3}, {"pickup": -1}, {"pickup": 4},
        {"time_signature": (3, 4), "pickup": 3}, {"time_signature": (0, 4)},
        {"time_signature": (4, 3)},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_options_are_refused(options):
    notes = NoteList([0.5, 1], [0.9, 1.5], [60, 62], [70, 70])
    with pytest.raises(ParameterError):
        track_beats(notes, unknown(notes), **options)


def test_no_notes_are_refused():
    one = NoteList([0.5], [0.9], [60], [70])
    none = NoteList([], [], [], [])
    with pytest.raises(ParameterError, match="no notes"):
        track_beats(none, unknown(one))
    with pytest.raises(ParameterError, match="no notes"):
        track_bars(none, unknown(one), [0, 1])


def test_bars_of_known_beats():
    time = 0.4 + 0.5 * np.arange(62)
    notes, probable = performance(time, 3, pickup=2)
    grid = track_bars(notes, probable, time)
    np.testing.assert_allclose(grid.time[: time.size], time)
    np.testing.assert_allclose(grid.downbeats[: time.size // 3], time[2::3][: time.size // 3])
    compound = track_bars(notes, probable, time, time_signature=(9, 8))
    assert compound.bars.time_signatures[0].tolist() == [9, 8]
    np.testing.assert_allclose(compound.downbeats[:5], time[2::3][:5])


def test_grid_of_marked_beats_keeps_irregular_bars():
    marks = [0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0]
    grid = grid_from_beats(np.arange(12.0), marks)
    assert grid.bars.time_signatures.tolist() == [[3, 4], [3, 4], [3, 4], [2, 4], [3, 4]]
    assert grid.bars.pickup == 480
    assert grid.downbeats.tolist() == [1, 4, 7, 9]
    compound = grid_from_beats(np.arange(12.0), marks, time_signature=(9, 8))
    assert compound.bars.time_signatures.tolist() == [[9, 8], [9, 8], [9, 8], [6, 8], [9, 8]]


def test_a_dotted_beat_alone_has_three_beats():
    grid = grid_from_beats(np.arange(7.0), [1, 0, 1, 1, 0, 1, 0], time_signature=(6, 8))
    assert grid.bars.time_signatures.tolist() == [[6, 8], [3, 8], [6, 8], [6, 8]]
    np.testing.assert_allclose(grid.time[:6], [0, 1, 2, 7 / 3, 8 / 3, 3])


@pytest.mark.parametrize("signature", [(7, 8), (3, 8)])
def test_six_eighths_among_others_have_two_beats(signature):
    n, _ = signature
    marks = np.isin(np.arange(2 * n + 6), [0, n, n + 6])
    grid = grid_from_beats(np.arange(2 * n + 6) / 4, marks, time_signature=signature)
    assert grid.bars.time_signatures.tolist() == [[n, 8], [6, 8], [n, 8]]
    assert grid.time_at(grid.bars.starts).tolist() == [0, n / 4, (n + 6) / 4, (2 * n + 6) / 4]


@pytest.mark.parametrize("onset", [[0.2], [0.1, 0.62, 1.0]])
def test_a_constant_tempo_of_few_notes(onset):
    time = fit_constant_tempo(np.array([0.1, 0.6, 1.0]), np.array(onset))
    assert time.size >= 2
    np.testing.assert_allclose(np.diff(time), time[1] - time[0])


def test_grid_of_beats_alone():
    grid = grid_from_beats([1.0, 2.0, 3.0, 4.0, 5.0], time_signature=(3, 4), pickup=2)
    assert grid.bars.time_signatures.tolist() == [[3, 4], [3, 4]]
    assert grid.bars.pickup == 960
    assert grid.downbeats.tolist() == [3.0]
    assert grid_from_beats([1.0, 2.0]).bars.time_signatures.tolist() == [[4, 4]]


def test_grid_of_beats_spans_the_notes():
    notes = NoteList([0.2, 9.5], [1, 10], [60, 62], [70, 70])
    grid = grid_from_beats([2.0, 3.0, 4.0, 5.0], [0, 1, 0, 0], notes=notes)
    assert_spans(grid, notes)
    assert grid.downbeats.tolist() == [0.0, 3.0, 6.0, 9.0]
    late = NoteList([20.2], [21], [60], [70])
    assert_spans(grid_from_beats([2.0, 3.0, 4.0], [1, 0, 0], notes=late), late)
    early = NoteList([0.1], [21], [60], [70])
    assert_spans(grid_from_beats([8.0, 9.0, 10.0], [1, 0, 0], notes=early), early)


@pytest.mark.parametrize(
    ("time", "marks", "options"),
    [
        ([1.0], None, {}),
        ([2.0, 1.0], None, {}),
        ([1.0, 2.0], [0, 0], {}),
        ([1.0, 2.0], [1], {}),
        ([1.0, 2.0], None, {"pickup": 4}),
        ([1.0, 2.0], None, {"time_signature": (4, 5)}),
    ],
)
def test_impossible_beats_are_refused(time, marks, options):
    with pytest.raises(ParameterError):
        grid_from_beats(time, marks, **options)
