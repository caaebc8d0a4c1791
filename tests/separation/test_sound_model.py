"""The model of a recording's sounds, and its masks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import NoteList
from harmnmf.separation.factorization import ScoreActivations, noise_bands
from harmnmf.separation.framing import Framing
from harmnmf.separation.sound_model import SoundModel, join_activations
from harmnmf.separation.sounding import SoundingNotes

FRAMING = Framing(1000)
N_FRAMES, N_TIMBRES = 60, 3
NOTES = NoteList([0.1, 0.1, 0.5, 0.9], [0.4, 1.0, 0.8, 1.2], [60, 62, 60, 64], [70] * 4)
quick = settings(deadline=None, max_examples=30)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    sounding = SoundingNotes(NOTES, FRAMING, N_FRAMES)

    def random(*shape):
        return rng.gamma(0.5, size=shape).astype(np.float32)

    return SoundModel(
        random(FRAMING.axis.n_bins, 3, N_TIMBRES),
        random(N_TIMBRES, sounding.n_note_frames),
        random(noise_bands(FRAMING.axis).shape[1], N_FRAMES),
        sounding,
        FRAMING,
    )


def plain_powers(model):
    """Power of each note, (n_notes, n_bins, n_frames), and of the noise."""
    powers = np.zeros((len(NOTES), len(model.W), N_FRAMES))
    done = 0
    for i, (first, last) in enumerate(model.sounding.spans):
        key = model.sounding.pitches.tolist().index(NOTES.pitch[i])
        H = model.H[:, done : done + last - first].astype(float)
        powers[i, :, first:last] = (model.W[:, key].astype(float) @ H) ** 2
        done += last - first
    return powers, (noise_bands(FRAMING.axis).double().numpy() @ model.G) ** 2


def test_masks_are_shares_of_the_power(model):
    powers, noise = plain_powers(model)
    total = powers.sum(axis=0) + noise
    masks = model.masks(slice(0, N_FRAMES), np.arange(4), 4)
    np.testing.assert_allclose(masks, powers / total, rtol=1e-3, atol=1e-6)
    assert model.n_frames == N_FRAMES
    rest = 1 - masks.sum(dim=0).double().numpy()
    np.testing.assert_allclose(rest, noise / total, atol=1e-5)


@quick
@given(st.lists(st.integers(-1, 2), min_size=4, max_size=4), st.data())
def test_masks_of_groups_are_sums_of_those_of_notes(model, group, data):
    start = data.draw(st.integers(0, N_FRAMES - 1))
    frames = slice(start, data.draw(st.integers(start + 1, N_FRAMES)))
    masks = model.masks(frames, np.array(group), 3)
    notes = model.masks(slice(0, N_FRAMES), np.arange(4), 4)[..., frames]
    expected = [notes[np.array(group) == i].sum(dim=0) for i in range(3)]
    np.testing.assert_allclose(masks, torch.stack(expected), rtol=1e-5, atol=1e-7)
    assert (masks >= 0).all()
    assert (masks.sum(dim=0) <= 1 + 1e-5).all()


def test_silence_belongs_to_no_note(model):
    silent = SoundModel(
        model.W, np.zeros_like(model.H), np.zeros_like(model.G), model.sounding, FRAMING
    )
    assert (silent.masks(slice(0, N_FRAMES), np.arange(4), 4) == 0).all()


def test_activations_of_blocks_are_joined(model):
    sounding = model.sounding
    rng = np.random.default_rng(1)
    H = torch.from_numpy(rng.random((3, N_TIMBRES, N_FRAMES), dtype=np.float32))
    G = torch.from_numpy(rng.random((2, N_FRAMES), dtype=np.float32))
    for edges in ([0, N_FRAMES], [0, 1, 17, 40, N_FRAMES]):
        blocks = [slice(a, b) for a, b in pairwise(edges)]
        joined, noise = join_activations(
            ((x, ScoreActivations(H[..., x], G[:, x])) for x in blocks), sounding, N_TIMBRES
        )
        np.testing.assert_array_equal(noise, G)
        expected = [
            H[sounding.pitches.tolist().index(pitch), :, first:last]
            for pitch, (first, last) in zip(NOTES.pitch, sounding.spans, strict=True)
        ]
        np.testing.assert_array_equal(joined, torch.cat(expected, dim=1))
