"""Frames in which notes may sound."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_strategies import crowded, note_lists

from harmnmf import NoteList
from harmnmf.separation.framing import Framing
from harmnmf.separation.sounding import NO_NOTE, SoundingNotes

FRAMING = Framing(16000)
HOP = FRAMING.hop_duration
quick = settings(deadline=None, max_examples=100)


def all_notes(sounding, n_frames):
    return sounding.note_of_key(slice(0, n_frames))


@quick
@given(crowded, st.integers(1, 400), st.sampled_from([-0.09, 0.0, 0.085]))
def test_spans_are_those_of_a_plain_loop(notes, n_frames, offset):
    sounding = SoundingNotes(notes, FRAMING, n_frames, offset)
    held = notes.pedalled()
    frame, shift = np.arange(n_frames), FRAMING.frame_at(offset)
    expected = np.full((len(sounding.pitches), n_frames), NO_NOTE)
    for i, pitch in enumerate(held.pitch):
        row = expected[sounding.pitches.tolist().index(pitch)]
        first = math.floor((held.onset[i] - 0.03) / HOP + shift)
        onset = math.floor(held.onset[i] / HOP + shift)
        last = math.ceil((held.offset[i] + 0.3) / HOP + shift)
        before = [j for j in range(i) if held.pitch[j] == pitch]
        if before and math.floor(held.onset[before[-1]] / HOP + shift) == onset:
            row[row == before[-1]] = NO_NOTE  # struck again at once
        row[frame >= onset] = NO_NOTE
        row[(frame >= first) & (frame < last) & (row == NO_NOTE)] = i
    np.testing.assert_array_equal(all_notes(sounding, n_frames), expected)


@quick
@given(st.one_of(note_lists, crowded), st.data())
def test_spans_blocks_and_places_agree(notes, data):
    n_frames = data.draw(st.integers(1, 400))
    sounding = SoundingNotes(notes, FRAMING, n_frames)
    assert sounding.spans.min(initial=0) >= 0
    assert sounding.spans.max(initial=0) <= n_frames
    lengths = np.diff(sounding.spans)[:, 0]
    assert (lengths >= 0).all()
    assert sounding.n_note_frames == lengths.sum()
    whole = all_notes(sounding, n_frames)
    # Each frame of each span is a frame of its key, so no key has two notes at once.
    assert (np.bincount(whole[whole != NO_NOTE], minlength=len(notes)) == lengths).all()
    for index, (first, last) in enumerate(sounding.spans):
        key = sounding.pitches.tolist().index(notes.pitch[index])
        assert (whole[key, first:last] == index).all()
    # Places number the frames of one note after the other.
    places = sounding.place(whole, slice(0, n_frames))[whole != NO_NOTE]
    assert sorted(places.tolist()) == list(range(sounding.n_note_frames))
    # So they do in any division into blocks.
    cuts = sorted(data.draw(st.lists(st.integers(0, n_frames), max_size=4)))
    edges = [0, *cuts, n_frames]
    blocks = [slice(a, b) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(
        np.concatenate([sounding.note_of_key(block) for block in blocks], axis=1), whole
    )
    np.testing.assert_array_equal(
        np.concatenate(
            [sounding.timbres(sounding.note_of_key(block), block) for block in blocks], axis=2
        ),
        sounding.timbres(whole, slice(0, n_frames)),
    )


def test_a_note_sounds_from_before_its_onset_until_after_its_end():
    [[first, last]] = SoundingNotes(NoteList([1.0], [2.0], [60], [70]), FRAMING, 100).spans
    times = (np.array([first, last - 1]) - 1) * HOP
    np.testing.assert_allclose(times, [0.97, 2.3], atol=HOP)


def test_the_pedal_holds_notes():
    notes = NoteList([1.0, 1.0], [1.5, 1.5], [60, 64], [70, 70], pedal=[[1.2, 3.0]])
    [[_, last], _] = SoundingNotes(notes, FRAMING, 1000).spans
    assert (last - 1) * HOP == pytest.approx(3.3, abs=2 * HOP)


def test_a_key_that_sounds_belongs_to_its_last_note_until_it_is_struck_again():
    notes = NoteList([1.0, 2.0, 4.0], [2.0, 3.0, 5.0], [60] * 3, [70] * 3)
    spans = SoundingNotes(notes, FRAMING, 200).spans
    times = (spans - FRAMING.frame_at(0.0)) * HOP
    assert spans[0, 1] == spans[1, 0]
    assert times[1, 0] == pytest.approx(2.0, abs=HOP)
    # Its onset is not exact, and nothing else sounds before it.
    assert times[2, 0] == pytest.approx(4.0 - 0.03 - HOP / 2, abs=HOP / 2)


def test_only_the_last_of_notes_at_once_has_frames():
    notes = NoteList([1, 1, 1.001], [1.5, 3, 2], [60] * 3, [70] * 3)
    lengths = np.diff(SoundingNotes(notes, FRAMING, 200).spans)[:, 0]
    assert (lengths > 0).tolist() == [False, False, True]


def test_notes_beyond_the_end_have_no_frames():
    notes = NoteList([0.5, 50.0], [1.0, 51.0], [60, 62], [70, 70])
    sounding = SoundingNotes(notes, FRAMING, 40)
    assert np.diff(sounding.spans)[:, 0].tolist() == [sounding.n_note_frames, 0]
    assert (all_notes(sounding, 40)[1] == NO_NOTE).all()


def test_the_attack_is_over_after_its_time():
    notes = NoteList([1.0, 2.0], [2.0, 3.0], [60, 60], [70, 70])
    sounding = SoundingNotes(notes, FRAMING, 150)
    note = all_notes(sounding, 150)
    attack, *others = sounding.timbres(note, slice(0, 150))[0]
    for timbre in others:
        np.testing.assert_array_equal(timbre, note[0] != NO_NOTE)
    firsts = sounding.spans[:, 0]
    expected = [first + i for first in firsts.tolist() for i in range(round(0.25 / HOP))]
    assert np.flatnonzero(attack).tolist() == expected
