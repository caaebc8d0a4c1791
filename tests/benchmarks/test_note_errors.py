from __future__ import annotations

import numpy as np
import pytest

from benchmarks.note_errors import (
    EXTRA,
    MISSED,
    TIMING,
    Sound,
    count_sounding,
    count_struck,
    find_errors,
    find_sound,
    match_notes,
)
from harmnmf import Audio, NoteList, evaluate_notes

RATE = 16000


def notes(*rows):
    """Notes from rows of onset, offset, pitch and optionally velocity."""
    return NoteList(*np.array([(*row, 64)[:4] for row in rows], dtype=float).reshape(-1, 4).T)


def errors(played, heard, rise=20.0, sound=0.0):
    sound = Sound(played.onset + sound, np.broadcast_to(rise, len(played)))
    return find_errors(played, heard, sound)


# Found notes that fix the median lag.
STEADY = [(10.0 + i, 10.5 + i, 100) for i in range(5)]


def with_steady(rows, lag=0.0):
    return notes(*rows, *((on + lag, off + lag, pitch) for on, off, pitch in STEADY))


@pytest.mark.parametrize(
    ("played", "expected"),
    [
        ([(0.5, 0.98, 60), (1.0, 2.0, 60)], "repeated"),
        ([(0.5, 0.94, 60), (1.0, 2.0, 60)], "other"),
        ([(1.0, 2.0, 60), (1.04, 2.0, 79)], "octave"),
        ([(1.0, 2.0, 60, 65), (1.04, 2.0, 48, 64)], "other"),  # the octave is softer
        ([(1.0, 2.0, 60), (1.06, 2.0, 48)], "other"),  # the octave comes later
        ([(1.0, 2.0, pitch) for pitch in (60, 63, 67, 70)], "chord"),
        ([(0.1 * i, 3.0, 61 + i) for i in range(7)] + [(1.0, 2.0, 60)], "pedal"),
        ([(0.1 * i, 0.9, 61 + i) for i in range(7)] + [(1.0, 2.0, 60)], "other"),
    ],
)
def test_missed_notes(played, expected):
    played = with_steady(played)
    missed = np.flatnonzero((played.onset == 1.0) & (played.pitch == 60))
    heard = NoteList(
        *(
            np.delete(values, missed)
            for values in (played.onset, played.offset, played.pitch, played.velocity)
        )
    )
    result = errors(played, heard)
    assert result.missed[missed].tolist() == [expected]
    assert (result.missed != "").sum() == 1
    assert not (result.extra != "").any()


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ((1.03, 2.0, 60), "repetition"),
        ((1.0, 2.0, 84), "overtone"),
        ((1.0, 2.0, 41), "undertone"),
        ((1.0, 2.0, 59), "neighbour"),
        ((1.0, 2.0, 66), "with others"),
        ((1.06, 2.0, 72), "alone"),
    ],
)
def test_extra_notes(heard, expected):
    played = [(1.0, 2.0, 60)]
    result = errors(with_steady(played), with_steady([*played, heard]))
    assert result.extra[result.extra != ""].tolist() == [expected]
    assert not (result.missed != "").any()


@pytest.mark.parametrize(
    ("delay", "sound", "expected"),
    [
        (0.06, 0.02, "detected late"),
        (0.06, 0.04, "annotated early"),
        (-0.06, 0.04, "detected early"),
        (-0.06, -0.04, "annotated late"),
    ],
)
def test_notes_at_a_wrong_time_are_missed_and_extra_in_pairs(delay, sound, expected):
    played, heard = with_steady([(1.0, 2.0, 60)]), with_steady([(1.0 + delay, 2.0, 60)])
    result = errors(played, heard, rise=0.0, sound=sound)
    assert result.missed[0] == result.extra[0] == expected
    assert (result.missed != "").sum() == (result.extra != "").sum() == 1
    assert result.lag == pytest.approx(0.0)


@pytest.mark.parametrize("heard", [[(1.12, 2.0, 60)], []])
def test_extra_notes_are_compared_with_onsets_as_estimated_or_shifted_by_the_lag(heard):
    lag = 0.04
    extra = (1.12 if heard else 1.06, 2.0, 72)
    shifted = [(on - lag, off - lag, pitch) for on, off, pitch in [*heard, extra]]
    result = errors(with_steady([(1.0, 2.0, 60)]), with_steady(shifted).shift(lag), sound=0.1)
    assert result.lag == pytest.approx(lag)
    assert result.extra[result.extra != ""].tolist()[-1] == "overtone"


def test_a_right_note_is_not_compared_with_itself():
    played = notes((1.0, 2.0, 60), (1.0, 2.0, 72))
    result = errors(played, played)
    assert not result.extra_if["repetition"].any()
    assert result.extra_if["overtone"].tolist() == [False, True]
    assert result.extra_if["undertone"].tolist() == [True, False]
    assert result.missed_if["octave"].tolist() == [True, True]


def random_notes(rng, n):
    onset = np.sort(rng.uniform(0, 10, n))
    return NoteList(
        onset, onset + rng.uniform(0.05, 2, n), rng.integers(48, 73, n), rng.integers(20, 90, n)
    ).without_overlaps()


def test_counts_add_up_and_agree_with_the_scores():
    rng = np.random.default_rng(0)
    played, heard = random_notes(rng, 200), random_notes(rng, 250)
    result = errors(played, heard, rise=rng.uniform(-5, 20, len(played)))
    scores = evaluate_notes(played, heard)
    n_missed, n_extra = (
        sum((classes == name).sum() for name in names)
        for classes, names in ((result.missed, MISSED), (result.extra, EXTRA))
    )
    assert n_missed == (result.missed != "").sum()
    assert n_extra == (result.extra != "").sum()
    assert 1 - n_missed / len(played) == pytest.approx(scores["Recall_no_offset"])
    assert 1 - n_extra / len(heard) == pytest.approx(scores["Precision_no_offset"])
    for name in TIMING:
        assert (result.missed == name).sum() == (result.extra == name).sum()
    found, right = match_notes(played, heard)
    assert ((found >= 0) == (result.missed == "")).all()
    assert (right[found[found >= 0]] == np.flatnonzero(found >= 0)).all()


def test_empty_lists():
    some = notes((1.0, 2.0, 60))
    for played, heard in ((some, notes()), (notes(), some), (notes(), notes())):
        result = errors(played, heard)
        assert len(result.missed) == len(played)
        assert len(result.extra) == len(heard)
        assert result.lag == 0.0


def test_polyphony():
    played = notes((0, 2, 60), (0.04, 0.5, 64), (0.08, 0.5, 67), (1, 2, 72))
    assert count_struck(played).tolist() == [2, 3, 2, 1]
    assert count_sounding(played).tolist() == [2, 3, 3, 2]


@pytest.mark.parametrize(("pitch", "late"), [(33, -0.04), (60, 0.04), (90, -0.04)])
def test_the_sound_is_found_near_its_annotation(pitch, late):
    t = np.arange(4 * RATE) / RATE
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    attack = late + np.array([-0.01, 0.02])  # 30 ms long
    times = np.concatenate([1 + attack, 2 + attack, 3 + attack])
    tone = sum(np.sin(2 * np.pi * h * frequency * t) / h for h in range(1, 6))
    tone *= np.interp(t, times, [0.1, 0.2, 0.2, 0.21, 0.21, 0.1])
    played = notes(*((onset, onset + 0.5, pitch) for onset in (1.0, 2.0, 3.0)))
    sound = find_sound(Audio(tone, RATE), played)
    assert sound.onset[0] - 1.0 == pytest.approx(late, abs=0.025)
    assert sound.rise[0] == pytest.approx(6.0, abs=1.0)
    assert sound.rise[1] == pytest.approx(0.4, abs=0.3)
    assert sound.rise[2] < 0.5


def test_silence_does_not_rise():
    sound = find_sound(Audio(np.zeros(RATE), RATE), notes((0.5, 1.0, 60)))
    assert sound.rise.tolist() == [0.0]
