"""Choice of the look-ahead that a computer has time for."""

from __future__ import annotations

import numpy as np

from harmnmf.live.look_ahead import LookAheadControl

CHOICES = (0.06, 0.12, 0.2, 0.32, 0.5)
BLOCK = 0.1


def simulate(duration, load, wanted=0.5, max_delay=2.0):
    """Times and look-aheads while a computer with a load works through a queue."""
    control = LookAheadControl(CHOICES, wanted, max_delay)
    time = delay = 0.0
    states = []
    while time < duration:
        spent = BLOCK * load(time, control.look_ahead)
        delay = max(0.0, delay + spent - BLOCK)
        time += max(spent, BLOCK)
        control.update(time, delay, BLOCK, spent)
        states.append((time, control.look_ahead, delay))
    return np.array(states).T


def test_a_fast_computer_keeps_the_look_ahead():
    assert set(simulate(300, lambda *_: 0.5)[1]) == {0.5}


def test_it_is_never_longer_than_wanted():
    assert set(simulate(300, lambda *_: 0.1, wanted=0.2)[1]) == {0.2}


def test_a_value_between_the_choices():
    time, look_ahead, _ = simulate(30, lambda time, _: 1.2 if time < 10 else 0.3, wanted=0.25)
    assert set(look_ahead) <= {0.25, 0.2, 0.12, 0.06}
    assert look_ahead[-1] > look_ahead[time < 12].min()


def test_the_shortest_comes_before_the_greatest_delay():
    for load in (1.2, 1.5, 2.0):
        _, look_ahead, delay = simulate(100, lambda *_, load=load: load)
        assert (look_ahead[delay > 1.5] == 0.06).all()


def test_it_rises_only_with_time_to_spare():
    time, look_ahead, _ = simulate(300, lambda time, _: 1.2 if time < 5 else 0.8)
    assert len(set(look_ahead[time > 20])) == 1
    assert look_ahead[-1] < 0.5


def test_a_look_ahead_that_is_too_long_is_tried_more_and_more_rarely():
    # Short look-aheads leave so much time that longer ones are tried.
    time, look_ahead, delay = simulate(1000, lambda _, value: 1.2 if value > 0.2 else 0.4)
    tries = time[1:][np.diff(look_ahead) > 0]
    waits = np.diff(tries[look_ahead[1:][np.diff(look_ahead) > 0] > 0.2])
    assert len(waits) >= 3
    assert (waits[1:] > 1.3 * waits[:-1]).all()
    assert delay.max() < 1.0
