from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import transcription, transcription_errors
from benchmarks.data import ANNOTATION_LEAD, INPUTS, PIANOS
from benchmarks.note_errors import Sound
from benchmarks.transcription import Piece, aligned_f, onset_f
from benchmarks.transcription_errors import BEGIN, END
from harmnmf import Audio, NoteList, write_audio, write_csv

PLAYED = NoteList([0.2, 0.6, 1.2], [0.5, 1.0, 1.4], [60, 64, 72], [40, 60, 80])


class Perfect:
    """Transcribes every recording where it sounds, at its speed.

    Without adaptation there is an extra note.
    """

    def __init__(self, dictionary="default", decoder="learned", adapt=None, device="auto"):
        self.adapt = decoder == "nmf" if adapt is None else adapt

    def transcribe(self, audio):
        slowness = audio.duration / 1.5
        heard = PLAYED.shift(ANNOTATION_LEAD)
        right = (heard.onset * slowness, heard.offset * slowness, heard.pitch, heard.velocity)
        more = ([], [], [], []) if self.adapt else ([0.3], [0.4], [50], [60])
        return NoteList(*(np.append(*both) for both in zip(right, more, strict=True)))


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


def run(monkeypatch, module, *args):
    monkeypatch.setattr(module, "Transcriber", Perfect)
    args = [*map(str, args), "--threads", str(torch.get_num_threads())]
    result = CliRunner().invoke(module.main, args)
    assert result.exception is None, result.output
    rows = [[c.strip() for c in row.split("|")[1:-1]] for row in result.output.splitlines()]
    return {tuple(row[:2]): row[2:] for row in rows if row}


def test_scores(monkeypatch, data):
    rows = run(monkeypatch, transcription, "--data", data, "--inputs")
    assert rows["harmnmf --decoder nmf", "ENSTDkAm"] == ["1", *["1.000"] * 7]
    assert rows["**harmnmf --adapt**", "1.000"][:7] == ["1.000"] * 7
    assert rows["**harmnmf --decoder nmf --no-adapt**", "0.857"][:7] == ["0.857"] * 7
    header = rows["system", "ENSTDkCl, as annotated"]
    assert all(len(row) == len(header) for name, row in rows.items() if "transkun" in name[0])
    for name in INPUTS:
        assert rows[name, "harmnmf --decoder nmf"] == ["1.000"] * 6
    assert ("phone", "harmnmf") not in run(monkeypatch, transcription, "--data", data)


@pytest.mark.parametrize(
    ("heard", "sound", "expected"),
    [
        (0.0, 0.0, [1, 1, 1, 1]),
        (0.06, 0.0, [0, 1, 1, 1]),  # found with the constant
        (0.1, 0.1, [0, 0, 1, 1]),  # a later piece
        (0.1, 0.02, [0, 0, 1, 0]),  # detected late
        (-0.1, -0.1, [0, 0, 1, 1]),
        (0.2, 0.2, [0, 0, 0, 0]),
    ],
)
def test_onset_f_with_each_alignment(tmp_path, heard, sound, expected):
    heard_notes = PLAYED.shift(heard)
    assert heard_notes.onset[0] > 0
    piece = Piece(tmp_path, PLAYED, heard_notes, PLAYED, heard_notes)
    measured = Sound(PLAYED.onset + sound, np.full(3, 20.0))
    assert aligned_f(piece, measured) == expected


@pytest.mark.parametrize("delay", [-0.3, 0.3])
def test_no_note_is_cut_when_a_delay_is_removed(delay):
    begun = NoteList([0.0, 0.01], [0.1, 0.2], [60, 62], [70, 70])
    later = begun.shift(abs(delay))
    notes = (begun, later) if delay > 0 else (later, begun)
    assert onset_f(*notes) == 0.0
    assert onset_f(*notes, delay) == 1.0


def test_the_document_is_updated(monkeypatch, data, tmp_path):
    path = tmp_path / "errors.md"
    path.write_text(f"Before\n\n{BEGIN}\n{END}\n\nafter\n")
    run(monkeypatch, transcription_errors, "--data", data, "--document", path)
    text = path.read_text("utf-8")
    assert text.startswith("Before\n")
    assert text.endswith("\nafter\n")
    assert "| all | 0 | 0 | 100% | 6 | 0% |" in text
    assert "recall, harmnmf, " in text
    assert path.with_suffix(".png").stat().st_size > 10_000
