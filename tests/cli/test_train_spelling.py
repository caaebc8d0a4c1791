"""`harmnmf train spelling`."""

from __future__ import annotations

import numpy as np
import pytest
from commands import assert_error, invoke

from harmnmf.cli.main import main
from harmnmf.score.bars import TICKS, Bars
from harmnmf.score.engraving.musicxml import write_musicxml
from harmnmf.score.score import Key, Score, ScoreNotes
from harmnmf.storage.arrays import load_arrays


@pytest.fixture
def scores(tmp_path):
    """Scales in two keys, by two composers."""
    folder = tmp_path / "scores"
    folder.mkdir()
    for composer, fifths in (("Bach", 2), ("Weber", -3)):
        place = np.tile([0, 2, 4, -1, 1, 3, 5, 0], 5) + fifths
        ones = np.ones(place.size, int)
        notes = ScoreNotes(
            TICKS * np.arange(place.size), TICKS * ones, 60 + 7 * place % 12, ones, ones, place,
            np.full(place.size, ""),
        )  # fmt: skip
        score = Score(notes, Bars([[4, 4]] * 10), (Key(0, fifths),))
        write_musicxml(folder / f"{composer}__Scale.musicxml", score)
    return folder


def test_two_files_are_trained(scores, tmp_path):
    result = invoke(main, "train", "spelling", "--scores", scores, "-o", tmp_path / "run")
    assert result.exit_code == 0
    assert result.stdout.count("learned from 1 score") == 2
    for name in ("keys", "spelling"):
        _, metadata = load_arrays(tmp_path / "run" / f"{name}.safetensors", kind=name)
        assert "harmnmf" in metadata


def test_an_earlier_training_is_kept(scores, tmp_path):
    (tmp_path / "keys.safetensors").write_bytes(b"before")
    args = ["train", "spelling", "--scores", scores, "-o", tmp_path]
    assert_error(main, args, "keys.safetensors: exists; give --restart", folder=tmp_path)


def test_a_folder_without_scores_is_refused(tmp_path):
    args = ["train", "spelling", "--scores", tmp_path, "-o", tmp_path / "run"]
    assert_error(main, args, "training needs scores of two composers", folder=tmp_path)
