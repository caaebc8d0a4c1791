"""Estimation of keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.score.bars import TICKS, Bars
from harmnmf.score.keys import estimate_keys
from harmnmf.score.score import Key


def cadences(tonic, mode, n):
    """Triads with their bass: onset, pitch, of n cadences of four bars of 4/4 each."""
    onset, pitch = [], []
    for bar in range(4 * n):
        root = tonic + [0, 5, 7, 0][bar % 4]
        third = 4 if mode == "major" or bar % 4 == 2 else 3
        for beat in range(4):
            for interval in (-12, 0, third, 7):
                onset.append((4 * bar + beat) * TICKS)
                pitch.append(root + interval)
    return np.array(onset), np.array(pitch)


def keys_of(onset, pitch):
    n_bars = int(onset.max()) // (4 * TICKS) + 1
    return estimate_keys(onset, np.full(onset.size, TICKS), pitch, Bars([[4, 4]] * n_bars))


@given(st.integers(0, 11), st.sampled_from(["major", "minor"]))
@settings(deadline=None)
def test_cadences_have_the_key_of_their_tonic(tonic, mode):
    (key,) = keys_of(*cadences(60 + tonic, mode, 3))
    shift = 3 if mode == "minor" else 0
    assert key.mode == mode
    assert (7 * tonic - key.fifths - shift) % 12 == 0


def test_a_long_section_in_another_key_has_its_signature():
    first, second = cadences(60, "major", 12), cadences(64, "major", 12)
    onset = np.concatenate([first[0], second[0] + 48 * 4 * TICKS])
    keys = keys_of(onset, np.concatenate([first[1], second[1]]))
    assert [key.fifths for key in keys] == [0, 4]
    assert abs(keys[1].bar - 48) <= 1


def test_a_short_modulation_changes_no_signature():
    parts = [cadences(60, "major", 4), cadences(67, "major", 2), cadences(60, "major", 4)]
    onset = np.concatenate(
        [part[0] + bar * 4 * TICKS for part, bar in zip(parts, (0, 16, 24), strict=True)]
    )
    assert keys_of(onset, np.concatenate([part[1] for part in parts])) == (Key(0, 0),)


def test_no_notes_are_in_c_major():
    assert estimate_keys([], [], [], Bars([[4, 4]])) == (Key(0, 0),)


@pytest.mark.parametrize("pitch", [60, 21, 108])
def test_one_note_has_a_key(pitch):
    assert len(estimate_keys([0], [480], [pitch], Bars([[4, 4]]))) == 1


def test_bars_without_notes_continue_the_key():
    onset, pitch = cadences(62, "major", 3)
    bars = Bars([[4, 4]] * 40)
    keys = estimate_keys(onset, np.full(onset.size, TICKS), pitch, bars)
    assert keys == (Key(0, 2),)
