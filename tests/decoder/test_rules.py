from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.decoder.rules import PianoActivations, decode_notes, onset_evidence

HOP, N_ATTACK, LEAD = 0.02, 10, 0.02
N_FRAMES = 200
C4 = 39

drawn = settings(deadline=None, max_examples=40)


def piano(attack, sustain, *, hop=HOP):
    attack, sustain = (np.asarray(values, dtype=np.float32) for values in (attack, sustain))
    pitches = np.arange(21, 21 + len(attack))
    return PianoActivations(attack, sustain, pitches, hop, N_ATTACK, LEAD)


def struck(*blows, n_frames=N_FRAMES, hop=HOP):
    """Activations of notes (row, frame, strength, frames held)."""
    attack, sustain = np.zeros((2, 88, n_frames), dtype=np.float32)
    for row, frame, strength, held in blows:
        attack[row, frame - 1 : frame + 2] += strength * np.float32([0.5, 1.0, 0.5])
        decay = 0.99 ** np.arange(held)
        sustain[row, frame + 4 : frame + 4 + held] = (0.3 * strength * decay)[
            : n_frames - frame - 4
        ]
    return piano(attack, sustain, hop=hop)


def busy(seed, n_frames=N_FRAMES):
    """Random activations like those of a solver: sparse, of all magnitudes, never zero."""
    rng = np.random.default_rng(seed)
    return piano(*rng.gamma(0.05, size=(2, 88, n_frames)) + 1e-9)


def onset_frames(notes):
    """Convert onsets decoded with latency 0 to frames of attacks."""
    return ((notes.onset - LEAD) / HOP).round(6).tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sustain": np.zeros((88, 5))},
        {"pitches": np.arange(87)},
        {"attack": np.zeros(88), "sustain": np.zeros(88)},
        {"attack": np.full((88, 4), np.nan)},
        {"sustain": np.full((88, 4), -1e-3)},
        {"hop_duration": 0.0},
        {"attack_lead": np.inf},
        {"n_attack": 0},
    ],
)
def test_invalid_activations(wrong):
    right = {
        "attack": np.zeros((88, 4)),
        "sustain": np.zeros((88, 4)),
        "pitches": np.arange(21, 109),
        "hop_duration": HOP,
        "n_attack": N_ATTACK,
        "attack_lead": LEAD,
    }
    PianoActivations(**right)
    with pytest.raises(ParameterError):
        PianoActivations(**{**right, **wrong})


@pytest.mark.parametrize(("n_frames", "n_attack"), [(0, 3), (2, 5), (30, 1), (30, 7)])
def test_level_is_the_sum_of_attacks_and_sustain(n_frames, n_attack):
    rng = np.random.default_rng(0)
    attack, sustain = rng.gamma(0.1, size=(2, 3, n_frames)).astype(np.float32)
    activations = PianoActivations(attack, sustain, np.arange(3), HOP, n_attack, LEAD)
    expected = sustain.astype(np.float64)
    for k in range(3):
        for n in range(n_frames):
            for j in range(min(n_attack, n_frames - n)):
                expected[k, n + j] += attack[k, n]
    assert activations.level.dtype == np.float32
    np.testing.assert_allclose(activations.level, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_frames", [1, 3, 60])
def test_evidence_equals_its_definition(n_frames):
    activations = busy(3, n_frames)
    attack, sustain = (
        values.astype(np.float64) for values in (activations.attack, activations.sustain)
    )

    def mirrored(n):
        # (d c b a | a b c d | d c b a), as SciPy continues arrays.
        n %= 2 * n_frames
        return n if n < n_frames else 2 * n_frames - 1 - n

    strength, nearby = np.zeros((2, 88, n_frames))
    for n in range(n_frames):
        for d in (-1, 0, 1):
            strength[:, n] += attack[:, mirrored(n + d)]
    for n in range(n_frames):
        for d in (-2, -1, 0, 1, 2):
            nearby[:, n] = np.maximum(nearby[:, n], strength[:, mirrored(n + d)])
    loudest = strength.max(axis=0)
    heard = [level for level in loudest if level > 0.01 * np.quantile(loudest, 0.995)]
    reference = max(np.quantile(heard, 0.99), 10 ** (-70 / 20))

    def decibels(level):
        return 20 * np.log10(level / reference + 1e-3)

    expected = np.zeros((88, n_frames))
    overtone = np.zeros((88, n_frames))
    for n in range(n_frames):
        for k in range(12, 88):
            below = max(strength[k - 12, mirrored(n + d)] for d in (-1, 0, 1))
            gap = decibels(below) - decibels(strength[k, n])
            overtone[k, n] = min(max((gap - 2) / 4, 0), 1)
    for n in range(n_frames):
        before, soon, late = (min(max(n + d, 0), n_frames - 1) for d in (-3, 5, 12))
        expected[:, n] = (
            decibels(strength[:, n])
            - 0.25 * decibels(nearby[:, n].sum())
            - 16 * overtone[:, n]
            - 0.1 * decibels(sustain[:, before])
            + 0.15 * decibels(sustain[:, soon])
            + 0.05 * decibels(sustain[:, late])
            - 46 * ((np.arange(21, 109) - 64) / 88) ** 2
        )
    found, evidence = onset_evidence(activations)
    np.testing.assert_allclose(found, decibels(strength), atol=1e-3)
    np.testing.assert_allclose(evidence, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [[1.0], [0.5, 1.0, 0.5], [1.0, 1.0], [1.0, 1.0, 1.0]])
@pytest.mark.parametrize("hop", [0.005, 0.02, 0.032, 0.1])
def test_the_middle_of_an_attack_is_the_onset_at_any_hop(hop, shape):
    attack, sustain = np.zeros((2, 88, 400))
    attack[C4, 100 : 100 + len(shape)] = shape
    sustain[C4, 102:300] = 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = decode_notes(piano(attack, sustain, hop=hop), latency=0.0)
    middle = 100 + (len(shape) - 1) / 2
    np.testing.assert_allclose(notes.onset, [middle * hop + LEAD], atol=0.51 * hop)


@drawn
@given(st.floats(1e-2, 1e9))
def test_level_does_not_matter(factor):
    activations = struck((C4, 50, 1.0, 60), (C4 + 4, 70, 0.4, 60), (C4, 120, 0.6, 30))
    scaled = piano(*(factor * values for values in (activations.attack, activations.sustain)))
    notes, expected = decode_notes(scaled), decode_notes(activations)
    assert notes.pitch.tolist() == expected.pitch.tolist() == [60, 64, 60]
    np.testing.assert_allclose(notes.intervals, expected.intervals, atol=1e-4)
    assert np.abs(notes.velocity - expected.velocity).max() <= 1


@pytest.mark.parametrize("second", [0.6, 1.5])
@pytest.mark.parametrize(
    ("frames", "shoulders", "n_notes"),
    # What an attack spreads to its neighbours counts against the next one.
    [(2, 0.0, 1), (2, 0.2, 1), (5, 0.0, 2), (6, 0.02, 2), (6, 0.2, 2), (20, 0.2, 2)],
)
def test_repetitions(frames, shoulders, n_notes, second):
    attack, sustain = np.zeros((2, 88, N_FRAMES))
    for frame, strength in ((50, 1.0), (50 + frames, second)):
        attack[C4, frame - 1 : frame + 2] += strength * np.array([shoulders, 1.0, shoulders])
    sustain[C4, 54:120] = 0.3
    notes = decode_notes(piano(attack, sustain), latency=0.0)
    assert notes.pitch.tolist() == [60] * n_notes
    if n_notes == 2:
        np.testing.assert_allclose(onset_frames(notes), [50, 50 + frames], atol=0.6)
        # The first ends when the second begins, or a moment before.
        assert notes.onset[1] - HOP - LEAD - 1e-9 <= notes.offset[0] <= notes.onset[1]


def test_a_lasting_attack_is_one_note():
    attack, sustain = np.zeros((2, 88, N_FRAMES))
    attack[C4, 50:80] = 1.0
    assert decode_notes(piano(attack, sustain)).pitch.tolist() == [60]


def test_a_note_ends_when_it_has_fallen_by_the_threshold():
    attack, sustain = np.zeros((2, 88, 300))
    attack[C4, 50] = 1.0
    # 1 dB a frame from the end of the attack, frame 60, on.
    sustain[C4, 60:] = 10 ** (-np.arange(240) / 20)
    for threshold in (-10.5, -26.5, -40.5):
        notes = decode_notes(piano(attack, sustain), offset_threshold=threshold)
        assert notes.offset.tolist() == [pytest.approx((60 + np.ceil(-threshold)) * HOP)]


def test_notes_at_the_end():
    attack, sustain = np.zeros((2, 88, N_FRAMES))
    attack[C4, 10], attack[C4 + 7, -1] = 1.0, 1.0
    sustain[C4, 11:] = 0.5
    notes = decode_notes(piano(attack, sustain), latency=-0.05)
    assert notes.pitch.tolist() == [60, 67]
    assert notes.offset[0] == pytest.approx(N_FRAMES * HOP)
    assert notes.offset[1] > notes.onset[1]


def test_velocity_grows_with_the_attack():
    strengths = [0.3, 0.4, 0.55, 0.75, 1.0, 1.4]
    blows = [(30 + 3 * i, 20 + 40 * i, s, 20) for i, s in enumerate(strengths)]
    velocity = decode_notes(struck(*blows, n_frames=300)).velocity
    assert len(velocity) == len(strengths)
    assert (np.diff(velocity) > 0).all()


def test_velocities_are_from_1_to_127():
    # So many loud attacks that one outburst among them is far louder than the loud.
    blows = [(20 + i % 30, 10 * i + 10, 1.0, 5) for i in range(290)]
    velocity = decode_notes(
        struck(*blows, (60, 2955, 1e3, 20), (5, 2980, 1e-2, 5), n_frames=3000),
        onset_threshold=-45.0,
    ).velocity
    assert velocity.max() == 127
    assert velocity.min() >= 1


@drawn
@given(st.integers(0, 10_000), st.floats(-60, 10), st.floats(0, 20))
def test_a_higher_threshold_adds_no_notes(seed, threshold, more):
    activations = busy(seed)
    # Equal levels side by side, as float32 has them, must not split when some are cut off.
    activations = piano(activations.attack.round(1), activations.sustain)
    onsets = [
        set(zip(notes.pitch.tolist(), notes.onset.round(6).tolist(), strict=True))
        for notes in (
            decode_notes(activations, onset_threshold=threshold),
            decode_notes(activations, onset_threshold=threshold + more),
        )
    ]
    assert onsets[1] <= onsets[0]


@drawn
@given(st.floats(-0.5, 0.5))
def test_latency_shifts_onsets(latency):
    activations = busy(1)
    still = decode_notes(activations, latency=0.0)
    notes = decode_notes(activations, latency=latency)
    # Two onsets of a key that are both clipped to the start are one.
    onsets = (still.onset - latency).clip(min=0.0).round(9)
    expected = sorted(set(zip(still.pitch, onsets, strict=True)))
    assert sorted(zip(notes.pitch, notes.onset.round(9), strict=True)) == expected


@pytest.mark.parametrize(("n_frames", "level"), [(0, 0.0), (1, 1e-6), (3, 1e-30), (500, 1e-6)])
def test_silence_has_no_notes(n_frames, level):
    attack, sustain = level * np.random.default_rng(0).random((2, 88, n_frames))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(decode_notes(piano(attack, sustain))) == 0


def test_a_low_threshold_finds_no_notes_in_silence():
    activations = struck((C4, 50, 1.0, 60))
    assert len(decode_notes(activations, onset_threshold=-1000.0)) == 1


def test_a_recording_shorter_than_an_attack_can_have_notes():
    attack, sustain = np.zeros((2, 88, 3))
    attack[C4, 1], sustain[C4, 2] = 1.0, 0.5
    assert decode_notes(piano(attack, sustain)).pitch.tolist() == [60]
