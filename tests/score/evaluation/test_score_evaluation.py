from __future__ import annotations

import numpy as np
import pytest
from made_scores import make_score, melody

from harmnmf import NoteList
from harmnmf.errors import FormatError, ParameterError
from harmnmf.score.evaluation.evaluation import evaluate_beat_files, evaluate_beats, evaluate_score
from harmnmf.score.reading.annotations import Annotations
from harmnmf.score.score import Key, Score

BEATS = 0.5 * np.arange(16)
REFERENCE = Annotations(BEATS, BEATS[::4])


def test_all_beats_count():
    """Also those of the first five seconds, of which there is one wrong in ten."""
    reference = Annotations(np.arange(10.0))
    wrong = np.arange(10.0)
    wrong[2] += 0.08
    assert evaluate_beats(reference, Annotations(wrong))["F-measure"] == 0.9


@pytest.mark.parametrize(
    ("beats", "downbeats", "f_measure", "downbeat_f_measure", "correct_level", "any_level", "bar"),
    [
        (BEATS, BEATS[::4], 1, 1, 1, 1, 1),
        (BEATS, BEATS[1::4], 1, 0, 1, 1, 1),  # one beat late
        (BEATS, BEATS[::2], 1, 2 / 3, 1, 1, 0),
        (BEATS[::2], BEATS[::4], 2 / 3, 1, 0, 1, 0),  # half tempo
        (BEATS + 0.25, BEATS[::4] + 0.25, 0, 0, 0, 1, 1),  # offbeat
    ],
)
def test_levels(beats, downbeats, f_measure, downbeat_f_measure, correct_level, any_level, bar):
    scores = evaluate_beats(REFERENCE, Annotations(beats, downbeats))
    assert scores["F-measure"] == pytest.approx(f_measure)
    assert scores["Downbeat_F-measure"] == pytest.approx(downbeat_f_measure)
    assert scores["Correct Metric Level Total"] == correct_level
    assert scores["Any Metric Level Total"] == pytest.approx(any_level, abs=0.1)
    assert scores["Beats_per_Bar"] == bar


def test_only_beats():
    names = evaluate_beats(REFERENCE, Annotations(BEATS)).keys()
    assert "Downbeat_F-measure" not in names
    assert not {"Beats_per_Bar", "Key_Signature", "Hands"} & names


def test_no_beats():
    empty = Annotations(np.array([]), np.array([]))
    scores = evaluate_beats(REFERENCE, empty)
    assert set(scores.values()) == {0}
    with pytest.raises(ParameterError, match="no beats"):
        evaluate_beats(empty, REFERENCE)


@pytest.mark.parametrize(
    ("keys", "weighted", "signature"),
    [
        (((0, Key(0, 0)),), 1, 1),
        (((0, Key(0, 5)), (0.5, Key(0, 0))), 1, 1),  # that which holds longest
        (((0, Key(0, 0)), (0.5, Key(0, 5))), 0, 0),
        (((0, Key(0, 0, "minor")),), 0.3, 1),
        (((0, Key(0, 1)),), 0.5, 0),
        (((0, Key(0, -3, "minor")),), 0.2, 0),
    ],
)
def test_keys(keys, weighted, signature):
    reference = Annotations(BEATS, keys=((0, Key(0, 0)),))
    scores = evaluate_beats(reference, Annotations(BEATS, keys=keys))
    assert (scores["Key_Weighted_Score"], scores["Key_Signature"]) == (weighted, signature)


@pytest.mark.parametrize("signatures", [(6, -6), (5, -7), (-5, 7)])
def test_keys_of_one_sound_are_equal(signatures):
    reference, estimated = (Annotations(BEATS, keys=((0, Key(0, n)),)) for n in signatures)
    scores = evaluate_beats(reference, estimated)
    assert (scores["Key_Weighted_Score"], scores["Key_Signature"]) == (1, 1)


def notes(*onsets, pitch):
    n = len(onsets)
    return NoteList(onsets, np.array(onsets) + 0.4, [pitch] * n, [70] * n)


def test_hands():
    """Of four notes of the reference one was not found, and of the other three one is wrong."""
    reference = notes(0, 1, pitch=72), notes(0, 1, pitch=50)
    estimated = notes(0, 1.02, pitch=72), notes(2, pitch=50)
    wrong = NoteList([0, 1.02, 0], [1, 2, 1], [72, 72, 50], [70, 70, 70])
    scores = evaluate_beats(
        Annotations(BEATS, hands=reference), Annotations(BEATS, hands=estimated)
    )
    assert scores["Hands"] == 1
    scores = evaluate_beats(
        Annotations(BEATS, hands=reference), Annotations(BEATS, hands=(wrong, estimated[1]))
    )
    assert scores["Hands"] == pytest.approx(2 / 3)


def test_slice():
    part = Annotations(BEATS, BEATS[::4], hands=(notes(0, 5, pitch=72), notes(3, pitch=50))).slice(
        3
    )
    assert (part.beats.max(), part.downbeats.max()) == (2.5, 2)
    assert [len(hand) for hand in part.hands] == [1, 0]


def write_beats(path, beats):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(str, beats)))


def test_folders(tmp_path):
    """The name of a reference may end in ``.beats``."""
    ref, est = tmp_path / "ref", tmp_path / "est"
    write_beats(ref / "a.beats.tsv", BEATS)
    write_beats(ref / "b.txt", BEATS)
    write_beats(ref / "c.beats.txt", BEATS)
    write_beats(est / "a.txt", BEATS)
    write_beats(est / "b.beats", BEATS + 0.1)
    write_beats(est / "d.txt", BEATS)
    result = evaluate_beat_files(ref, est)
    assert {name: scores["F-measure"] for name, scores in result.pieces.items()} == {"a": 1, "b": 0}
    assert result.mean["F-measure"] == 0.5
    assert list(result.failures) == ["c"]
    assert [path.name for path in result.unused] == ["d.txt"]


def test_duration(tmp_path):
    paths = tmp_path / "ref.txt", tmp_path / "est.txt"
    write_beats(paths[0], BEATS)
    write_beats(paths[1], np.where(BEATS < 4, BEATS, BEATS + 0.1))
    assert evaluate_beat_files(*paths, duration=4).mean["F-measure"] == 1
    write_beats(paths[0], BEATS + 10)
    (failure,) = evaluate_beat_files(*paths, duration=4).failures.values()
    assert failure == f"{paths[0]}: this reference has no beats in its first 4 s"
    with pytest.raises(ParameterError, match="duration"):
        evaluate_beat_files(*paths, duration=-1)
    with pytest.raises(FormatError, match="no such file"):
        evaluate_beat_files(tmp_path / "nothing", paths[1])


def test_scores():
    score = make_score(melody((60, 1), (62, 1), (64, 2)))
    other = Score(score.notes, score.bars, (Key(0, 0), Key(1, 2)))
    assert evaluate_score(score, score)["Key_Signature"] == 1
    scores = evaluate_score(score, other)
    assert scores["Key_Signature"] == 0
    assert scores["Harmony"] == 0.25
    assert {"MV2H", "Mean_Error_Rate", "Hands"} <= scores.keys()
