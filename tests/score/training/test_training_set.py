"""Scores that the network of beats is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mini_scores import musicxml, waltz

from harmnmf import NoteList, ParameterError
from harmnmf.score.bars import Bars, BeatGrid
from harmnmf.score.score import Key
from harmnmf.score.training.training_set import (
    ScoreFile,
    find_scores,
    read_excerpts,
    score_of_song,
    write_excerpts,
)


def test_composers_and_songs_are_held_out(tmp_path: Path) -> None:
    for composer in range(40):
        for song in range(2):
            (tmp_path / f"C{composer:02}__{song}.mxl").touch()
    training, validation = find_scores([tmp_path], None)
    assert len(training) == 76
    assert len(validation) == 4
    composers = [{file.path.name[:3] for file in part} for part in (training, validation)]
    assert not composers[0] & composers[1]


def test_no_scores_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="two composers"):
        find_scores([tmp_path], None)


def test_songs_are_rounded_to_their_beats() -> None:
    grid = BeatGrid(np.arange(8) * 0.6, Bars([[4, 4]] * 2))
    onset = np.array([0.0, 0.31, 0.59, 1.79])
    notes = NoteList(onset, onset + 0.3, [60, 64, 48, 72], [70] * 4)
    score = score_of_song(notes, grid, (Key(0, 0),))
    assert score.notes.onset.tolist() == [0, 240, 480, 1440]
    assert score.notes.staff.tolist() == [1, 1, 2, 1]


def test_the_voice_is_added_to_the_piano(tmp_path: Path) -> None:
    text = musicxml(waltz(30))
    song = text.replace('id="P1"', 'id="P2"')
    measures = "".join(
        f'<measure number="{bar}">'
        + ("<attributes><divisions>2</divisions><time><beats>3</beats><beat-type>4</beat-type>"
           "</time></attributes>" if bar == 1 else "")
        + "<note><pitch><step>C</step><octave>6</octave></pitch><duration>6</duration></note>"
        "</measure>"
        for bar in range(1, 31)
    )  # fmt: skip
    song = song.replace(
        "<part-list>",
        '<part-list><score-part id="P1"><part-name>Voice</part-name></score-part>',
    ).replace('<part id="P2">', f'<part id="P1">{measures}</part><part id="P2">')
    (tmp_path / "song.musicxml").write_text(song)
    scores = ScoreFile(tmp_path / "song.musicxml").read()
    assert scores is not None
    assert len(scores.whole.notes) == len(scores.piano.notes) + 30


def test_scores_of_other_instruments_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "song.musicxml").write_text("<score-partwise><part-list/></score-partwise>")
    assert ScoreFile(tmp_path / "song.musicxml").read() is None
    with pytest.raises(ParameterError, match="piano part"):
        write_excerpts([ScoreFile(tmp_path / "song.musicxml")], tmp_path / "excerpts", 1)


def test_excerpts_are_kept(tmp_path: Path) -> None:
    (tmp_path / "A__waltz.musicxml").write_text(musicxml(waltz(30)))
    files = [ScoreFile(tmp_path / "A__waltz.musicxml")]
    paths = write_excerpts(files, tmp_path / "excerpts", 1, seed=3)
    before = paths[0].read_bytes()
    assert write_excerpts([], tmp_path / "excerpts", 1, seed=3) == paths
    assert paths[0].read_bytes() == before
    excerpts = read_excerpts(paths)
    assert all(excerpt.valid.any() for excerpt in excerpts)
    assert len({excerpt.features.tobytes() for excerpt in excerpts}) == len(excerpts)
