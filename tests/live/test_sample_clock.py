"""Comparison of the sample rate of a source with the clock of the computer."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf.live.sample_clock import SampleClock

RATE = 44100
N_BLOCK = 2205


def messages(speed, duration=300.0, interruptions=(), start=1e5, missing=()):
    """What is told of a source whose blocks come late by chance.

    In interruptions, pairs of seconds, samples come late; `missing` are times at which a second of
    samples is lost.
    """
    rng = np.random.default_rng(0)
    clock = SampleClock(RATE)
    times = np.arange(1, round(duration * 20) + 1) / 20 / speed
    for time in missing:
        times[times > time] += 1.0
    times += rng.exponential(0.01, len(times))
    for begin, end in interruptions:
        times[(times > begin) & (times < end)] = end
    told = []
    for time in np.maximum.accumulate(times):
        clock.update(start + time, N_BLOCK)
        told += clock.messages()
    return told


@pytest.mark.parametrize(
    ("speed", "message"),
    [
        (48000 / 44100, "about 48000 samples come in a second, not 44100: pitches are 1.5 semi"),
        (44100 / 48000, "about 40500 samples come in a second, not 44100: pitches are 1.5 semi"),
        (0.1, "about 4400 samples come in a second"),
        (1.002, "the clock of the input is fast by 7 s an hour"),
        (0.998, "the clock of the input is slow by 7 s an hour"),
    ],
)
def test_another_rate_is_told_once(speed, message):
    (told,) = messages(speed)
    assert told.startswith(message)


@pytest.mark.parametrize("speed", [1.0, 1.0003, 0.9997])
def test_clocks_that_differ_a_little(speed):
    assert messages(speed, 400.0) == []


def test_a_wrong_rate_is_known_soon():
    assert messages(48000 / 44100, 30.0)


def test_interruptions_and_losses_are_no_drift():
    assert messages(1.0, interruptions=[(20, 23), (60, 61), (100, 112), (200, 201)]) == []
    assert messages(1.0, missing=[20, 60, 100, 140, 180]) == []
    # A burst at the beginning is what a pipe held.
    assert messages(1.0, interruptions=[(0, 2)]) == []
