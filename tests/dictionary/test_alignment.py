"""Alignment of notes with a recording."""

from __future__ import annotations

import numpy as np
import pytest

from harmnmf import Audio, NoteList
from harmnmf.dictionary.alignment import estimate_offset, notes_fit
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary

RATE = 16000


def melody(n_notes, seed=0, duration=8.0):
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.uniform(0.3, duration - 1, n_notes))
    return NoteList(onset, onset + 0.5, rng.integers(40, 85, n_notes), [70] * n_notes)


def play(notes, late=0.0, tuning=0.0, duration=8.0, noise=1e-3):
    """Decaying partials at the notes, and noise."""
    time = np.arange(round(duration * RATE)) / RATE
    samples = noise * np.random.default_rng(1).normal(size=len(time))
    hz = notes.hz * 2 ** (tuning / 12)
    for onset, f0 in zip(notes.onset + late, hz, strict=True):
        age = np.clip(time - onset, 0, None)
        tone = sum(0.1 / h * np.sin(2 * np.pi * h * f0 * age) for h in range(1, 7) if h * f0 < 7500)
        samples += tone * np.exp(-4 * age)
    return samples


@pytest.mark.parametrize("late", [-0.1, -0.06, 0.0, 0.035, 0.095])
@pytest.mark.parametrize("n_notes", [1, 20])
def test_the_offset_is_found(late, n_notes):
    notes = melody(n_notes)
    found = estimate_offset(play(notes, late), RATE, notes)
    assert found == pytest.approx(late, abs=0.006)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_the_rate_and_the_level_do_not_matter(rate):
    notes = melody(10)
    samples = Audio(play(notes, 0.04), RATE).resample(rate).samples
    assert estimate_offset(0.01 * samples, rate, notes) == pytest.approx(0.04, abs=0.006)


def test_larger_offsets_are_not_found():
    notes = melody(10)
    assert abs(estimate_offset(play(notes, 0.4), RATE, notes)) <= 0.1 + 1e-9


@pytest.fixture(scope="module")
def dictionary():
    return TimbreDictionary.load("default")


def fits(samples, notes, dictionary):
    return notes_fit(dictionary.front_end.transform(samples), notes, dictionary)


@pytest.mark.parametrize("gain", [1e-3, 1.0])
@pytest.mark.parametrize("n_notes", [1, 4, 30])
def test_notes_fit_their_recording(dictionary, gain, n_notes):
    notes = melody(n_notes)
    assert fits(gain * play(notes), notes, dictionary)


@pytest.mark.parametrize("pitches", [[60], [60, 62], [48, 60, 72]])
@pytest.mark.parametrize("period", [0.1, 0.2])
def test_repeated_notes_fit(dictionary, pitches, period):
    """A trill, of which each key rises again before its rise has ended."""
    onset = np.arange(0.3, 3, period)
    notes = NoteList(onset, onset + 0.9 * period, np.resize(pitches, len(onset)), [70] * len(onset))
    assert fits(play(notes, duration=4.0), notes, dictionary)


@pytest.mark.parametrize("duration", [0.1, 0.35, 0.6, 1.0])
def test_notes_of_a_short_recording_fit(dictionary, duration):
    onset = min(0.3, duration / 2)
    notes = NoteList([onset], [1.5], [60], [70])
    assert fits(play(notes, duration=duration), notes, dictionary)


def test_notes_of_another_piece_do_not_fit(dictionary):
    piece, *others = (melody(60, seed, duration=20.0) for seed in range(6))
    samples = play(piece, duration=20.0)
    assert fits(samples, piece, dictionary)
    for other in others:
        assert not fits(samples, other, dictionary)


@pytest.mark.parametrize("late", [-0.5, 0.5])
def test_notes_at_other_times_do_not_fit(dictionary, late):
    notes = melody(20)
    assert not fits(play(notes), notes.shift(late), dictionary)


def test_notes_a_semitone_off_do_not_fit(dictionary):
    notes = melody(20)
    other = NoteList(notes.onset, notes.offset, notes.pitch + 1, notes.velocity)
    assert not fits(play(notes), other, dictionary)


def test_noise_and_silence_have_no_notes(dictionary):
    notes = melody(20)
    assert not fits(np.zeros(8 * RATE), notes, dictionary)
    assert not fits(np.random.default_rng(2).normal(size=8 * RATE), notes, dictionary)
