"""Samples from pipes and recordings."""

from __future__ import annotations

import io
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_sources import FakeClock

from harmnmf import read_audio
from harmnmf.errors import AudioError, ParameterError
from harmnmf.live.inputs import FileInput, PipeInput


class Chunks:
    """A file that returns its data in chunks of some lengths."""

    def __init__(self, data, lengths=(), clock=None, rate=np.inf):
        self.data = io.BytesIO(data)
        self.lengths = iter(lengths)
        self.clock = clock
        self.rate = rate  # bytes per second

    def read(self, n):
        data = self.data.read(min(n, next(self.lengths, n)))
        if self.clock:
            self.clock.advance(len(data) / self.rate)
        return data


def raw(samples):
    """Interleaved 16-bit samples, little-endian, of an array of shape (n_channels, n_samples)."""
    return np.asarray(samples).T.astype("<i2").tobytes()


def read_all(source):
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert source.read() is None
    return np.concatenate(blocks, axis=1)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 6),
    st.lists(st.integers(-32768, 32767), min_size=20, max_size=40),
    st.lists(st.integers(1, 9), max_size=30),
)
def test_a_pipe_in_any_chunks(n_channels, values, lengths):
    values = values[: len(values) // n_channels * n_channels]
    samples = np.reshape(values, (-1, n_channels)).T
    samples[:, :1] = 1  # no header
    with PipeInput(Chunks(raw(samples), lengths), 8000, n_channels) as source:
        received = read_all(source)
    assert received.dtype == np.float32
    np.testing.assert_array_equal(received, samples / np.float32(32768))


def test_samples_are_returned_when_they_come():
    receiver, sender = os.pipe()
    with open(receiver, "rb") as file, open(sender, "wb", buffering=0) as writer:
        source = PipeInput(file, 44100, 2)
        writer.write(raw(np.ones((2, 100))) + b"\1")
        assert source.read().shape == (2, 100)
        writer.write(b"\0\1\0" + raw(np.ones((2, 9))))
        np.testing.assert_array_equal(source.read(), np.full((2, 10), 1 / 32768, np.float32))


def test_a_pipe_that_does_not_wait():
    receiver, sender = os.pipe()
    os.set_blocking(receiver, False)
    with open(receiver, "rb") as file, open(sender, "wb", buffering=0) as writer:
        thread = threading.Timer(0.05, writer.write, [raw(np.ones((1, 100)))])
        thread.start()
        assert PipeInput(file, 44100).read().shape == (1, 100)
        thread.join()


@pytest.mark.parametrize(
    ("n_channels", "n_left", "message"),
    [(1, 1, "frame of 2 bytes: its last byte was left out"), (2, 3, "4 bytes: its last 3 bytes")],
)
def test_the_end_within_a_frame(n_channels, n_left, message):
    data = raw(np.ones((n_channels, 10))) + b"\1" * n_left
    with pytest.warns(UserWarning, match=f"my pipe: .*{message}"):
        received = read_all(PipeInput(io.BytesIO(data), 8000, n_channels, "my pipe"))
    assert received.shape == (n_channels, 10)


@pytest.mark.parametrize("lengths", [(), [1] * 40])
@pytest.mark.parametrize(
    "begin",
    [b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3\4", b"\0\0\0\x20ftypM4A ", b".snd"],
)
def test_an_audio_file_is_no_raw_samples(begin, lengths):
    source = PipeInput(Chunks(begin + bytes(100), lengths), 44100, 2)
    with pytest.raises(AudioError, match=r"standard input: .*ffmpeg.* -ac 2 -ar 44100"):
        source.read()


@pytest.mark.parametrize("data", [b"", b"\1\2\3"])
def test_an_empty_pipe(data):
    with pytest.raises(AudioError, match="no samples"):
        PipeInput(io.BytesIO(data), 44100, 2).read()


def test_a_short_pipe():
    assert read_all(PipeInput(io.BytesIO(b"\1\0"), 8000)).shape == (1, 1)


@pytest.mark.parametrize(
    ("sample_rate", "n_channels", "message"),
    [(0, 1, "sample_rate"), (44100, 0, "n_channels"), (44100, 1.5, "n_channels")],
)
def test_parameters_out_of_range(sample_rate, n_channels, message):
    with pytest.raises(ParameterError, match=message):
        PipeInput(io.BytesIO(), sample_rate, n_channels)


@pytest.mark.parametrize(
    ("speed", "is_live"), [(0.9, True), (1.0, True), (2.0, True), (10.0, False)]
)
@pytest.mark.parametrize("n_held", [0, 65536])
def test_a_pipe_that_is_live(speed, is_live, n_held):
    # n_held bytes were recorded before the first is read.
    clock = FakeClock()
    file = Chunks(raw(np.ones((1, 12 * 16000))), clock=clock)
    source = PipeInput(file, 16000, clock=clock)
    while file.data.tell() < n_held:
        source.read()
    file.rate = 32000 * speed
    while source.read() is not None:
        if file.data.tell() < 320000:
            assert not source.is_live
    assert source.is_live == is_live


def test_a_played_recording(noise):
    clock = FakeClock()
    with FileInput(noise, clock=clock) as source:
        assert (source.sample_rate, source.n_channels, source.name) == (44100, 2, "the audio")
        assert source.is_live
        blocks = []
        times = []
        while (block := source.read()) is not None:
            blocks.append(block)
            times.append(clock.now)
            clock.advance(0.2 if len(blocks) == 50 else 0.002)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), noise.samples)
    sizes = [block.shape[1] for block in blocks]
    assert max(sizes) <= 0.02 * 44100
    # A block comes when its last sample was played. A delay ends: blocks are read faster then.
    lateness = np.array(times) - np.cumsum(sizes) / 44100
    assert lateness[[*range(50), *range(80, len(sizes))]] == pytest.approx(0.0, abs=1e-9)
    assert lateness[50] == pytest.approx(0.19, abs=0.001)


def test_a_process_that_was_stopped_goes_on_where_it_was(noise):
    clock = FakeClock()
    with FileInput(noise, clock=clock) as source:
        n_samples = 0
        for _ in range(10):
            n_samples += source.read().shape[1]
        clock.advance(60.0)
        begin = clock.now
        for _ in range(10):
            n_samples += source.read().shape[1]
    assert clock.now - begin == pytest.approx(n_samples / 2 / 44100)


def test_a_recording_as_fast_as_possible(root):
    clock = FakeClock()
    path = root / "examples" / "example.flac"
    with FileInput(path, fast=True, clock=clock) as source:
        assert source.name == str(path)
        assert not source.is_live
        received = read_all(source)
    expected = read_audio(path, mono=False)
    assert source.sample_rate == expected.sample_rate
    np.testing.assert_array_equal(received, np.atleast_2d(expected.samples))
    assert clock.now == 0.0


def test_a_closed_recording_ends(noise):
    with FileInput(noise, fast=True) as source:
        assert source.read() is not None
    assert source.read() is None


def test_a_file_that_is_no_audio(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"text\.wav"):
        FileInput(tmp_path / "text.wav")
