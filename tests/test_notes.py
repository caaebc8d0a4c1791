from __future__ import annotations

from contextlib import suppress

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import (
    FormatError,
    HarmnmfError,
    NoteList,
    ParameterError,
    read_notes,
    write_csv,
    write_midi,
)

TICK = 1 / 960

seconds = st.floats(0, 1000)
lengths = st.floats(1e-3, 100)
velocities = st.integers(1, 127)
note = st.tuples(seconds, lengths, st.integers(0, 127), velocities)
interval = st.tuples(seconds, lengths).map(lambda i: (i[0], i[0] + i[1]))
pedals = st.lists(interval, max_size=4)


# Files take their time on a busy machine.
files = settings(deadline=None, max_examples=50)


def build(rows, pedal=()):
    on, length, pitch, velocity = np.array(rows, dtype=float).reshape(-1, 4).T
    return NoteList(on, on + length, pitch, velocity, pedal)


note_lists = st.builds(build, st.lists(note, max_size=12), pedals)
# Few pitches within little time, so that notes overlap and coincide.
crowded = st.builds(
    build,
    st.lists(st.tuples(*(st.integers(a, b) for a, b in [(0, 9), (1, 9), (60, 62), (1, 127)]))),
    st.lists(st.tuples(st.integers(0, 9), st.integers(10, 20)), max_size=2),
)


def assert_close(actual, expected, tolerance):
    assert actual.pitch.tolist() == expected.pitch.tolist()
    assert actual.velocity.tolist() == expected.velocity.tolist()
    np.testing.assert_allclose(actual.intervals, expected.intervals, rtol=0, atol=tolerance)


class TestNoteList:
    def test_sorts_by_onset_then_pitch(self):
        notes = NoteList([1, 0, 1], [2, 3, 4], [70, 60, 50], [1, 2, 3])
        assert notes.pitch.tolist() == [60, 50, 70]
        assert notes.velocity.tolist() == [2, 3, 1]

    @given(st.lists(note, max_size=8).flatmap(lambda n: st.tuples(st.just(n), st.permutations(n))))
    def test_order_of_input_does_not_matter(self, both):
        assert build(both[0]) == build(both[1])

    @given(crowded, st.randoms())
    def test_order_of_ties_does_not_matter(self, notes, random):
        order = list(range(len(notes)))
        random.shuffle(order)
        columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
        assert NoteList(*(column[order] for column in columns), notes.pedal) == notes

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"onset": [-0.1]}, "onset -0.1 s"),
            ({"onset": [np.nan]}, "onset nan s"),
            ({"offset": [0.5]}, "offset 0.5 s is not after onset 0.5 s"),
            ({"offset": [np.inf]}, "offset inf s"),
            ({"pitch": [128]}, "pitch 128"),
            ({"pitch": [60.5]}, "pitch 60.5"),
            ({"velocity": [0]}, "velocity 0"),
            ({"velocity": [128]}, "velocity 128"),
            ({"velocity": [70, 70]}, "of one length"),
            ({"pitch": [[60]]}, "1-D"),
            ({"pitch": ["C4"]}, "pitch must be an array of numbers"),
            ({"pedal": [1.0, 2.0]}, "shape"),
            ({"pedal": [[2.0, 1.0]]}, "pedal"),
            ({"pedal": [[-1.0, 1.0]]}, "pedal"),
            ({"pedal": [[1.0, np.nan]]}, "pedal"),
        ],
    )
    def test_rejects(self, changed, message):
        good = {"onset": [0.5], "offset": [1.0], "pitch": [60], "velocity": [70]}
        NoteList(**good)
        with pytest.raises(ParameterError, match=message):
            NoteList(**{**good, **changed})

    def test_names_the_first_bad_note(self):
        with pytest.raises(ParameterError, match="note 1: velocity 300"):
            NoteList([0, 1, 2], [1, 2, 2], [60, 61, 62], [70, 300, 70])

    def test_is_immutable_and_leaves_its_input_alone(self):
        onset = np.array([1.0, 0.0])
        notes = NoteList(onset, [2, 2], [60, 61], [70, 70])
        assert onset.tolist() == [1.0, 0.0]
        onset[0] = 5
        assert notes.onset.tolist() == [0.0, 1.0]
        with pytest.raises(ValueError, match="read-only"):
            notes.onset[0] = 1

    def test_empty(self):
        empty = NoteList([], [], [], [])
        assert len(empty) == 0
        assert empty.intervals.shape == (0, 2)
        assert empty.pedal.shape == (0, 2)
        assert empty == empty.pedalled() == empty.without_overlaps() == empty.shift(1)

    def test_equality_sees_every_field(self):
        notes = NoteList([0], [1], [60], [70])
        assert notes == NoteList([0], [1], [60], [70])
        assert notes != NoteList([0], [1], [60], [71])
        assert notes != NoteList([0], [1], [60], [70], pedal=[[0, 1]])
        assert notes != "notes"

    def test_hz(self):
        np.testing.assert_allclose(NoteList([0, 0], [1, 1], [57, 69], [1, 1]).hz, [220, 440])

    def test_pedal_intervals_merge_if_they_overlap(self):
        notes = NoteList([], [], [], [], pedal=[[3, 4], [0, 2], [1, 1.5], [4, 5]])
        assert notes.pedal.tolist() == [[0, 2], [3, 4], [4, 5]]


class TestShiftAndSlice:
    @given(note_lists, st.floats(0, 100))
    def test_shift_there_and_back(self, notes, time):
        back = notes.shift(time).shift(-time)
        assert len(back) == len(notes)
        np.testing.assert_allclose(np.sort(back.onset), notes.onset, atol=1e-9)
        np.testing.assert_allclose(back.pedal, notes.pedal, atol=1e-9)

    def test_shift_across_zero(self):
        notes = NoteList([0, 1], [0.5, 2], [60, 61], [70, 70], pedal=[[0, 0.4], [0.5, 3]])
        shifted = notes.shift(-0.5)
        assert shifted.intervals.tolist() == [[0.5, 1.5]]
        assert shifted.pedal.tolist() == [[0, 2.5]]

    @given(crowded, st.integers(0, 18))
    def test_two_slices_hold_all_notes(self, notes, cut):
        cut += 0.5
        parts = notes.slice(0, cut), notes.slice(cut, 20)
        assert sum(map(len, parts)) == len(notes)
        assert (parts[0].offset <= cut).all()
        assert (parts[1].onset >= cut).all()

    def test_slice_cuts_notes_and_pedal(self):
        notes = NoteList([0, 1, 2], [9, 9, 9], [60, 61, 62], [70] * 3, pedal=[[0.5, 1.5], [2, 3]])
        part = notes.slice(1, 2)
        assert part.intervals.tolist() == [[1, 2]]
        assert part.pedal.tolist() == [[1, 1.5]]

    def test_slice_rejects_an_empty_range(self):
        with pytest.raises(ParameterError, match="after its start"):
            NoteList([], [], [], []).slice(1, 1)


class TestOverlaps:
    @given(crowded)
    def test_without_overlaps(self, notes):
        clean = notes.without_overlaps()
        assert clean.without_overlaps() == clean
        assert set(zip(clean.onset, clean.pitch, strict=True)) == set(
            zip(notes.onset, notes.pitch, strict=True)
        )
        for pitch in set(clean.pitch):
            own = clean.pitch == pitch
            assert (clean.offset[own][:-1] <= clean.onset[own][1:]).all()

    def test_of_coinciding_notes_the_longest_is_kept(self):
        clean = NoteList([0, 0, 0], [2, 5, 3], [60, 60, 60], [1, 2, 3]).without_overlaps()
        assert clean == NoteList([0], [5], [60], [2])


class TestPedal:
    @pytest.mark.parametrize(
        ("pedal", "offset"),
        [
            ([], 1.0),
            ([[0.5, 2.0]], 2.0),  # down when the key is released
            ([[1.0, 2.0]], 2.0),  # pressed at that very time
            ([[0.2, 1.0]], 1.0),  # released at that very time
            ([[1.1, 2.0]], 1.0),  # pressed too late
            ([[0.1, 0.9], [0.95, 1.5]], 1.5),
            ([[0.5, 2.0], [2.0, 3.0]], 2.0),  # changed: the note ends
        ],
    )
    def test_single_note(self, pedal, offset):
        assert NoteList([0], [1], [60], [70], pedal).pedalled().offset.tolist() == [offset]

    def test_ends_at_the_next_onset_of_the_pitch(self):
        notes = NoteList([0, 2, 3], [1, 4, 5], [60, 62, 60], [70] * 3, pedal=[[0, 6]])
        assert notes.pedalled().offset.tolist() == [3, 6, 6]

    @given(crowded)
    def test_never_shortens_and_is_idempotent(self, notes):
        held = notes.pedalled()
        assert (np.sort(held.offset) >= np.sort(notes.offset)).all()
        assert held.pedalled() == held
        assert held.pedal.size == 0


class TestMidi:
    @files
    @given(note_lists)
    def test_round_trip(self, tmp_path_factory, notes):
        path = tmp_path_factory.getbasetemp() / "round.mid"
        notes = notes.without_overlaps()
        write_midi(path, notes)
        read = read_notes(path, offset="key")
        # Onsets of one pitch that round to the same tick become one note.
        ticks = set(zip(np.rint(notes.onset * 960), notes.pitch, strict=True))
        assert {(round(t * 960), p) for t, p in zip(read.onset, read.pitch, strict=True)} == ticks
        if len(ticks) == len(notes):
            key = np.lexsort((notes.pitch, np.rint(notes.onset * 960)))
            assert read.velocity.tolist() == notes.velocity[key].tolist()
            np.testing.assert_allclose(read.onset, notes.onset[key], rtol=0, atol=0.51 * TICK)
            np.testing.assert_allclose(read.offset, notes.offset[key], rtol=0, atol=1.01 * TICK)
        np.testing.assert_allclose(read.pedal, notes.pedal, rtol=0, atol=0.51 * TICK)

    @files
    @given(crowded)
    def test_writing_what_was_read_changes_nothing(self, tmp_path_factory, notes):
        path = tmp_path_factory.getbasetemp() / "again.mid"
        write_midi(path, notes)
        once = read_notes(path, offset="key")
        assert once == notes.without_overlaps()
        assert read_notes(path) == once.pedalled()

    def test_is_what_sequencers_expect(self, tmp_path):
        path = tmp_path / "song.mid"
        write_midi(path, NoteList([0, 0.5], [1, 2], [60, 60], [70, 80], pedal=[[0.25, 3]]))
        midi = mido.MidiFile(path)
        assert (midi.type, midi.ticks_per_beat) == (0, 480)
        tick, events = 0, []
        for message in midi.tracks[0]:
            tick += message.time
            events.append((tick, message.type))
        assert events[:3] == [(0, "set_tempo"), (0, "time_signature"), (0, "program_change")]
        assert events[3:-1] == [
            (0, "note_on"),
            (240, "control_change"),
            (480, "note_off"),
            (480, "note_on"),
            (1920, "note_off"),
            (2880, "control_change"),
        ]

    def test_tempo_changes_tracks_channels_and_drums(self, tmp_path):
        def track(*messages):
            return mido.MidiTrack(messages)

        message, meta = mido.Message, mido.MetaMessage
        midi = mido.MidiFile(
            ticks_per_beat=100,
            tracks=[
                track(
                    meta("set_tempo", tempo=1_000_000), meta("set_tempo", tempo=500_000, time=100)
                ),
                track(
                    message("note_on", note=60, velocity=50),
                    message("note_on", note=60, velocity=0, time=200),
                    message("note_on", note=64, velocity=60),
                    meta("end_of_track", time=100),
                ),
                track(
                    message("note_on", note=60, velocity=90, channel=3, time=50),
                    message("note_on", note=35, velocity=90, channel=9),
                    message("note_off", note=35, channel=9, time=10),
                    message("note_off", note=60, channel=3, time=10),
                    message("note_off", note=99, channel=3),
                ),
                # A track of its own for the pedal, which is never released.
                track(message("control_change", control=64, value=64, time=60)),
            ],
        )
        path = tmp_path / "tracks.MIDI"
        midi.save(path)
        notes = read_notes(path, offset="key")
        # The second note 64 has no release: it ends with its track.
        expected = NoteList([0, 0.5, 1.5], [1.5, 0.7, 2.0], [60, 60, 64], [50, 90, 60])
        assert_close(notes, expected, 1e-9)
        np.testing.assert_allclose(notes.pedal, [[0.6, 2.0]])
        np.testing.assert_allclose(read_notes(path).offset, [1.5, 2.0, 2.0])

    def test_release_listed_after_the_next_onset(self, tmp_path):
        messages = [
            mido.Message("note_on", note=60, velocity=50),
            mido.Message("note_on", note=60, velocity=60, time=96),
            mido.Message("note_off", note=60),
            mido.Message("note_off", note=60, time=96),
        ]
        path = tmp_path / "song.mid"
        mido.MidiFile(tracks=[mido.MidiTrack(messages)], ticks_per_beat=96).save(path)
        assert read_notes(path) == NoteList([0, 0.5], [0.5, 1], [60, 60], [50, 60])

    def test_no_notes(self, tmp_path):
        write_midi(tmp_path / "empty.mid", NoteList([], [], [], []))
        assert len(read_notes(tmp_path / "empty.mid")) == 0

    @pytest.mark.parametrize("data", [b"", b"not MIDI at all", b"MThd\0\0\0\6\0\1\0\1"])
    def test_damaged(self, tmp_path, data):
        path = tmp_path / "song.mid"
        path.write_bytes(data)
        with pytest.raises(FormatError, match=r"song\.mid: not a MIDI file, or a damaged one"):
            read_notes(path)

    def test_smpte_time(self, tmp_path):
        path = tmp_path / "song.mid"
        path.write_bytes(b"MThd\0\0\0\6\0\1\0\0\xe7\x28")
        with pytest.raises(FormatError, match="SMPTE"):
            read_notes(path)

    @files
    @given(st.data())
    def test_damaged_bytes_raise_one_kind_of_error(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "damaged.mid"
        write_midi(path, NoteList([0, 1], [1, 2], [60, 61], [70, 80], pedal=[[0, 3]]))
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
        with suppress(FormatError):
            read_notes(path)


class TestTables:
    @files
    @given(note_lists)
    def test_round_trip(self, tmp_path_factory, notes):
        path = tmp_path_factory.getbasetemp() / "round.csv"
        write_csv(path, notes)
        read = read_notes(path)
        assert len(read) == len(notes)
        np.testing.assert_allclose(read.onset, notes.onset, rtol=0, atol=1e-6)
        np.testing.assert_allclose(np.sort(read.offset), np.sort(notes.offset), rtol=0, atol=2e-6)

    def test_short_note_keeps_a_length(self, tmp_path):
        write_csv(tmp_path / "a.csv", NoteList([1], [1 + 1e-9], [60], [70]))
        assert read_notes(tmp_path / "a.csv").offset[0] > 1

    @pytest.mark.parametrize(
        ("header", "row", "pedal", "key"),
        [
            ("onset\tkey_offset\tpedal_offset\tnote\tvelocity", "1\t2\t3\t60\t70", 3, 2),
            ("onset\tkey_offset\tnote\tvelocity", "1\t2\t60\t70", 2, 2),
            ("onset,offset,pitch,velocity", "1,2,60,70", 2, 2),
            ("\ufeffPitch, Velocity, Onset, comment, pedal_offset", "60, 70, 1, x, 3", 3, 3),
        ],
    )
    def test_columns(self, tmp_path, header, row, pedal, key):
        path = tmp_path / "score.tsv"
        path.write_text(f"{header}\r\n{row}\r\n\r\n", encoding="utf-8")
        assert read_notes(path) == NoteList([1], [pedal], [60], [70])
        assert read_notes(path, offset="key") == NoteList([1], [key], [60], [70])

    def test_header_only(self, tmp_path):
        (tmp_path / "a.csv").write_text("onset,offset,pitch,velocity\n")
        assert len(read_notes(tmp_path / "a.csv")) == 0

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: the header has no column onset"),
            ("0.5,1,60,70\n", "line 1: the header has no column onset"),
            ("onset,offset,velocity\n", "line 1: the header has no column note or pitch"),
            ("onset,offset,pitch,velocity\n0,1,60,70\n\n0,1,C4,70\n", "line 4: no numbers for"),
            ("onset,offset,pitch,velocity\n0,1,60\n", "line 2: no numbers for"),
            (
                "onset,offset,pitch,velocity\n\n0,1,60,70\n2,1,60,70\n",
                "line 4: offset 1.0 s is not",
            ),
            ("onset,offset,pitch,velocity\nnan,1,60,70\n", "line 2: onset nan"),
        ],
    )
    def test_malformed(self, tmp_path, text, message):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(FormatError, match=rf"a\.csv, {message}"):
            read_notes(tmp_path / "a.csv")

    def test_binary(self, tmp_path):
        (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\x00\x80")
        with pytest.raises(FormatError, match=r"a\.tsv: not a text file"):
            read_notes(tmp_path / "a.tsv")


@pytest.mark.parametrize("name", ["missing.mid", "missing.tsv", "missing.csv"])
def test_missing_file(tmp_path, name):
    with pytest.raises(FormatError, match=rf"{name}: cannot be read \(No such file"):
        read_notes(tmp_path / name)


@pytest.mark.parametrize("name", ["folder.mid", "folder.csv"])
def test_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(FormatError, match=rf"{name}: cannot be read"):
        read_notes(tmp_path / name)
    with pytest.raises(HarmnmfError):
        write_midi(tmp_path / name, NoteList([], [], [], []))


def test_unknown_suffix(tmp_path):
    with pytest.raises(FormatError, match=r"song\.wav: not a note file"):
        read_notes(tmp_path / "song.wav")


def test_unknown_offset(tmp_path):
    with pytest.raises(ParameterError, match="'pedal' or 'key'"):
        read_notes(tmp_path / "song.mid", offset="sound")
