"""Time, sources and transcribers whose speed is scripted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

import numpy as np

from harmnmf.live.events import NoteOff, NoteOn

RATE = 1000


class FakeClock:
    """Time that passes when the main thread sleeps or works: never while others have to act."""

    def __init__(self, n_threads=0):
        self.now = 0.0
        self._n_threads = n_threads
        self._due = {}
        self._condition = threading.Condition()

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        if threading.current_thread() is threading.main_thread():
            self.advance(seconds)
        else:
            self.wait_until(self.now + seconds)

    def advance(self, seconds):
        end = self.now + seconds
        with self._condition:
            self._settle()
            while self._due and min(self._due.values()) <= end:
                self.now = min(self._due.values())
                self._condition.notify_all()
                self._settle()
            self.now = end

    def wait_until(self, time):
        """Block another thread; the main thread wakes it."""
        with self._condition:
            self._due[threading.current_thread()] = time
            self._condition.notify_all()
            while self.now < time:
                self._condition.wait()
            del self._due[threading.current_thread()]
            self._due[threading.current_thread()] = -1.0  # is at work

    def _settle(self):
        """Wait until each other thread waits for a time to come, or has ended."""

        def is_settled():
            for thread in [thread for thread in self._due if not thread.is_alive()]:
                del self._due[thread]
                self._n_threads -= 1
            return len(self._due) >= self._n_threads and all(
                due > self.now for due in self._due.values()
            )

        while not is_settled():
            self._condition.wait(0.001)


class PlayedSource:
    """A source of ramps that plays in a fake time; `speed` is that of its clock.

    Parameters
    ----------
    delays : callable
        Seconds by which a block comes late, by its number.
    """

    name = "fake input"
    n_channels = 2
    sample_rate = RATE
    is_live = True
    n_lost = 0

    def __init__(
        self,
        clock: FakeClock,
        duration: float,
        *,
        block: float = 0.05,
        speed: float = 1.0,
        delays: Callable[[int], float] = lambda number: 0.0,
        error: Exception | None = None,
    ):
        self.clock = clock
        n_block = round(block * RATE)
        ramp = np.arange(round(duration * RATE), dtype=np.float32)
        self.samples = np.stack([ramp, -ramp])
        self.blocks = np.split(self.samples, range(n_block, len(ramp), n_block), axis=1)
        self.speed = speed
        self.delays = delays
        self.error = error
        self.numbers = count()

    def read(self):
        number = next(self.numbers)
        if number == len(self.blocks):
            if self.error:
                raise self.error
            return None
        block = self.blocks[number]
        end = (number * self.blocks[0].shape[1] + block.shape[1]) / RATE
        self.clock.wait_until(end / self.speed + self.delays(number))
        return block


class ScriptedTranscriber:
    """Needs `load(time, look_ahead)` seconds for a second, and hears a note in each block.

    The confidence of a note is the true time of its first sample.
    """

    look_aheads = (0.06, 0.12, 0.2, 0.32, 0.5)

    def __init__(self, clock, load=lambda time, look_ahead: 0.3, look_ahead=0.32):
        self.clock = clock
        self.load = load
        self.look_ahead = look_ahead
        self.pushed = []
        self.n_pushed = 0

    @property
    def time(self):
        return self.n_pushed / RATE

    def push(self, samples):
        note = NoteOn(self.time, 60, 64, samples[0, 0] / RATE)
        self.pushed.append(samples)
        self.n_pushed += samples.shape[1]
        self.clock.advance(self.load(self.clock.now, self.look_ahead) * samples.shape[1] / RATE)
        return [note]

    def finish(self):
        return [NoteOff(self.time, 60)]
