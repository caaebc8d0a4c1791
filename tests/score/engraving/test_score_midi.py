"""MIDI files of scores."""

from __future__ import annotations

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from note_strategies import velocities
from scores import make_score, played, scores

from harmnmf import HarmnmfError, NoteList, ParameterError, read_notes
from harmnmf.score.bars import TICKS, Bars, BeatGrid
from harmnmf.score.engraving.score_midi import write_score_midi
from harmnmf.score.score import Key, Performance, Score, ScoreNotes

Q = TICKS
MILLISECOND = 1e-3


def free_score(notes, grid, staff=None, keys=None, title=""):
    """Score of a performance, whose notes are written as rows of nothing in particular."""
    n = len(notes)
    written = ScoreNotes(
        onset=np.zeros(n, np.int64),
        duration=np.ones(n, np.int64),
        pitch=notes.pitch.copy(),
        staff=np.where(notes.pitch < 60, 2, 1) if staff is None else np.array(staff),
        voice=np.ones(n, np.int64),
        fifths=np.mod(7 * notes.pitch, 12),
        ornament=np.full(n, ""),
    )
    keys = keys or (Key(0, 0),)
    return Score(written, grid.bars, keys, title, Performance(notes, grid, np.arange(n)))


@st.composite
def performances(draw):
    """Notes at any time, before the first beat, too, with the beats of a few bars."""
    signatures = draw(
        st.lists(st.sampled_from([(4, 4), (3, 4), (6, 8), (2, 2)]), min_size=1, max_size=4)
    )
    bars = Bars(signatures, draw(st.sampled_from([0, 480])))
    n_beats = len(bars.beats())
    first = draw(st.floats(-1, 3))
    gaps = draw(st.lists(st.floats(0.1, 3), min_size=n_beats, max_size=n_beats))
    assume(n_beats > 1 and first + sum(gaps) > 0)
    grid = BeatGrid(first + np.cumsum(gaps), bars)
    seconds = st.integers(0, 20_000).map(lambda n: n / 1000)
    row = st.tuples(seconds, st.integers(40, 4000), st.integers(21, 108), velocities)
    rows = draw(st.lists(row, min_size=1, max_size=20, unique_by=lambda row: (row[0], row[2])))
    rows.append((grid.time[-1], 2000, 109, 1))  # the beats end with the notes
    onset, length, pitch, velocity = np.array(rows, float).T
    notes = NoteList(onset, onset + length / 1000, pitch, velocity, pedal=[[0.5, 1.25], [2, 3]])
    return notes.without_overlaps(), grid


@settings(deadline=None, max_examples=30)
@given(performance=performances())
def test_the_performance_is_kept(tmp_path_factory, performance):
    notes, grid = performance
    path = tmp_path_factory.getbasetemp() / "kept.mid"
    write_score_midi(path, free_score(notes, grid))
    read = read_notes(path, offset="key")
    assert read.pitch.tolist() == notes.pitch.tolist()
    assert read.velocity.tolist() == notes.velocity.tolist()
    np.testing.assert_allclose(read.onset, notes.onset, rtol=0, atol=MILLISECOND)
    np.testing.assert_allclose(read.offset, notes.offset, rtol=0, atol=MILLISECOND)
    np.testing.assert_allclose(read.pedal_values, notes.pedal_values, rtol=0, atol=MILLISECOND)
    midi = pretty_midi.PrettyMIDI(str(path))
    for beats, own in ((midi.get_beats(), grid.time), (midi.get_downbeats(), grid.downbeats)):
        own = own[(own > 0) & (own < beats[-1])]
        if len(own):
            nearest = np.abs(own[:, None] - beats).min(axis=1)
            assert nearest.max() < MILLISECOND


def grid_of(signatures, first=0.0, beat=0.5, pickup=0):
    bars = Bars(signatures, pickup)
    return BeatGrid(first + beat * np.arange(len(bars.beats())), bars)


def signatures(path):
    """Time signatures of a file and their times in quarters."""
    midi = mido.MidiFile(path)
    now, found = 0, []
    for message in midi.tracks[0]:
        now += message.time
        if message.type == "time_signature":
            quarter = now / midi.ticks_per_beat
            found.append((quarter, message.numerator, message.denominator))
    return found


@pytest.mark.parametrize(
    ("first", "pickup", "expected"),
    [
        (0.0, 0, [(0, 3, 4)]),
        (0.0, Q, [(0, 1, 4), (1, 3, 4)]),
        (1.0, 0, [(0, 2, 4), (2, 3, 4)]),  # two beats of silence
        (1.5, 0, [(0, 3, 4)]),  # a bar
        (2.0, 0, [(0, 1, 4), (1, 3, 4)]),  # a bar, and a beat before it
        (1.0, Q, [(0, 3, 4)]),  # two beats that make a bar with the pickup
        (0.02, 0, [(0, 1, 16), (0.25, 3, 4)]),
        (0.23, 0, [(0, 1, 8), (0.5, 3, 4)]),
        (0.02, Q, [(0, 1, 16), (0.25, 1, 4), (1.25, 3, 4)]),
    ],
)
def test_time_before_the_first_beat(tmp_path, first, pickup, expected):
    grid = grid_of([[3, 4]] * 4, first, pickup=pickup)
    notes = NoteList([0.0, 1.7], [0.3, 2.5], [60, 62], [70, 71])
    write_score_midi(tmp_path / "a.mid", free_score(notes, grid))
    assert signatures(tmp_path / "a.mid") == expected
    read = read_notes(tmp_path / "a.mid", offset="key")
    np.testing.assert_allclose(read.intervals, notes.intervals, rtol=0, atol=MILLISECOND)
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    beats = midi.get_beats()
    beats = beats[beats > first - MILLISECOND]
    np.testing.assert_allclose(beats, grid.time[: len(beats)], rtol=0, atol=MILLISECOND)


def test_beats_before_the_recording(tmp_path):
    grid = grid_of([[4, 4]] * 3, first=-0.75)
    notes = NoteList([0.0, 1.25], [1.2, 3.0], [60, 62], [70, 71])
    write_score_midi(tmp_path / "a.mid", free_score(notes, grid, keys=(Key(0, 2), Key(1, 3))))
    # Half a beat, and the last two of the first bar.
    assert signatures(tmp_path / "a.mid") == [(0, 1, 8), (0.5, 2, 4), (2.5, 4, 4)]
    read = read_notes(tmp_path / "a.mid", offset="key")
    np.testing.assert_allclose(read.intervals, notes.intervals, rtol=0, atol=MILLISECOND)


def test_changes_of_time_and_key_signature(tmp_path):
    grid = grid_of([[4, 4], [4, 4], [6, 8], [3, 4]])
    notes = NoteList([0.0, 5], [1, 6], [60, 62], [70, 70])
    keys = (Key(0, -3, "minor"), Key(2, 4))
    write_score_midi(tmp_path / "a.mid", free_score(notes, grid, keys=keys))
    assert signatures(tmp_path / "a.mid") == [(0, 4, 4), (8, 6, 8), (11, 3, 4)]
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    names = [pretty_midi.key_number_to_key_name(k.key_number) for k in midi.key_signature_changes]
    assert names == ["C minor", "E Major"]
    assert [k.time for k in midi.key_signature_changes] == pytest.approx([0, 4], abs=MILLISECOND)
    np.testing.assert_allclose(midi.get_downbeats()[:4], [0, 2, 4, 5], atol=MILLISECOND)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("fifths", range(-7, 8))
def test_all_keys(tmp_path, fifths, mode):
    score = make_score([(0, Q, "C4")], keys=(Key(0, fifths, mode),))
    write_score_midi(tmp_path / "a.mid", score)
    (message,) = [m for m in mido.MidiFile(tmp_path / "a.mid").tracks[0] if "key_s" in m.type]
    names = {"major": {-7: "Cb", 0: "C", 7: "C#"}, "minor": {-7: "Abm", 0: "Am", 7: "A#m"}}
    assert names[mode].get(fifths, message.key) == message.key
    data = (tmp_path / "a.mid").read_bytes()
    assert bytes([0xFF, 0x59, 2, fifths % 256, mode == "minor"]) in data


def test_tracks_of_the_hands(tmp_path):
    notes = NoteList([0, 0.5, 0.5], [1, 1, 1], [48, 64, 50], [70, 80, 60], pedal=[[0.2, 0.9]])
    score = free_score(notes, grid_of([[4, 4]] * 2), title="Für Élise ♯")
    write_score_midi(tmp_path / "a.mid", score)
    midi = mido.MidiFile(tmp_path / "a.mid", charset="utf-8")
    assert [track.name for track in midi.tracks] == ["Für Élise ♯", "Right hand", "Left hand"]
    struck = [[m.note for m in track if m.type == "note_on"] for track in midi.tracks]
    assert struck == [[], [64], [48, 50]]
    # One instrument in MuseScore, and a pedal that holds both hands in a sequencer.
    assert {m.channel for track in midi.tracks for m in track if not m.is_meta} == {0}
    pedal = [sum(m.type == "control_change" for m in track) for track in midi.tracks]
    assert pedal == [0, 2, 2]


def test_a_key_passed_from_hand_to_hand(tmp_path):
    notes = NoteList([0, 0.5, 1], [1, 1.2, 2], [60, 60, 60], [70, 80, 60])
    write_score_midi(tmp_path / "a.mid", free_score(notes, grid_of([[4, 4]]), staff=[2, 1, 1]))
    ticks = []
    for track in mido.MidiFile(tmp_path / "a.mid").tracks[1:]:
        now = 0
        for message in track:
            now += message.time
            if message.type in ("note_on", "note_off"):
                ticks.append((now, message.type))
    # Released a tick before the other hand strikes it.
    assert ticks == [(480, "note_on"), (960, "note_off"), (960, "note_on"), (1920, "note_off"),
                     (0, "note_on"), (479, "note_off")]  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(score=scores())
def test_without_a_performance_at_a_nominal_tempo(tmp_path_factory, score):
    path = tmp_path_factory.getbasetemp() / "nominal.mid"
    write_score_midi(path, score)
    sounding = score.notes.duration > 0
    onsets = set(zip(score.notes.onset[sounding], score.notes.pitch[sounding], strict=True))
    read = read_notes(path, offset="key")
    ticks = np.rint(read.onset * 960).astype(int)
    found = set(zip(ticks, read.pitch, strict=True))
    assert onsets <= found
    assert set(read.velocity) <= {64}


def test_grace_notes_are_played_before_their_note(tmp_path):
    rows = [(Q, 0, "A4", 1, 1, "grace"), (Q, 0, "B4", 1, 1, "grace"), (Q, Q, "C5")]
    write_score_midi(tmp_path / "a.mid", make_score(rows))
    read = read_notes(tmp_path / "a.mid", offset="key")
    assert read.pitch.tolist() == [69, 71, 72]
    assert read.intervals.tolist() == [[0.375, 0.4375], [0.4375, 0.5], [0.5, 1.0]]


def test_slow_beats_have_finer_ticks(tmp_path):
    notes = NoteList([0.1234, 20.4321], [9.9876, 31.1111], [60, 62], [70, 70])
    write_score_midi(tmp_path / "a.mid", free_score(notes, grid_of([[4, 4]], beat=10.0)))
    read = read_notes(tmp_path / "a.mid", offset="key")
    np.testing.assert_allclose(read.intervals, notes.intervals, rtol=0, atol=MILLISECOND)
    assert mido.MidiFile(tmp_path / "a.mid").ticks_per_beat < 2**15


def test_long_performances_are_read_by_pretty_midi(tmp_path):
    notes = NoteList([0.0, 9000.1234], [1.0, 9001.0], [60, 62], [70, 70])
    write_score_midi(tmp_path / "a.mid", free_score(notes, grid_of([[4, 4]] * 2251)))
    read = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    starts = [note.start for each in read.instruments for note in each.notes]
    np.testing.assert_allclose(starts, notes.onset, rtol=0, atol=4 * MILLISECOND)


def test_beats_too_far_apart(tmp_path):
    score = free_score(NoteList([0], [1], [60], [70]), grid_of([[4, 4]], beat=17.0))
    with pytest.raises(ParameterError, match=r"a quarter lasts 17\.0 s.* up to 16\.8 s"):
        write_score_midi(tmp_path / "a.mid", score)
    assert not list(tmp_path.iterdir())


def test_no_notes(tmp_path):
    write_score_midi(tmp_path / "a.mid", make_score([]))
    assert len(read_notes(tmp_path / "a.mid")) == 0
    write_score_midi(tmp_path / "b.mid", played(make_score([]), [0, 1, 2, 3]))
    assert len(read_notes(tmp_path / "b.mid")) == 0


def test_folder_that_is_missing(tmp_path):
    with pytest.raises(HarmnmfError, match="cannot write to this folder"):
        write_score_midi(tmp_path / "missing" / "a.mid", make_score([(0, Q, "C4")]))
