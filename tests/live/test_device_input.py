"""Samples from an input of the computer, by a stand-in for sounddevice."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from live_sources import FakeClock

from harmnmf.errors import AudioError, HarmnmfError, ParameterError
from harmnmf.live.device_input import DeviceInput, input_devices

DEVICES = [("Speakers", 0, 48000.0), ("USB Microphone", 1, 44100.0), ("Line In", 8, 48000.0)]


class FakeSoundDevice:
    """What `DeviceInput` uses of sounddevice; `deliver` plays the part of PortAudio."""

    class PortAudioError(Exception):
        pass

    def __init__(self, devices=DEVICES, default=2):
        self.devices = [
            {
                "name": name,
                "index": index,
                "max_input_channels": n_channels,
                "default_samplerate": rate,
            }
            for index, (name, n_channels, rate) in enumerate(devices)
        ]
        self.default = default
        self.is_open = self.is_active = True
        self.error = None
        self.time = 100.0

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return self.devices
        if isinstance(device, str):
            found = [info for info in self.devices if device.lower() in info["name"].lower()]
            if len(found) != 1:
                raise ValueError(f"{len(found)} devices")
            return found[0]
        number = self.default if device is None else device
        if not 0 <= number < len(self.devices):
            raise self.PortAudioError(f"Error querying device {number}")
        if not self.devices[number]["max_input_channels"]:
            raise ValueError("Not an input device")
        return self.devices[number]

    def check_input_settings(self, device, channels, dtype, samplerate):
        if channels > self.devices[device]["max_input_channels"]:
            raise self.PortAudioError("Invalid number of channels")

    def InputStream(self, *, blocksize, latency, callback, **settings):
        self.settings = settings
        self.blocksize = blocksize
        self.callback = callback
        self.is_open = True
        return self

    @property
    def active(self):
        assert self.is_open, "PortAudio has freed the stream"
        return self.is_active

    def start(self):
        if self.error:
            raise self.PortAudioError(self.error)

    def close(self):
        self.is_open = False

    def deliver(self, value, overflow=0, has_time=True):
        """Deliver a block of a value, `overflow` samples after the last one."""
        rate, n_channels = self.settings["samplerate"], self.settings["channels"]
        self.time += overflow / rate
        samples = np.full((self.blocksize, n_channels), value, np.float32)
        time = SimpleNamespace(inputBufferAdcTime=self.time * has_time)
        self.callback(samples, len(samples), time, SimpleNamespace(input_overflow=overflow > 0))
        samples[:] = np.nan  # the memory is PortAudio's
        self.time += len(samples) / rate


@pytest.fixture
def fake(monkeypatch):
    fake = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def test_the_default_input(fake):
    source = DeviceInput()
    assert (source.name, source.sample_rate, source.n_channels) == ("Line In", 48000, 2)
    assert source.is_live
    with source:
        assert fake.settings == {
            "device": 2, "channels": 2, "dtype": "float32", "samplerate": 48000
        }  # fmt: skip
        for value in (0.1, 0.2):
            fake.deliver(value)
        for value in (0.1, 0.2):
            np.testing.assert_array_equal(source.read(), np.full((2, 480), value, np.float32))
    assert not fake.is_open
    assert source.n_lost == 0
    assert source.read() is None


@pytest.mark.parametrize("device", [1, "1", "usb"])
def test_an_input_by_number_or_name(fake, device):
    source = DeviceInput(device)
    assert (source.name, source.sample_rate, source.n_channels) == ("USB Microphone", 44100, 1)
    source = DeviceInput(device, sample_rate=16000, n_channels=1)
    assert (source.sample_rate, source.n_channels) == (16000, 1)


def test_inputs_are_listed(fake):
    assert input_devices() == {1: "USB Microphone", 2: "Line In"}


@pytest.mark.parametrize("device", [0, 7, "7", "violin", "i"])
def test_an_unknown_input(fake, device):
    with pytest.raises(ParameterError, match="1 USB Microphone; 2 Line In"):
        DeviceInput(device)


def test_no_default_input(fake):
    fake.default = -1
    with pytest.raises(ParameterError, match="1 USB Microphone; 2 Line In"):
        DeviceInput()


def test_a_computer_without_inputs(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSoundDevice(DEVICES[:1], -1))
    with pytest.raises(AudioError, match="has no audio input"):
        DeviceInput()


def test_an_input_that_refuses(fake):
    with pytest.raises(AudioError, match=r"USB Microphone: .*2 channels at 44100 Hz: Invalid"):
        DeviceInput(1, n_channels=2)
    fake.error = "Device unavailable"
    with pytest.raises(AudioError, match=r"Line In: .*Device unavailable"), DeviceInput():
        pass
    assert not fake.is_open


def test_sounddevice_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(HarmnmfError, match=r"pip install 'harmnmf\[live\]'"):
        DeviceInput()


def test_portaudio_is_missing(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(HarmnmfError, match="PortAudio"):
        DeviceInput()


@pytest.mark.parametrize(("has_time", "n_expected"), [(True, 1000), (False, 480)])
def test_samples_that_the_device_lost_are_zeros(fake, has_time, n_expected):
    with DeviceInput() as source:
        fake.deliver(0.1, has_time=has_time)
        fake.deliver(0.2, overflow=1000, has_time=has_time)
        received = np.concatenate([source.read() for _ in range(3)], axis=1)
    assert source.n_lost == n_expected
    expected = np.repeat([0.1, 0.0, 0.2], [480, n_expected, 480]).astype(np.float32)
    np.testing.assert_array_equal(received, np.stack([expected, expected]))


def test_a_first_block_after_an_overflow(fake):
    with DeviceInput() as source:
        fake.deliver(0.1, overflow=1000)
        assert source.n_lost == 480


def test_samples_that_do_not_fit_into_the_queue_are_zeros(fake):
    with DeviceInput() as source:
        for _ in range(3000):  # 30 s
            fake.deliver(0.5)
        n_kept = 3000 * 480 - source.n_lost
        assert 5 * 48000 < n_kept < 15 * 48000
        received = [source.read() for _ in range(n_kept // 480)]
        fake.deliver(0.7)
        while not received or received[-1][0, 0] != np.float32(0.7):
            received.append(source.read())
    assert max(block.shape[1] for block in received) <= 48000
    samples = np.concatenate(received, axis=1)
    assert samples.shape[1] == 3001 * 480
    np.testing.assert_array_equal(samples[:, :n_kept], 0.5)
    np.testing.assert_array_equal(samples[:, n_kept:-480], 0.0)


def test_an_unplugged_device_delivers_what_it_has(fake):
    with DeviceInput() as source:
        for value in (0.1, 0.2):
            fake.deliver(value)
        fake.is_active = False
        assert [source.read()[0, 0] for _ in range(2)] == [np.float32(0.1), np.float32(0.2)]
        with pytest.raises(AudioError, match="Line In: the input has stopped"):
            source.read()


def test_a_device_that_only_falls_silent(fake):
    class Clock(FakeClock):
        def monotonic(self):
            self.now += 1.0
            return self.now

    with (
        DeviceInput(clock=Clock()) as source,
        pytest.raises(AudioError, match="Line In: the input has stopped"),
    ):
        source.read()
