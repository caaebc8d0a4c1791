"""`harmnmf separate` from end to end."""

from __future__ import annotations

import os
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from commands import assert_error, contents, invoke

from harmnmf import Audio, NoteList, read_audio, read_notes, write_audio, write_csv, write_midi
from harmnmf.cli.main import main
from harmnmf.notes.tracks import read_tracks

# Two notes for each hand, of which one pitch is struck twice.
NOTES = NoteList([0.1, 0.1, 0.6, 0.6], [0.5, 0.5, 1.0, 1.0], [48, 72, 55, 72], [70, 70, 70, 70])
N_SAMPLES = 11025


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a stereo recording of 1 s and its notes."""
    monkeypatch.chdir(tmp_path)
    write_song("song.wav")
    write_midi("song.mid", NOTES)
    return tmp_path


def write_song(path, rate=N_SAMPLES, n_channels=2, level=1.0, subtype="PCM_16"):
    """Write decaying tones at the notes, of other loudness in each channel."""
    time = np.arange(rate) / rate
    samples = 1e-3 * np.random.default_rng(0).normal(size=rate)
    for onset, hz in zip(NOTES.onset, NOTES.hz, strict=True):
        age = np.clip(time - onset, 0, None)
        samples += 0.1 * np.sin(2 * np.pi * hz * age) * np.exp(-4 * age)
    channels = np.outer(np.linspace(1, 0.5, n_channels), level * samples)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, Audio(channels, rate), subtype=subtype)


def separate(*args):
    return invoke(main, "separate", "--device", "cpu", *args)


def run(*args):
    """Separate, with the notes in song.mid, and return what is printed."""
    result = separate("--notes", "song.mid", *args)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def names(folder):
    return sorted(os.listdir(folder))


def samples(path):
    return read_audio(path, mono=False).samples


def assert_adds_up(folder, source="song.wav", step=2**-15):
    """The parts in a folder add up to a recording, to rounding."""
    parts = [path for path in Path(folder).iterdir() if path.suffix in (".wav", ".flac")]
    total = sum(samples(path) for path in parts)
    np.testing.assert_allclose(total, samples(source), rtol=0, atol=len(parts) * step + 1e-6)


def test_hands(folder):
    printed = run("song.wav")
    assert printed.startswith("song_hands: left 2 notes, right 2 notes in ")
    assert names("song_hands") == ["left.wav", "residual.wav", "right.wav"]
    for name in names("song_hands"):
        info = soundfile.info(f"song_hands/{name}")
        assert (info.samplerate, info.channels, info.frames) == (N_SAMPLES, 2, N_SAMPLES)
        assert info.subtype == "PCM_16"
    assert_adds_up("song_hands")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("pitch", ["048_C3", "055_G3", "072_C5", "residual"]),
        ("range", ["1_below_C4", "2_from_C4", "residual"]),
    ],
)
def test_pitches_and_ranges(by, expected):
    run("song.wav", "--by", by, "-o", "parts")
    [made] = {"pitch": ["song_pitches"], "range": ["song_ranges"]}[by]
    assert names("parts") == ["manifest.jsonl", made]
    assert names(f"parts/{made}") == [f"{name}.wav" for name in expected]
    assert_adds_up(f"parts/{made}")


def test_splits_of_ranges():
    printed = run("song.wav", "--by", "range", "--split", "c5,F#3")
    assert "1_below_Fs3 1 note, 2_Fs3-B4 1 note, 3_from_C5 2 notes in" in printed
    assert_adds_up("song_ranges")


def test_tracks_and_hands_of_a_midi_file():
    """The hands cross, so that only the tracks tell them."""
    tracks = []
    for name, chosen in (("Right hand", [0, 2]), ("Left hand", [1, 3])):
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
        time = 0
        for onset, pitch in zip(NOTES.onset[chosen], NOTES.pitch[chosen], strict=True):
            ticks = round(onset * 960)  # 480 a beat, at 120 beats a minute
            track.append(mido.Message("note_on", note=pitch, velocity=70, time=ticks - time))
            track.append(mido.Message("note_off", note=pitch, time=384))
            time = ticks + 384
        tracks.append(track)
    mido.MidiFile(type=1, tracks=tracks).save("song.mid")
    run("song.wav", "--by", "track", "--format", "flac")
    assert names("song_tracks") == ["1_Right_hand.flac", "2_Left_hand.flac", "residual.flac"]
    assert_adds_up("song_tracks")
    run("song.wav", "--keep", "right")
    run("song.wav", "--keep", "1", "--by", "track")
    np.testing.assert_allclose(samples("song_right.wav"), samples("song_1.wav"), atol=1e-6)
    run("song.wav", "--by", "pitch", "--keep", "C3", "--keep", "G3", "-o", "low.wav")
    np.testing.assert_allclose(samples("song_right.wav"), samples("low.wav"), atol=1e-6)


def test_single_notes():
    printed = run("song.wav", "--by", "note")
    assert printed.startswith("song_notes: 4 notes in ")
    found = names("song_notes")
    assert [name[:5] for name in found] == ["0001_", "0002_", "0003_", "0004_"]
    for name, onset, pitch in zip(found, NOTES.onset, ("C3", "C5", "G3", "C5"), strict=True):
        _, start, end = name.split("_")
        assert end == f"{pitch}.wav"
        assert float(start.removesuffix("s")) == pytest.approx(onset, abs=0.2)
        info = soundfile.info(f"song_notes/{name}")
        assert (info.samplerate, info.channels) == (N_SAMPLES, 2)
        assert 0 < info.frames <= N_SAMPLES


def test_keep_and_mute_are_two_halves():
    assert "2 of 4 notes in " in run("song.wav", "--keep", "LEFT")
    assert "without 2 of 4 notes in " in run("song.wav", "--mute", "left", "-o", "rest.flac")
    assert soundfile.info("rest.flac").subtype == "PCM_16"
    whole = samples("song.wav")
    np.testing.assert_allclose(samples("song_left.wav") + samples("rest.flac"), whole, atol=1e-4)
    # The residual is what is neither of the left hand nor of the right.
    run("song.wav", "--keep", "residual")
    run("song.wav", "--mute", "right", "--mute", "left")
    np.testing.assert_array_equal(
        samples("song_residual.wav"), samples("song_without_right_left.wav")
    )


def test_pitches_are_kept_by_name():
    run("song.wav", "--by", "pitch", "--keep", "C5", "--keep", "g3")
    assert Path("song_C5_g3.wav").exists()
    run("song.wav", "--by", "note", "--mute", "3")
    assert Path("song_without_3.wav").exists()


@pytest.mark.parametrize(("rate", "n_channels"), [(8000, 1), (48000, 3)])
def test_the_parts_have_the_rate_and_channels_of_the_recording(rate, n_channels):
    write_song("other.wav", rate, n_channels, subtype="PCM_24")
    run("other.wav", "--format", "flac")
    for name in names("other_hands"):
        info = soundfile.info(f"other_hands/{name}")
        assert (info.samplerate, info.channels, info.frames) == (rate, n_channels, rate)
        assert info.subtype == "PCM_24"
    assert_adds_up("other_hands", "other.wav", 2**-23)


def test_samples_of_floats():
    run("song.wav", "--subtype", "float")
    assert soundfile.info("song_hands/left.wav").subtype == "FLOAT"
    assert_adds_up("song_hands", step=1e-7)


def test_peaks_beyond_full_scale_are_not_clipped():
    write_song("loud.wav", level=30, subtype="FLOAT")
    peak = np.abs(samples("loud.wav")).max()
    assert peak > 2
    result = separate("loud.wav", "--notes", "song.mid", "--keep", "left", "--keep", "right",
                      "--keep", "residual", "--subtype", "16")  # fmt: skip
    assert result.exit_code == 0
    assert "harmnmf: warning: loud_left_right_residual.wav: peaks of +" in result.stderr
    np.testing.assert_allclose(
        samples("loud_left_right_residual.wav"), samples("loud.wav") / peak, atol=1e-4
    )
    assert separate("loud.wav", "--notes", "song.mid", "-q").stderr == ""
    assert_adds_up("loud_hands", "loud.wav", 1e-5)


def test_notes_from_a_transcription(root):
    audio = read_audio(root / "examples" / "example.flac", duration=4)
    write_audio("example.wav", audio)
    result = separate("example.wav")
    assert (result.exit_code, result.stderr) == (0, "")
    assert names("example_hands") == ["left.wav", "notes.mid", "residual.wav", "right.wav"]
    assert_adds_up("example_hands", "example.wav", 1e-6)
    assert 5 < len(read_notes("example_hands/notes.mid")) < 30
    assert read_tracks("example_hands/notes.mid").names == ("Left hand", "Right hand")
    # Corrected notes replace the parts.
    arguments = ["example.wav", "--notes", "example_hands/notes.mid"]
    assert separate(*arguments, "--overwrite").exit_code == 0
    assert names("example_hands") == ["left.wav", "notes.mid", "residual.wav", "right.wav"]
    assert separate("example.wav", "--mute", "left").exit_code == 0
    assert Path("example_without_left.wav").exists()


def test_nothing_is_replaced_unless_asked():
    run("song.wav")
    assert_error(
        main,
        ["separate", "song.wav", "--notes", "song.mid"],
        "song_hands: exists already",
        "--over",
    )
    Path("song_hands/mix.txt").write_text("mine")
    Path("song_hands/7_old.wav").touch()
    before = contents("song_hands")
    run("song.wav", "--overwrite")
    after = contents("song_hands")
    assert after == {name: data for name, data in before.items() if name != "7_old.wav"}
    Path("song_right.wav").touch()
    assert_error(
        main,
        ["separate", "song.wav", "--notes", "song.mid", "--keep", "right"],
        "song_right.wav: exists",
    )
    Path("song_pitches").touch()
    arguments = ["separate", "song.wav", "--notes", "song.mid", "--by", "pitch", "--overwrite"]
    assert_error(main, arguments, "song_pitches is not a folder")


def test_parts_of_other_notes_are_removed():
    run("song.wav", "--by", "note")
    write_midi("song.mid", NOTES.slice(0, 0.5))
    run("song.wav", "--by", "note", "--overwrite")
    assert len(names("song_notes")) == 2


@pytest.fixture
def takes():
    """A folder of recordings, and one with the notes of each."""
    for name in ("one.wav", "more/two.flac"):
        write_song(f"takes/{name}")
    Path("midi/more").mkdir(parents=True)
    write_midi("midi/one.mid", NOTES)
    write_csv("midi/more/two.csv", NOTES)


def test_folders(takes):
    result = separate("takes", "--notes", "midi", "-o", "parts", "-j", "2")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 2
    for made, source in (("one_hands", "one.wav"), ("more/two_hands", "more/two.flac")):
        assert_adds_up(f"parts/{made}", f"takes/{source}")
    again = separate("takes", "--notes", "midi", "-o", "parts")
    assert again.stdout == ""
    assert "2 of 2 recordings are done already, according to" in again.stderr
    # Other notes, and other parts of one recording only.
    write_midi("midi/one.mid", NOTES.slice(0, 0.5))
    changed = separate("takes", "--notes", "midi", "-o", "parts")
    assert changed.stdout.startswith(f"{Path('parts/one_hands')}: left 1 note, right 1 note in")
    assert len(changed.stdout.splitlines()) == 1


def test_parts_are_not_taken_for_recordings(takes):
    assert separate("takes", "--notes", "midi").exit_code == 0
    for option, part in (("--mute", "right"), ("--keep", "left"), ("--keep", "residual")):
        assert len(separate("takes", "--notes", "midi", option, part).stdout.splitlines()) == 2
    result = separate("takes", "--notes", "midi", "--by", "pitch")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 2
    assert "left out" in result.stderr


def test_other_commands_leave_parts_out_of_folders(takes):
    assert separate("takes", "--notes", "midi", "--by", "note").exit_code == 0
    result = invoke(main, "enhance", "--device", "cpu", "takes", "-o", "enhanced")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 2
    assert f"left out {Path('takes/more/two_notes/0001_')}" in result.stderr


def test_notes_in_a_folder(takes):
    write_song("takes/more/three.wav")
    write_song("takes/one.flac")
    result = separate("takes", "--notes", "midi")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(errors) == 2
    three, one = Path("takes/more/three.wav"), Path("takes/one.wav")
    assert f"{three}: there are no notes for it in midi, such as three.mid" in errors[0]
    assert f"{one}: {Path('midi/one.mid')} has the name of its notes and of those of" in errors[1]
    assert Path("takes/more/two_hands/left.wav").exists()
    # With the whole name of the recording they are told apart.
    write_midi("midi/one.wav.mid", NOTES)
    write_midi("midi/more/three.mid", NOTES)
    assert separate("takes", "--notes", "midi").exit_code == 0
    # Folders in which notes are must be those of the recording.
    write_song("other/two.wav")
    assert_error(
        main, ["separate", "other/two.wav", "--notes", "midi"], "there are no notes for it"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.wav"], "x.wav: there are several parts; name a folder, or one part with"),
        (["-o", "x.mp3"], "x.mp3: there are several parts; name a folder"),
        (["-o", "x.mp3", "--keep", "right"], "x.mp3: parts are written as .wav or .flac"),
        (["-o", "x.wav", "--keep", "right", "--format", "flac"], "--format flac contradicts"),
        (["--keep", "right", "--mute", "left"], "exclude each other"),
        (["--keep", "rigth"], "no part 'rigth' to keep or mute; the parts are left, right, resid"),
        (["--keep", ""], "no part ''"),
        (["--by", "range", "--mute", "C4"], "the parts are 1_below_C4, 2_from_C4, residual"),
        (["--split", "C3"], "--split is for --by range"),
        (["--by", "range", "--split", "H4"], "'H4' is not a pitch"),
        (["--by", "range", "--split", "0"], "from 1 to 127"),
        (["--by", "track"], "--by track needs the tracks of a MIDI file; add --notes"),
        (["--by", "voice"], "'voice' is not one of"),
        (["--format", "mp3"], "'mp3' is not one of"),
        (["--format", "flac", "--subtype", "float"], "--subtype: part.flac: FLAC cannot hold"),
        (["second.wav", "--notes", "song.mid"], "song.mid: is one file, but there are 2 record"),
        (["second.wav", "--keep", "left", "-o", "a.wav"], "a.wav: is one file, but there are 2"),
    ],
)
def test_wrong_usage(arguments, message):
    before = contents()
    result = separate("song.wav", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert contents() == before


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--notes", "none.mid"], ["none.mid: no such file or folder"]),
        (["--notes", "song.wav"], ["song.wav: not a note file"]),
        (["--notes", "empty.mid"], ["empty.mid: has no notes", "song.wav"]),
        (["--notes", "late.mid"],
         ["late.mid: 2 of 3 notes begin after the end of song.wav at 1.0 s, the last at 2.0 s"]),
        (["--notes", "song.mid", "--by", "track"], ["song.mid: all notes are in one track"]),
        (["--notes", "song.csv", "--by", "track"], ["song.csv: all notes are in one track"]),
        (["--notes", "song.mid", "--by", "pitch", "--keep", "C4"],
         ["song.wav: there is no part 'C4'", "the parts are 048_C3, 055_G3, 072_C5, residual"]),
        (["--notes", "song.mid", "-o", "song.mid/"], ["song.mid is not a folder"]),
        (["--dictionary", "no-such"], ["no-such"]),
    ],
)  # fmt: skip
def test_errors(arguments, messages):
    empty = [[] for _ in range(4)]
    write_midi("empty.mid", NoteList(*empty))
    write_midi("late.mid", NoteList([0.5, 1.5, 2], [1, 2, 3], [60] * 3, [70] * 3))
    write_csv("song.csv", NOTES)
    assert_error(main, ["separate", "song.wav", "--device", "cpu", *arguments], *messages)


def test_unreadable_recordings_do_not_stop_the_rest():
    Path("broken.wav").write_bytes(b"no audio")
    Path("notes").mkdir()
    for name in ("song", "broken", "missing"):
        write_midi(f"notes/{name}.mid", NOTES)
    result = separate("missing.wav", "broken.wav", "song.wav", "--notes", "notes")
    assert result.exit_code == 1
    assert "harmnmf: error: missing.wav: " in result.stderr
    assert "harmnmf: error: broken.wav: " in result.stderr
    assert "harmnmf: 2 of 3 recordings failed" in result.stderr
    assert_adds_up("song_hands")
    assert not Path("broken_hands").exists()


@pytest.mark.parametrize("by", ["hand", "note"])
def test_a_recording_that_is_cut_short(by):
    """It is read several times, and the warning comes once."""
    for name in ("song.wav", "song.flac"):
        write_song(name, 44100)
        data = Path(name).read_bytes()
        Path(f"cut_{name}").write_bytes(data[: len(data) * 3 // 4])
        result = separate(f"cut_{name}", "--notes", "song.mid", "--by", by, "--overwrite")
        assert result.exit_code == 0, result.output
        [warning] = result.stderr.splitlines()
        assert warning.startswith(f"harmnmf: warning: cut_{name}: is truncated")
        if by == "hand":
            lengths = {
                soundfile.info(f"cut_song_hands/{x}").frames for x in os.listdir("cut_song_hands")
            }
            assert len(lengths) == 1
            assert lengths.pop() < 44100


def test_channels_of_opposite_phase():
    song = samples("song.wav")[0]
    write_audio("opposite.wav", Audio(np.stack([song, -song]), N_SAMPLES), subtype="FLOAT")
    run("opposite.wav")
    assert_adds_up("opposite_hands", "opposite.wav")
    left, right = samples("opposite_hands/left.wav")
    np.testing.assert_array_equal(left, -right)
    assert np.abs(left).max() > 0.05


def test_notes_of_another_recording():
    write_midi(
        "other.mid", NoteList([0.3, 0.35, 0.8, 0.9], [0.5, 0.5, 1, 1], [40, 41, 80, 81], [70] * 4)
    )
    result = separate("song.wav", "--notes", "other.mid")
    assert result.exit_code == 0
    assert "harmnmf: warning: song.wav: the notes may be those of another" in result.stderr
    assert_adds_up("song_hands")


def test_notes_off_the_keyboard():
    """As those that switch the sounds of a sampled piano; here they have a track of their own."""
    midi = mido.MidiFile("song.mid")
    keys = [mido.Message("note_on", note=12, velocity=9), mido.Message("note_off", note=12, time=9)]
    midi.tracks.append(mido.MidiTrack(keys))
    midi.save("song.mid")
    result = separate("song.wav", "--notes", "song.mid")
    assert (result.exit_code, result.stderr) == (
        0,
        "harmnmf: warning: song.mid: 1 note is off the keyboard (A0 to C8), and left out\n",
    )
    assert result.stdout.startswith("song_hands: left 2 notes, right 2 notes in ")
    by_track = separate("song.wav", "--notes", "song.mid", "--by", "track")
    assert by_track.exit_code == 1
    assert "harmnmf: error: song.mid: all notes are in one track" in by_track.stderr
    write_midi("song.mid", NoteList([0.1], [0.5], [12], [70]))
    assert_error(
        main, ["separate", "song.wav", "--notes", "song.mid", "--overwrite"],
        "song.mid: has no notes that a piano can play, from A0 to C8",
    )  # fmt: skip


def test_silence_has_no_notes():
    write_audio("silence.wav", Audio(np.zeros(16000), 16000))
    result = separate("silence.wav")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "silence.wav: no notes were found" in result.stderr
    assert not Path("silence_hands").exists()
