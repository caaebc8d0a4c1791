"""Probabilities of notes: those of a perfect network, and arbitrary ones."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from harmnmf import NoteList
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.features import NoteFeatures
from harmnmf.decoder.posteriors import NotePosteriors

HOP = 0.02
N_FRAMES = 300
KEYS = np.arange(21, 109)


def posteriors_of(notes: NoteList) -> NotePosteriors:
    """Posteriors of a perfect network: its targets."""
    silence = np.zeros((390, N_FRAMES), np.uint8)
    features = NoteFeatures(silence, silence, np.zeros((88, 3, N_FRAMES), np.uint8))
    return NotePosteriors(*NoteExcerpt(features, notes, HOP).targets(), KEYS, HOP)


@st.composite
def note_lists(draw: st.DrawFn) -> NoteList:
    """Notes of different keys, or of one key at least 0.2 s apart."""
    notes = []
    for pitch in draw(st.lists(st.integers(21, 108), min_size=1, max_size=6, unique=True)):
        time = draw(st.floats(0.1, 2.0))
        for _ in range(draw(st.integers(1, 3))):
            duration = draw(st.floats(0.1, 0.8))
            notes.append((time, time + duration, pitch, draw(st.integers(1, 127))))
            time += duration + draw(st.floats(0.1, 0.3))
    return NoteList(*np.array(notes).T)


def coarse_posteriors(seed: int, n_frames: int, n_levels: int, hop: float) -> NotePosteriors:
    """Probabilities of few levels, so that neighbours and long stretches are often equal."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, n_levels, (4, 3, n_frames))
    # Some frames repeat the one before.
    held = np.maximum.accumulate(np.where(rng.random(n_frames) < 0.7, np.arange(n_frames), 0))
    levels = (steps / (n_levels - 1)).astype(np.float32)[..., held]
    pedal = np.repeat(rng.random(n_frames), 5)[:n_frames].astype(np.float32)
    return NotePosteriors(*levels, pedal, np.array([60, 64, 67]), hop)


any_posteriors = st.builds(
    coarse_posteriors,
    seed=st.integers(0, 2**32 - 1),
    n_frames=st.integers(0, 60),
    n_levels=st.integers(2, 6),
    hop=st.sampled_from([0.01, 0.02, 0.1]),
)
