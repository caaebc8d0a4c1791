"""Rendered performances, and sounds without a piano."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import rendered_notes
from benchmarks.rendered_notes import joined, performances, score
from harmnmf import Audio, NoteList, write_audio, write_midi

RATE = 16000
# A note before the excerpt, and two in it.
PLAYED = NoteList([8.0, 10.5, 11.0], [9.0, 11.2, 11.4], [60, 60, 64], [80, 60, 70])


class Finder:
    """Finds the excerpt 10 ms late, and nothing in speech."""

    def __init__(self, dictionary="default", decoder="learned", device="auto"):
        self.decoder = decoder

    def transcribe(self, audio):
        is_silent = not np.any(audio.samples)
        notes = PLAYED.slice(10.0, 12.0).shift(-9.5 + 0.01)
        return NoteList([], [], [], []) if is_silent or self.decoder == "none" else notes


@pytest.fixture
def data(tmp_path):
    t = np.arange(RATE) / RATE
    note = Audio(0.5 * np.sin(2 * np.pi * 262 * t) * np.exp(-3 * t), RATE)
    for path in ("piano/notes/kw/060_H.flac", "piano/notes/ydp/060_1.flac"):
        (tmp_path / path).parent.mkdir(parents=True)
        write_audio(tmp_path / path, note)
    (tmp_path / "piano/sampled/SptkBGCl").mkdir(parents=True)
    write_audio(tmp_path / "piano/sampled/SptkBGCl/a.ogg", Audio(np.tile(note.samples, 3), RATE))
    table = "onset\tkey_offset\tnote\tvelocity\n0.98\t1.68\t60\t60\n1.48\t1.88\t64\t70\n"
    (tmp_path / "piano/sampled/SptkBGCl/a.tsv").write_text(table)
    for path in ("speech/voicebank_demand_dev/clean", "speech/noise/urban"):
        (tmp_path / path).mkdir(parents=True)
        write_audio(tmp_path / path / "a.flac", Audio(np.zeros(2 * RATE), RATE))
        write_audio(tmp_path / path / "b.flac", Audio(np.zeros(RATE), RATE))
    (tmp_path / "piano/performances").mkdir()
    for name in ("a", "b", "c"):
        write_midi(tmp_path / "piano/performances" / f"{name}.mid", PLAYED)
    return tmp_path


def run(monkeypatch, *args):
    monkeypatch.setattr(rendered_notes, "Transcriber", Finder)
    args = [*map(str, args), "--duration", "2", "--threads", str(torch.get_num_threads())]
    result = CliRunner().invoke(rendered_notes.main, args)
    rows = [[c.strip() for c in row.split("|")[1:-1]] for row in result.output.splitlines()]
    return result, {tuple(row[:2]): row[2:] for row in rows if row}


def test_tables(monkeypatch, data):
    result, rows = run(monkeypatch, "--data", data, "--piano", "kw")
    assert result.exception is None, result.output
    for room in ("dry", "hall, 1.6 s", "hall, 2.5 s"):
        assert rows["kw", room] == [*["1.000"] * 7, "10.0"]
        assert rows[room, "1"] == ["1.000"] * 7
    assert rows["speech", "20"] == rows["streets and machines", "20"] == ["0.0"]
    assert rows["applause, as in training", "20"] == ["10.0"]


def test_without_a_piano_to_render(monkeypatch, data):
    result, rows = run(monkeypatch, "--data", data)
    assert result.exception is None, result.output
    assert ("dry", "1") in rows
    assert ("kw", "dry") not in rows


def test_each_piano_has_its_decoder(monkeypatch, data):
    options = ("--data", data, "--piano", "kw", "--piano", "ydp", "--performances", "2")
    result, rows = run(monkeypatch, *options, "--decoder", "none", "--decoder", "learned")
    assert result.exception is None, result.output
    assert (rows["kw", "dry"][2], rows["ydp", "dry"][2]) == ("0.000", "1.000")
    assert rows["applause, as in training", "20"] == ["0.0"]
    result, _ = run(monkeypatch, *options, *["--decoder", "none"] * 3)
    assert result.exit_code == 2
    assert "--decoder once, or once for each --piano" in result.output


def test_excerpts_begin_after_ten_seconds(data):
    excerpts = performances(data, 2, 0.9)
    assert len(excerpts) == 2
    for notes in excerpts:
        np.testing.assert_allclose(notes.onset, [1.0], atol=0.002)
        np.testing.assert_allclose(notes.offset, [1.4], atol=0.002)


def test_scores_tell_keys_from_the_pedal():
    reference = NoteList([0.5], [0.8], [60], [70], pedal=[[0.6, 3.0]])
    values = dict(
        zip(
            rendered_notes.SCORES,
            score(reference, NoteList([0.53], [3.0], [60], [70])),
            strict=True,
        )
    )
    assert values["F"] == values["F with pedalled offset"] == 1.0
    assert values["F at 20 ms"] == values["F with key offset"] == 0.0
    assert values["median onset error, ms"] == pytest.approx(30.0)


def test_files_are_joined_from_another_place_for_each_sound(tmp_path):
    for i in range(10):
        write_audio(tmp_path / f"{i}.wav", Audio(np.full(RATE // 10, i / 10), RATE))
    sound = joined(sorted(tmp_path.iterdir()), 0.25)
    for i in (0, 4, 9):
        samples = sound(i).samples
        assert len(samples) == RATE // 4
        expected = np.array([i, (i + 1) % 10, (i + 2) % 10]) / 10
        np.testing.assert_allclose(samples[:: RATE // 10], expected, atol=1e-3)
