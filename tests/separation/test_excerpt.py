"""The part of a recording from which spectra are learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import Audio, NoteList, write_audio
from harmnmf.separation.excerpt import magnitudes, read_excerpt
from harmnmf.separation.framing import Frames, Framing

RATE = 1000
FRAMING = Framing(RATE)


def noise(duration, n_channels=1):
    shape = n_channels, round(duration * RATE)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def notes_at(*onsets):
    onset = np.array(onsets, dtype=float)
    return NoteList(onset, onset + 0.5, [60] * len(onset), [70] * len(onset))


def all_magnitudes(samples):
    frames = Frames(FRAMING, len(samples))
    spectra = [frames.push(torch.from_numpy(samples)), frames.finish()]
    return magnitudes(torch.cat(spectra, dim=-1))


def test_magnitudes_are_roots_of_the_mean_power():
    spectra = torch.tensor([[3 + 4j], [0j]])
    assert float(magnitudes(spectra)) == pytest.approx(np.sqrt(12.5))


@pytest.mark.parametrize("duration", [0.001, 3.0, 10.0, 25.0])
def test_a_short_recording_is_read_whole(duration):
    samples = noise(duration, 2)
    excerpt = read_excerpt(Audio(samples, RATE), notes_at(0, 10, 20), FRAMING)
    assert excerpt.n_samples == samples.shape[1]
    assert excerpt.n_channels == 2
    np.testing.assert_allclose(excerpt.audio.samples, samples.mean(axis=0), atol=1e-6)
    places = np.concatenate([np.r_[frames] for frames in excerpt.frames])
    assert places.tolist() == list(range(FRAMING.n_frames(samples.shape[1])))
    found = torch.cat(excerpt.V, dim=1)
    np.testing.assert_allclose(found, all_magnitudes(samples), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 599), min_size=1, max_size=40))
def test_notes_keep_their_places_in_the_samples(onsets):
    samples = np.arange(600 * RATE, dtype=np.float32)[None] / (600 * RATE)
    notes = notes_at(*onsets)
    excerpt = read_excerpt(Audio(samples, RATE), notes, FRAMING)
    blocks = len({int(onset // 10) for onset in onsets})
    assert excerpt.audio.duration == 10 * min(18, blocks)
    assert 1 <= len(excerpt.notes) <= len(notes)
    if blocks <= 18:
        assert len(excerpt.notes) == len(notes)
    # The sample at a note's place is that at its time in the recording.
    heard = excerpt.audio.samples[np.floor(excerpt.notes.onset * RATE).astype(int)] * 600
    known = [notes.onset[np.abs(notes.onset - time).argmin()] for time in heard]
    np.testing.assert_allclose(heard, known, atol=2.5e-3)
    np.testing.assert_allclose(excerpt.notes.offset - excerpt.notes.onset, 0.5)
    # Blocks are spread over the recording, from the first note to the last.
    assert heard.min() // 10 == min(onsets) // 10
    assert heard.max() // 10 == max(onsets) // 10


def test_places_of_the_frames():
    samples = noise(60)
    excerpt = read_excerpt(Audio(samples, RATE), notes_at(11, 12, 35), FRAMING)
    whole = all_magnitudes(samples)
    for V, frames, second in zip(excerpt.V, excerpt.frames, (10, 30), strict=True):
        np.testing.assert_allclose(V, whole[:, frames], rtol=1e-4, atol=1e-4)
        assert frames.start == pytest.approx(FRAMING.frame_at(second), abs=2)
    assert excerpt.notes.onset.tolist() == [1, 2, 15]


def test_notes_beyond_the_recording():
    excerpt = read_excerpt(Audio(noise(5.0), RATE), notes_at(12), FRAMING)
    assert excerpt.audio is None
    assert excerpt.n_samples == 5 * RATE


def test_channels_that_cancel():
    samples = noise(2.0)
    excerpt = read_excerpt(Audio(np.concatenate([samples, -samples]), RATE), notes_at(0), FRAMING)
    np.testing.assert_allclose(np.abs(excerpt.audio.samples), np.abs(samples[0]), atol=1e-6)


def test_files_and_progress(tmp_path):
    samples = noise(25.0, 2)
    write_audio(tmp_path / "x.wav", Audio(samples, RATE), subtype="FLOAT")
    seconds = []
    found = read_excerpt(tmp_path / "x.wav", notes_at(0, 21), FRAMING, seconds.append)
    assert seconds == [10, 20, 25]
    expected = read_excerpt(Audio(samples, RATE), notes_at(0, 21), FRAMING)
    np.testing.assert_array_equal(found.audio.samples, expected.audio.samples)
    assert found.frames == expected.frames
    assert found.notes == expected.notes
