"""Decoding of posteriors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_posteriors import HOP, KEYS, N_FRAMES, any_posteriors, note_lists, posteriors_of

from harmnmf import NoteList, ParameterError
from harmnmf.decoder.posteriors import NotePosteriors, PosteriorDecoder, decode_posteriors


@settings(max_examples=50, deadline=None)
@given(notes=note_lists())
def test_targets_decode_to_their_notes(notes: NoteList) -> None:
    decoded = decode_posteriors(posteriors_of(notes), onset_threshold=0.3)
    order, found = (np.lexsort((n.onset, n.pitch)) for n in (notes, decoded))
    np.testing.assert_array_equal(decoded.pitch[found], notes.pitch[order])
    np.testing.assert_allclose(decoded.onset[found], notes.onset[order], atol=1e-4)
    np.testing.assert_allclose(decoded.offset[found], notes.offset[order], atol=HOP)
    np.testing.assert_array_equal(decoded.velocity[found], notes.velocity[order])


def test_pedal_holds_notes() -> None:
    notes = NoteList([0.5, 1.5], [1.0, 1.7], [60, 60], [64, 64], pedal=[[0.8, 2.5]])
    decoded = decode_posteriors(posteriors_of(notes))
    np.testing.assert_allclose(decoded.offset, [1.5, 2.5], atol=HOP)
    np.testing.assert_allclose(decoded.pedal, notes.pedal, atol=HOP)


def test_latency_moves_onsets_and_threshold_removes_them() -> None:
    posteriors = posteriors_of(NoteList([0.5, 1.0], [0.9, 1.4], [60, 64], [64, 64]))
    early = decode_posteriors(posteriors, latency=0.03)
    np.testing.assert_allclose(early.onset, [0.47, 0.97], atol=1e-6)
    assert len(decode_posteriors(posteriors, onset_threshold=1.1)) == 0


def test_repetition_ends_the_note_before() -> None:
    onset, sounding, offset, velocity = np.zeros((4, 88, N_FRAMES), np.float32)
    onset[40, [50, 80]], sounding[40, 50:120], velocity[40] = 1.0, 1.0, 0.5
    pedal = np.zeros(N_FRAMES, np.float32)
    notes = decode_posteriors(NotePosteriors(onset, sounding, offset, velocity, pedal, KEYS, HOP))
    np.testing.assert_allclose(notes.onset, [1.0, 1.6])
    np.testing.assert_allclose(notes.offset, [1.6, 2.4])


@settings(max_examples=100, deadline=None)
@given(posteriors=any_posteriors, data=st.data())
def test_blocks_give_the_same_notes(posteriors: NotePosteriors, data: st.DataObject) -> None:
    n_frames = len(posteriors.pedal)
    cuts = sorted(data.draw(st.lists(st.integers(0, n_frames), max_size=70), label="cuts"))
    decoder = PosteriorDecoder(posteriors.pitches, posteriors.hop_duration)
    # Two equal cuts push nothing, two consecutive ones a single frame.
    for start, end in zip([0, *cuts], [*cuts, n_frames], strict=True):
        decoder.push(posteriors[start:end])
    assert decoder.finish() == decode_posteriors(posteriors)


@settings(max_examples=50, deadline=None)
@given(posteriors=any_posteriors)
def test_onsets_are_the_first_of_the_highest_within_60_ms(posteriors: NotePosteriors) -> None:
    hop = posteriors.hop_duration
    reach = max(1, round(0.06 / hop))
    expected = []
    for pitch, onset in zip(posteriors.pitches, posteriors.onset, strict=True):
        highest = [
            p > 0.45 and p == max(onset[max(0, n - reach) : n + reach + 1])
            for n, p in enumerate(onset)
        ]
        expected += [
            (pitch, n) for n, here in enumerate(highest) if here and not (n > 0 and highest[n - 1])
        ]
    notes = decode_posteriors(posteriors, onset_threshold=0.45)
    order = np.lexsort((notes.onset, notes.pitch))
    assert [pitch for pitch, _ in expected] == notes.pitch[order].tolist()
    # The summit lies between frames, at most halfway to the next.
    frames = np.array([n for _, n in expected])
    assert (np.abs(notes.onset[order] / hop - frames) <= 0.5 + 1e-9).all()


@pytest.mark.parametrize(
    ("deep", "interval", "height", "delay", "is_heard"),
    [
        (24, 12, 0.8, 0, False),
        (24, 28, 0.8, 2, False),
        (24, 12, 0.89, 0, True),  # almost as probable
        (24, 13, 0.5, 0, True),  # no partial
        (24, 12, 0.5, 4, True),  # struck later
        (36, 12, 0.5, 0, True),  # not so deep
        (24, -2, 0.5, 0, True),
    ],
)
def test_overtones_of_deep_strings_need_their_probability(
    deep: int, interval: int, height: float, delay: int, is_heard: bool
) -> None:
    onset, sounding, offset, velocity = np.zeros((4, 88, N_FRAMES), np.float32)
    sounding[:, 50:120] = 1.0
    onset[deep - 21, 50], onset[deep + interval - 21, 50 + delay] = 0.9, height
    posteriors = NotePosteriors(
        onset, sounding, offset, velocity, np.zeros(N_FRAMES, np.float32), KEYS, HOP
    )
    heard = decode_posteriors(posteriors).pitch.tolist()
    assert sorted(heard) == sorted([deep, deep + interval] if is_heard else [deep])


@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.9])
def test_ends_of_the_keyboard_need_two_thirds_of_the_threshold(threshold: float) -> None:
    onset, sounding, offset, velocity = np.zeros((4, 88, N_FRAMES), np.float32)
    pedal = np.zeros(N_FRAMES, np.float32)
    ends = [*range(21, 27), *range(99, 109)]
    for factor, expected in ((0.65, []), (0.68, ends), (1.01, KEYS)):
        onset[np.arange(88), 2 * np.arange(88)] = factor * threshold
        notes = decode_posteriors(
            NotePosteriors(onset, sounding, offset, velocity, pedal, KEYS, HOP),
            onset_threshold=threshold,
        )
        assert sorted(notes.pitch) == list(expected)


@pytest.mark.parametrize("late", [0.0, 0.005, 0.01, 0.015])
def test_heights_are_compared_between_frames(late: float) -> None:
    octave = NoteList([1.0, 1.0 + late], [2.0, 2.0], [24, 36], [64, 64])
    assert len(decode_posteriors(posteriors_of(octave))) == 2


def test_invalid_posteriors() -> None:
    arrays = [*np.zeros((4, 88, 10), np.float32), np.zeros(10, np.float32)]
    NotePosteriors(*arrays, KEYS, HOP)
    wrongs = (arrays[0] - 1, arrays[1] + np.nan, arrays[2][:, :5], arrays[3][1:])
    for index, wrong in enumerate(wrongs):
        changed = list(arrays)
        changed[index] = wrong
        with pytest.raises(ParameterError):
            NotePosteriors(*changed, KEYS, HOP)
    with pytest.raises(ParameterError):
        NotePosteriors(*arrays, KEYS, 0.0)
    with pytest.raises(ParameterError, match="finite"):
        decode_posteriors(NotePosteriors(*arrays, KEYS, HOP), onset_threshold=np.nan)
