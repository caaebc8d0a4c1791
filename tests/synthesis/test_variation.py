from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_strategies import crowded, note_lists

from harmnmf import NoteList
from harmnmf.synthesis.variation import excerpt, vary_performance

seeds = st.integers(0, 2**32)
SEEDS = range(60)


def vary(notes, seed):
    return vary_performance(notes, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def scale():
    """Two octaves and back, with one note every quarter of a second."""
    pitch = [*range(48, 72), *range(72, 48, -1)]
    onset = np.arange(48) / 4
    return NoteList(onset, onset + 0.2, pitch, 40 + np.arange(48) % 40)


@pytest.fixture(scope="module")
def long_notes():
    """Twenty notes of four seconds, one after the other."""
    onset = np.arange(20) * 5.0
    return NoteList(onset, onset + 4, np.arange(50, 70), [80] * 20)


class TestVary:
    @settings(deadline=None)
    @given(st.one_of(note_lists, crowded), seeds)
    def test_is_valid_on_a_piano(self, notes, seed):
        varied = vary(notes, seed)
        assert ((varied.pitch >= 21) & (varied.pitch <= 108)).all()
        assert ((varied.velocity >= 1) & (varied.velocity <= 127)).all()
        assert varied == varied.without_overlaps()
        assert varied == vary(notes, seed)

    @pytest.mark.parametrize("seed", SEEDS[:8])
    def test_keeps_the_melody(self, scale, seed):
        varied = vary(scale, seed)
        assert len(varied) == len(scale)
        transposition = varied.pitch - scale.pitch
        assert np.ptp(transposition) == 0
        assert -5 <= transposition[0] <= 6
        stretch = np.polyfit(scale.onset, varied.onset, 1)[0]
        assert 0.795 < stretch < 1.255
        assert np.abs(varied.onset - stretch * scale.onset).max() < 0.011
        # Louder notes stay louder, or as loud.
        order = np.argsort(scale.velocity)
        assert (np.diff(varied.velocity[order]) >= 0).all()

    def test_covers_the_ranges(self, scale):
        varied = [vary(scale, seed) for seed in SEEDS]
        transposition = np.array([np.median(v.pitch) - np.median(scale.pitch) for v in varied])
        assert set(range(-5, 7)) <= set(transposition.tolist())
        # Few are moved to either end of the keyboard.
        assert transposition.min() < -11
        assert transposition.max() > 11
        assert np.mean(np.abs(transposition) > 7) < 0.25
        means = np.array([v.velocity.mean() for v in varied])
        assert means.min() < 42
        assert means.max() > 88
        spread = np.array([v.velocity.std() for v in varied]) / scale.velocity.std()
        assert spread.min() < 0.75
        assert spread.max() > 1.25
        length = np.array([v.onset[-1] for v in varied]) / scale.onset[-1]
        assert length.min() < 0.85
        assert length.max() > 1.2

    def test_drops_very_short_notes(self):
        notes = NoteList([0, 1, 2], [0.5, 1.005, 2.005], [60, 61, 62], [70] * 3, [[1.9, 3.0]])
        n_kept = 0
        for seed in SEEDS:
            onset = vary(notes, seed).onset
            assert not ((onset > 0.64) & (onset < 1.59)).any()
            n_kept += onset.max() > 1.59
        assert n_kept > 0.9 * len(SEEDS)

    def test_sometimes_drops_the_pedal(self, scale):
        held = NoteList(*(getattr(scale, n) for n in ("onset", "offset", "pitch", "velocity")),
                        [[1, 2], [3, 5]])  # fmt: skip
        lengths = [len(vary(held, seed).pedal) for seed in SEEDS]
        assert set(lengths) == {0, 2}
        assert 0 < lengths.count(0) < 20

    def test_legato_pedal_is_released_at_onsets(self, scale):
        pedals = [(varied := vary(scale, seed), varied.pedal) for seed in SEEDS]
        assert 15 < sum(len(pedal) > 0 for _, pedal in pedals) < 45
        for varied, pedal in pedals:
            for release in pedal[:-1, 1]:
                assert np.abs(varied.onset - release).min() < 0.006
            assert (pedal[1:, 0] > pedal[:-1, 1] + 0.04).all()


class TestTextures:
    """Octaves and trills, which some performances get."""

    def test_octaves(self, long_notes):
        textures = [vary(long_notes, seed) for seed in SEEDS]
        doubled = [varied for varied in textures if np.ptp(varied.pitch) > 21]
        assert 0 < len(doubled) < 0.25 * len(SEEDS)
        for varied in doubled:
            # Each pair begins within twice the jitter, an octave apart.
            pair = np.diff(varied.onset) < 0.011
            assert 2 < pair.sum() < 19
            assert (np.abs(np.diff(varied.pitch)[pair]) == 12).all()

    def test_trills_keep_the_span_of_the_note(self, long_notes):
        steps = set()
        for seed in range(100):
            varied = vary(long_notes, seed)
            if np.ptp(varied.pitch) > 21:
                continue  # has octaves
            begins = np.flatnonzero(np.diff(varied.onset, prepend=-1.0) > 0.5)
            assert len(begins) == 20
            stretch = np.median(np.diff(varied.onset[begins])) / 5
            for own in np.split(np.arange(len(varied)), begins[1:]):
                onset, offset = varied.onset[own], varied.offset[own]
                # Strikes follow each other without a gap; a last one that is too short is dropped.
                np.testing.assert_allclose(offset[:-1], onset[1:])
                assert offset[-1] - onset[0] == pytest.approx(4 * stretch, abs=0.04)
                if len(onset) > 1:
                    strikes = np.diff(onset)
                    assert (strikes > 1 / 15.1).all()
                    assert (strikes < 1 / 3.9).all()
                    np.testing.assert_allclose(strikes, strikes[0])
                    pitch = varied.pitch[own]
                    assert (pitch[::2] == pitch[0]).all()
                    assert (pitch[1::2] == pitch[1]).all()
                    steps.add(int(pitch[1] - pitch[0]))
        assert steps == {0, 1, 2}


class TestExcerpt:
    @settings(deadline=None)
    @given(st.one_of(note_lists, crowded), seeds, st.floats(0.1, 100))
    def test_is_a_part(self, notes, seed, duration):
        part = excerpt(notes, np.random.default_rng(seed), duration)
        assert len(part) <= len(notes)
        assert part.offset.max(initial=0.0) <= duration * (1 + 1e-9)
        assert part.pedal.max(initial=0.0) <= duration * (1 + 1e-9)
        if len(notes) and notes.offset.max() - notes.onset[0] < 0.99 * duration:
            assert part.onset[0] == 0
            assert len(part) == len(notes)

    def test_begins_anywhere_in_the_music(self, scale):
        late = scale.shift(1000.0)
        parts = [excerpt(late, np.random.default_rng(seed), 4.0) for seed in SEEDS]
        assert {len(part) for part in parts} <= {15, 16}
        assert len({int(part.pitch[0]) for part in parts}) > 15
