"""Samples from a microphone or another input of the computer, by PortAudio."""

from __future__ import annotations

import math
import queue
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError, HarmnmfError, ParameterError
from harmnmf.signal.audio import check_rate
from harmnmf.validation import check_integer

from .clock import Clock

__all__ = ["DeviceInput", "input_devices"]

_BLOCK = 0.01  # seconds in a block
_LATENCY = 0.05  # seconds that PortAudio may hold back: with less, Python misses blocks
_LONGEST_QUEUE = 10.0  # seconds
_LONGEST_GAP = 3600.0  # seconds
_POLL = 0.1  # seconds between looks at the state of the device
# Seconds without samples after which a device is gone: some systems do not tell.
_SILENCE = 3.0


def input_devices() -> dict[int, str]:
    """Return the names of the inputs by their numbers.

    Raises
    ------
    HarmnmfError
        If sounddevice or PortAudio is missing.
    """
    return {
        number: device["name"]
        for number, device in enumerate(_load().query_devices())
        if device["max_input_channels"] > 0
    }


class DeviceInput:
    """Samples from an input of the computer.

    Parameters
    ----------
    device : int or str, optional
        Number, name or part of the name of the input. Default: that of the system.
    sample_rate : int, optional
        Samples per second. Default: that of the device.
    n_channels : int, optional
        Number of channels. Default: 2 if the device has them, else 1.
    clock : Clock, optional
        Default: the module `time`.

    Raises
    ------
    HarmnmfError
        If sounddevice or PortAudio is missing.
    ParameterError
        If there is no such input, or more than one.
    AudioError
        If the input cannot record with this sample rate and this number of channels.
    """

    is_live = True

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int | None = None,
        n_channels: int | None = None,
        *,
        clock: Clock = time,
    ) -> None:
        self._sounddevice = sounddevice = _load()
        self._clock = clock
        if isinstance(device, str) and device.isdecimal():
            device = int(device)
        info = self._find(device)
        rate = info["default_samplerate"] if sample_rate is None else sample_rate
        self.sample_rate = check_rate(round(rate) if sample_rate is None else rate)
        self.n_channels = min(2, info["max_input_channels"]) if n_channels is None else n_channels
        check_integer("n_channels", self.n_channels)
        self.name: str = info["name"]
        self._settings = {
            "device": info["index"],
            "channels": self.n_channels,
            "dtype": "float32",
            "samplerate": self.sample_rate,
        }
        try:
            sounddevice.check_input_settings(**self._settings)
        except (sounddevice.PortAudioError, ValueError) as error:
            raise self._refusal(error) from error
        self.n_lost = 0
        n_blocks = round(_LONGEST_QUEUE / _BLOCK)
        self._blocks: queue.Queue[tuple[int, NDArray[np.float32]]] = queue.Queue(n_blocks)
        self._n_missing = 0  # samples that were lost before the next block of the device
        self._next_time = math.inf  # at which this begins, by the clock of the device
        self._n_silent = 0  # samples that are to be replaced by zeros before the block to return
        self._block: NDArray[np.float32] | None = None
        self._is_closed = False
        self._stream: Any = None
        # PortAudio must not be asked about a stream that is being closed by another thread.
        self._lock = threading.Lock()

    def __enter__(self) -> DeviceInput:
        try:
            self._stream = self._sounddevice.InputStream(
                **self._settings,
                blocksize=round(_BLOCK * self.sample_rate),
                latency=_LATENCY,
                callback=self._take,
            )
            self._stream.start()
        except self._sounddevice.PortAudioError as error:
            if self._stream is not None:
                self._stream.close()
            raise self._refusal(error) from error
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._is_closed = True
            self._stream.close()

    def read(self) -> NDArray[np.float32] | None:
        """Wait for the next samples.

        Returns
        -------
        ndarray, shape (n_channels, n_samples), or None
            None after the input was closed.

        Raises
        ------
        AudioError
            If the device has stopped, after all samples that it delivered were returned.
        """
        if self._block is None:
            received = self._receive()
            if received is None:
                return None
            self._n_silent, self._block = received
        if self._n_silent:
            # Not all at once, as it may be minutes.
            n_samples = min(self._n_silent, self.sample_rate)
            self._n_silent -= n_samples
            return np.zeros((self.n_channels, n_samples), np.float32)
        block, self._block = self._block, None
        return block

    def _receive(self) -> tuple[int, NDArray[np.float32]] | None:
        """Wait for a block, and the number of samples lost before it; None if closed."""
        start = self._clock.monotonic()
        while True:
            is_running = self._is_running()
            try:
                return self._blocks.get(timeout=_POLL if is_running else 0)
            except queue.Empty:
                if self._is_closed:
                    return None
                if not is_running or self._clock.monotonic() - start > _SILENCE:
                    raise AudioError(
                        f"{self.name}: the input has stopped; was it unplugged?"
                    ) from None

    def _is_running(self) -> bool:
        with self._lock:
            try:
                return not self._is_closed and self._stream.active
            except self._sounddevice.PortAudioError:
                return False

    def _take(self, samples: NDArray[np.float32], n_samples: int, times: Any, status: Any) -> None:
        """Queue a block of PortAudio's, (n_samples, n_channels)."""
        start = times.inputBufferAdcTime
        if status.input_overflow:
            gap = min(max(start - self._next_time, 0.0), _LONGEST_GAP)
            # Not all systems tell the time.
            self._lose(round(gap * self.sample_rate) or n_samples)
        self._next_time = start + n_samples / self.sample_rate
        try:
            self._blocks.put_nowait((self._n_missing, samples.T.copy()))
            self._n_missing = 0
        except queue.Full:
            self._lose(n_samples)

    def _lose(self, n_samples: int) -> None:
        self.n_lost += n_samples
        self._n_missing += n_samples

    def _find(self, device: int | str | None) -> dict[str, Any]:
        try:
            return self._sounddevice.query_devices(device, "input")
        except (self._sounddevice.PortAudioError, ValueError) as error:
            names = [f"{number} {name}" for number, name in input_devices().items()]
            if not names:
                raise AudioError("this computer has no audio input; plug one in") from error
            wanted = "is the default" if device is None else f"matches {device!r}"
            raise ParameterError(
                f"no input of the computer {wanted}, or several; choose one: {'; '.join(names)}"
            ) from error

    def _refusal(self, error: Exception) -> AudioError:
        return AudioError(
            f"{self.name}: cannot record with {self.n_channels} channels at {self.sample_rate} Hz:"
            f" {error}"
        )


def _load() -> Any:
    """Import sounddevice, of the extra `live`."""
    try:
        import sounddevice
    except ImportError as error:
        raise HarmnmfError(
            "audio inputs need the package sounddevice: pip install 'harmnmf[live]'"
        ) from error
    except OSError as error:  # its own library
        raise HarmnmfError(
            "audio inputs need PortAudio, which is not installed; on Debian and Ubuntu: "
            "apt install libportaudio2"
        ) from error
    return sounddevice
