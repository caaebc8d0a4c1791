from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
import wave

import numpy as np
import pytest

from harmnmf import (
    HarmnmfError,
    NoteOff,
    NoteOn,
    ParameterError,
    PedalEvent,
    read_audio,
    read_notes,
)
from harmnmf.live.event_lines import event_from_line, event_to_line
from harmnmf.live.events import notes_from_events
from harmnmf.live.recording import WavRecording
from harmnmf.live.take import Take

EVENTS = [
    NoteOn(0.5, 60, 80, 0.93),
    PedalEvent(0.75, True),
    NoteOff(1.0, 60),
    NoteOn(1.125, 64, 70, 0.8),
    NoteOff(1.5, 64),
    PedalEvent(1.75, False),
]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_lines_give_the_events(event):
    assert event_from_line(event_to_line(event)) == event


def test_lines_of_numbers_of_numpy():
    event = NoteOn(np.float64(0.12345678), np.int64(60), np.int64(80), np.float32(0.93))
    assert event_to_line(event) == (
        '{"event":"note_on","time":0.1235,"pitch":60,"velocity":80,"confidence":0.93}'
    )


def test_a_take_is_midi_and_recording(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.9, 0.9, (2, 100_000)).astype(np.float32)
    with Take(tmp_path / "take.mid", 44100, 2) as take:
        for block in np.array_split(samples, 37, axis=1):
            take.write(block)
        for event in EVENTS:
            take.add([event])
    assert sorted(os.listdir(tmp_path)) == ["take.mid", "take.wav"]
    expected = notes_from_events(EVENTS)
    notes = read_notes(tmp_path / "take.mid", offset="key")
    np.testing.assert_allclose(notes.intervals, expected.intervals, atol=1e-3)
    np.testing.assert_allclose(notes.pedal, expected.pedal, atol=1e-3)
    np.testing.assert_array_equal(notes.velocity, expected.velocity)
    audio = read_audio(tmp_path / "take.wav", mono=False)
    assert audio.sample_rate == 44100
    np.testing.assert_allclose(audio.samples, samples, rtol=0, atol=0.51 / 2**15)


def test_notes_that_sound_end_with_the_recording(tmp_path):
    with Take(tmp_path / "take.mid", 8000, 1) as take:
        take.add([NoteOn(0.5, 60, 80, 0.9)])
        take.write(np.zeros(16000))
    np.testing.assert_allclose(read_notes(tmp_path / "take.mid").offset, [2.0], atol=1e-3)


def test_a_take_without_notes_and_samples(tmp_path):
    with Take(tmp_path / "take.mid", 8000, 1):
        pass
    assert len(read_notes(tmp_path / "take.mid")) == 0
    with wave.open(str(tmp_path / "take.wav")) as file:
        assert (file.getnframes(), file.getframerate(), file.getsampwidth()) == (0, 8000, 2)


def test_an_exception_finishes_the_take(tmp_path):
    def play():
        with Take(tmp_path / "take.mid", 8000, 1) as take:
            take.add(EVENTS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play()
    assert len(read_notes(tmp_path / "take.mid")) == 2


def test_events_are_on_the_disk_at_once(tmp_path):
    with Take(tmp_path / "take.mid", 8000, 1) as take:
        for n, event in enumerate(EVENTS, start=1):
            take.add([event])
            lines = (tmp_path / "take.jsonl").read_text().splitlines()
            assert lines == [event_to_line(e) for e in EVENTS[:n]]
        assert read_notes(tmp_path / "take.jsonl", offset="key") == notes_from_events(EVENTS)


@pytest.mark.parametrize("n_channels", [1, 2])
def test_the_recording_can_be_read_while_it_grows(tmp_path, n_channels):
    recording = WavRecording(tmp_path / "take.wav", 8000, n_channels)
    for n in range(1, 60):
        recording.write(np.full((n_channels, 700), 0.5))
        with wave.open(str(tmp_path / "take.wav")) as file:
            assert 700 * n - file.getnframes() < 0.25 * 8000
            assert set(np.frombuffer(file.readframes(10**6), np.int16)) <= {2**14}
    recording.close()


def test_samples_beyond_full_scale_are_clipped(tmp_path):
    recording = WavRecording(tmp_path / "take.wav", 8000, 1)
    recording.write([-2.0, -1.0, 0.0, 1.0, 1.5])
    with pytest.warns(UserWarning, match="2 samples beyond full scale were clipped"):
        recording.close()
    samples = read_audio(tmp_path / "take.wav").samples.ravel() * 2**15
    np.testing.assert_array_equal(samples, [-(2**15), -(2**15), 0, 2**15 - 1, 2**15 - 1])


@pytest.mark.parametrize("shape", [(100,), (1, 100), (3, 100), (100, 2), (1, 2, 100)])
def test_samples_of_a_wrong_shape(tmp_path, shape):
    with (
        Take(tmp_path / "take.mid", 8000, 2) as take,
        pytest.raises(ParameterError, match=r"samples must have shape \(2, n_samples\)"),
    ):
        take.write(np.zeros(shape))


@pytest.mark.parametrize("block", [1, 100, 5000])
def test_a_recording_goes_on_in_another_file(tmp_path, block):
    """No sample is lost where a file is full, and files that exist are passed over."""
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (2, 5000))
    (tmp_path / "take-3.wav").write_text("mine")
    recording = WavRecording(tmp_path / "take.wav", 1000, 2, max_bytes=44 + 4 * 1600)
    with warnings.catch_warnings(record=True) as caught:
        for start in range(0, 5000, block):
            recording.write(samples[:, start : start + block] / 2**15)
        recording.close()
    messages = [str(warning.message) for warning in caught]
    assert [re.findall(r"[\w-]+\.wav", text) for text in messages] == [
        ["take.wav", "take-2.wav"], ["take-2.wav", "take-4.wav"], ["take-4.wav", "take-5.wav"],
    ]  # fmt: skip
    parts = []
    for name in ("take", "take-2", "take-4", "take-5"):
        with wave.open(str(tmp_path / f"{name}.wav")) as file:
            parts.append(np.frombuffer(file.readframes(10**6), np.int16).reshape(-1, 2))
    assert [len(part) for part in parts] == [1600, 1600, 1600, 200]
    np.testing.assert_array_equal(np.concatenate(parts), samples.T)
    assert (tmp_path / "take-3.wav").read_text() == "mine"
    assert recording.duration == 5


class TestFilesThatExist:
    """Nothing is replaced unless asked, and nothing is left behind by an error."""

    @pytest.mark.parametrize("name", ["take.mid", "take.wav"])
    def test_outputs(self, tmp_path, name):
        (tmp_path / name).write_text("mine")
        with pytest.raises(HarmnmfError, match=rf"{name}: exists already"):
            Take(tmp_path / "take.mid", 8000, 1)
        assert os.listdir(tmp_path) == [name]
        assert (tmp_path / name).read_text() == "mine"
        with Take(tmp_path / "take.mid", 8000, 1, overwrite=True) as take:
            take.add(EVENTS)
        assert len(read_notes(tmp_path / "take.mid")) == 2

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_events_of_another_take(self, tmp_path, overwrite):
        (tmp_path / "take.jsonl").write_text("mine")
        with pytest.raises(HarmnmfError, match=r"take\.jsonl: has the events .*`harmnmf convert"):
            Take(tmp_path / "take.mid", 8000, 1, overwrite=overwrite)
        assert os.listdir(tmp_path) == ["take.jsonl"]
        assert (tmp_path / "take.jsonl").read_text() == "mine"

    def test_midi_that_appears_meanwhile(self, tmp_path):
        take = Take(tmp_path / "take.mid", 8000, 1)
        take.add(EVENTS)
        (tmp_path / "take.mid").write_text("mine")
        with pytest.raises(HarmnmfError, match=r"exists already.* kept in .*take\.jsonl"):
            take.finish()
        assert (tmp_path / "take.mid").read_text() == "mine"
        assert len(read_notes(tmp_path / "take.jsonl")) == 2

    @pytest.mark.parametrize("name", ["take.mid", "take.wav", "take.jsonl"])
    def test_folders(self, tmp_path, name):
        (tmp_path / name).mkdir()
        with pytest.raises(HarmnmfError, match=name):
            Take(tmp_path / "take.mid", 8000, 1, overwrite=True)
        assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["take", "take.wav", "take.jsonl", "take.csv"])
def test_names_that_are_not_of_midi(tmp_path, name):
    with pytest.raises(ParameterError, match=r"must be named \.mid or \.midi"):
        Take(tmp_path / name, 8000, 1)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("rate", "n_channels"), [(0, 1), (44100.5, 1), (44100, 0), (44100, 2000)])
def test_parameters_that_are_wrong(tmp_path, rate, n_channels):
    with pytest.raises(ParameterError):
        Take(tmp_path / "take.mid", rate, n_channels)
    assert not os.listdir(tmp_path)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(HarmnmfError, match="does not exist; create it first"):
        Take(tmp_path / "missing" / "take.mid", 8000, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(HarmnmfError, match="is not a folder"):
        Take(tmp_path / "file" / "take.mid", 8000, 1)


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="permissions of POSIX")
def test_a_folder_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(HarmnmfError, match=r"cannot be created \(Permission denied\)"):
        Take(tmp_path / "take.mid", 8000, 1)


def start(folder, code):
    """Run a take in another process that prints a line for each event."""
    script = f"""
import resource, sys, warnings
import numpy as np
from harmnmf import NoteOff, NoteOn
from harmnmf.live.take import Take

warnings.showwarning = lambda message, *_: print("warning:", message, flush=True)
take = Take("take.mid", 8000, 2)
def play(n):
    for i in range(n):
        take.write(np.full((2, 800), 0.25))
        take.add([NoteOn(i / 10, 60 + i % 12, 80, 0.9), NoteOff(i / 10 + 0.05, 60 + i % 12)])
        print(i, flush=True)
{code}
"""
    command = [sys.executable, "-c", script]
    path = os.pathsep.join([str(p) for p in sys.path if p])
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
    )


@POSIX
@pytest.mark.parametrize("n", [0, 1, 7, 40])
def test_a_process_that_is_killed_loses_less_than_a_second(tmp_path, n):
    process = start(tmp_path, "play(10**9)")
    for _ in range(n + 1):
        last = int(process.stdout.readline())
    time.sleep(0.001 * n)
    process.send_signal(signal.SIGKILL)
    last = max([last, *map(int, process.stdout.read().split("\n")[:-1])])
    assert process.wait() == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a line may be cut off
        notes = read_notes(tmp_path / "take.jsonl", offset="key")
    assert len(notes) >= last + 1
    with wave.open(str(tmp_path / "take.wav")) as file:
        n_frames = file.getnframes()
        assert n_frames > 800 * (last + 1) - 0.25 * 8000
        assert set(np.frombuffer(file.readframes(n_frames), np.int16)) <= {2**13}
    assert not (tmp_path / "take.mid").exists()


LIMIT = "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, resource.RLIM_INFINITY))"


@POSIX
def test_what_is_written_stays_when_the_disk_is_full(tmp_path):
    """The recording stops, events wait in memory, and all of them are in the MIDI file."""
    code = f"{LIMIT.format(40_000)}\nplay(500)\n{LIMIT.format('resource.RLIM_INFINITY')}"
    process = start(tmp_path, f"{code}\ntake.finish()")
    output = process.stdout.read()
    assert process.wait() == 0
    recording, events = re.findall("warning: (.*)", output)
    assert re.match(r"take\.wav: the recording stops at 0:01 \(File too large\)", recording)
    assert re.match(r"take\.jsonl: cannot be written \(File too large\); events are kept", events)
    with wave.open(str(tmp_path / "take.wav")) as file:
        assert 0 < file.getnframes() <= 10_000
    assert len(read_notes(tmp_path / "take.mid")) == 500
    assert not (tmp_path / "take.jsonl").exists()


@POSIX
def test_a_disk_that_stays_full(tmp_path):
    process = start(
        tmp_path,
        f"""
{LIMIT.format(3000)}
play(500)
try:
    take.finish()
except Exception as error:
    print("error:", error)
""",
    )
    output = process.stdout.read()
    assert process.wait() == 0
    error = re.search("error: (.*)", output)[1]
    assert re.match(r"take\.mid: cannot be written \(File too large\)", error)
    n_lost = int(re.search(r"but for the last (\d+) are kept in take\.jsonl", error)[1])
    assert "convert" in error
    assert len((tmp_path / "take.jsonl").read_text().splitlines()) == 1000 - n_lost
    assert sorted(os.listdir(tmp_path)) == ["take.jsonl", "take.wav"]


@POSIX
def test_a_disk_that_is_full_from_the_beginning(tmp_path):
    code = f"""
{LIMIT.format(40)}
try:
    Take("other.mid", 8000, 2)
except Exception as error:
    print(error)
{LIMIT.format("resource.RLIM_INFINITY")}
take.finish()
"""
    output = start(tmp_path, code).stdout.read()
    assert output == "other.wav: cannot be created (File too large); choose another place\n"
    assert sorted(os.listdir(tmp_path)) == ["take.mid", "take.wav"]


def test_room_is_left_for_the_notes(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(2**22 + 9000))
    with Take(tmp_path / "take.mid", 8000, 1) as take:
        take.write(np.zeros(4000))
        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(2**22 + 7000))
        with pytest.warns(UserWarning, match=r"stops at 0:01 \(the disk is nearly full\)"):
            take.write(np.zeros(4000))
        take.write(np.zeros(4000))
        take.add(EVENTS)
    assert read_audio(tmp_path / "take.wav").samples.shape[-1] == 4000
    assert len(read_notes(tmp_path / "take.mid")) == 2


class Usage:
    def __init__(self, free):
        self.free = free
