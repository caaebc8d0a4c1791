"""Bars and beats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.errors import ParameterError
from harmnmf.score.bars import TICKS, Bars, BeatGrid, beat_duration

SIGNATURES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([1, 2, 4, 8, 16])), min_size=1, max_size=8
)


@given(SIGNATURES)
@settings(deadline=None)
def test_beats_divide_bars(signatures):
    bars = Bars(signatures)
    beats = bars.beats()
    assert bars.downbeats().sum() == len(bars)
    for bar, (numerator, denominator) in enumerate(signatures):
        inside = beats[bars.bar_at(beats) == bar]
        steps = np.diff([*inside, bars.starts[bar + 1]])
        assert (steps == beat_duration(numerator, denominator)).all()
        assert steps.sum() == numerator * 4 * TICKS // denominator


def test_pickup_has_the_last_beats_of_its_bar():
    bars = Bars([[4, 4], [4, 4]], pickup=720)
    np.testing.assert_array_equal(bars.beats()[:3], [240, 720, 1200])
    np.testing.assert_array_equal(bars.downbeats()[:3], [False, True, False])


@given(SIGNATURES, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_positions_and_times_are_inverse(signatures, seed):
    bars = Bars([*signatures, (4, 4)])
    random = np.random.default_rng(seed)
    grid = BeatGrid(np.cumsum(random.uniform(0.1, 2, bars.beats().size)), bars)
    positions = random.uniform(-1000, bars.starts[-1] + 1000, 50)
    np.testing.assert_allclose(grid.position(grid.time_at(positions)), positions, atol=1e-6)
    np.testing.assert_allclose(grid.position(grid.time), bars.beats(), atol=1e-6)


@pytest.mark.parametrize(
    ("signatures", "pickup"),
    [
        *(([], 0), ([4, 4], 0), ([[4, 3]], 0), ([[0, 4]], 0), ([[3.5, 4]], 0)),
        *(([[3, 4]], 1440), ([[3, 4]], -480), ([[3, 4]], 0.5)),
    ],
)
def test_impossible_bars_are_refused(signatures, pickup):
    with pytest.raises(ParameterError):
        Bars(signatures, pickup)


@pytest.mark.parametrize("times", [[0, 1, 2], [0, 1, 1, 2], [0, 1, 2, 3, 4]])
def test_times_that_do_not_fit_the_bars_are_refused(times):
    with pytest.raises(ParameterError):
        BeatGrid(times, Bars([[4, 4]]))
