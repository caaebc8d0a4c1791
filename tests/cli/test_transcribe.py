"""`harmnmf transcribe` with its shipped network; inputs and outputs in general: test_paths.py."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shutil
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import soxr
from commands import assert_error, contents, invoke

import harmnmf
from harmnmf import read_notes, shipped_dictionaries
from harmnmf.cli.main import main
from harmnmf.decoder.posteriors import PosteriorDecoder
from harmnmf.decoder.rules import decode_notes

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session")
def excerpt(pytestconfig):
    """Two seconds of the example, and their sample rate."""
    return soundfile.read(pytestconfig.rootpath / "examples" / "example.flac", frames=32000)


@pytest.fixture
def song(tmp_path, monkeypatch, excerpt):
    """The excerpt as a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "song.wav"
    soundfile.write(path, *excerpt)
    return path


def transcribe(*args):
    return invoke(main, "transcribe", *args)


@pytest.mark.parametrize(
    ("options", "names"),
    [([], ["song.mid"]), (["-o", "out.midi", "--format", "csv,mid"], ["out.csv", "out.midi"])],
)
def test_notes_are_written(song, options, names):
    result = transcribe("song.wav", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert sorted(contents()) == [*names, "song.wav"]
    for name in names:
        n_notes = len(read_notes(name))
        assert n_notes > 3
        assert name in result.stdout
        assert f": {n_notes} notes in " in result.stdout


def test_all_formats_and_a_picture(song):
    with contextlib.suppress(OSError):  # some file systems have Unicode names only
        song = song.rename(os.fsdecode(b"caf\xe9.wav"))
    result = transcribe(song, "--format", "mid, csv,NPZ,mid", "--plot")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(contents()) == 5
    midi, csv = (read_notes(song.with_suffix(s)) for s in (".mid", ".csv"))
    assert midi.pitch.tolist() == csv.pitch.tolist()
    np.testing.assert_allclose(midi.onset, csv.onset, atol=1e-3)
    with np.load(song.with_suffix(".npz")) as arrays:
        assert len(arrays["onset"]) == 88
    assert song.with_suffix(".png").read_bytes().startswith(PNG)


def test_json_has_what_midi_has_and_how_it_was_made(song):
    options = ["--format", "mid,json", "--onset-threshold", 0.3]
    assert transcribe(song, *options).exit_code == 0
    first = Path("song.json").read_text()
    content = json.loads(first)
    notes = read_notes("song.mid", offset="key")
    assert [note["pitch"] for note in content["notes"]] == notes.pitch.tolist()
    assert [note["velocity"] for note in content["notes"]] == notes.velocity.tolist()
    onsets = [note["onset"] for note in content["notes"]]
    np.testing.assert_allclose(onsets, notes.onset, atol=1e-3)
    assert len(content["pedal"]) == len(notes.pedal)
    assert (content["version"], content["source"]) == (harmnmf.__version__, "song.wav")
    assert abs(content["tuning"]) < 50  # cents
    assert content["settings"]["onset_threshold"] == 0.3
    assert transcribe(song, *options, "--overwrite").exit_code == 0
    assert Path("song.json").read_text() == first


def test_note_ends(song):
    assert transcribe(song, "-o", "key.mid").exit_code == 0
    assert transcribe(song, "-o", "sound.mid", "--note-ends", "sound").exit_code == 0
    key, sound = (read_notes(name, offset="key") for name in ("key.mid", "sound.mid"))
    np.testing.assert_array_equal(key.pedal, sound.pedal)
    assert (key.offset <= sound.offset).all()
    np.testing.assert_allclose(key.pedalled().offset, sound.pedalled().offset, atol=0.011)


def test_tempo(song):
    assert transcribe(song, "-o", "a.mid").exit_code == 0
    assert transcribe(song, "-o", "slow.mid", "--tempo", 47.5).exit_code == 0
    one, other = read_notes("a.mid"), read_notes("slow.mid")
    np.testing.assert_allclose(one.intervals, other.intervals, atol=2e-3)
    for tempo in (0, 3, 2000, "nan", "fast"):
        result = transcribe(song, "-o", "b.mid", "--tempo", tempo)
        assert result.exit_code == 2
        assert "'--tempo'" in result.stderr


@pytest.mark.parametrize(
    ("options", "start", "end"),
    [
        (["--start", "0.5", "--end", "0:01.5"], 0.5, 1.5),
        (["--start", "0:00:00.7"], 0.7, None),
        (["--end", "1."], 0.0, 1.0),
    ],
)
def test_a_part(song, excerpt, options, start, end):
    samples, rate = excerpt
    part = samples[round(start * rate) : end and round(end * rate)]
    soundfile.write("part.wav", part, rate)
    assert transcribe("song.wav", *options, "--format", "npz").exit_code == 0
    assert transcribe("part.wav", "--format", "npz").exit_code == 0
    with np.load("song.npz") as one, np.load("part.npz") as other:
        np.testing.assert_allclose(one["onset"], other["onset"], atol=1e-4)


def test_a_part_after_the_end(song):
    assert_error(
        main,
        ["transcribe", "song.wav", "--start", "9"],
        "song.wav: is too short: it has no samples",
    )


def test_adaptation_is_the_default_without_a_network(song):
    def analyse(decoder, array, *options):
        result = transcribe(song, "-o", "a.npz", "--overwrite", "--decoder", decoder, *options)
        assert result.exit_code == 0
        with np.load("a.npz") as arrays:
            return arrays[array]

    for decoder, array, other in (
        ("learned", "onset", "--adapt"), ("nmf", "attack", "--no-adapt")
    ):  # fmt: skip
        default, changed = (analyse(decoder, array, *options) for options in ([], [other]))
        assert len(default) == 88
        assert np.abs(default - changed).max() > 1e-3


def test_a_higher_threshold_gives_fewer_notes(song):
    counts = []
    for threshold in (0.05, 1):
        assert transcribe(song, "--onset-threshold", threshold, "--overwrite").exit_code == 0
        counts.append(len(read_notes("song.mid")))
    assert counts[0] > counts[1]


def test_help_tells_the_default_threshold():
    text = " ".join(transcribe("--help").stdout.split())
    learned, nmf = (
        inspect.signature(function).parameters["onset_threshold"].default
        for function in (PosteriorDecoder, decode_notes)
    )
    assert f"[default: {learned:g}; {nmf:g} with nmf]" in text


def test_silence_has_no_notes(song):
    soundfile.write(song, np.zeros(10), 44100)
    result = transcribe(song, "--format", "mid,csv", "--plot")
    warning = f"harmnmf: warning: {song}: no notes were found: all samples are zero\n"
    assert (result.exit_code, result.stderr) == (0, warning)
    assert ": 0 notes in " in result.stdout
    assert len(read_notes("song.mid")) == len(read_notes("song.csv")) == 0
    assert Path("song.png").read_bytes().startswith(PNG)
    assert transcribe(song, "--format", "npz").stderr == warning


def test_music_that_begins_late(song, excerpt):
    samples, rate = excerpt
    soundfile.write(song, np.concatenate([np.zeros(75 * rate), samples]), rate)
    result = transcribe(song, "--plot")
    assert (result.exit_code, result.stderr) == (0, "")
    assert " notes, tuned from 1:15 to 1:17 in " in result.stdout
    assert read_notes("song.mid").onset.min() > 74.9
    assert Path("song.png").read_bytes().startswith(PNG)


def test_the_tuning_is_given_in_cents(song, excerpt):
    samples, rate = excerpt
    # As fast as a semitone higher, so all notes are a semitone off.
    soundfile.write("sharp.wav", soxr.resample(samples, rate, rate / 2 ** (1 / 12)), rate)
    found = []
    for name, cents in (("song.wav", 0), ("sharp.wav", 100)):
        assert transcribe(name, "--tuning", cents, "-o", "notes.csv", "--overwrite").exit_code == 0
        found.append(sorted(read_notes("notes.csv").pitch))
    assert found[0] == found[1]


def test_files_without_sound(song):
    soundfile.write(song, np.full(100, np.nan), 16000, subtype="FLOAT")
    Path("text.wav").write_text("Dear diary,\n")
    for name, message in (
        ("song.wav", "contains NaN"),
        ("text.wav", "is not audio"),
        ("missing.wav", "no such file"),
    ):
        args = ["transcribe", name, "-o", "new/x.npz"]
        assert_error(main, args, f"{name}: {message}")


def test_wrong_parameters(song):
    Path("mine.safetensors").write_bytes(b"no arrays")
    shutil.copy(shipped_dictionaries()["default"], "dictionary.safetensors")
    for option, value, message in (
        ("--dictionary", "mine.safetensors", "mine.safetensors: is corrupt"),
        ("--dictionary", "stradivari", "stradivari: no such dictionary"),
        ("--decoder", "mine.safetensors", "mine.safetensors: is corrupt"),
        ("--decoder", "rules", "rules: no such network"),
        ("--decoder", "dictionary.safetensors", "dictionary.safetensors: holds timbre-dictionary"),
        ("--device", "gpu", "cannot be used here"),
    ):
        assert_error(main, ["transcribe", "song.wav", option, value], message)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Missing argument 'AUDIO...'"),
        (
            ["song.wav", "--format", "mid,xml"],
            "'xml' is not one of mid, musicxml, svg, pdf, csv, json, npz",
        ),
        (["song.wav", "-o", "out.csv", "--format", "mid"], "out.csv: is neither"),
        (["song.wav", "-o", "out.png", "--plot"], "out.png: is neither"),
        (["song.wav", "--start", "1:2:3:4"], "'1:2:3:4' is not a time; use seconds, m:ss or"),
        (["song.wav", "--end", "nan"], "'nan' is not a time"),
        (["song.wav", "--tuning", "101"], "101.0 is not in the range -100<=x<=100"),
        (["song.wav", "--onset-threshold", "nan"], "'nan' is not a finite number"),
        (["song.wav", "--start", "2", "--end", "2"], "--end must be after --start"),
        (["song.wav", "-o", "out.xml"], "file named .mid, .musicxml, .svg, .pdf, .csv"),
    ],
)
def test_usage_errors(song, args, message):
    result = transcribe(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert list(contents()) == ["song.wav"]


def test_in_a_process(song, python):
    done = python("-W", "error", "-m", "harmnmf", "transcribe", str(song), "--plot")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert sorted(contents()) == ["song.mid", "song.png", "song.wav"]


def test_scores_of_recordings(song):
    options = ["--time-signature", "3/4", "--key", "Bb major", "--split-pitch", "C4"]
    result = transcribe(song, "--format", "musicxml,mid,csv", "--plot", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert sorted(contents()) == ["song.csv", "song.mid", "song.musicxml", "song.png", "song.wav"]
    n_notes = len(read_notes("song.csv"))
    assert f": {n_notes} notes, " in result.stdout
    assert "of 3/4" in result.stdout
    assert "Bb major, about " in result.stdout
    score = harmnmf.read_musicxml("song.musicxml")
    assert score.keys[0].fifths == -2
    assert score.notes.pitch[score.notes.staff == 2].max() < 60
    midi = mido.MidiFile("song.mid")
    assert len([track for track in midi.tracks if any(m.type == "note_on" for m in track)]) == 2
    np.testing.assert_allclose(
        read_notes("song.mid").onset, read_notes("song.csv").onset, atol=2e-3
    )


def test_scores_of_silence(song, excerpt):
    soundfile.write(song, 0 * excerpt[0], excerpt[1])
    result = transcribe(song, "-o", "song.musicxml")
    assert (result.exit_code, result.stdout, sorted(contents())) == (1, "", ["song.wav"])
    assert "song.wav: there are no notes to make a score of" in result.stderr
    assert transcribe(song, "--plot").exit_code == 0  # without bar lines


def test_options_of_scores_need_one(song):
    result = transcribe(song, "--key", "Bb major")
    assert result.exit_code == 2
    assert "have no effect without a score: add --format" in result.stderr
    result = transcribe(song, "--tempo", 10, "--plot")
    assert result.exit_code == 2
    assert "--tempo of a score is 15 to 400" in result.stderr
    assert sorted(contents()) == ["song.wav"]
