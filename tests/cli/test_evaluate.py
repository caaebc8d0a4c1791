from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from harmnmf import NoteList, write_csv, write_midi
from harmnmf.cli.main import main

HELD = NoteList([0], [1], [60], [70], pedal=[[0, 3]])
NOTES = NoteList([0, 1, 2, 3], [0.9, 1.9, 2.9, 3.9], [60, 62, 64, 65], [50, 60, 70, 80])


@pytest.fixture
def folders(tmp_path):
    """Two references and their estimates: one perfect, one with half of the notes."""
    ref, est = tmp_path / "ref", tmp_path / "est"
    for folder in (ref, est):
        folder.mkdir()
    write_csv(ref / "good.csv", NOTES)
    write_csv(ref / "half.csv", NOTES)
    write_midi(est / "good.mid", NOTES)
    write_midi(est / "half.mid", NOTES.slice(0, 2))
    return ref, est


def evaluate(*args):
    return CliRunner().invoke(main, ["evaluate", *map(str, args)])


def test_table_of_folders(folders):
    result = evaluate(*folders)
    assert (result.exit_code, result.stderr) == (0, "")
    heading, good, half, mean = result.stdout.splitlines()
    assert heading.split()[:5] == ["piece", "note", "P", "note", "R"]
    assert good.split() == ["good"] + ["1.000"] * 7
    assert half.split()[:4] == ["half", "1.000", "0.500", "0.667"]
    assert mean.split()[:5] == ["mean", "(2)", "1.000", "0.750", "0.833"]
    assert len({len(line) for line in result.stdout.splitlines()}) == 1


def test_json(folders):
    result = evaluate(*folders, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["pieces"]["half"]["Recall_no_offset"] == 0.5
    assert report["mean"]["Recall_no_offset"] == 0.75
    assert report["mean"].keys() == report["pieces"]["good"].keys()


@pytest.mark.parametrize(
    ("estimated", "option", "key", "score"),
    [
        (NOTES.slice(0, 2), ["--duration", 2], "Recall_no_offset", 1),
        (NOTES.shift(0.06), [], "F-measure_no_offset", 0),
        (NOTES.shift(0.06), ["--onset-tolerance", 0.1], "F-measure_no_offset", 1),
        (HELD.pedalled(), [], "F-measure", 1),
        (HELD.pedalled(), ["--offset", "key"], "F-measure", 0),
    ],
)
def test_options(tmp_path, estimated, option, key, score):
    for name, notes in (("ref", HELD if key == "F-measure" else NOTES), ("est", estimated)):
        write_midi(tmp_path / f"{name}.mid", notes)
    result = evaluate(tmp_path / "ref.mid", tmp_path / "est.mid", "--json", *option)
    assert json.loads(result.stdout)["mean"][key] == score


def test_files_of_other_programs(tmp_path):
    """What is passed over or assumed is said, and does not fail."""
    table = tmp_path / "MAPS.txt"
    table.write_text("OnsetTime\tOffsetTime\tMidiPitch\n0\t0.5\t60\n0.5\t0.5\t62\n")
    song = tmp_path / "song.mid"
    write_midi(song, NoteList([0], [0.5], [60], [70]))
    song.write_bytes(song.read_bytes() + b"junk")
    result = evaluate(table, song, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["mean"]["F-measure"] == 1
    first, second = result.stderr.splitlines()
    assert first.startswith(f"harmnmf: warning: {table}: it has no velocities")
    assert first.endswith("1 note of no length is left out (line 3)")
    assert second == f"harmnmf: warning: {song}: 4 bytes outside of tracks are passed over"


def test_failures_are_named_at_the_end(folders):
    ref, est = folders
    (est / "half.mid").write_bytes(b"")
    write_midi(est / "extra.mid", NOTES)
    write_csv(ref / "missing.csv", NOTES)
    result = evaluate(*folders)
    assert result.exit_code == 1
    assert "mean (1 of 3)" in result.stdout
    extra, *errors = result.stderr.splitlines()
    assert extra == "harmnmf: ignored, no reference for: extra.mid"
    assert len(errors) == 2
    assert "half.mid: cannot be read" in errors[0]
    assert "missing.csv: no estimate" in errors[1]


def test_nothing_scored(folders):
    ref, est = folders
    (est / "half.mid").write_bytes(b"")
    result = evaluate(ref / "half.csv", est / "half.mid")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    report = json.loads(evaluate(ref / "half.csv", est / "half.mid", "--json").stdout)
    assert (report["pieces"], report["mean"], list(report["failures"])) == ({}, {}, ["half"])


def musicxml(path, *pitches):
    notes = "".join(
        f"<note><pitch><step>{pitch}</step><octave>4</octave></pitch><duration>1</duration></note>"
        for pitch in pitches
    )
    path.write_text(
        '<score-partwise><part-list><score-part id="P1"/></part-list><part id="P1"><measure>'
        f"<attributes><divisions>1</divisions></attributes>{notes}</measure></part></score-partwise>"
    )
    return path


def test_beats(tmp_path):
    """Tempo map and tracks of MIDI files, or texts; columns that no piece has are left out."""
    text, midi = tmp_path / "ref.txt", tmp_path / "est.mid"
    text.write_text("\n".join(f"{0.5 * beat} {beat % 4 + 1}" for beat in range(8)))
    write_midi(midi, NoteList([0], [4], [60], [70]))
    result = evaluate("--beats", text, midi)
    heading, row = result.stdout.splitlines()
    assert heading.split() == ["piece", "beat", "F", "downbeat", "F", "CMLt", "AMLt", "beats/bar"]
    assert row.split() == ["ref", *["1.000"] * 5]
    report = json.loads(evaluate("--beats", text, midi, "--json", "--duration", 2).stdout)
    assert report["mean"]["Any Metric Level Continuous"] == 1


def test_scores(tmp_path):
    ref, est = tmp_path / "ref", tmp_path / "est"
    for folder in (ref, est):
        folder.mkdir()
    for folder, pitches in ((ref, "CDEF"), (est, "CDE")):
        musicxml(folder / "song.musicxml", *pitches)
    musicxml(ref / "damaged.musicxml", "H")
    musicxml(est / "damaged.musicxml", "H")
    result = evaluate("--score", ref, est)
    assert result.exit_code == 1
    heading, row, mean = result.stdout.splitlines()
    assert heading.split()[:3] == ["piece", "MV2H", "multi-pitch"]
    assert row.split()[2] == f"{2 * 3 / 7:.3f}"
    assert mean.startswith("mean (1 of 2)")
    assert "damaged.musicxml: cannot be read as MusicXML" in result.stderr
    report = json.loads(evaluate("--score", ref, est, "--json").stdout)
    assert report["mean"]["Missing_Note_Rate"] == 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beats", "--score"], "--beats and --score"),
        (["--beats", "--offset", "key"], "--offset has no meaning with --beats"),
        (["--score", "--onset-tolerance", "0.1"], "--onset-tolerance has no meaning with --score"),
        (["--score", "--duration", "3"], "--duration has no meaning with --score"),
    ],
)
def test_options_of_notes(options, message):
    result = evaluate("a.mid", "b.mid", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_wrong_kind_of_file(tmp_path):
    midi = tmp_path / "song.mid"
    write_midi(midi, NOTES)
    result = evaluate("--score", midi, midi)
    assert result.exit_code == 1
    assert f"{midi}: cannot be read as MusicXML" in result.stderr
