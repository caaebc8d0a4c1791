from __future__ import annotations

import mido
import numpy as np
import pretty_midi
import pytest

from harmnmf import NoteList, write_csv, write_midi
from harmnmf.errors import FormatError
from harmnmf.score.reading.annotations import read_annotations


def write(path, *tracks, tempi=((0, 500_000),), meta=()):
    """Write a MIDI file with 480 ticks a beat, of tracks of onset, offset and pitch in ticks."""
    file = mido.MidiFile(ticks_per_beat=480)
    events = [(tick, mido.MetaMessage("set_tempo", tempo=tempo)) for tick, tempo in tempi]
    events += [(tick, mido.MetaMessage(kind, **values)) for tick, kind, values in meta]
    file.tracks.append(timed(events))
    for name, notes in tracks:
        events = [(0, mido.MetaMessage("track_name", name=name))]
        for onset, offset, pitch in notes:
            events.append((onset, mido.Message("note_on", note=pitch, velocity=70)))
            events.append((offset, mido.Message("note_off", note=pitch)))
        file.tracks.append(timed(events))
    file.save(path)
    return path


def timed(events):
    track, last = mido.MidiTrack(), 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=tick - last))
        last = tick
    return track


def signature(tick, numerator, denominator):
    return tick, "time_signature", {"numerator": numerator, "denominator": denominator}


LONG = ("", [(0, 480 * 8, 60)])


def test_tempo_map(tmp_path):
    path = write(
        tmp_path / "song.mid",
        LONG,
        tempi=[(0, 500_000), (960, 1_000_000)],
        meta=[signature(0, 2, 4)],
    )
    found = read_annotations(path)
    np.testing.assert_allclose(found.beats, [0, 0.5, 1, 2, 3, 4, 5, 6])
    np.testing.assert_allclose(found.downbeats, [0, 1, 3, 5])
    assert (found.keys, found.hands) == ((), None)


def test_beats_are_those_of_pretty_midi(tmp_path):
    """Where time signatures change at bar lines, and are in quarters."""
    meta = [signature(0, 3, 4), signature(480 * 6, 4, 4), signature(480 * 14, 2, 4)]
    tempi = [(0, 400_000), (700, 600_000), (480 * 7, 350_000)]
    path = write(tmp_path / "song.mid", ("", [(0, 480 * 18 - 9, 60)]), tempi=tempi, meta=meta)
    found, expected = read_annotations(path), pretty_midi.PrettyMIDI(str(path))
    np.testing.assert_allclose(found.beats, expected.get_beats())
    np.testing.assert_allclose(found.downbeats, expected.get_downbeats())


def test_compound_time(tmp_path):
    found = read_annotations(write(tmp_path / "song.mid", LONG, meta=[signature(0, 6, 8)]))
    np.testing.assert_allclose(found.beats, 0.75 * np.arange(6))
    np.testing.assert_allclose(found.downbeats, 1.5 * np.arange(3))


def test_pickup(tmp_path):
    path = write(tmp_path / "song.mid", LONG, meta=[signature(0, 1, 4), signature(480, 3, 4)])
    np.testing.assert_allclose(read_annotations(path).downbeats, [0.5, 2, 3.5])


def test_silence_has_no_beats(tmp_path):
    path = write(tmp_path / "song.mid", ("", [(480 * 4, 480 * 6, 60)]), meta=[signature(0, 4, 4)])
    np.testing.assert_allclose(read_annotations(path).beats, [2, 2.5])


@pytest.mark.parametrize(
    ("name", "fifths", "mode"),
    [("C", 0, "major"), ("Bb", -2, "major"), ("F#m", 3, "minor"), ("Ebm", -6, "minor")],
)
def test_keys(tmp_path, name, fifths, mode):
    path = write(
        tmp_path / "song.mid",
        LONG,
        meta=[signature(0, 4, 4), (960, "key_signature", {"key": name})],
    )
    ((time, key),) = read_annotations(path).keys
    assert (time, key.fifths, key.mode) == (1.0, fifths, mode)


HIGH, LOW = [(0, 480, 72)], [(0, 480, 40), (480, 960, 41)]


@pytest.mark.parametrize(
    ("tracks", "sizes"),
    [
        ([("", HIGH), ("", LOW)], [1, 2]),
        ([("Piano left", LOW), ("Piano right", HIGH)], [1, 2]),
        ([("upper", HIGH), ("", LOW)], [1, 2]),
        ([("L.H.", LOW), ("", HIGH)], [1, 2]),
        ([("", HIGH)], None),
        ([("", HIGH), ("", LOW), ("", [(0, 480, 50)])], None),
    ],
)
def test_hands(tmp_path, tracks, sizes):
    path = write(tmp_path / "song.mid", *tracks, meta=[signature(0, 4, 4)])
    hands = read_annotations(path).hands
    assert (hands and [len(hand) for hand in hands]) == sizes


def test_file_without_beats_of_its_own(tmp_path):
    path = write(tmp_path / "song.mid", LONG, tempi=[])
    with pytest.warns(UserWarning, match="no time signature and no tempo but 120"):
        assert len(read_annotations(path).beats) == 8


def test_text(tmp_path):
    path = tmp_path / "song.beats"
    path.write_text("0.5\tb\n1\tdb\n")
    assert read_annotations(path).downbeats.tolist() == [1]
    path.write_text("0.5\n1\n")
    assert read_annotations(path).downbeats is None


def test_damaged_files(tmp_path):
    path = tmp_path / "song.mid"
    write_midi(path, NoteList([], [], [], []))
    with pytest.raises(FormatError, match=r"song.mid: has no notes, and so no beats"):
        read_annotations(path)
    path.write_bytes(b"no MIDI")
    with pytest.raises(FormatError, match=r"song.mid: cannot be read as MIDI"):
        read_annotations(path)


def test_repaired_files(tmp_path):
    """What read_notes passes over does not matter to beats."""
    path = write(tmp_path / "song.mid", LONG, meta=[signature(0, 4, 4)])
    data = path.read_bytes()
    key = b"\x00\xff\x59\x02\x08\x00"  # of eight sharps
    place = data.index(b"\x00\xff\x58")
    length = int.from_bytes(data[18:22], "big") + len(key)
    path.write_bytes(data[:18] + length.to_bytes(4, "big") + data[22:place] + key + data[place:])
    with pytest.warns(UserWarning, match="an invalid key signature is passed over"):
        found = read_annotations(path)
    assert (len(found.downbeats), found.keys) == (2, ())


def test_no_common_beats(tmp_path):
    path = write(tmp_path / "song.mid", LONG, meta=[signature(0, 4, 4)])
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:12] + b"\xe8\x28" + data[14:])
    with pytest.raises(FormatError, match="times are in frames"):
        read_annotations(path)
    data[9] = 2
    path.write_bytes(data)
    with (
        pytest.warns(UserWarning, match="format 2"),
        pytest.raises(FormatError, match="follow one another"),
    ):
        read_annotations(path)


def test_notes_are_no_beats(tmp_path):
    path = tmp_path / "song.tsv"
    write_csv(path, NoteList([0, 1], [1, 2], [60, 62], [70, 70]))
    with pytest.raises(FormatError, match=r"song.tsv: has notes, which do not tell the beats"):
        read_annotations(path)
