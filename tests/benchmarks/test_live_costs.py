"""Latency, speed and memory of live transcription."""

from __future__ import annotations

from itertools import islice
from math import floor

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import live_costs
from benchmarks.live_costs import cut, delays_of_notes, endless, timed_events
from harmnmf import Audio, NoteOff, NoteOn, write_audio

RATE = 16_000


class Clock:
    """Transcriber that begins a note every 50 ms, and finds it 20 ms later."""

    look_ahead, latency = 0.02, 0.02

    def __init__(self, sample_rate):
        self.sample_rate = sample_rate
        self.n_pushed = self.n_found = 0

    @property
    def time(self):
        return self.n_pushed / self.sample_rate

    def push(self, samples):
        self.n_pushed += samples.shape[-1]
        first, self.n_found = self.n_found, floor((self.time - self.latency) / 0.05) + 1
        return [NoteOn(0.05 * i, 60, 70, 0.9) for i in range(first, self.n_found)]

    def finish(self):
        return [NoteOff(self.time, 60)]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "piano/real/ENSTDkCl"
    folder.mkdir(parents=True)
    for name, level in (("a", 0.5), ("b", 0.25)):
        write_audio(folder / f"{name}.flac", Audio(np.full(RATE // 2, level), RATE))
    return tmp_path


def test_the_stream_repeats_the_recordings_at_other_levels(data):
    blocks = list(islice(endless(data, RATE, 2, 0.4), 6))
    assert {block.shape for block in blocks} == {(2, 6400)}
    stream = np.concatenate(blocks, axis=1)
    np.testing.assert_array_equal(stream[0], stream[1])
    levels = stream[0, 4000::8000]
    assert len(np.unique(levels)) == 5
    assert np.all(levels > 0)
    assert np.all(levels <= 0.5)


def test_blocks_join_to_the_samples():
    samples = np.arange(20.0).reshape(2, 10)
    blocks = list(cut(samples, [1, 4]))
    assert [block.shape[1] for block in blocks] == [1, 4, 1, 4]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), samples)


def test_events_come_when_their_block_was_recorded():
    samples = np.zeros((1, RATE // 5), np.float32)
    delays, times = delays_of_notes(Clock(RATE), samples)
    assert len(times) == 20
    assert len(delays) == 4
    assert np.all(delays >= 0.02 - 1e-9)


def test_events_end_with_those_of_the_last_samples():
    samples = np.zeros((1, RATE // 5), np.float32)
    events, total, longest = timed_events(Clock(RATE), cut(samples, [1000]))
    assert events[-1] == NoteOff(0.2, 60)
    assert 0 < longest <= total


def test_tables(monkeypatch, data):
    monkeypatch.setattr(live_costs, "LiveTranscriber", Clock)

    def rows(*options):
        threads = str(torch.get_num_threads())
        args = ["--data", str(data), "--threads", threads, *options]
        result = CliRunner().invoke(live_costs.main, args)
        assert result.exception is None, result.output
        cells = [[c.strip() for c in row.split("|")[1:-1]] for row in result.output.splitlines()]
        return {tuple(row[:2]): row[2:] for row in cells if row}

    table = rows("--seconds", "0.2")
    assert table["idle", "20"][:2] == table["one core busy", "20"][:2] == ["20", "4"]
    for blocks in ("10 ms", "1 s"):
        assert table["44.1 kHz, stereo", blocks][-2:] == ["5", "yes"]
    table = rows("--hours", "0.001")
    assert [float(row[0]) for key, row in table.items() if key[0] == "0.06 min"] == [20.0]
