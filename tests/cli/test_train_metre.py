"""`harmnmf train metre` from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import assert_error, invoke
from mini_scores import musicxml, waltz

from harmnmf.cli.main import main
from harmnmf.score.beats.ranking import MetreRanking
from harmnmf.score.training.metre_training import RankedPiece, fit_ranking


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder of two scores."""
    monkeypatch.chdir(tmp_path)
    Path("scores").mkdir()
    for seed, name in enumerate(("A__One.musicxml", "B__Two.musicxml")):
        Path("scores", name).write_text(musicxml(waltz(30, seed)))
    return tmp_path


ARGUMENTS = ["train", "metre", "--scores", "scores", "-o", "metre.safetensors"]


def test_ranking_is_trained_from_scores(folder: Path) -> None:
    result = invoke(main, *ARGUMENTS, "--pieces", 2, "--steps", 2, "--about", "waltzes")
    assert result.exit_code == 0, result.output
    assert "metre.safetensors" in result.stdout
    MetreRanking.load("metre.safetensors")
    before = Path("metre.safetensors").read_bytes()
    assert_error(main, ARGUMENTS, "metre.safetensors: exists already")
    again = invoke(
        main, *ARGUMENTS, "--pieces", 2, "--steps", 2, "--about", "waltzes", "--overwrite"
    )
    assert again.exit_code == 0, again.output
    assert Path("metre.safetensors").read_bytes() == before


def test_training_needs_scores(folder: Path) -> None:
    assert_error(main, ["train", "metre", "-o", "a.safetensors"], "give --scores or --songs")
    missing = [*ARGUMENTS[:-1], "missing/metre.safetensors"]
    assert_error(main, missing, "there is no folder missing; create it first")
    Path("scores/A__One.musicxml").write_text(musicxml(waltz(1)))
    Path("scores/B__Two.musicxml").write_text(musicxml(waltz(1)))
    assert_error(main, ARGUMENTS, "no score has a piano part")


def test_the_better_hypothesis_is_learned() -> None:
    rng = np.random.default_rng(0)
    pieces = []
    for _ in range(40):
        statistics = rng.normal(size=(5, 3)).astype(np.float32)
        good = statistics[:, :1] == statistics[:, 0].max()
        pieces.append(RankedPiece(statistics, np.repeat(good, 4, axis=1).astype(np.float32)))
    done: list[int] = []
    ranking = fit_ranking(pieces, n_steps=200, progress=done.append)
    assert done == list(range(1, 201))
    right = [ranking.scores(x.statistics).argmax() == x.scores[:, 0].argmax() for x in pieces]
    assert np.mean(right) > 0.8
    again = fit_ranking(pieces, n_steps=200)
    np.testing.assert_array_equal(ranking.hidden, again.hidden)
