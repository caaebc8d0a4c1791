from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import transcription
from benchmarks.error_report import BEGIN, END, PIANOS
from harmnmf import Audio, NoteList, write_audio, write_csv

PLAYED = NoteList([0.2, 0.6, 1.2], [0.5, 1.0, 1.4], [60, 64, 72], [40, 60, 80])


class Perfect:
    """Hears what is played in every recording, at its speed, and a note more without adapting."""

    def __init__(self, dictionary="default", decoder="learned", adapt=None, device="auto"):
        self.adapt = decoder == "nmf" if adapt is None else adapt

    def transcribe(self, audio):
        slowness = audio.duration / 1.5
        shown = (PLAYED.onset * slowness, PLAYED.offset * slowness, PLAYED.pitch, PLAYED.velocity)
        more = ([], [], [], []) if self.adapt else ([0.3], [0.4], [50], [60])
        return NoteList(*(np.append(*both) for both in zip(shown, more, strict=True)))


@pytest.fixture
def data(tmp_path):
    t = np.arange(24000) / 16000
    audio = Audio(0.1 * np.sin(2 * np.pi * 440 * t), 16000)
    for piano in PIANOS:
        folder = tmp_path / "data" / "piano/real" / piano
        folder.mkdir(parents=True)
        write_audio(folder / "piece.flac", audio)
        write_csv(folder / "piece.tsv", PLAYED)
    return tmp_path / "data"


def run(monkeypatch, *args):
    monkeypatch.setattr(transcription, "Transcriber", Perfect)
    monkeypatch.setattr(transcription.torch, "set_num_threads", lambda n: None)
    return CliRunner().invoke(transcription.main, [str(arg) for arg in args])


def test_all_tables_are_printed(monkeypatch, data):
    result = run(monkeypatch, "--data", data, "--tables", "all")
    assert result.exception is None
    rows = [[c.strip() for c in row.split("|")[1:-1]] for row in result.output.splitlines()]
    assert ["harmnmf --decoder nmf", "ENSTDkAm", "1", *["1.000"] * 6] in rows
    scores = {row[0]: row[1:3] for row in rows if len(row) == 5}
    assert scores["harmnmf, with adaptation"] == ["1.000", "1.000"]
    assert scores["harmnmf --decoder nmf, without adaptation"] == ["0.857", "0.857"]
    assert scores["harmnmf --decoder nmf, without decay"] == ["1.000", "1.000"]
    assert "harmnmf, without adaptation" not in scores
    assert ["C4–B4", "2", "1.000", "2", *["1.000"] * 3] in rows
    assert ["all", "0", "0", "100%", "6", "0%"] in rows
    for name in ("as it is", "phone", "35 cents flat", "MP3, 64 kbit/s"):
        assert [name, "harmnmf --decoder nmf", *["1.000"] * 6] in rows


def test_only_what_is_asked_for_is_printed(monkeypatch, data):
    output = run(monkeypatch, "--data", data, "--tables", "inputs").output
    assert "phone" in output
    assert "recall" not in output
    result = run(monkeypatch, "--data", data, "--tables", "scores,notes")
    assert result.exit_code == 2
    assert "scores,accuracy,errors,inputs" in result.output


def test_the_document_is_updated(monkeypatch, data, tmp_path):
    path = tmp_path / "transcription_errors.md"
    path.write_text(f"Before\n\n{BEGIN}\n{END}\n\nafter\n")
    result = run(monkeypatch, "--data", data, "--tables", "errors", "--document", tmp_path)
    assert result.exception is None
    text = path.read_text("utf-8")
    assert text.startswith("Before\n")
    assert text.endswith("\nafter\n")
    assert "missed by harmnmf |" in text
    assert "recall, harmnmf, " in text
    assert "recall, harmnmf, " not in result.output
    assert (tmp_path / "transcription_errors.png").stat().st_size > 10_000


def test_scores_are_as_before_for_other_benchmarks(data):
    scores, factor = transcription.score_recordings(Perfect(adapt=True), data, 1.5)
    assert transcription.mean_f(scores) == (1.0, 1.0)
    assert set(scores) == set(PIANOS)
    assert 0 < factor < 10
