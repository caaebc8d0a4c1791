from __future__ import annotations

import shutil
import warnings

import mir_eval
import numpy as np
import pytest

from harmnmf import (
    Evaluation,
    FormatError,
    NoteList,
    ParameterError,
    evaluate_files,
    evaluate_notes,
    write_csv,
    write_midi,
)


def random_notes(seed, n=60, pitches=(40, 80)):
    rng = np.random.default_rng(seed)
    onset = rng.uniform(0, 10, n)
    return NoteList(
        onset, onset + rng.uniform(0.05, 2, n), rng.integers(*pitches, n), rng.integers(20, 120, n)
    )


def imperfect(notes, seed):
    """Some of the notes, some of them wrong, and some false alarms."""
    rng = np.random.default_rng(seed)
    heard = rng.random(len(notes)) < 0.8
    onset = np.abs(notes.onset[heard] + rng.normal(0, 0.03, heard.sum()))
    wrong = random_notes(seed + 1, 10)
    return NoteList(
        np.append(onset, wrong.onset),
        np.append(onset + rng.uniform(0.1, 2, heard.sum()), wrong.offset),
        np.append(notes.pitch[heard] + 12 * (rng.random(heard.sum()) < 0.1), wrong.pitch),
        np.append(rng.integers(20, 120, heard.sum()), wrong.velocity),
    )


def frames_of(notes, n_frames):
    """Frequencies that sound in each frame of 10 ms."""
    sounding = ((notes.onset <= k / 100) & (k / 100 < notes.offset) for k in range(n_frames))
    return [np.unique(notes.hz[in_frame]) for in_frame in sounding]


@pytest.fixture(scope="module", params=range(3))
def pair(request):
    reference = random_notes(request.param)
    return reference, imperfect(reference, request.param)


class TestAgainstMirEval:
    @pytest.mark.parametrize("options", [{}, {"onset_tolerance": 0.02, "offset_ratio": 0.5}])
    def test_notes_and_velocity(self, pair, options):
        ref, est = pair
        scores = evaluate_notes(ref, est, **options)
        for key, value in mir_eval.transcription.evaluate(
            ref.intervals, ref.hz, est.intervals, est.hz, **options
        ).items():
            assert scores[key] == value
        for key, value in mir_eval.transcription_velocity.evaluate(
            ref.intervals, ref.hz, ref.velocity, est.intervals, est.hz, est.velocity, **options
        ).items():
            assert scores[f"Velocity_{key}"] == value

    def test_frames(self, pair):
        n_frames = 1300
        times = np.arange(n_frames) / 100
        ref, est = (frames_of(notes, n_frames) for notes in pair)
        scores = evaluate_notes(*pair)
        for key, value in mir_eval.multipitch.evaluate(times, ref, times, est).items():
            assert scores[f"Frame_{key}"] == pytest.approx(value, abs=1e-12), key
        f_measure = mir_eval.util.f_measure(scores["Frame_Precision"], scores["Frame_Recall"])
        assert scores["Frame_F-measure"] == pytest.approx(f_measure)


class TestFrames:
    def test_times_on_the_grid_are_not_moved_by_rounding(self):
        # 0.07 * 100 and 0.57 * 100 are not whole numbers in floating point.
        reference = NoteList([0.07], [0.57], [60], [70])
        assert evaluate_notes(reference, reference.slice(0, 0.32))["Frame_Recall"] == 25 / 50

    def test_extreme_times_and_pitches(self):
        notes = NoteList([0, 1e12], [1, 2e12], [0, 127], [70, 70])
        assert evaluate_notes(notes, notes)["Frame_F-measure"] == 1


class TestScores:
    def test_perfect(self):
        notes = random_notes(0).without_overlaps()
        for key, score in evaluate_notes(notes, notes).items():
            assert score == pytest.approx(0 if "Error" in key else 1), key

    def test_empty_estimate(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = evaluate_notes(random_notes(0), NoteList([], [], [], []))
        for key, score in scores.items():
            missed = key.endswith(("Miss Error", "Total Error"))
            assert score == (1 if missed else 0), key

    def test_empty_reference(self):
        with pytest.raises(ParameterError, match="no notes"):
            evaluate_notes(NoteList([], [], [], []), random_notes(0))

    @pytest.mark.parametrize("option", ["onset_tolerance", "offset_ratio"])
    @pytest.mark.parametrize("value", [0, -1, np.nan])
    def test_invalid_tolerances(self, option, value):
        with pytest.raises(ParameterError, match="must be a finite number above 0"):
            evaluate_notes(random_notes(0), random_notes(0), **{option: value})


@pytest.fixture
def folders(tmp_path):
    """Tables as references and MIDI as estimates of two pieces, one in a subfolder."""
    for name, seed in (("one", 1), ("below/two", 2)):
        notes = random_notes(seed).without_overlaps()
        for kind, write, suffix in (("ref", write_csv, "csv"), ("est", write_midi, "mid")):
            path = tmp_path / kind / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, notes)
    return tmp_path / "ref", tmp_path / "est"


class TestFiles:
    def test_files_in_folders_are_paired(self, folders):
        (folders[1] / ".harmnmf-0.mid").write_bytes(b"")
        result = evaluate_files(*folders)
        assert set(result.pieces) == {"one", "below/two"}
        assert (result.failures, result.unused) == ({}, [])
        assert result.mean["F-measure_no_offset"] == 1

    def test_references_and_estimates_in_one_folder(self, folders):
        ref, est = folders
        shutil.copytree(est, ref, dirs_exist_ok=True)
        (ref / "one.mid").unlink()
        result = evaluate_files(ref, ref)
        assert set(result.pieces) == {"below/two"}
        assert set(result.failures) == {"one"}
        # A reference compared with itself would have exactly 1.
        assert 0.97 < result.mean["Average_Overlap_Ratio"] < 1

    def test_text_files(self, folders):
        ref, est = folders
        (ref / "README.txt").write_text("Recordings of a piano.\nNo notes in here.\n")
        (ref / "three.txt").write_text("OnsetTime\tOffsetTime\tMidiPitch\n0\t1\t60\n")
        write_midi(est / "three.mid", NoteList([0], [1], [60], [70]))
        with pytest.warns(UserWarning, match=r"three\.txt: it has no velocities"):
            result = evaluate_files(ref, est)
        assert set(result.pieces) == {"one", "below/two", "three"}
        assert result.failures == {}

    def test_duration_before_the_first_note(self, tmp_path):
        write_csv(tmp_path / "a.csv", NoteList([5], [6], [62], [70]))
        result = evaluate_files(tmp_path / "a.csv", tmp_path / "a.csv", duration=2)
        assert "a.csv: this reference has no notes in its first 2 s" in result.failures["a"]
        assert result.mean == {}

    def test_wrong_paths(self, folders):
        ref, est = folders
        with pytest.raises(FormatError, match="nowhere: no such file or folder"):
            evaluate_files(ref, est / "nowhere")
        with pytest.raises(ParameterError, match="not one of each"):
            evaluate_files(ref, est / "one.mid")
        (est / "empty").mkdir()
        with pytest.raises(FormatError, match="empty: no note files"):
            evaluate_files(est / "empty", est)
        with pytest.raises(ParameterError, match="'pedal' or 'key'"):
            evaluate_files(*folders, offset="sound")
        with pytest.raises(ParameterError, match="duration"):
            evaluate_files(*folders, duration=0)


def test_mean_is_over_the_pieces_that_have_a_score():
    pieces = {"a": {"Recall": 1.0, "Key": 0.5}, "b": {"Recall": 0.5}}
    assert Evaluation(pieces, {}, []).mean == {"Recall": 0.75, "Key": 0.5}
