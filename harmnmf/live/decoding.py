"""Decode events from the probabilities of a live network, frame by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.decoder.network import NoteProbabilities
from harmnmf.decoder.onsets import (
    ONSET,
    SHORTEST_NOTE,
    SHORTEST_PEDAL,
    TOGETHER,
    are_overtones,
    measure_onsets,
    onset_thresholds,
    repetition_frames,
)
from harmnmf.decoder.rules import check_thresholds
from harmnmf.validation import check_number

from .events import Event, NoteOff, NoteOn, PedalEvent

__all__ = ["EventDecoder"]

# At one time, the pedal is the first, so that it holds the notes that are released with it, and new
# notes are the last.
_ORDER = {PedalEvent: 0, NoteOff: 1, NoteOn: 2}


class EventDecoder:
    """Decode events from the probabilities of consecutive frames as they arrive.

    A frame is decided when the next one is there, with the rules of
    :class:`~harmnmf.decoder.posteriors.PosteriorDecoder` as far as they do not need later frames.
    What is decided stays so:

    - An onset is the first frame that is not exceeded by the 60 ms before it and the one frame
      after it: of two peaks within 60 ms the first is the note, not the higher.
    - An onset is left out as the overtone of a deep string that was struck before it or in the same
      frame, not after it.
    - A note ends where its sound or its key does, at least 40 ms after its onset, also while the
      pedal is down: instruments hold such notes themselves until the pedal is released, as
      :meth:`harmnmf.NoteList.pedalled` does.
    - The pedal is announced as down once it has been down for 0.1 s, with the time when it went
      down, and as up at once: the short lifts between harmonies end notes.

    Events are the same wherever the frames are cut, and come in the order in which a MIDI
    instrument must get them. Those of notes are ordered by time; the pedal's going down lies before
    events that were returned earlier. What is kept does not grow with time.

    Parameters
    ----------
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    hop_duration : float
        Seconds from frame to frame.
    onset_threshold : float, default=0.4
        Minimum probability of an onset; two thirds of it on the lowest and the highest keys.
    offset_threshold : float, default=0.5
        A note ends when the probability that it sounds falls below this, and at the latest when its
        key is struck again.
    latency : float, default=0.0
        Seconds subtracted from the times of all events, so that their order stays. By default
        onsets lie where the sound begins.

    Raises
    ------
    ParameterError
        If a threshold or the latency is not finite, or the hop is not positive.

    Examples
    --------
    >>> onset, sounding, offset, velocity = np.zeros((4, 88, 20), np.float32)
    >>> onset[39, 5], sounding[39, 5:12], velocity[39, 5] = 0.75, 1.0, 0.5
    >>> frames = NoteProbabilities(onset, sounding, offset, velocity, np.zeros(20, np.float32))
    >>> decoder = EventDecoder(np.arange(21, 109), 0.02)
    >>> for event in decoder.push(frames) + decoder.finish():
    ...     print(event)
    NoteOn(time=0.1, pitch=60, velocity=64, confidence=0.75)
    NoteOff(time=0.24, pitch=60)
    """

    def __init__(
        self,
        pitches: NDArray[np.int64],
        hop_duration: float,
        *,
        onset_threshold: float = 0.4,
        offset_threshold: float = 0.5,
        latency: float = 0.0,
    ) -> None:
        check_thresholds(
            onset_threshold=onset_threshold, offset_threshold=offset_threshold, latency=latency
        )
        check_number("hop_duration", hop_duration, above=0)
        self.pitches = pitches
        self.hop_duration = hop_duration
        self.offset_threshold = offset_threshold
        self.latency = latency
        self._thresholds = onset_thresholds(pitches, onset_threshold)
        self._reach = repetition_frames(hop_duration)
        self._shortest = SHORTEST_NOTE / hop_duration  # frames
        # The next frame to decide, its probabilities, and those of onsets in the frames before.
        self._next = 0
        self._current: NoteProbabilities | None = None
        self._before = np.zeros((len(pitches), self._reach), np.float32)
        # Frame of the last peak of each key, onsets that may have overtones in later frames, and
        # the position of each note that sounds, NaN for keys that do not.
        self._peak = np.full(len(pitches), -self._reach - 1)
        self._recent = np.empty(0, ONSET)
        self._position = np.full(len(pitches), np.nan)
        self._pedal_start: int | None = None
        self._is_pedal_down = False

    def push(self, probabilities: NoteProbabilities) -> list[Event]:
        """Take the probabilities of the next frames; return the events that they decide.

        Parameters
        ----------
        probabilities : NoteProbabilities
            Probabilities, shape (n_pitches, n_frames), and of the pedal, shape (n_frames,).

        Returns
        -------
        list of Event
            For each pitch, notes on and off alternate over all calls.
        """
        events: list[Event] = []
        for i in range(len(probabilities.pedal)):
            column = NoteProbabilities._make(a[..., i] for a in probabilities)
            if self._current is not None:
                events += self._decide(self._current, column.onset)
            self._current = column
        return events

    def finish(self) -> list[Event]:
        """Return the last events, after the last frame.

        Notes that still sound end with it, 40 ms after their onset at the earliest, and the pedal
        goes up.
        """
        if self._current is None:
            return []
        events = self._decide(self._current, np.zeros_like(self._current.onset))
        last: list[Event] = []
        if self._is_pedal_down:
            last.append(PedalEvent(self._time(self._next), False))
        for key in np.flatnonzero(~np.isnan(self._position)):
            end = max(self._next, self._position[key] + self._shortest)
            last.append(NoteOff(self._time(end), int(self.pitches[key])))
        return events + _ordered(last)

    def _decide(self, current: NoteProbabilities, after: NDArray[np.float32]) -> list[Event]:
        """Decide the next frame, given the probabilities of onsets in the one after it."""
        frame = self._next
        events = self._pedal_events(frame, current.pedal)
        onsets = self._find_onsets(frame, current, after)
        struck = onsets["key"]
        is_quiet = current.sounding < self.offset_threshold
        has_ended = is_quiet & (self._position + self._shortest <= frame)
        has_ended[struck] = False
        for key in np.flatnonzero(has_ended):
            events.append(NoteOff(self._time(frame), int(self.pitches[key])))
        self._position[has_ended] = np.nan
        for onset in onsets:
            time, pitch = self._time(onset["position"]), int(self.pitches[onset["key"]])
            if not np.isnan(self._position[onset["key"]]):
                events.append(NoteOff(time, pitch))
            confidence = min(1.0, float(onset["summit"]))
            events.append(NoteOn(time, pitch, int(onset["velocity"]), confidence))
        self._position[struck] = onsets["position"]
        self._next += 1
        return _ordered(events)

    def _find_onsets(
        self, frame: int, current: NoteProbabilities, after: NDArray[np.float32]
    ) -> NDArray[np.void]:
        """Find the onsets in a frame."""
        here, before = current.onset, self._before
        # The first frame of a plateau is its onset.
        is_peak = (here > before[:, -1]) & (here >= before.max(axis=1)) & (here >= after)
        is_peak &= (here > self._thresholds) & (frame - self._peak > self._reach)
        keys = np.flatnonzero(is_peak)
        self._peak[keys] = frame
        around = np.stack([before[:, -1], here, after], axis=1)
        velocity = np.repeat(current.velocity[:, None], 3, axis=1)
        found = measure_onsets(around, velocity, keys, np.ones_like(keys), frame - 1)
        self._before = np.column_stack([before[:, 1:], here])
        is_recent = self._recent["position"] > frame - 0.5 - TOGETHER / self.hop_duration
        self._recent = np.concatenate([self._recent[is_recent], found])
        are_notes = ~are_overtones(self._recent, self.pitches, self.hop_duration)
        return found[are_notes[len(self._recent) - len(found) :]]

    def _pedal_events(self, frame: int, pedal: NDArray[np.float32]) -> list[Event]:
        """Events of the pedal in a frame."""
        if pedal <= 0.5:
            was_down, self._is_pedal_down, self._pedal_start = self._is_pedal_down, False, None
            return [PedalEvent(self._time(frame), False)] if was_down else []
        if self._pedal_start is None:
            self._pedal_start = frame
        hop = self.hop_duration
        if self._is_pedal_down or (frame + 1) * hop - self._pedal_start * hop < SHORTEST_PEDAL:
            return []
        self._is_pedal_down = True
        return [PedalEvent(self._time(self._pedal_start), True)]

    def _time(self, position: float) -> float:
        """Seconds at a position in frames."""
        return max(0.0, float(position) * self.hop_duration - self.latency)


def _ordered(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.time, _ORDER[type(event)]))
