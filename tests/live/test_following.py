"""Transcription of sources that play, by computers that are fast enough or not."""

from __future__ import annotations

import signal
from itertools import pairwise

import numpy as np
import pytest
from live_sources import RATE, FakeClock, PlayedSource, ScriptedTranscriber

from harmnmf.errors import AudioError, ParameterError
from harmnmf.live.events import NoteOff
from harmnmf.live.following import follow


def play(duration=20.0, load=0.3, *, look_ahead=0.32, max_delay=2.0, **options):
    """Reports, the source and the transcriber of a scripted performance."""
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, duration, **options)
    loads = load if callable(load) else lambda time, look_ahead: load
    transcriber = ScriptedTranscriber(clock, loads, look_ahead)
    reports = list(follow(source, transcriber, max_delay=max_delay, clock=clock))
    return reports, source, transcriber


def all_samples(reports):
    return np.concatenate([report.samples for report in reports], axis=1)


def all_messages(reports):
    return [message for report in reports for message in report.messages]


def assert_times_are_right(reports):
    for report in reports[:-1]:
        for event in report.events:
            assert event.time == pytest.approx(event.confidence)


def test_all_samples_are_transcribed_and_reported():
    reports, source, transcriber = play()
    np.testing.assert_array_equal(all_samples(reports), source.samples)
    np.testing.assert_array_equal(np.concatenate(transcriber.pushed, axis=1), source.samples)
    assert_times_are_right(reports)
    times = [report.time for report in reports]
    assert times == sorted(times)
    assert times[-1] == 20.0
    last = reports[-1]
    assert last.events == [NoteOff(20.0, 60)]
    assert last.samples.shape == (2, 0)
    assert last.level == 0.0
    assert reports[0].level == np.abs(reports[0].samples).max()
    assert max(report.delay for report in reports) < 0.05
    assert {report.look_ahead for report in reports} == {0.32}
    assert last.n_lost == 0
    assert all_messages(reports) == []


def test_samples_that_wait_are_pushed_together():
    hiccup = [0.8 * (number == 50) for number in range(400)]
    reports, _, transcriber = play(delays=hiccup.__getitem__)
    sizes = [block.shape[1] for block in transcriber.pushed]
    assert len(reports) == len(sizes) + 1
    assert set(sizes[:50]) == {50}
    # The late block, and those that came after it in the meantime.
    assert sizes[50:52] == [500, 500]


def test_a_slow_computer_shortens_the_look_ahead_until_it_keeps_up():
    loads = {0.5: 1.4, 0.32: 1.3, 0.2: 0.9, 0.12: 0.5, 0.06: 0.3}
    reports, source, _ = play(30.0, lambda time, look_ahead: loads[look_ahead], look_ahead=0.5)
    look_aheads = [report.look_ahead for report in reports]
    changes = [after for before, after in pairwise(look_aheads) if after != before]
    assert changes[:2] == [0.32, 0.2]
    assert look_aheads[-1] == 0.2
    assert reports[-1].n_lost == 0
    assert max(report.delay for report in reports) < 2.0
    assert reports[-2].delay < 0.2
    np.testing.assert_array_equal(all_samples(reports), source.samples)
    messages = all_messages(reports)
    assert "it needs 1.4 s for 1 s of sound; the look-ahead is now 320 ms" in messages[0]
    assert len(messages) == len(changes)


def test_the_look_ahead_returns_when_the_computer_is_free_again():
    reports, _, _ = play(90.0, lambda time, _: 1.2 if 10 < time < 20 else 0.4)
    by_time = {round(report.time): report.look_ahead for report in reports}
    assert by_time[9] == 0.32
    assert min(report.look_ahead for report in reports) < 0.32
    assert reports[-1].look_ahead == 0.32
    assert reports[-1].n_lost == 0
    assert "fast enough again; the look-ahead is now 320 ms" in all_messages(reports)[-1]


@pytest.mark.parametrize("pause", [0.5, 1.9])
def test_a_hiccup_changes_nothing(pause):
    reports, _, _ = play(20.0, lambda time, _: pause / 0.05 if 5 < time < 5.04 else 0.3)
    assert max(report.delay for report in reports) == pytest.approx(pause, abs=0.03)
    assert {report.look_ahead for report in reports[:-1]} <= {0.32, 0.2}
    assert reports[-1].n_lost == 0


@pytest.mark.parametrize("load", [1.5, 2.0, 10.0])
def test_audio_is_dropped_only_after_the_look_ahead(load):
    reports, source, transcriber = play(60.0, load)
    np.testing.assert_array_equal(all_samples(reports), source.samples)
    first = next(i for i, report in enumerate(reports) if report.n_lost)
    assert reports[first].look_ahead == 0.06
    assert reports[first].time > 1.0
    # Every sample is either pushed or counted.
    n_pushed = sum(block.shape[1] for block in transcriber.pushed)
    assert n_pushed + reports[-1].n_lost == source.samples.shape[1]
    assert_times_are_right(reports)
    assert reports[-1].events == [NoteOff(pytest.approx(60.0), 60)]
    messages = all_messages(reports)
    told = [float(text.split(": ")[1].split()[0]) for text in messages if "not transcr" in text]
    assert sum(told) == pytest.approx(reports[-1].n_lost / RATE, abs=0.01 * len(told))
    assert len(told) <= 60 / 5 + 2
    # The queue has room for what arrives during a push of 0.5 s.
    assert max(report.delay for report in reports) <= 2.0 + 0.5 * load


def test_the_queue_may_be_short():
    reports, _, _ = play(20.0, 1.5, max_delay=0.3)
    assert reports[-1].n_lost > 0
    assert max(report.delay for report in reports) < 0.7


def test_a_file_waits_for_a_slow_computer():
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, 30.0, speed=1000.0)
    source.is_live = False
    transcriber = ScriptedTranscriber(clock, lambda *_: 2.0)
    reports = list(follow(source, transcriber, clock=clock))
    np.testing.assert_array_equal(np.concatenate(transcriber.pushed, axis=1), source.samples)
    assert reports[-1].n_lost == 0
    assert {report.look_ahead for report in reports} == {0.32}
    assert max(report.delay for report in reports) <= 10.1
    assert all_messages(reports) == []


def test_losses_of_the_source_are_told():
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, 20.0)
    told = []
    for report in follow(source, ScriptedTranscriber(clock), clock=clock):
        source.n_lost = round(report.time * 100)
        told += report.messages
    assert report.n_lost > 1900
    assert len(told) <= 6
    assert "lost by the input" in told[0]


def test_an_unplugged_input_keeps_what_was_played():
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, 3.0, error=AudioError("the input has stopped"))
    reports = []
    with pytest.raises(AudioError, match="has stopped"):  # noqa: PT012 (fails at the end)
        for report in follow(source, ScriptedTranscriber(clock), clock=clock):
            reports.append(report)
    np.testing.assert_array_equal(all_samples(reports), source.samples)
    assert reports[-1].events == [NoteOff(3.0, 60)]


def test_an_interrupt_keeps_what_was_played():
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, 60.0)

    def load(time, look_ahead):
        if 5 < time < 5.5 and clock.interrupts:
            clock.interrupts = False
            signal.raise_signal(signal.SIGINT)
        return 1.5

    clock.interrupts = True
    transcriber = ScriptedTranscriber(clock, load)
    following = follow(source, transcriber, clock=clock)
    before = signal.signal(signal.SIGINT, lambda *_: following.stop())
    try:
        reports = list(following)
    finally:
        signal.signal(signal.SIGINT, before)
    samples = all_samples(reports)
    assert 5.0 < samples.shape[1] / RATE < 6.0
    np.testing.assert_array_equal(samples, source.samples[:, : samples.shape[1]])
    np.testing.assert_array_equal(samples, np.concatenate(transcriber.pushed, axis=1))
    assert reports[-1].events == [NoteOff(samples.shape[1] / RATE, 60)]


def test_a_silent_source_can_be_stopped():
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, 10.0, delays=lambda number: 1e9 * (number >= 20))
    following = follow(source, ScriptedTranscriber(clock), clock=clock)
    reports = []
    for report in following:
        reports.append(report)
        if report.time == 1.0:
            following.stop()
    assert reports[-1].time == 1.0
    assert clock.now < 2.0


def test_an_error_of_the_transcriber_stops_the_source():
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, 60.0)

    def fail(time, look_ahead):
        raise RuntimeError("broken")

    following = follow(source, ScriptedTranscriber(clock, fail), clock=clock)
    with pytest.raises(RuntimeError, match="broken"):
        next(following)
    clock.advance(1.0)
    assert next(source.numbers) < 5


@pytest.mark.parametrize(("n_zeros", "n_messages"), [(4000, 0), (9000, 1)])
def test_an_input_that_is_muted_is_told_once(n_zeros, n_messages):
    clock = FakeClock(n_threads=1)
    source = PlayedSource(clock, 20.0, block=0.1)
    source.samples[:, :n_zeros] = 0.0
    reports = list(follow(source, ScriptedTranscriber(clock), clock=clock))
    messages = all_messages(reports)
    assert len(messages) == n_messages
    assert all("muted" in message for message in messages)


def test_a_wrong_sample_rate_is_told():
    reports, _, _ = play(30.0, speed=48000 / 44100, block=0.1)
    (message,) = all_messages(reports)
    assert "1100 samples come in a second, not 1000" in message


@pytest.mark.parametrize("max_delay", [0, -1.0, "2"])
def test_a_delay_out_of_range(max_delay):
    clock = FakeClock()
    with pytest.raises(ParameterError, match="max_delay"):
        follow(PlayedSource(clock, 1.0), ScriptedTranscriber(clock), max_delay=max_delay)
