"""MIDI files of this and of other programs."""

from __future__ import annotations

import warnings

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_strategies import crowded, note_lists

from harmnmf import FormatError, NoteList, ParameterError, read_notes, write_midi

TICK = 1 / 960
END = b"\0\xff\x2f\0"
# C4 for a beat, then E4 for a beat; at 120 beats per minute each lasts 0.5 s.
TWO_NOTES = b"\0\x90\x3c\x50\x83\x60\x80\x3c\0" + b"\0\x90\x40\x50\x83\x60\x80\x40\0"
TWO_INTERVALS = [[0, 0.5], [0.5, 1]]

files = settings(deadline=None, max_examples=50)


def chunk(name, content, length=None):
    return name + (len(content) if length is None else length).to_bytes(4, "big") + content


def header(n_tracks=1, kind=1, division=480, extra=b""):
    numbers = [number.to_bytes(2, "big") for number in (kind, n_tracks, division)]
    return chunk(b"MThd", b"".join(numbers) + extra)


def midi(*tracks, **options):
    return header(len(tracks), **options) + b"".join(
        chunk(b"MTrk", track + END) for track in tracks
    )


def read(tmp_path, data, *, warning=None, offset="key"):
    """Read bytes as a MIDI file, with a warning about it, or without any."""
    path = tmp_path / "song.mid"
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        notes = read_notes(path, offset=offset)
    messages = [str(item.message) for item in caught]
    assert len(messages) == (warning is not None), messages
    if warning is not None:
        assert messages[0].startswith(f"{path}: ")
        assert warning in messages[0]
    return notes


def strokes(text):
    """Events of key 60 from a text such as "on 0, off 480"."""
    events, now = b"", 0
    for stroke in text.split(", "):
        kind, tick = stroke.split()
        delta, now = int(tick) - now, int(tick)
        velocity = 64 if kind == "on" else 0
        events += bytes([0x80 | delta >> 7, delta & 0x7F, 0x90, 60, velocity])
    return events


class TestWriting:
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
            # Room for the gap before a key is struck again.
            np.testing.assert_allclose(read.offset, notes.offset[key], rtol=0, atol=11.1 * TICK)
        if len(notes):  # the pedal of a file without notes is not read
            np.testing.assert_allclose(read.pedal, notes.pedal, rtol=0, atol=0.51 * TICK)

    @files
    @given(crowded)
    def test_gap_before_a_key_is_struck_again(self, tmp_path_factory, notes):
        path = tmp_path_factory.getbasetemp() / "again.mid"
        write_midi(path, notes)
        once, cut = read_notes(path, offset="key"), notes.without_overlaps()
        if len(notes):
            np.testing.assert_array_equal(once.onset, cut.onset)
            gap = cut.next_onset - once.offset
            assert (gap >= 0.01).all()
            np.testing.assert_allclose(
                once.offset, np.minimum(cut.offset, cut.next_onset - 10 * TICK)
            )
        assert read_notes(path) == once.pedalled()

    @pytest.mark.parametrize("tempo", [4, 61.7, 120, 1000])
    @pytest.mark.parametrize("apart", [1e-4, 0.004, 0.012])
    def test_trills_have_notes_of_some_length(self, tmp_path, tempo, apart):
        onset = 1 + apart * np.arange(5)
        write_midi(tmp_path / "a.mid", NoteList(onset, onset + 1, [60] * 5, [70] * 5), tempo=tempo)
        read = read_notes(tmp_path / "a.mid", offset="key")
        assert len(read)
        assert (read.offset[:-1] <= read.onset[1:]).all()

    @pytest.mark.parametrize("tempo", [4, 33.3, 60, 97.123, 120, 200, 1000])
    def test_tempo(self, tmp_path, tempo):
        notes = NoteList([0.5, 3600], [1.25, 3601], [60, 62], [70, 80], pedal=[[0.75, 2]])
        write_midi(tmp_path / "a.mid", notes, tempo=tempo)
        read = read_notes(tmp_path / "a.mid", offset="key")
        np.testing.assert_allclose(read.intervals, notes.intervals, rtol=0, atol=0.51 * TICK)
        np.testing.assert_allclose(read.pedal, notes.pedal, rtol=0, atol=0.51 * TICK)
        written = mido.MidiFile(tmp_path / "a.mid")
        (beat,) = [m.tempo for m in written.tracks[0] if m.type == "set_tempo"]
        assert mido.tempo2bpm(beat) == pytest.approx(tempo, rel=1e-4)

    @pytest.mark.parametrize("tempo", [0, -120, 3.9, 1001, np.nan, np.inf])
    def test_wrong_tempo(self, tmp_path, tempo):
        with pytest.raises(ParameterError, match="tempo must be a finite number from 4 to 1000"):
            write_midi(tmp_path / "a.mid", NoteList([], [], [], []), tempo=tempo)
        assert not list(tmp_path.iterdir())

    def test_order_at_one_tick(self, tmp_path):
        # The pedal goes down as the first key is released, which must hold the note.
        notes = NoteList([0, 1], [1, 2], [60, 62], [70, 70], pedal=[[1, 2]])
        write_midi(tmp_path / "a.mid", notes)
        kinds = [m.type for m in mido.MidiFile(tmp_path / "a.mid").tracks[1] if not m.is_meta]
        assert kinds[1:5] == ["note_on", "control_change", "note_off", "note_on"]
        assert read_notes(tmp_path / "a.mid").offset.tolist() == [2, 2]

    def test_pedal_shorter_than_a_tick(self, tmp_path):
        path = tmp_path / "song.mid"
        write_midi(path, NoteList([0], [3], [60], [70], pedal=[[1, 1.0001], [2, 2.5]]))
        assert read_notes(path, offset="key").pedal.tolist() == [[2, 2.5]]

    def test_values_of_the_pedal_are_kept(self, tmp_path):
        values = [[0, 20], [0.25, 90], [0.5, 64], [0.75, 63], [1, 127], [1.5, 0]]
        notes = NoteList([0], [1], [60], [70], pedal_values=values)
        assert notes.pedal.tolist() == [[0.25, 0.75], [1, 1.5]]
        write_midi(tmp_path / "a.mid", notes)
        assert read_notes(tmp_path / "a.mid", offset="key") == notes

    def test_no_notes(self, tmp_path):
        write_midi(tmp_path / "empty.mid", NoteList([], [], [], [], pedal=[[0, 1]]))
        assert len(read_notes(tmp_path / "empty.mid")) == 0


class TestReading:
    def test_tempo_changes_tracks_channels_and_drums(self, tmp_path):
        conductor = b"\0\xff\x51\3\x0f\x42\x40" + b"\x64\xff\x51\3\7\xa1\x20"
        first = b"\0\x90\x3c\x32\x14\xb0\x40\x3f\x14\xb0\x40\x40\x81\x20\x90\x3c\0"
        second = b"\x32\x93\x3c\x5a\0\x99\x23\x5a\x0a\x89\x23\0\x0a\x83\x3c\0\0\x83\x63\0"
        second += b"\x81\x66\xb3\7\0"
        data = midi(conductor, first, second, division=100)
        drum = "1 note of the drum channel is left out"
        notes = read(tmp_path, data, warning=drum)
        assert notes.velocity.tolist() == [50, 90]
        np.testing.assert_allclose(notes.intervals, [[0, 1.5], [0.5, 0.7]])
        # The pedal is never released: it stays down until the last event of the file.
        np.testing.assert_allclose(notes.pedal, [[0.4, 2.0]])
        held = read(tmp_path, data, warning=drum, offset="pedal")
        np.testing.assert_allclose(held.offset, [1.5, 2.0])

    @pytest.mark.parametrize(
        ("text", "intervals"),
        [
            # Each begins before the last is released.
            ("on 0, on 480, off 480, off 960", [(0, 480), (480, 960)]),
            (
                "on 0, on 480, off 490, on 960, off 970, off 1440",
                [(0, 490), (480, 970), (960, 1440)],
            ),
            # A note-off is missing, so that the first ends both.
            ("on 0, on 480, off 490, on 960, off 970", [(0, 490), (480, 490), (960, 970)]),
            ("on 0, on 480, off 480, on 960, off 970", [(0, 480), (480, 970), (960, 970)]),
            ("off 0, on 480, off 490, off 500", [(480, 490)]),
        ],
    )
    def test_repeated_notes(self, tmp_path, text, intervals):
        notes = read(tmp_path, midi(strokes(text)))
        np.testing.assert_allclose(notes.intervals, np.reshape(intervals, (-1, 2)) / 960)

    def test_notes_without_length(self, tmp_path):
        data = midi(strokes("on 0, off 0, on 480, off 490"))
        notes = read(tmp_path, data, warning="1 note of no length is left out")
        assert notes.onset.tolist() == [0.5]

    @pytest.mark.parametrize(
        ("text", "rest", "intervals"),
        [
            ("on 0", b"\x83\x60\x80\x40\0", [(0, 0.5)]),  # the last event of the file
            ("on 0", b"", [(0, 0.5)]),  # is its onset: it gets some length
            ("on 0, on 480", b"\x83\x60\x80\x40\0", [(0, 0.5), (0.5, 1)]),
            ("on 0, off 240, on 480", b"\x83\x60\x80\x40\0", [(0, 0.25), (0.5, 1)]),
        ],
    )
    def test_notes_that_are_never_released(self, tmp_path, text, rest, intervals):
        notes = read(tmp_path, midi(strokes(text) + rest), warning="not released before the end")
        assert notes.intervals.tolist() == [list(interval) for interval in intervals]

    @pytest.mark.parametrize("controller", [120, 123, 124, 127])
    def test_all_notes_off(self, tmp_path, controller):
        all_off = bytes([0x83, 0x60, 0xB0, controller, 0])
        chord = b"\0\x90\x3c\x50\0\x40\x50"
        notes = read(tmp_path, midi(chord + all_off + chord + all_off))
        assert notes.intervals.tolist() == [[0, 0.5]] * 2 + [[0.5, 1]] * 2
        # On a track of its own, and of another channel.
        assert len(read(tmp_path, midi(chord, all_off))) == 2
        other = bytes([0x83, 0x60, 0xB5, controller, 0])
        read(tmp_path, midi(chord, other), warning="2 notes are not released before the end")

    def test_pedal_on_its_own_track(self, tmp_path):
        pedal = b"\0\xb0\x40\x7f\x8f\0\xb0\x40\0"
        assert read(tmp_path, midi(pedal, TWO_NOTES)).pedal.tolist() == [[0, 2]]
        held = read(tmp_path, midi(pedal, TWO_NOTES), offset="pedal")
        assert held.offset.tolist() == [2, 2]

    def test_pedal_of_a_channel_without_notes(self, tmp_path):
        pedal = b"\0\xb4\x40\x7f\x8f\0\xb4\x40\0"
        notes = read(tmp_path, midi(pedal, TWO_NOTES), warning="the pedal of channel 5, which has")
        assert len(notes.pedal) == 0

    def test_reset_of_all_controllers_releases_the_pedal(self, tmp_path):
        notes = read(tmp_path, midi(b"\0\xb0\x40\x7f\x83\x60\xb0\x79\0" + TWO_NOTES))
        assert notes.pedal.tolist() == [[0, 0.5]]

    @pytest.mark.parametrize(
        ("event", "warning"),
        [
            (b"\0\xff\x59\2\x08\0", "an invalid key signature is passed over"),
            (b"\0\xff\x59\2\0\5", "an invalid key signature"),
            (b"\0\xff\x59\1\0" * 2, "an invalid key signature is passed over (2 times)"),
            (b"\0\xff\x51\3\0\0\0", "an invalid tempo is passed over"),
            (b"\0\xff\x51\2\7\xa1", "an invalid tempo"),
            (b"\0\xb0\x07\xc8", "a value above 127 is taken for 127"),
            (b"\0\x90\xc8\x40\0\x80\xc8\0", "a note with a number above 127 is passed over (2"),
            # Legal, if rare.
            (b"\0\xff\x58\1\4", None),
            (b"\0\xff\x7f\0", None),
            (b"\0\xf0\5\x7e\x7f\x09\1\xf7", None),
            (b"\0\xf7\2\xf3\1", None),
            (b"\0\xc0\5\0\xd0\x40\0\xe0\0\x40\0\xa0\x3c\x40", None),
            (b"\0\xf8\0\xf3\1", None),
        ],
    )
    def test_events_that_are_passed_over(self, tmp_path, event, warning):
        notes = read(tmp_path, midi(event + TWO_NOTES), warning=warning)
        assert notes.intervals.tolist() == TWO_INTERVALS

    def test_velocity_above_127(self, tmp_path):
        data = midi(b"\0\x90\x3c\xc8\x83\x60\x80\x3c\0")
        notes = read(tmp_path, data, warning="a value above 127 is taken for 127")
        assert notes.velocity.tolist() == [127]

    def test_running_status_across_other_events(self, tmp_path):
        between = b"\0\xff\1\1x" + b"\0\xf0\2\x7e\xf7"
        track = (
            b"\0\x90\x3c\x50" + between + b"\x83\x60\x3c\0" + between + b"\0\x40\x50\x83\x60\x40\0"
        )
        assert read(tmp_path, midi(track)).intervals.tolist() == TWO_INTERVALS

    @pytest.mark.parametrize(
        ("data", "warning"),
        [
            (header(extra=b"\0\0\0\0") + chunk(b"MTrk", TWO_NOTES + END), None),
            (header() + chunk(b"XFIH", b"abc") + chunk(b"MTrk", TWO_NOTES + END), None),
            (midi(TWO_NOTES) + chunk(b"XFKM", b"abcd"), None),
            (midi(TWO_NOTES) + b"\0" * 20, None),
            (header() + chunk(b"MTrk", TWO_NOTES), None),  # no end of track
            (midi(TWO_NOTES, kind=0), None),
            (midi(TWO_NOTES, kind=7), "the unknown format 7 is read as format 1"),
            (b"junk" + midi(TWO_NOTES), "4 bytes before the header"),
            (header() + b"\1\2\3" + chunk(b"MTrk", TWO_NOTES + END), "3 bytes outside of tracks"),
            (midi(TWO_NOTES) + b"\x1a\x1a", "2 bytes outside of tracks"),
            (header(3) + chunk(b"MTrk", TWO_NOTES + END), "2 of 3 tracks are missing"),
            (header() + chunk(b"MTrk", TWO_NOTES + END, 0), "the wrong length of track 1"),
            (header() + chunk(b"MTrk", TWO_NOTES + END, 5), "the wrong length of track 1"),
            (header() + chunk(b"MTrk", TWO_NOTES + END, 999), None),
            (midi(TWO_NOTES + END + b"\0\0"), "6 bytes after the end of track 1"),
            (header()[:7] + b"\2" + midi(TWO_NOTES)[8:], "the wrong length of the header"),
        ],
    )
    def test_chunks(self, tmp_path, data, warning):
        assert read(tmp_path, data, warning=warning).intervals.tolist() == TWO_INTERVALS

    def test_riff(self, tmp_path):
        content = midi(TWO_NOTES)
        info = b"LIST" + (4).to_bytes(4, "little") + b"INFO"
        body = b"RMIDdata" + len(content).to_bytes(4, "little") + content + info
        (tmp_path / "a.rmi").write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_notes(tmp_path / "a.rmi").intervals.tolist() == TWO_INTERVALS

    def test_files_that_are_cut_off(self, tmp_path):
        data = midi(TWO_NOTES, TWO_NOTES)
        whole = len(data)
        for n in range(whole - len(TWO_NOTES) - 12, whole - 4):
            (tmp_path / "song.mid").write_bytes(data[:n])
            with pytest.warns(UserWarning, match="song.mid: .*(track 2 is cut off|1 of 2 tracks)"):
                notes = read_notes(tmp_path / "song.mid")
            assert len(notes) >= 2

    def test_a_damaged_track_leaves_the_others(self, tmp_path):
        data = header(2) + chunk(b"MTrk", b"\0\x01\x02") + chunk(b"MTrk", TWO_NOTES + END)
        notes = read(tmp_path, data, warning="track 1 cannot be read to its end, as an event has")
        assert notes.intervals.tolist() == TWO_INTERVALS

    def test_tracks_one_after_another(self, tmp_path):
        slow = b"\0\xff\x51\3\x0f\x42\x40" + TWO_NOTES
        data = midi(slow, TWO_NOTES, kind=2)
        notes = read(tmp_path, data, warning="its 2 tracks are read one after another")
        assert notes.intervals.tolist() == [[0, 1], [1, 2], [2, 2.5], [2.5, 3]]

    @pytest.mark.parametrize(
        ("frames", "per_frame", "seconds"),
        [(24, 20, 1), (25, 40, 0.48), (29, 16, 480 * 1.001 / 480), (30, 80, 0.2)],
    )
    def test_times_in_frames(self, tmp_path, frames, per_frame, seconds):
        data = midi(
            b"\0\xff\x51\3\x0f\x42\x40" + TWO_NOTES, division=(256 - frames) << 8 | per_frame
        )
        notes = read(tmp_path, data)
        np.testing.assert_allclose(notes.intervals, [[0, seconds], [seconds, 2 * seconds]])

    def test_what_lies_beyond_a_day_is_left_out(self, tmp_path):
        data = midi(TWO_NOTES + b"\xff\xff\xff\x7f\x90\x43\x50\x60\x80\x43\0")
        notes = read(tmp_path, data, warning="it lasts 78 hours")
        assert notes.intervals.tolist() == TWO_INTERVALS

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "it has no MIDI header"),
            (b"not MIDI at all", "it has no MIDI header"),
            (b"MThd\0\0", "it ends in its header"),
            (b"MThd\0\0\0\6\0\1\0\0\xe7\x28", "it has no events"),
            (header() + chunk(b"MTrk", b""), "it has no events"),
            (midi(TWO_NOTES, division=0), "its beats or frames have no ticks"),
            (midi(TWO_NOTES, division=0xE700), "its beats or frames have no ticks"),
            (midi(b"\xff\xff\xff\xff\x7f" + TWO_NOTES), "a number has more than 4 bytes"),
            (midi(b"\xff" * 10**6), "a number has more than 4 bytes"),
            (midi(b"\0\xf0\xff\xff\xff\x7f"), "track 1 is cut off"),
            (midi(b"\xff\xff\xff\x7f" + TWO_NOTES[1:]), "it lasts 78 hours"),
        ],
    )
    def test_nothing_to_read(self, tmp_path, data, reason):
        with pytest.raises(FormatError, match=rf"song\.mid: cannot be read as MIDI \(.*{reason}"):
            read(tmp_path, data)

    @settings(deadline=None, max_examples=200)
    @given(st.data())
    def test_damage_is_an_error_or_a_warning(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "damaged.mid"
        content = bytearray(midi(b"\0\xff\x51\3\x0f\x42\x40", TWO_NOTES * 3))
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                assert len(read_notes(path)) < 20
            except FormatError as error:
                assert str(error).startswith(f"{path}: cannot be read as MIDI (")
