"""`harmnmf render`; inputs and outputs in general: test_paths.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import assert_error, contents, invoke
from pianos import write_piano

from harmnmf import NoteList, read_audio, write_csv, write_midi
from harmnmf.cli.main import main

RATE = 16000
SONG = NoteList([0.5, 1.5, 2.0], [1.2, 1.9, 2.5], [69, 57, 81], [90, 60, 30])


@pytest.fixture(autouse=True)
def song(tmp_path, monkeypatch):
    """A file of three notes in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_midi("song.mid", SONG)
    return Path("song.mid")


def render(*args):
    return invoke(main, "render", *args)


def rendered(*args):
    """Render to a file and return its samples."""
    assert render(*args, "-o", "sound.wav", "--subtype", "float", "--overwrite").exit_code == 0
    return read_audio("sound.wav").samples


def files(folder="."):
    return sorted(name for name, content in contents(folder).items() if content is not None)


def rms(samples, start, end):
    return np.sqrt(np.mean(samples[round(start * RATE) : round(end * RATE)] ** 2.0))


def test_sound_beside_the_notes(song):
    before = song.read_bytes()
    result = render(song)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("song_rendered.wav: 3 notes, 3.5 s in ")
    assert files() == ["song.mid", "song_rendered.wav"]
    info = soundfile.info("song_rendered.wav")
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
    assert song.read_bytes() == before
    assert_error(main, ["render", song], "song_rendered.wav: exists already", "--overwrite")


def test_pitch_and_time(song):
    samples = rendered(song)
    hz = np.fft.rfftfreq(2**18, 1 / RATE)
    for onset, pitch in zip(SONG.onset, SONG.pitch, strict=True):
        part = samples[round((onset + 0.05) * RATE) : round((onset + 0.35) * RATE)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 2**18))
        expected = 440 * 2 ** ((pitch - 69) / 12)
        near = abs(1200 * np.log2(np.maximum(hz, 1) / expected)) < 100
        peak = hz[near][np.argmax(spectrum[near])]
        assert abs(1200 * np.log2(peak / expected)) < 12
        # Lower octaves have nothing there.
        assert spectrum[near].max() > 30 * spectrum[abs(hz - expected / 2) < 5].max()
    first = np.argmax(np.abs(samples) > 0.05 * np.abs(samples[: 1 * RATE]).max())
    assert first / RATE == pytest.approx(0.5, abs=0.005)


def test_level_follows_the_velocity():
    levels = []
    for velocity in (10, 40, 70, 100, 127):
        write_csv("one.csv", NoteList([0.0], [1.0], [60], [velocity]))
        levels.append(rms(rendered("one.csv"), 0, 0.5))
    assert (np.diff(levels) > 0).all()
    assert 0.01 < levels[2] < levels[-1] < 0.2


@pytest.mark.parametrize("write", [write_midi, write_csv])
def test_pedal(write):
    ringing = {}
    for name, pedal in (("dry", ()), ("wet", [[0.3, 2.5]])):
        path = f"{name}.{'mid' if write is write_midi else 'csv'}"
        write(path, NoteList([0.0], [0.5], [60], [80], pedal))
        samples = rendered(path)
        ringing[name] = rms(samples, 1.0, 1.4), len(samples) / RATE
    assert ringing["wet"][0] > 100 * ringing["dry"][0]
    assert ringing["dry"][1] == pytest.approx(1.5, abs=0.01)
    assert ringing["wet"][1] == pytest.approx(3.5, abs=0.01)


def test_half_pedal_values():
    values = [[0.0, 100], [1.5, 63], [2.5, 0]]  # down until 1.5 s
    write_midi("song.mid", NoteList([0.0], [0.5], [60], [80], pedal_values=values))
    assert len(rendered("song.mid")) / RATE == pytest.approx(2.5, abs=0.01)


def test_a_key_is_struck_once_at_a_time():
    one = NoteList([0.1], [1.0], [60], [80])
    twice = NoteList([0.1, 0.1], [1.0, 0.9], [60, 60], [80, 80])
    write_midi("one.mid", one)
    write_csv("twice.csv", twice)
    np.testing.assert_array_equal(rendered("one.mid"), rendered("twice.csv"))


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.ogg", "a.opus", "a.aiff"])
def test_formats(song, name):
    assert render(song, "-o", name).exit_code == 0
    assert read_audio(name).duration == pytest.approx(3.5, abs=0.2)


def test_loud_chords_do_not_clip():
    write_midi("loud.mid", NoteList([0.1] * 30, [1.0] * 30, range(30, 90, 2), [127] * 30))
    result = render("loud.mid", "-o", "loud.wav")
    assert result.exit_code == 0
    assert result.stderr.startswith("harmnmf: warning: loud.wav: peaks of +")
    samples, loud = read_audio("loud.wav").samples, rendered("loud.mid")
    assert np.abs(samples).max() <= 1 < np.abs(loud).max()
    np.testing.assert_allclose(samples, loud / np.abs(loud).max(), atol=1e-4)


def test_notes_off_the_keyboard():
    write_midi("organ.mid", NoteList([0.1, 0.5, 1.0], [1, 1, 1.5], [12, 60, 109], [80] * 3))
    result = render("organ.mid")
    assert (result.exit_code, result.stderr) == (
        0,
        "harmnmf: warning: organ.mid: 2 notes are off the keyboard (A0 to C8), and left out\n",
    )
    assert result.stdout.startswith("organ_rendered.wav: 1 note, ")


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (NoteList([], [], [], []), "has no notes to play"),
        (NoteList([0], [1], [110], [80]), "has no notes that a piano can play"),
        (NoteList([0, 50000], [1, 50001], [60, 60], [80, 80]), "last 13.9 hours"),
    ],
)
def test_notes_that_cannot_be_played(notes, message):
    write_midi("odd.mid", notes)
    assert_error(main, ["render", "odd.mid"], "odd.mid: ", message)


def test_many_files(song):
    write_csv("b.csv", SONG)
    Path("bad.mid").write_text("not MIDI")
    result = render(song, "b.csv", "bad.mid", "-o", "sounds", "-j", "2", "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    failure, total = result.stderr.splitlines()
    assert failure.startswith("harmnmf: error: bad.mid: ")
    assert total == "harmnmf: 1 of 3 files failed"
    assert files("sounds") == ["b_rendered.wav", "manifest.jsonl", "song_rendered.wav"]
    again = render(song, "b.csv", "-o", "sounds")
    assert "2 of 2 files are done already" in again.stderr
    one, other = (read_audio(f"sounds/{name}_rendered.wav").samples for name in ("b", "song"))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_another_piano(song):
    write_piano(Path("tones"), brightness=1.0)
    own = rendered(song, "--piano", "tones")
    assert np.corrcoef(own, rendered(song))[0, 1] < 0.9
    assert len(own) == len(rendered(song))


@pytest.mark.parametrize(
    ("piano", "message"),
    [
        ("steinway", "steinway: no such piano (shipped: default; or give a folder)"),
        ("song.mid", "song.mid: no such piano"),
        ("empty", "empty: has no notes called <MIDI number>_<layer>"),
        ("silent", "silent: a sample of key 60 is not mono, or silent"),
    ],
)
def test_pianos_that_cannot_be_played(song, piano, message):
    Path("empty").mkdir()
    Path("silent").mkdir()
    soundfile.write("silent/060_ff.wav", np.zeros(RATE), RATE)
    assert_error(main, ["render", song, "--piano", piano], message)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-o", "sound.mid"], "neither a folder nor a file named .wav"),
        (["-o", "sound.mp3", "--subtype", "24"], "MP3 cannot hold PCM_24"),
        (["--subtype", "8"], "not 16, 24, 32 or float"),
    ],
)
def test_usage(song, args, message):
    result = render(song, *args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert files() == ["song.mid"]
