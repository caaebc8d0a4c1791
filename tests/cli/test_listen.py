"""`harmnmf listen`: notes while they are played."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from commands import assert_error, contents, invoke
from mido.ports import EchoPort

from harmnmf import read_notes
from harmnmf.cli._support.live_session import ended_by_signals
from harmnmf.cli._support.midi_port import MidiSender
from harmnmf.cli.listen import LOOK_AHEADS
from harmnmf.cli.main import main
from harmnmf.live.event_lines import event_from_line
from harmnmf.live.events import NoteOff, NoteOn, notes_from_events
from harmnmf.live.transcriber import LiveTranscriber

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "example.flac"
PIPE = ["--stdin", "--rate", "16000", "--channels", "1"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, also for what the user keeps."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(scope="module")
def samples():
    """Raw samples of the example, 16 kHz and mono."""
    values, rate = soundfile.read(EXAMPLE, dtype="int16")
    assert (rate, values.ndim) == (16000, 1)
    return values.astype("<i2").tobytes()


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """The first seconds of the example."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    values, rate = soundfile.read(EXAMPLE, frames=2 * 16000)
    soundfile.write(path, values, rate)
    return path


@pytest.fixture
def silence(tmp_path_factory):
    path = tmp_path_factory.mktemp("silence") / "silence.wav"
    soundfile.write(path, np.zeros(1000), 16000)
    return path


@pytest.fixture(scope="module")
def lines(song):
    """The events of the song, as JSON."""
    return invoke(main, "listen", "--play", song, "--fast", "--json").stdout.splitlines()


def listen(*args):
    return invoke(main, "listen", *args)


def seconds(data, duration):
    return data[: round(duration * 16000) * 2]


def start(*args, **options):
    """Start the command in a process of its own, which hears 16 kHz, mono, from a pipe."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
    return subprocess.Popen(
        [sys.executable, "-m", "harmnmf", "listen", *PIPE, *args],
        stderr=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


def notes_of(lines):
    """Notes of lines of JSON."""
    return notes_from_events([event_from_line(line) for line in lines])


def assert_equal(notes, others):
    """Compare notes, of which some are of a MIDI file, whose ticks may change their order."""
    order, other_order = (np.lexsort((n.onset, n.pitch)) for n in (notes, others))
    for name, tolerance in (("pitch", 0), ("velocity", 0), ("onset", 0.002), ("offset", 0.013)):
        ordered, other = getattr(notes, name)[order], getattr(others, name)[other_order]
        np.testing.assert_allclose(ordered, other, atol=tolerance)


def test_the_choices_are_those_of_the_transcriber():
    known = LiveTranscriber(16000).look_aheads
    assert [n / 1000 for n in LOOK_AHEADS] == pytest.approx(known)


def test_a_recording_gives_events_and_a_take(song, folder):
    result = listen("--play", song, "--fast", "--json", "-o", "take.mid")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert {json.loads(line)["event"] for line in lines} >= {"note_on", "note_off"}
    notes = notes_of(lines)
    assert len(notes) > 1
    assert_equal(read_notes("take.mid", offset="key"), notes)
    played, rate = soundfile.read(song)
    heard, heard_rate = soundfile.read("take.wav")
    assert rate == heard_rate
    np.testing.assert_allclose(heard, played, atol=1e-4)
    assert sorted(contents(folder)) == ["take.mid", "take.wav"]
    first, last = result.stderr.splitlines()
    assert first == f"harmnmf: listening to {song}; Ctrl-C ends"
    assert last == f"harmnmf: {len(notes)} notes in 2.0 s, no samples lost"


def test_every_note_ends(lines):
    sounding = Counter()
    for line in lines:
        event = event_from_line(line)
        if isinstance(event, NoteOn):
            sounding[event.pitch] += 1
        elif isinstance(event, NoteOff):
            sounding[event.pitch] -= 1
        assert set(sounding.values()) <= {0, 1}
    assert set(sounding.values()) == {0}


def test_text_has_the_same_events(song, lines):
    text = listen("--play", song, "--fast").stdout.splitlines()
    assert len(text) == len(lines)
    for line, shown in zip(lines, text, strict=True):
        event = event_from_line(line)
        assert float(shown.split()[0]) == pytest.approx(event.time, abs=0.001)
        assert ("confidence" in shown) == isinstance(event, NoteOn)


def test_quiet_prints_nothing(song):
    result = listen("--play", song, "--fast", "-q", "-o", "take.mid")
    assert (result.exit_code, result.output) == (0, "")
    assert Path("take.mid").exists()


def test_a_pipe_gives_the_same_events_as_the_file(song, lines):
    values, _ = soundfile.read(song, dtype="int16")
    args = ["listen", *PIPE, "--json"]
    piped = CliRunner().invoke(main, args, input=values.astype("<i2").tobytes())
    assert piped.exit_code == 0
    assert piped.stdout.splitlines() == lines


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--stdin", "--input", "usb"], "--input and --stdin exclude each other"),
        (["--play", "song.wav", "--stdin"], "--stdin and --play exclude each other"),
        (["--play", "song.wav", "--input", "1"], "--input and --play exclude each other"),
        (["--fast"], "--fast is for --play"),
        (["--stdin", "--fast"], "--fast is for --play"),
        (["--rate", "44100"], "--rate is for --stdin"),
        (["--play", "song.wav", "--channels", "2"], "--channels is for --stdin"),
        (["--calibrate", "a", "--piano", "b"], "--calibrate and --piano exclude each other"),
        (["--json", "-q"], "--json and --quiet exclude each other"),
        (["--list", "--stdin"], "--list and --stdin exclude each other"),
        (["--overwrite"], "--overwrite is for --output or --calibrate"),
        (["-o", "take.csv"], "take.csv: a take is a MIDI file; name it .mid or .midi"),
        (["-o", "take"], "take: a take is a MIDI file"),
        (["--look-ahead", "250"], "'250' is not one of 60, 120, 200, 320, 500 (milliseconds)"),
        (["--look-ahead", "nan"], "'nan' is not one of"),
        (["--onset-threshold", "-20"], "-20"),
        (["--stdin", "--channels", "0"], "0"),
        (["song.wav"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(args, message):
    result = listen(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("text", ["320", "320 ms", "0.32s"])
def test_look_ahead_in_milliseconds_or_seconds(text, silence):
    assert listen("--play", silence, "--fast", "--look-ahead", text).exit_code == 0


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--play", "missing.wav"], ["missing.wav", "no such file"]),
        (["--play", "."], ["is a folder"]),
        (["--play", "text.wav"], ["text.wav"]),
        (["--play", "song.wav", "-o", "old.mid"], ["old.mid: exists already", "--overwrite"]),
        (["--play", "song.wav", "-o", "text.mid"], ["text.wav: exists already", "--overwrite"]),
        (["--play", "song.wav", "-o", "no/such.mid"], ["there is no folder no"]),
        (["--play", "song.wav", "--piano", "none"], ["none: no such calibration"]),
        (["--play", "song.wav", "--calibrate", "a/b"], ["there is no folder a"]),
        (["--play", "song.wav", "--calibrate", "a?"], ["'a?' cannot be the name of a piano"]),
        (["--play", "song.wav", "--dictionary", "none"], ["none"]),
        (["--play", "song.wav", "--network", "none"], ["none"]),
    ],
)
def test_errors_before_anything_is_heard(args, parts, song):
    Path("song.wav").write_bytes(song.read_bytes())
    for name in ("old.mid", "text.wav"):
        Path(name).write_text("precious")
    assert_error(main, ["listen", *args], *parts)


def test_the_recording_that_is_played_is_not_replaced(song):
    Path("song.wav").write_bytes(song.read_bytes())
    for args in (["-o", "song.mid"], ["-o", "song.mid", "--overwrite"]):
        result = listen("--play", "./song.wav", "--fast", *args)
        assert result.exit_code == 2
        assert "written to song.wav, which is played" in " ".join(result.stderr.split())
    assert Path("song.wav").read_bytes() == song.read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "there are no samples"), (b"RIFF" + bytes(100), "is an audio file, not raw samples")],
)
def test_bad_input(data, message):
    result = CliRunner().invoke(main, ["listen", "--stdin"], input=data)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"harmnmf: error: standard input: {message}" in result.stderr.replace("the input ", "")


def test_what_is_left_out_is_said(samples):
    result = CliRunner().invoke(main, ["listen", "--stdin"], input=seconds(samples, 1) + b"\0")
    assert result.exit_code == 0
    assert "harmnmf: warning: standard input: " in result.stderr
    assert "left out" in result.stderr


def test_what_a_device_delivered_is_kept_if_it_is_unplugged(monkeypatch, song):
    """The input is a recording that fails in the middle."""

    class Unplugged:
        name, sample_rate, n_channels, is_live, n_lost = "usb", 16000, 1, False, 0

        def __init__(self, device):
            values, _ = soundfile.read(song, dtype="float32")
            self.blocks = iter(np.split(values[np.newaxis], 10, axis=1)[:8])

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def read(self):
            try:
                return next(self.blocks)
            except StopIteration:
                raise OSError("usb: the input has stopped; was it unplugged?") from None

    monkeypatch.setattr("harmnmf.live.device_input.DeviceInput", Unplugged)
    result = listen("--input", "usb", "--json", "-o", "take.mid")
    assert result.exit_code == 1
    *_, closing, error = result.stderr.splitlines()
    assert error == "harmnmf: error: usb: the input has stopped; was it unplugged?"
    notes = notes_of(result.stdout.splitlines())
    assert closing == f"harmnmf: {len(notes)} notes in 1.6 s, no samples lost"
    assert_equal(read_notes("take.mid", offset="key"), notes)
    assert soundfile.info("take.wav").duration == pytest.approx(1.6)


def test_a_piano_is_kept_by_its_name(song):
    result = listen("--play", song, "--fast", "--calibrate", "our upright")
    assert result.exit_code == 0
    closing = result.stderr.splitlines()[-1]
    assert closing.startswith("harmnmf: our upright is kept, after 2 s: tuned ")
    assert closing.endswith(" cents from A4 = 440 Hz; use it with --piano 'our upright'")
    values, rate = soundfile.read(song, frames=16000)
    soundfile.write("short.wav", values, rate)
    assert listen("--play", "short.wav", "--fast", "--piano", "our upright").exit_code == 0
    args = ["--play", "short.wav", "--fast", "--calibrate", "our upright"]
    assert_error(main, ["listen", *args], "our upright.safetensors: exists already", "--overwrite")
    result = listen(*args, "--overwrite")
    assert "our upright is kept, after 1 s" in result.stderr


@pytest.mark.slow
def test_a_calibration_ends_after_20_seconds(samples):
    args = ["listen", *PIPE, "--calibrate", "a"]
    result = CliRunner().invoke(main, args, input=samples + samples)
    assert result.exit_code == 0
    # What had arrived by then is heard, too.
    assert re.search(r"a is kept, after [23]\d s: tuned [+-]\d+ cents", result.stderr)


def test_silence_is_no_calibration(silence):
    result = listen("--play", silence, "--fast", "--calibrate", "a")
    assert result.exit_code == 1
    assert "harmnmf: error: --calibrate a: nothing is kept, as no notes" in result.stderr
    assert listen("--play", silence, "--piano", "a").exit_code == 1


def test_inputs_are_listed(monkeypatch):
    monkeypatch.setattr(
        "harmnmf.live.device_input.input_devices", lambda: {0: "Microphone", 12: "USB Audio"}
    )
    result = listen("--list")
    assert (result.exit_code, result.stdout) == (0, "  0  Microphone\n 12  USB Audio\n")
    monkeypatch.setattr("harmnmf.live.device_input.input_devices", dict)
    assert_error(main, ["listen", "--list"], "no audio input")


@posix
def test_ctrl_c_is_the_normal_end(samples):
    process = start("--json", "-o", "take.mid")
    process.stdin.write(seconds(samples, 2.5))
    process.stdin.flush()
    lines = [process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()  # and the pipe was still open
    assert process.returncode == 0, errors
    lines += output.splitlines()
    assert_equal(read_notes("take.mid", offset="key"), notes_of([line.decode() for line in lines]))
    assert b" notes in " in errors.splitlines()[-1]


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_ends_the_input_and_a_later_ctrl_c_the_program(name, monkeypatch):
    now, stops = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    before = signal.getsignal(signal.SIGINT)
    with ended_by_signals(SimpleNamespace(stop=lambda: stops.append(now[0]))):
        signal.raise_signal(getattr(signal, name))
        signal.raise_signal(signal.SIGINT)  # the same, passed on by another program
        now[0] += 2
        signal.raise_signal(signal.SIGHUP)  # the terminal is closed while the take is written
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stops == [100.0]
    assert signal.getsignal(signal.SIGINT) is before


@posix
def test_a_signal_ends_a_pipe_that_brings_nothing():
    process = start()
    assert process.stderr.readline().startswith(b"harmnmf: listening to standard input")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    process.communicate()


@posix
def test_a_closed_pipe_ends_the_take_and_is_said(samples):
    process = start("--json", "-o", "take.mid")
    process.stdin.write(seconds(samples, 3))
    process.stdin.flush()
    first = process.stdout.readline()
    process.stdout.close()
    writer = threading.Thread(target=write_all, args=(process.stdin, samples))
    writer.start()
    errors = process.stderr.read().splitlines()
    writer.join()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert errors[0] == b"harmnmf: listening to standard input; Ctrl-C ends"
    assert len(errors) == 2
    assert b"has ended; take.mid has" in errors[1]
    event = event_from_line(first.decode())
    notes = read_notes("take.mid", offset="key")
    assert event.pitch in notes.pitch
    assert not Path("take.jsonl").exists()
    heard = float(re.search(rb"notes? in ([0-9.]+) s", errors[1])[1])
    assert soundfile.info("take.wav").duration == pytest.approx(heard, abs=0.051)


def write_all(pipe, data):
    """Write to a process that may end before."""
    try:
        pipe.write(data)
        pipe.close()
    except BrokenPipeError:
        pass


@posix
def test_a_terminal_that_does_not_tell_its_size(tmp_path):
    import pty

    soundfile.write(tmp_path / "cut.wav", np.zeros(16000), 16000)
    data = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[:20000])  # a warning, which is wrapped
    master, terminal = pty.openpty()
    args = [sys.executable, "-m", "harmnmf", "listen", "--play", "cut.wav", "--fast"]
    process = subprocess.Popen(
        args, stdout=terminal, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(master)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert b"truncated" in errors
    assert b"Ctrl-C ends" in shown


@posix
def test_the_display_leaves_a_terminal_as_it_was(samples):
    import fcntl
    import pty
    import termios

    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = start(stdout=terminal)
    os.close(terminal)
    is_seen = threading.Event()

    def play():
        for n in range(0, len(samples), 3200):
            process.stdin.write(samples[n : n + 3200])
            process.stdin.flush()
            if is_seen.wait(0.1):
                break

    player = threading.Thread(target=play)
    player.start()
    shown = b""
    while b"confidence" not in shown:
        shown += os.read(master, 4096)
    is_seen.set()
    player.join()
    process.send_signal(signal.SIGINT)
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(master)
    _, errors = process.communicate()
    assert process.returncode == 0
    assert shown.startswith(b"\x1b[?1049h\x1b[?25l")
    assert shown.endswith(b"\x1b[?25h\x1b[?1049l")
    assert b"standard input" in shown
    assert b" lost, delay " not in errors  # it is not known yet whether the pipe is live
    assert b" lost" in errors


def test_midi_messages():
    port = EchoPort()
    events = [NoteOn(0.1, 60, 80, 0.9), NoteOn(0.2, 64, 1, 0.9), NoteOff(0.3, 60)]
    with MidiSender(port) as sender:
        sender.send(SimpleNamespace(events=events))
    assert [message.bytes() for message in port.iter_pending()] == [
        *([0x90, 60, 80], [0x90, 64, 1], [0x80, 60, 64], [0x80, 64, 64]),
        *([0xB0, 64, 0], [0xB0, 123, 0]),  # the pedal is up, all notes are off
    ]
    assert port.closed


@pytest.fixture
def ports(monkeypatch):
    """Loopback ports of mido, by name, in place of those of the system."""
    opened = {}

    def open_output(name, **options):
        opened[name] = (EchoPort(name), options)
        return opened[name][0]

    monkeypatch.setattr(mido, "get_output_names", lambda: ["Synth:Synth port 0 128:0"])
    monkeypatch.setattr(mido, "open_output", open_output)
    return opened


def test_notes_go_to_a_midi_port(song, ports):
    result = listen("--play", song, "--fast", "--json", "--midi", "Piano")
    assert result.exit_code == 0
    port, options = ports["Piano"]
    assert options == {"virtual": True, "client_name": "harmnmf"}
    events = [event_from_line(line) for line in result.stdout.splitlines()]
    sent = [message for message in port.iter_pending() if message.type != "control_change"]
    notes = [event for event in events if isinstance(event, NoteOn | NoteOff)]
    assert [(message.type, message.note) for message in sent] == [
        ("note_on" if isinstance(event, NoteOn) else "note_off", event.pitch) for event in notes
    ]


@pytest.mark.parametrize("name", ["Synth:Synth port 0 128:0", "Synth port 0"])
def test_a_port_that_there_is_is_opened(name, silence, ports):
    assert listen("--play", silence, "--fast", "-q", "--midi", name).exit_code == 0
    assert ports["Synth:Synth port 0 128:0"][1] == {}


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (ModuleNotFoundError("No module named 'rtmidi'"), ["python-rtmidi", "harmnmf[live]"]),
        (OSError("error creating ALSA sequencer client"), ["--midi x", "ALSA sequencer client"]),
        (NotImplementedError("no virtual ports"), ["--midi x", "no virtual ports"]),
    ],
)
def test_no_midi(monkeypatch, song, error, parts):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(mido, "get_output_names", list)
    monkeypatch.setattr(mido, "open_output", fail)
    result = listen("--play", song, "--midi", "x", "-o", "take.mid")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    for part in ("harmnmf: error: ", *parts):
        assert part in line
    assert not os.listdir()


@pytest.mark.skipif(not os.path.exists("/dev/snd/seq"), reason="needs ALSA's sequencer")
@pytest.mark.skipif(importlib.util.find_spec("rtmidi") is None, reason="needs python-rtmidi")
def test_a_virtual_port_of_alsa(samples):
    process = start("--json", "--midi", "Live test")
    process.stderr.readline()  # the port is open
    (name,) = (name for name in mido.get_input_names() if "harmnmf:Live test" in name)
    messages = []
    with mido.open_input(name) as port:
        output, _ = process.communicate(seconds(samples, 3))
        while not messages or not messages[-1].is_cc(123):  # the last that is sent
            messages.append(port.receive())
    events = [event_from_line(line.decode()) for line in output.splitlines()]
    assert [message.note for message in messages if message.type == "note_on"] == [
        event.pitch for event in events if isinstance(event, NoteOn)
    ]


@pytest.mark.slow
def test_a_pipe_in_real_time(samples):
    """Events come while the input goes on, in the order of their times, and make the MIDI file."""
    process = start("--json", "-o", "take.mid")
    process.stderr.readline()  # it is ready
    written = [0.0]  # seconds
    arrived = []  # seconds that were written before each event, and the event

    def read():
        for line in process.stdout:
            arrived.append((written[0], line.decode()))

    reader = threading.Thread(target=read)
    reader.start()
    begin = time.monotonic()
    block = 1600  # samples
    for n in range(0, 20 * 16000, block):
        process.stdin.write(samples[2 * n : 2 * (n + block)])
        process.stdin.flush()
        written[0] = (n + block) / 16000
        time.sleep(max(0.0, begin + written[0] - time.monotonic()))
    process.stdin.close()
    reader.join()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 0, errors
    events = [event_from_line(line) for _, line in arrived]
    onsets = [(heard, event) for (heard, _), event in zip(arrived, events, strict=True)]
    onsets = [(heard, event.time) for heard, event in onsets if isinstance(event, NoteOn)]
    assert len(onsets) > 10
    assert all(onset < heard for heard, onset in onsets)
    assert onsets[0][0] < 20  # it does not wait for the end, but may be slow
    times = [event.time for event in events]
    assert all(later > earlier - 1 for earlier, later in pairwise(times))
    assert_equal(read_notes("take.mid", offset="key"), notes_of([line for _, line in arrived]))
    assert soundfile.info("take.wav").duration == 20
    assert b"20.0 s" in errors
