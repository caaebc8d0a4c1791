"""Decoding of events from the probabilities of a live network."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_posteriors import HOP, KEYS, any_posteriors, note_lists, posteriors_of
from scipy.ndimage import gaussian_filter1d

from harmnmf import NoteList, ParameterError, Transcriber, read_audio
from harmnmf.decoder.network import NoteProbabilities
from harmnmf.decoder.posteriors import NotePosteriors, decode_posteriors
from harmnmf.live.decoding import EventDecoder
from harmnmf.live.events import Event, NoteOff, NoteOn, PedalEvent, notes_from_events

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "example.flac"


def decoded(posteriors: NotePosteriors, cuts: Sequence[int] = (), **options: float) -> list[Event]:
    """Events of frames that are cut into blocks."""
    decoder = EventDecoder(posteriors.pitches, posteriors.hop_duration, **options)
    events = []
    for start, end in zip([0, *cuts], [*cuts, len(posteriors.pedal)], strict=True):
        events += decoder.push(posteriors[start:end].probabilities)
    return events + decoder.finish()


def one_key(
    onset: list[float],
    sounding: list[float] | None = None,
    pedal: list[float] | None = None,
    hop: float = HOP,
) -> NotePosteriors:
    """Probabilities of middle C, which sounds to the end if nothing else is given."""
    n_frames = len(onset)
    heights = np.array([onset], np.float32)
    sounds = np.array([np.ones(n_frames) if sounding is None else sounding], np.float32)
    presses = np.array(np.zeros(n_frames) if pedal is None else pedal, np.float32)
    velocity = np.full((1, n_frames), 0.5, np.float32)
    return NotePosteriors(
        heights, sounds, np.zeros_like(heights), velocity, presses, np.array([60]), hop
    )


def onset_positions(events: list[Event]) -> list[float]:
    """Positions of the onsets in frames."""
    return [event.time / HOP for event in events if isinstance(event, NoteOn)]


def common_onsets(posteriors: NotePosteriors) -> float:
    """Share of the onsets, of files or live, that are found by both decoders at the same time."""
    live, offline = (
        set(zip(notes.pitch.tolist(), notes.onset.tolist(), strict=True))
        for notes in (notes_from_events(decoded(posteriors)), decode_posteriors(posteriors))
    )
    return len(live & offline) / len(live | offline)


@settings(max_examples=100, deadline=None)
@given(posteriors=any_posteriors, data=st.data())
def test_events_do_not_depend_on_the_blocks(
    posteriors: NotePosteriors, data: st.DataObject
) -> None:
    n_frames = len(posteriors.pedal)
    cuts = sorted(data.draw(st.lists(st.integers(0, n_frames), max_size=70), label="cuts"))
    assert decoded(posteriors, cuts) == decoded(posteriors)


@settings(max_examples=100, deadline=None)
@given(posteriors=any_posteriors, latency=st.sampled_from([0.0, 0.013, 0.3]), data=st.data())
def test_notes_and_pedal_alternate_in_order(
    posteriors: NotePosteriors, latency: float, data: st.DataObject
) -> None:
    n_frames, hop = len(posteriors.pedal), posteriors.hop_duration
    decoder = EventDecoder(posteriors.pitches, hop, latency=latency)
    events: list[Event] = []
    start = 0
    while start < n_frames:
        end = data.draw(st.integers(start + 1, n_frames))
        events += decoder.push(posteriors[start:end].probabilities)
        assert all(0 <= event.time <= (end - 1) * hop for event in events)
        start = end
    events += decoder.finish()
    assert all(event.time <= n_frames * hop + 0.04 for event in events)
    for pitch in posteriors.pitches:
        own = [e for e in events if not isinstance(e, PedalEvent) and e.pitch == pitch]
        assert [type(event) for event in own] == [NoteOn, NoteOff] * (len(own) // 2)
    presses = [event for event in events if isinstance(event, PedalEvent)]
    assert [event.is_down for event in presses] == [True, False] * (len(presses) // 2)
    pedal_times = [event.time for event in presses]
    assert pedal_times == sorted(pedal_times)
    times = [event.time for event in events if not isinstance(event, PedalEvent)]
    assert times == sorted(times)
    ons = [event for event in events if isinstance(event, NoteOn)]
    assert all(1 <= event.velocity <= 127 and 0 < event.confidence <= 1 for event in ons)


@settings(max_examples=50, deadline=None)
@given(posteriors=any_posteriors)
def test_notes_last_40_ms_and_repeat_after_60_ms(posteriors: NotePosteriors) -> None:
    notes = notes_from_events(decoded(posteriors))
    assert (notes.offset - notes.onset >= 0.04 - 1e-9).all()
    # Onsets may be interpolated towards each other, by half a frame each.
    spacing = notes.next_onset - notes.onset
    assert (spacing >= 0.06 - 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(notes=note_lists(), down=st.floats(0.2, 2.0), length=st.floats(0.15, 2.0))
def test_targets_decode_to_the_notes_of_files(notes: NoteList, down: float, length: float) -> None:
    columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
    posteriors = posteriors_of(NoteList(*columns, pedal=[[down, down + length]]))
    offline = decode_posteriors(posteriors)
    live = notes_from_events(decoded(posteriors))
    for name in ("onset", "pitch", "velocity", "pedal"):
        np.testing.assert_array_equal(getattr(live, name), getattr(offline, name))
    np.testing.assert_allclose(live.pedalled().offset, offline.offset, atol=HOP)


def test_smooth_probabilities_have_the_onsets_of_files() -> None:
    # Without the deepest strings: their overtones are known only in files.
    keys = np.arange(30, 109)
    rng = np.random.default_rng(0)
    noise = gaussian_filter1d(rng.normal(size=(4, len(keys), 1000)), 2.0, axis=-1)
    probabilities = (1 / (1 + np.exp(3 - 3 * noise / noise.std()))).astype(np.float32)
    posteriors = NotePosteriors(*probabilities, probabilities[0, 0], keys, HOP)
    assert common_onsets(posteriors) > 0.97


def test_a_recording_has_the_onsets_of_files() -> None:
    posteriors = Transcriber().analyse(read_audio(EXAMPLE, duration=8.0))
    assert isinstance(posteriors, NotePosteriors)
    assert common_onsets(posteriors) > 0.98


@pytest.mark.parametrize(
    ("onset", "expected"),
    [
        # The first two frames of a plateau have the summit between them.
        ([0.1, 0.9, 0.9, 0.9, 0.1], [1.5]),
        ([0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1], [1.5]),
        ([0.7, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.5, 0.0], [1.25]),  # levels that fall
        ([0.9, 0.9, 0.2, 0.0], [0.5]),
        ([0.9, 0.9], [0.5]),
        ([0.0, 0.0, 0.9], [2]),
        ([0.0, 0.5, 0.8, 0.9, 0.8, 0.5, 0.0], [3]),
        ([0.0, 0.6, 0.0, 0.0, 0.9, 0.0], [1]),  # within 60 ms the first counts
        ([0.0, 0.6, 0.0, 0.0, 0.0, 0.9, 0.0], [1, 5]),
        ([0.0, 0.9, 0.0, 0.0, 0.0, 0.6, 0.0], [1, 5]),
        ([0.5, 0.9, 0.5, 0.7, 0.6, 0.65, 0.0], [1]),  # lower than in the 60 ms before
        ([0.0, 0.39, 0.0], []),
    ],
)
def test_peaks_and_plateaus_have_one_onset(onset: list[float], expected: list[float]) -> None:
    assert onset_positions(decoded(one_key(onset))) == pytest.approx(expected, abs=1e-6)


def test_one_later_frame_decides() -> None:
    posteriors = one_key([0.0, 0.2, 0.8, 0.5, 0.0])
    decoder = EventDecoder(posteriors.pitches, HOP)
    assert decoder.push(posteriors[:3].probabilities) == []
    (note,) = decoder.push(posteriors[3:4].probabilities)
    assert isinstance(note, NoteOn)
    # A triangle through the three frames, as in files.
    assert note.time == pytest.approx(2.25 * HOP)
    assert note.confidence == pytest.approx(0.95)
    assert note.velocity == 64


def test_a_key_that_is_struck_again_is_released_before() -> None:
    onset = [0.0] * 20
    onset[3], onset[10], onset[11] = 0.9, 0.9, 0.5
    events = decoded(one_key(onset, [1.0] * 16 + [0.0] * 4))
    assert [type(event) for event in events] == [NoteOn, NoteOff, NoteOn, NoteOff]
    assert events[1].time == events[2].time > 10 * HOP
    assert events[3].time == pytest.approx(16 * HOP)


@pytest.mark.parametrize("hop", [0.01, 0.02])
def test_a_note_ends_after_40_ms_at_the_earliest(hop: float) -> None:
    onset, sounding = [0.0] * 20, [0.0] * 20
    onset[3] = 0.9
    on, off = decoded(one_key(onset, sounding, hop=hop))
    assert (on.time, off.time) == pytest.approx((3 * hop, 3 * hop + 0.04))


def test_the_end_releases_everything() -> None:
    onset, pedal = [0.0] * 12, [0.0] * 4 + [1.0] * 8
    onset[2], onset[11] = 0.9, 0.8
    events = decoded(one_key(onset, pedal=pedal))
    kinds = [NoteOn, PedalEvent, NoteOff, NoteOn, PedalEvent, NoteOff]
    assert [type(event) for event in events] == kinds
    assert events[-2] == PedalEvent(12 * HOP, False)
    assert events[-1] == NoteOff(pytest.approx(11 * HOP + 0.04), 60)
    assert EventDecoder(KEYS, HOP).finish() == []


def test_the_pedal_is_down_once_it_has_lasted() -> None:
    pedal = [0.0, 0.9, 0.9, 0.9, 0.9, 0.2] + [0.9] * 6 + [0.5] + [0.9] * 6 + [0.0] * 3
    posteriors = one_key([0.0] * len(pedal), pedal=pedal)
    decoder = EventDecoder(posteriors.pitches, HOP)
    announced = [
        (frame, event)
        for frame in range(len(pedal))
        for event in decoder.push(posteriors[frame : frame + 1].probabilities)
    ]
    # Each event waits for the frame after the one that decides it.
    assert announced == [
        (11, PedalEvent(pytest.approx(6 * HOP), True)),
        (13, PedalEvent(pytest.approx(12 * HOP), False)),
        (19, PedalEvent(pytest.approx(13 * HOP), True)),
        (20, PedalEvent(pytest.approx(19 * HOP), False)),
    ]
    assert decoder.finish() == []


def test_a_pedal_holds_no_note_longer_than_its_sound() -> None:
    onset, pedal = [0.0] * 30, [0.0] * 4 + [1.0] * 20 + [0.0] * 6
    onset[2] = 0.9
    events = decoded(one_key(onset, [1.0] * 10 + [0.0] * 20, pedal))
    notes = notes_from_events(events)
    assert notes.offset.tolist() == pytest.approx([10 * HOP])
    assert notes.pedalled().offset.tolist() == pytest.approx([24 * HOP])


@pytest.mark.parametrize(
    ("height", "delay", "is_heard"),
    [
        (0.8, 0, False),
        (0.8, 2, False),
        (0.89, 0, True),  # almost as probable
        (0.8, 4, True),  # struck later
        (0.8, -1, True),  # the deep string is not known yet
    ],
)
def test_overtones_of_deep_strings_that_are_known(
    height: float, delay: int, is_heard: bool
) -> None:
    onset, sounding, offset, velocity = np.zeros((4, 88, 40), np.float32)
    onset[24 - 21, 10], onset[36 - 21, 10 + delay] = 0.9, height
    pedal = np.zeros(40, np.float32)
    posteriors = NotePosteriors(onset, sounding, offset, velocity, pedal, KEYS, HOP)
    pitches = [event.pitch for event in decoded(posteriors) if isinstance(event, NoteOn)]
    assert sorted(pitches) == ([24, 36] if is_heard else [24])


def test_ends_of_the_keyboard_need_two_thirds_of_the_threshold() -> None:
    onset, sounding, offset, velocity = np.zeros((4, 88, 10), np.float32)
    onset[:, 5] = 0.5
    pedal = np.zeros(10, np.float32)
    posteriors = NotePosteriors(onset, sounding, offset, velocity, pedal, KEYS, HOP)
    events = decoded(posteriors, onset_threshold=0.7)
    pitches = [event.pitch for event in events if isinstance(event, NoteOn)]
    assert pitches == [*range(21, 27), *range(99, 109)]


def test_latency_moves_all_events() -> None:
    onset, pedal = [0.0] * 20, [0.0] * 8 + [1.0] * 12
    onset[0], onset[10] = 0.9, 0.9
    posteriors = one_key(onset, pedal=pedal)
    times = [event.time for event in decoded(posteriors)]
    early = [event.time for event in decoded(posteriors, latency=0.03)]
    np.testing.assert_allclose(early, np.maximum(np.array(times) - 0.03, 0))


def test_what_is_kept_does_not_grow() -> None:
    rng = np.random.default_rng(0)
    decoder = EventDecoder(KEYS, HOP)
    sizes = []
    for _ in range(8):
        arrays = rng.random((4, 88, 500), np.float32) ** 12
        decoder.push(NoteProbabilities(*arrays, rng.random(500, np.float32)))
        sizes.append(len(pickle.dumps(decoder)))
    assert max(sizes[1:]) < sizes[0] + 2000


def test_invalid_parameters() -> None:
    for options in ({"onset_threshold": np.nan}, {"latency": np.inf}):
        with pytest.raises(ParameterError, match="finite"):
            EventDecoder(KEYS, HOP, **options)
    with pytest.raises(ParameterError, match="hop_duration"):
        EventDecoder(KEYS, 0.0)
