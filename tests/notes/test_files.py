from __future__ import annotations

import os

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from note_strategies import crowded, note_lists

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

files = settings(deadline=None, max_examples=50)


def save_midi(path, *tracks, ticks_per_beat=480):
    mido.MidiFile(ticks_per_beat=ticks_per_beat, tracks=[mido.MidiTrack(t) for t in tracks]).save(
        path
    )


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
        if len(notes):  # the pedal of a channel without notes is ignored
            np.testing.assert_allclose(read.pedal, notes.pedal, rtol=0, atol=0.51 * TICK)

    @files
    @given(crowded)
    def test_round_trip_of_overlapping_notes(self, tmp_path_factory, notes):
        path = tmp_path_factory.getbasetemp() / "again.mid"
        write_midi(path, notes)
        once = read_notes(path, offset="key")
        if len(notes):
            assert once == notes.without_overlaps()
        assert read_notes(path) == once.pedalled()

    def test_pedal_shorter_than_a_tick(self, tmp_path):
        path = tmp_path / "song.mid"
        write_midi(path, NoteList([0], [3], [60], [70], pedal=[[1, 1.0001], [2, 2.5]]))
        assert read_notes(path, offset="key").pedal.tolist() == [[2, 2.5]]

    def test_tempo_changes_tracks_channels_and_drums(self, tmp_path):
        message, meta = mido.Message, mido.MetaMessage
        tracks = [
            [meta("set_tempo", tempo=1_000_000), meta("set_tempo", tempo=500_000, time=100)],
            [
                message("note_on", note=60, velocity=50),
                message("control_change", control=64, value=63, time=20),
                message("control_change", control=64, value=64, time=20),
                message("note_on", note=60, velocity=0, time=160),
            ],
            [
                message("note_on", note=60, velocity=90, channel=3, time=50),
                message("note_on", note=35, velocity=90, channel=9),
                message("note_off", note=35, channel=9, time=10),
                message("note_off", note=60, channel=3, time=10),
                message("note_off", note=99, channel=3),
                message("control_change", control=7, value=0, channel=3, time=230),
            ],
        ]
        path = tmp_path / "tracks.MIDI"
        save_midi(path, *tracks, ticks_per_beat=100)
        notes = read_notes(path, offset="key")
        assert notes.velocity.tolist() == [50, 90]
        np.testing.assert_allclose(notes.intervals, [[0, 1.5], [0.5, 0.7]])
        # The pedal is never released: it stays down until the last event of the file.
        np.testing.assert_allclose(notes.pedal, [[0.4, 2.0]])
        np.testing.assert_allclose(read_notes(path).offset, [1.5, 2.0])

    @pytest.mark.parametrize(
        ("strokes", "intervals"),
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
            ("on 0, off 0, on 480, off 490", [(480, 490)]),
            ("on 0", []),
        ],
    )
    def test_repeated_notes(self, tmp_path, strokes, intervals):
        track, now = [], 0
        for stroke in strokes.split(", "):
            kind, tick = stroke.split()
            track.append(mido.Message(f"note_{kind}", note=60, time=int(tick) - now))
            now = int(tick)
        path = tmp_path / "song.mid"
        save_midi(path, track)
        read = read_notes(path).intervals
        np.testing.assert_allclose(read, np.reshape(intervals, (-1, 2)) / 960)

    def test_no_notes(self, tmp_path):
        write_midi(tmp_path / "empty.mid", NoteList([], [], [], []))
        assert len(read_notes(tmp_path / "empty.mid")) == 0

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"not MIDI at all",
            b"MThd\0\0\0\6\0\1\0\0\xe7\x28",  # no track
            b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\0",  # nothing in the track
        ],
    )
    def test_damaged(self, tmp_path, data):
        path = tmp_path / "song.mid"
        path.write_bytes(data)
        with pytest.raises(FormatError, match=r"song\.mid: cannot be read as MIDI \(.+\)$"):
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

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"", ": the first line names no column onset"),
            (b"onset,offset,velocity\n", ": the first line names no column note or pitch"),
            (b"onset,offset,pitch,velocity\n0,1,60,70\n\n0,1,C4,70\n", ", line 4: no numbers for"),
            (b"onset,offset,pitch,velocity\n0,1,60,70\n2,1,60,70\n", ": note 1: offset 1.0 s is"),
            (b"onset,offset,pitch,velocity\nnan,1,60,70\n", ": note 0: onset nan"),
            (b"\xff\xfe\x00\x80", ": not a text file"),
        ],
    )
    def test_malformed(self, tmp_path, text, message):
        (tmp_path / "a.csv").write_bytes(text)
        with pytest.raises(FormatError, match=rf"a\.csv{message}"):
            read_notes(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", [".mid", ".csv"])
def test_missing_files_and_folders(tmp_path, suffix):
    for path in (tmp_path / f"missing{suffix}", tmp_path / f"folder{suffix}"):
        with pytest.raises(FormatError, match=rf"{path.name}: cannot be read \("):
            read_notes(path)
        (tmp_path / f"folder{suffix}").mkdir(exist_ok=True)
    with pytest.raises(HarmnmfError):
        write_midi(tmp_path / f"folder{suffix}", NoteList([], [], [], []))


def test_unknown_suffix_and_offset(tmp_path):
    with pytest.raises(FormatError, match=r"song\.wav: not a note file"):
        read_notes(tmp_path / "song.wav")
    with pytest.raises(ParameterError, match="'pedal' or 'key'"):
        read_notes(tmp_path / "song.mid", offset="sound")


class TestFilesThatExhaustResources:
    """Files that would take all memory or time."""

    @staticmethod
    def midi(events, ticks_per_beat=480):
        header = b"MThd\0\0\0\6\0\1\0\1" + ticks_per_beat.to_bytes(2, "big")
        track = events + b"\0\xff\x2f\0"
        return header + b"MTrk" + len(track).to_bytes(4, "big") + track

    @pytest.mark.parametrize(
        ("events", "ticks_per_beat", "message"),
        [
            (b"\0\x90\x3c\x40\x60\x3c\0", 0xE728, "SMPTE frames"),
            (b"\xff" * 10**6 + b"\x7f\x90\x3c\x40\0\x3c\0", 480, "number does not end"),
            (b"\xff" * 9000 + b"\x7f\x90\x3c\x40\x60\x3c\0", 480, "too large"),
            (b"\xff\xff\xff\xff\x7f\x90\x3c\x40\x60\x3c\0", 480, "it lasts"),
            (b"\0\xff\x51\3\0\0\0\0\x90\x3c\x40\x60\x3c\0", 480, "offset 0.0 s is not after"),
            (b"\0\xf0\xff\xff\xff\x7f", 480, "exceeds maximum length"),
        ],
    )
    def test_midi(self, tmp_path, recwarn, events, ticks_per_beat, message):
        path = tmp_path / "song.mid"
        path.write_bytes(self.midi(events, ticks_per_beat))
        with pytest.raises(FormatError, match=rf"song\.mid: cannot be read as MIDI \(.*{message}"):
            read_notes(path)
        assert not recwarn

    @pytest.mark.parametrize("name", ["song.mid", "song.csv"])
    def test_files_that_are_too_large(self, tmp_path, name):
        with open(tmp_path / name, "wb") as file:
            file.truncate(2**23 + 1)
        with pytest.raises(FormatError, match=rf"{name}: too large for notes"):
            read_notes(tmp_path / name)

    @pytest.mark.skipif(os.name != "posix", reason="POSIX pipes")
    @pytest.mark.parametrize("name", ["song.mid", "song.csv"])
    def test_pipes(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(FormatError, match=rf"{name}: cannot be read \(a pipe or a device"):
            read_notes(tmp_path / name)

    @pytest.mark.parametrize("number", ["1e999", "9" * 5000, "-0.1", "0x1", ""])
    def test_numbers_of_a_table(self, tmp_path, number):
        (tmp_path / "a.csv").write_text(f"onset,offset,pitch,velocity\n{number},1,60,70\n")
        with pytest.raises(FormatError, match=r"a\.csv"):
            read_notes(tmp_path / "a.csv")
