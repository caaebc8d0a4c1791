"""Transcription of a stream to events."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_streams import CONFIG, PITCHES, dictionary, music, network

from harmnmf import AudioError, HarmnmfError, ParameterError, evaluate_notes, read_audio, read_notes
from harmnmf.live.calibration import LiveCalibration
from harmnmf.live.events import NoteOff, NoteOn, PedalEvent, notes_from_events
from harmnmf.live.transcriber import LiveTranscriber
from harmnmf.signal.resampling import PromptResampler

DICTIONARY, NETWORK = dictionary(), network()
HOP, WINDOW = 0.02, 0.03  # seconds: of the frames, and from a frame until its windows end
LOOK_AHEADS = tuple(WINDOW + (delay + 1) * HOP for delay in CONFIG.delays)


def make(rate=16000, look_ahead=LOOK_AHEADS[1], **options):
    options = {"dictionary": DICTIONARY, "network": NETWORK, **options}
    return LiveTranscriber(rate, look_ahead=look_ahead, **options)


def transcribe(samples, blocks=None, **options):
    transcriber = make(**options)
    events = []
    for block in [samples] if blocks is None else blocks:
        events += transcriber.push(block)
    return events + transcriber.finish()


def assert_alternate(events):
    """For each pitch, notes on and off alternate and end, and so does the pedal."""
    for pitch in PITCHES:
        own = [event for event in events if getattr(event, "pitch", None) == pitch]
        assert [type(event) for event in own] == [NoteOn, NoteOff] * (len(own) // 2)
        assert all(a.time <= b.time for a, b in pairwise(own))
    pedal = [event.is_down for event in events if isinstance(event, PedalEvent)]
    assert pedal == [True, False] * (len(pedal) // 2)


STEREO = {rate: np.stack([music(1.5, rate), music(1.5, rate, seed=1)]) for rate in (16000, 44100)}


@pytest.fixture(scope="module")
def wholes():
    return {rate: transcribe(samples, rate=rate) for rate, samples in STEREO.items()}


@settings(max_examples=6, deadline=None)
@given(
    rate=st.sampled_from([16000, 44100]),
    cuts=st.lists(st.floats(0, 1), max_size=12),
    singles=st.integers(0, 20),
)
def test_any_blocks_give_the_same_events(wholes, rate, cuts, singles):
    samples = STEREO[rate]
    cuts = [round(cut * samples.shape[1]) for cut in cuts]
    blocks = np.split(samples, sorted([*cuts, *range(singles)]), axis=1)
    assert transcribe(samples, blocks, rate=rate) == wholes[rate]


def test_the_events_of_noise_are_many(wholes):
    """The network is random, so that the other tests see all kinds of events."""
    for events in wholes.values():
        assert sum(isinstance(event, NoteOn) for event in events) > 50
        assert_alternate(events)
        for event in events:
            assert 0 <= event.time <= 1.5 + 2 * HOP


@pytest.mark.parametrize("number", [float, np.float32, np.int64])
def test_a_sample_rate_may_be_any_whole_number(wholes, number):
    """Drivers of devices give floats."""
    assert transcribe(STEREO[44100], rate=number(44100)) == wholes[44100]


def test_channels_are_averaged(wholes):
    mono = STEREO[16000].mean(axis=0)
    assert transcribe(mono) == transcribe(mono[None]) == wholes[16000]
    assert transcribe(STEREO[16000][::-1]) == wholes[16000]


def test_a_higher_rate_gives_about_the_same():
    notes = {}
    for rate in (16000, 48000):
        events = transcribe(music(1.5, rate), rate=rate)
        notes[rate] = {(e.pitch, round(e.time / 0.1)) for e in events if isinstance(e, NoteOn)}
    common = notes[16000] & notes[48000]
    assert len(common) > 0.8 * max(map(len, notes.values()))


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("head", [0, 1, 3])
def test_events_come_within_the_latency(rate, head):
    transcriber = make(rate, LOOK_AHEADS[head])
    delay = 0.0 if rate == 16000 else PromptResampler(rate, 16000).delay
    assert transcriber.look_ahead == pytest.approx(LOOK_AHEADS[head])
    assert transcriber.latency == pytest.approx(LOOK_AHEADS[head] + 0.04 + delay)
    block, lags = rate // 200, []
    samples = STEREO.get(rate, np.repeat(music(1.5, rate)[None], 2, axis=0))
    for start in range(0, samples.shape[1], block):
        events = transcriber.push(samples[:, start : start + block])
        # A pedal is known when it has been down for a tenth of a second.
        lags += [
            transcriber.time - event.time - 0.1 * (isinstance(event, PedalEvent) and event.is_down)
            for event in events
        ]
    assert max(lags) - block / rate < transcriber.latency
    assert max(lags) > transcriber.latency - 0.05


def test_a_longer_look_ahead_lets_later_samples_change_events():
    """Events that were returned do not depend on what follows."""
    samples = music(1.5)
    for head in (0, 3):
        transcriber, other = make(look_ahead=LOOK_AHEADS[head]), make(look_ahead=LOOK_AHEADS[head])
        first = transcriber.push(samples[:16000])
        whole = other.push(samples)
        assert first == whole[: len(first)]
        known = 1.0 - transcriber.latency
        assert all(
            event.time > known - HOP for event in whole[len(first) :] if isinstance(event, NoteOn)
        )


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=15, max_size=15))
def test_the_look_ahead_may_change_at_any_time(heads):
    transcriber, samples = make(), music(1.5)
    events = []
    for block, head in zip(np.array_split(samples, 15), heads, strict=True):
        transcriber.look_ahead = LOOK_AHEADS[head]
        assert transcriber.look_ahead == pytest.approx(LOOK_AHEADS[head])
        events += transcriber.push(block)
    events += transcriber.finish()
    assert_alternate(events)
    onsets = [(event.pitch, event.time) for event in events if isinstance(event, NoteOn)]
    assert len(set(onsets)) == len(onsets)
    times = [event.time for event in events if not isinstance(event, PedalEvent)]
    assert times == sorted(times)


def test_look_aheads():
    transcriber = make()
    assert transcriber.look_aheads == pytest.approx(LOOK_AHEADS)
    for wrong in (0.0, 0.1, -1.0, float("nan"), 10.0):
        with pytest.raises(ParameterError, match=r"0\.05, 0\.11, 0\.15, 0\.23 s"):
            transcriber.look_ahead = wrong
        assert transcriber.look_ahead == pytest.approx(LOOK_AHEADS[1])
    with pytest.raises(ParameterError, match="look_ahead"):
        make(look_ahead=0.4)


def test_frames_after_the_end_are_no_notes():
    for n_samples in (1, 319, 320, 1000, 7999):
        events = transcribe(STEREO[16000][:, :n_samples])
        assert_alternate(events)
        onsets = [event.time for event in events if isinstance(event, NoteOn)]
        assert all(time <= n_samples / 16000 + HOP for time in onsets)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("blocks", [[], [np.empty(0)], [np.empty((2, 0))]], ids=len)
def test_no_samples_give_no_events(rate, blocks):
    assert transcribe(None, blocks, rate=rate) == []


def test_time():
    transcriber = make(44100)
    for n in (441, 0, 4410):
        transcriber.push(np.zeros((2, n)))
    assert transcriber.time == pytest.approx(0.11)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 2, 100)),
        np.float32(0.0),
        np.array([0.0, np.nan]),
        np.array([np.inf, 0.0]),
        np.array([[0.0, 0.0], [0.0, -np.inf]]),
        np.array([0.0, 1e30]),
        np.zeros(100, int),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("error")
def test_wrong_samples_change_nothing(wrong):
    transcriber = make()
    samples = music(0.5)
    events = transcriber.push(samples[:4000])
    with pytest.raises(AudioError):
        transcriber.push(wrong)
    assert transcriber.time == 0.25
    events += transcriber.push(samples[4000:]) + transcriber.finish()
    assert events == transcribe(samples)


def test_samples_of_any_type():
    samples = np.round(music(0.5) * 2**10) / 2**10
    expected = transcribe(samples)
    assert transcribe(samples.astype(np.float64)) == expected
    assert transcribe(samples.tolist()) == expected
    assert transcribe(np.repeat(samples, 2)[::2]) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"onset_threshold": float("nan")},
        {"offset_threshold": float("inf")},
        {"latency": float("nan")},
        {"calibration": LiveCalibration(0.0, 0.3, np.ones(3, np.float32))},
    ],
    ids=str,
)
def test_wrong_parameters(wrong):
    with pytest.raises(ParameterError):
        make(**wrong)


@pytest.mark.parametrize("rate", [0, -16000, 16000.5, "CD"])
def test_wrong_rates(rate):
    with pytest.raises(AudioError):
        make(rate)


def test_a_dictionary_of_another_network():
    with pytest.raises(ParameterError, match="network needs a dictionary"):
        LiveTranscriber(16000, network=NETWORK)
    with pytest.raises(HarmnmfError, match="no such"):
        LiveTranscriber(16000, network="upright")


def test_thresholds_and_latency():
    samples = music(1.0)
    default = transcribe(samples)
    assert [e for e in transcribe(samples, onset_threshold=1.1) if isinstance(e, NoteOn)] == []
    moved = transcribe(samples, latency=0.01)
    assert len(moved) == len(default)
    for a, b in zip(default, moved, strict=True):
        assert b.time == pytest.approx(max(0.0, a.time - 0.01))


def test_calibration_round_trip(tmp_path):
    samples = music(6.5, tuning=0.25)
    first = make()
    first.push(samples)
    first.finish()
    heard = first.calibration()
    assert dict(heard.metadata) == {"duration": 6.5, "sample_rate": 16000}
    assert 0.1 < heard.tuning < 0.4
    path = heard.save(tmp_path / "piano.safetensors")
    again = make(calibration=LiveCalibration.load(path)).calibration()
    assert again.tuning == heard.tuning
    assert again.level == pytest.approx(heard.level, rel=0.03)
    np.testing.assert_array_equal(again.response, heard.response)
    # What is known is known from the beginning, and changes the first events.
    start = samples[:16000]
    assert transcribe(start, calibration=heard) != transcribe(start)


def test_silence_before_the_music_keeps_the_calibration():
    gains = np.linspace(0.5, 2.0, 31, dtype=np.float32)
    transcriber = make(calibration=LiveCalibration(0.1, 0.3, gains))
    transcriber.push(np.zeros(32000))
    kept = transcriber.calibration()
    np.testing.assert_array_equal(kept.response, gains)
    assert kept.tuning == 0.1
    assert kept.level == pytest.approx(0.3, rel=0.03)


@pytest.mark.filterwarnings("error")
def test_gain_of_the_input():
    """A microphone that is far too soft or too loud gives numbers all the same."""
    for gain in (1e-6, 1e3, 1e6):
        assert_alternate(transcribe(gain * music(0.5)))


def state_sizes(n_loops, gain):
    """Bytes of the state after each loop of 2 s; the first is at full level."""
    transcriber, loop = make(), music(2.0)
    transcriber.push(loop)
    sizes = []
    for _ in range(n_loops):
        transcriber.push(gain * loop)
        sizes.append(len(pickle.dumps(transcriber)))
    return sizes


def test_state_does_not_grow():
    # Frames far below the level are not kept for the tuning.
    sizes = state_sizes(6, 1e-3)
    assert max(sizes) < 1.01 * min(sizes)


@pytest.mark.slow
def test_state_does_not_grow_in_minutes():
    # The tuning is estimated from the frames of each minute.
    sizes = state_sizes(90, 1.0)
    assert max(sizes[45:]) < 1.01 * max(sizes[:45])


@pytest.fixture(scope="module")
def example(request):
    """Events of the example with the shipped network, and when they came."""
    root = request.config.rootpath
    audio = read_audio(root / "examples" / "example.flac")
    transcriber, block = LiveTranscriber(16000), 320
    samples, lags, events = audio.samples, [], []
    for start in range(0, len(samples), block):
        new = transcriber.push(samples[start : start + block])
        lags += [(event, transcriber.time - block / 16000 - event.time) for event in new]
        events += new
    events += transcriber.finish()
    reference = read_notes(root / "examples" / "reference.mid", offset="key")
    return transcriber, events, lags, reference


@pytest.mark.slow
def test_the_notes_of_the_example(example):
    _, events, _, reference = example
    scores = evaluate_notes(reference, notes_from_events(events))
    assert scores["F-measure_no_offset"] > 0.9
    assert scores["F-measure"] > 0.6


@pytest.mark.slow
def test_the_latency_of_the_example(example):
    transcriber, _, lags, _ = example
    assert transcriber.latency == pytest.approx(0.24)
    assert max(lag for event, lag in lags if not isinstance(event, PedalEvent)) < 0.24
    assert max(lag for event, lag in lags if isinstance(event, NoteOn)) > 0.15
