"""`harmnmf score`, and scores from `harmnmf transcribe`; inputs and outputs: test_paths.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import mido
import numpy as np
import pytest
from commands import assert_error, contents, invoke

from harmnmf import NoteList, read_musicxml, read_notes, write_csv, write_midi
from harmnmf.cli.main import main

BEAT = 0.5
RNG = np.random.default_rng(0)
WALTZ = ["--tempo", 120, "--time-signature", "3/4", "--pickup", 0]
PNG = b"\x89PNG\r\n\x1a\n"


def waltz(n_bars=9, *, beat=BEAT, start=0.0):
    """Bass and two chords a bar in E flat major, and a melody."""
    rows = []
    for bar in range(n_bars):
        bass, chord = ((39, (55, 58)), (46, (56, 62)))[bar % 2]
        melody = ((75, 79, 82), (80, 77, 74))[bar % 2]
        rows += [(3 * bar, bass, 90)]
        rows += [(3 * bar + i, pitch, 50) for i in (1, 2) for pitch in chord]
        rows += [(3 * bar + i, pitch, 80) for i, pitch in enumerate(melody)]
    position, pitch, velocity = np.array(rows).T
    onset = start + beat * position
    return NoteList(onset, onset + 0.9 * beat, pitch, velocity)


@pytest.fixture
def song(tmp_path, monkeypatch):
    """A waltz of nine bars as a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_midi("song.mid", waltz())
    return Path("song.mid")


def score(*args):
    return invoke(main, "score", *args)


def files(folder="."):
    return sorted(name for name, content in contents(folder).items() if content is not None)


def test_a_score_beside_the_notes(song):
    before = song.read_bytes()
    result = score(song, *WALTZ)
    assert (result.exit_code, result.stderr) == (0, "")
    assert files() == ["song.mid", "song.musicxml"]
    found = "song.musicxml: 72 notes, 9 bars of 3/4, Eb major, about 120 bpm in "
    assert result.stdout.startswith(found)
    read = read_musicxml("song.musicxml")
    assert (len(read.notes), len(read.bars), read.keys[0].fifths) == (72, 9, -3)
    assert song.read_bytes() == before
    assert ElementTree.parse("song.musicxml").findtext(".//work-title") == "song"


def test_all_formats_and_a_picture(song):
    pytest.importorskip("verovio")
    pytest.importorskip("typst")
    result = score(song, "--format", "mid,musicxml, JSON,svg,pdf,mid", "--plot", *WALTZ)
    assert (result.exit_code, result.stderr) == (0, "")
    names = ["song.json", "song.musicxml", "song.pdf", "song.png", "song.svg", "song_score.mid"]
    assert files() == sorted(["song.mid", *names])
    assert Path("song.png").read_bytes().startswith(PNG)
    assert Path("song.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads(Path("song.json").read_text())


def test_midi_keeps_the_performance_and_has_its_score(song):
    late = NoteList(waltz().onset + 0.02, waltz().offset, waltz().pitch, waltz().velocity)
    write_midi(song, late, tempo=71)
    assert score(song, "-o", "out.midi", *WALTZ).exit_code == 0
    played, written = read_notes("song.mid"), read_notes("out.midi")
    assert sorted(zip(written.pitch, written.velocity, strict=True)) == sorted(
        zip(played.pitch, played.velocity, strict=True)
    )
    np.testing.assert_allclose(written.onset, played.onset, atol=2e-3)
    midi = mido.MidiFile("out.midi")
    messages = [message for track in midi.tracks for message in track]
    signatures = [m for m in messages if m.type == "time_signature"]
    assert (signatures[-1].numerator, signatures[-1].denominator) == (3, 4)
    assert "Eb" in {m.key for m in messages if m.type == "key_signature"}
    with_notes = [track for track in midi.tracks if any(m.type == "note_on" for m in track)]
    assert len(with_notes) == 2


@pytest.mark.parametrize("options", [["-o", "song.mid"], ["-o", "song.mid", "--overwrite"]])
def test_the_notes_are_never_replaced(song, options):
    error = "song.mid: is one of the files, or an output of another; choose another name"
    assert_error(main, ["score", "song.mid", *options], error)


def test_folders(song):
    write_csv("other.csv", waltz())
    Path("notes/more").mkdir(parents=True)
    song.rename("notes/more/song.mid")
    Path("other.csv").rename("notes/other.csv")
    result = score("notes", "--format", "mid", *WALTZ)
    assert result.stderr == "harmnmf: notes: 1 file; not MIDI: other.csv\n"
    assert files("notes") == ["more/song.mid", "more/song_score.mid", "other.csv"]
    # Its own MIDI files are no inputs.
    result = score("notes", "notes/*.csv", "-o", "scores", *WALTZ)
    assert result.exit_code == 0
    assert files("scores") == ["manifest.jsonl", "more/song.musicxml", "other.musicxml"]
    again = score("notes", "notes/*.csv", "-o", "scores", *WALTZ)
    assert "2 of 2 files are done already" in again.stderr
    other = score("notes", "notes/*.csv", "-o", "scores", "--time-signature", "4/4")
    assert other.stdout.count("bars of 4/4") == 2


def test_existing_scores_are_kept(song):
    Path("song.musicxml").write_text("mine")
    assert_error(main, ["score", "song.mid"], "song.musicxml: exists already")
    assert score(song, *WALTZ, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--time-signature", "2/4"], "bars of 2/4"),
        (["--time-signature", "6/8"], "bars of 6/8"),
        (["--tempo", 60], "about 60 bpm"),
        (["--tempo", 120, "--double-time"], "about 240 bpm"),
        (["--tempo", 120, "--half-time"], "about 60 bpm"),
        (["--tempo", 120, "--no-rubato"], "about 120 bpm"),
        ([*WALTZ[:4], "--pickup", 2], "bars of 3/4 with a pickup"),
        (["--key", "f# minor"], "F# minor"),
    ],
)
def test_what_was_found_wrong_is_set(song, options, found):
    result = score(song, *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert found in result.stdout


def test_the_split_between_hands(song):
    assert score(song, "--split-pitch", "Bb4", *WALTZ).exit_code == 0
    notes = read_musicxml("song.musicxml").notes
    assert notes.pitch[notes.staff == 1].min() == 74
    assert notes.pitch[notes.staff == 2].max() == 62


def test_beats_from_a_file(song):
    Path("beats.txt").write_text("".join(f"{BEAT * i} {1 + i % 3}\n" for i in range(27)))
    result = score(song, "--beats", "beats.txt")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "9 bars of 3/4, Eb major, about 120 bpm" in result.stdout
    Path("beats.txt").write_text("".join(f"{2 * BEAT * i}\n" for i in range(14)))
    result = score(song, "--beats", "beats.txt", "--time-signature", "3/2", "--overwrite")
    assert "5 bars of 3/2, Eb major, about 60 bpm" in result.stdout


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--pickup", 1], "leave out the pickup, or the numbers"),
        (["--time-signature", "4/4"], "most bars have 3, but bars of 4/4 have 4; leave out"),
    ],
)
def test_beats_with_numbers_contradict(song, options, error):
    Path("beats.txt").write_text("".join(f"{BEAT * i} {1 + i % 3}\n" for i in range(27)))
    assert_error(main, ["score", "song.mid", "--beats", "beats.txt", *options], error)


def test_beats_of_another_recording(song):
    Path("beats.txt").write_text("100\n101\n102\n")
    result = score(song, "--beats", "beats.txt")
    assert result.exit_code == 0
    assert result.stderr.startswith("harmnmf: warning: the given beats are from 100.0 to 102.0 s")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "beats.txt: cannot be read"),
        ("0.5\n", "beats.txt: has fewer than two times of beats"),
        ("0.5 1\n1 one\n", "beats.txt, line 2: '1 one' is not the time of a beat"),
    ],
)
def test_wrong_files_of_beats(song, text, error):
    if text is not None:
        Path("beats.txt").write_text(text)
    assert_error(main, ["score", "song.mid", "--beats", "beats.txt"], error)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--time-signature", "0/4"], "time signature 0/4 is not possible"),
        (["--time-signature", "4/3"], "the upper number is 1 or more, the lower one of 1, 2, 4"),
        (["--time-signature", "waltz"], "'waltz' is not a time signature; write one as 3/4"),
        (["--key", "H major"], "'H major' is not a key"),
        (["--split-pitch", "X4"], "'X4' is not a pitch"),
        (["--tempo", "0"], "'--tempo'"),
        (["--tempo", "10"], "15<=x<=400"),
        (["--tempo", "fast"], "'fast' is not a valid number"),
        (["--double-time", "--half-time"], "--double-time and --half-time exclude each other"),
        (["--pickup", "-1"], "'--pickup'"),
        (["--format", "wav"], "'wav' is not one of musicxml, svg, pdf, mid, json"),
        (["-o", "song.wav"], "is neither a folder nor a file named .musicxml, .svg"),
        (["--beats", "b.txt", "--tempo", "90"], "--beats says where the beats are; leave out"),
        (["--beats", "b.txt", "--half-time"], "--beats says where the beats are; leave out"),
        (["other.mid", "--beats", "b.txt"], "--beats is for one recording, and there are 2"),
    ],
)
def test_wrong_usage(song, options, error):
    result = score(song, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert error in " ".join(result.stderr.split())
    assert files() == ["song.mid"]


def test_one_bad_file_does_not_stop_the_others(song):
    Path("bad.mid").write_bytes(b"MThd")
    result = score("bad.mid", "missing.mid", "song.mid", *WALTZ)
    assert result.exit_code == 1
    assert "bad.mid: cannot be read as MIDI" in result.stderr
    assert result.stderr.splitlines()[-1] == "harmnmf: 2 of 3 files failed"
    assert Path("song.musicxml").exists()


def test_no_notes(song):
    write_midi(song, NoteList([], [], [], []))
    assert_error(main, ["score", "song.mid"], "song.mid: there are no notes to make a score of")


def test_a_drum_loop(song):
    midi = mido.MidiFile("song.mid")
    for message in (message for track in midi.tracks for message in track):
        if message.type.startswith("note"):
            message.channel = 9
    midi.save("song.mid")
    result = score(song)
    assert (result.exit_code, result.stdout, files()) == (1, "", ["song.mid"])
    assert "72 notes of the drum channel are left out" in result.stderr
    assert "there are no notes to make a score of" in result.stderr


@pytest.mark.parametrize(
    "notes",
    [
        NoteList([1.0], [1.5], [60], [70]),
        NoteList([0, 0, 0], [9, 9, 9], [48, 64, 67], [70] * 3),
        NoteList([0, 3600], [1, 3601], [48, 67], [70, 70]),
        NoteList(np.cumsum(RNG.exponential(size=50)), np.full(50, 99), [60] * 50, [70] * 50),
    ],
    ids=["one note", "one chord", "an hour of silence", "no rhythm"],
)  # fmt: skip
def test_notes_without_a_rhythm(song, notes):
    write_midi(song, notes)
    result = score(song, "--format", "musicxml,mid,json", "--plot")
    assert (result.exit_code, result.stderr) == (0, "")
    assert 0 < len(read_musicxml("song.musicxml").notes) <= len(notes)


def test_pages_need_verovio(song, monkeypatch):
    monkeypatch.setitem(sys.modules, "verovio", None)
    for name in ("svg", "pdf"):
        error = f"{name} needs the package verovio: pip install 'harmnmf[score]'"
        assert_error(main, ["score", "song.mid", "-o", f"song.{name}"], error)
