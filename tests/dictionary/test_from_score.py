from __future__ import annotations

import numpy as np
import pytest

from harmnmf import (
    Audio,
    AudioError,
    HarmonicSeries,
    NoteList,
    ParameterError,
    TimbreDictionary,
    Transcriber,
    evaluate_notes,
    harmonic_templates,
    learn_from_score,
    read_audio,
    read_notes,
    write_audio,
    write_midi,
)
from harmnmf.dictionary.alignment import estimate_offset
from harmnmf.dictionary.from_score import timbre_roll
from harmnmf.nmf.templates import initial_weights
from harmnmf.signal.harmonics import piano_inharmonicity, pitch_to_hz
from harmnmf.signal.spectrogram import STFT, LogFrequency

RATE = 16000
FRONT_END = LogFrequency()
N_ATTACK, SUSTAIN, DECAY = 10, 10, 11
SOLVERS = ("multiplicative", "bayesian", "decibel")
# Decibels of the partials of each key, unlike those of the initial dictionary.
LEVELS = {
    57: np.array([0.0, -3, -14, -6]),
    61: np.array([-10.0, 0, -4, -18]),
    64: np.array([-3.0, -16, 0, -8]),
}
CHORDS = [(57,), (61, 64), (57, 64), (61,), (57, 61), (64,)]


def partials(pitch):
    return HarmonicSeries(4, piano_inharmonicity(pitch)).frequencies(pitch_to_hz(pitch))


def play(notes, *, late=0.0, tuning=0.0, gain=0.05):
    """Synthesise notes, each with the partials of its key."""
    samples = np.zeros(round((notes.offset.max() + late + 1.0) * RATE))
    for onset, offset, pitch in zip(notes.onset, notes.offset, notes.pitch, strict=True):
        t = np.arange(round((offset - onset) * RATE)) / RATE
        hz = partials(pitch)[:, None] * 2 ** (tuning / 12)
        amplitude = 10 ** (LEVELS[pitch][:, None] / 20)
        tone = (amplitude * np.cos(2 * np.pi * hz * t + np.arange(4)[:, None] ** 2)).sum(axis=0)
        tone *= np.exp(-2 * t) * np.minimum(1, (t[-1] - t) / 0.02)
        first = round((onset + late) * RATE)
        samples[first : first + len(tone)] += gain * tone
    return Audio(samples, RATE)


@pytest.fixture(scope="module")
def notes():
    rows = [(0.5 + 1.2 * i, pitch) for i, chord in enumerate(CHORDS) for pitch in chord]
    onset, pitch = np.array(rows).T
    return NoteList(onset, onset + 1.1, pitch, np.full(len(rows), 70))


@pytest.fixture(scope="module")
def harmonic():
    """Dictionary with partials at the right frequencies, and the same levels for all keys."""
    pitches = np.arange(55, 67)
    P = harmonic_templates(FRONT_END.axis, pitches, window_durations=FRONT_END.window_durations)
    W = np.einsum("fkm,mk->fk", P, initial_weights(pitches))
    W = np.repeat((W / W.sum(axis=0))[:, :, None], 12, axis=2)
    return TimbreDictionary(W, pitches, FRONT_END, N_ATTACK, 0.02, {"name": "harmonic"})


def partial_levels(dictionary, pitch, timbre):
    """Read the decibels of a key's partials, the strongest at 0 dB."""
    column = dictionary.W[:, np.searchsorted(dictionary.pitches, pitch), timbre]
    positions = np.rint(FRONT_END.axis.to_bin(partials(pitch))).astype(int)
    levels = np.array([20 * np.log10(column[p - 1 : p + 2].max()) for p in positions])
    return levels - levels.max()


# For the Itakura-Saito divergence the skirts of a partial matter as much as its peak, and those of
# a decaying tone are wider than those of the templates.
@pytest.mark.parametrize(
    ("solver", "tolerance"), [("multiplicative", 3), ("decibel", 3), ("bayesian", 6)]
)
def test_the_spectra_of_the_keys_are_found(notes, harmonic, solver, tolerance):
    learned = learn_from_score(
        [(play(notes), notes)], dictionary=harmonic, solver=solver, prior_weight=0.0
    )
    for pitch, levels in LEVELS.items():
        for timbre in (SUSTAIN, DECAY):
            error = partial_levels(learned, pitch, timbre) - levels
            assert np.abs(error).max() < tolerance, (pitch, timbre, error)
    np.testing.assert_allclose(learned.W[:, :, N_ATTACK:].sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(learned.W[:, :, :N_ATTACK].sum(axis=0).mean(axis=1), 1, rtol=1e-5)


def test_an_attack_rises_and_a_key_that_is_not_played_is_like_its_neighbours(notes, harmonic):
    learned = learn_from_score([(play(notes), notes)], dictionary=harmonic)
    for k in np.searchsorted(harmonic.pitches, list(LEVELS)):
        level = learned.W[:, k, :N_ATTACK].sum(axis=0)
        assert level[0] < level[1] < level[2] > level[9]
    np.testing.assert_allclose(
        partial_levels(learned, 56, SUSTAIN), partial_levels(learned, 57, SUSTAIN), atol=1.5
    )


def test_less_is_learned_about_a_key_that_is_played_once(notes, harmonic):
    few, many = (
        learn_from_score([(play(part), part)] * n, dictionary=harmonic)
        for part, n in ((notes.slice(0, 1.7), 1), (notes, 3))
    )
    before, once, often = (
        partial_levels(dictionary, 57, SUSTAIN) for dictionary in (harmonic, few, many)
    )
    distance_once, distance_often = (np.abs(x - LEVELS[57]).sum() for x in (once, often))
    assert distance_often < distance_once < np.abs(before - LEVELS[57]).sum()


def test_timbres_that_are_not_heard_do_not_change(harmonic):
    short = NoteList([3.0], [3.1], [57], [70])
    audio = Audio(play(short).samples[: round(3.12 * RATE)], RATE)
    learned = learn_from_score([(audio, short)], dictionary=harmonic)
    np.testing.assert_allclose(learned.W[:, 2, DECAY], harmonic.W[:, 2, DECAY], atol=1e-6)


@pytest.mark.parametrize("late", [-0.04, 0.0, 0.035, 0.08])
def test_the_offset_is_found(notes, late):
    audio = play(notes, late=late)
    assert estimate_offset(audio.samples, RATE, notes) == pytest.approx(late, abs=0.006)


def test_level_channels_delay_and_tuning_do_not_matter(notes, harmonic):
    expected, soft, late, flat = (
        learn_from_score([(audio, notes)], dictionary=harmonic)
        for audio in (
            Audio(np.stack([play(notes).samples] * 2), RATE),
            play(notes, gain=0.001),
            play(notes, late=0.04),
            play(notes, tuning=-0.3),
        )
    )
    np.testing.assert_allclose(soft.W, expected.W, atol=1e-3)
    assert late.metadata["recordings"]["recording 1"]["offset"] == pytest.approx(0.04, abs=0.006)
    for other in (late, flat):
        for pitch in LEVELS:
            np.testing.assert_allclose(
                partial_levels(other, pitch, SUSTAIN),
                partial_levels(expected, pitch, SUSTAIN),
                atol=1.5,
            )


@pytest.mark.parametrize("tuning", [-0.4, 0.0, 0.4])
def test_spectra_are_in_tune_and_the_tuning_of_the_piano_is_kept(notes, harmonic, tuning):
    learned = learn_from_score([(play(notes, tuning=tuning), notes)], dictionary=harmonic)
    assert learned.overall_tuning == pytest.approx(tuning, abs=0.05)
    about = learned.metadata["recordings"]["recording 1"]
    assert about["tuning"] == pytest.approx(100 * tuning, abs=5)
    strongest = FRONT_END.axis.to_hz(learned.W[:, 2, SUSTAIN].argmax())
    assert strongest == pytest.approx(220, rel=0.01)


def test_files_and_their_names(notes, harmonic, tmp_path):
    pairs = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        pairs.append((tmp_path / folder / "take.wav", tmp_path / folder / "take.mid"))
        write_audio(pairs[-1][0], play(notes))
        write_midi(pairs[-1][1], notes)
    seen = []
    learned = learn_from_score(
        pairs, dictionary=harmonic, metadata={"a": 1}, progress=seen.append, max_iter=1
    )
    assert seen == [str(path) for path, _ in pairs]
    about = learned.metadata
    assert about["recordings"]["take.wav"]["notes"] == len(notes)
    assert list(about["recordings"]) == ["take.wav", "take.wav (2)"]
    assert (about["a"], about["solver"]) == (1, "multiplicative")
    assert about["initial dictionary"] == {"name": "harmonic"}


def test_a_linear_front_end():
    front_end = STFT(n_fft=2048)
    pitches = np.array([57, 61, 64])
    P = harmonic_templates(front_end.axis, pitches, window_durations=front_end.window_durations)
    W = np.repeat(P.sum(axis=2)[:, :, None], 6, axis=2)
    dictionary = TimbreDictionary(W / W.sum(axis=0), pitches, front_end, 4, 0.02)
    notes = NoteList([0.5, 2.0], [1.5, 3.0], [57, 61], [70, 70])
    learned = learn_from_score([(play(notes), notes)], dictionary=dictionary)
    strongest = front_end.axis.to_hz(learned.W[:, :2, 4].argmax(axis=0))
    np.testing.assert_allclose(strongest, [partials(57)[0], partials(61)[1]], atol=8)


def test_the_roll():
    notes = NoteList([0.0, 0.5, 0.8], [0.4, 3.0, 0.9], [60, 60, 62], [70] * 3)
    roll = timbre_roll(notes, np.array([60, 62]), 120, 0.02, N_ATTACK)
    attack = [np.flatnonzero(frames).tolist() for frames in roll[0, :3]]
    assert attack == [[24], [0, 25], [1, 26]]
    assert roll[0].sum(axis=0).max() == 1
    # The second note of a key ends the first.
    assert not roll[0, DECAY, :24].any()
    assert np.flatnonzero(roll[0, SUSTAIN]).tolist() == [*range(9, 24), *range(34, 55)]
    assert np.flatnonzero(roll[0, DECAY]).tolist() == list(range(55, 120))
    assert np.flatnonzero(roll[1, DECAY]).tolist() == list(range(70, 95))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda a, n: [], ParameterError, "at least one recording"),
        (lambda a, n: [(a, NoteList([], [], [], []))], ParameterError, "recording 1: has no notes"),
        (lambda a, n: [(a, n.shift(20.0))], ParameterError, "a note begins at 26.5 s, but"),
        (lambda a, n: [(a, n), (a, n.shift(0.6))], ParameterError, "do not fit recording 2"),
        (lambda a, n: [(Audio(0.0005 * a.samples, RATE), n)], AudioError, "1: the recording is"),
        (
            lambda a, n: [(a, NoteList([0.5], [1.0], [40], [70]))],
            ParameterError,
            "keys that the dictionary lacks",
        ),
    ],
)
def test_recordings_that_cannot_be_used_are_errors(notes, harmonic, change, error, message):
    with pytest.raises(error, match=message):
        learn_from_score(change(play(notes), notes), dictionary=harmonic)


def test_invalid_parameters_are_errors(notes, harmonic):
    pair = (play(notes), notes)
    with pytest.raises(ParameterError, match="solver must be one of"):
        learn_from_score([pair], dictionary=harmonic, solver="magic")
    with pytest.raises(ParameterError, match="prior_weight must be a number of at least 0"):
        learn_from_score([pair], dictionary=harmonic, prior_weight=-1.0)
    other = TimbreDictionary(harmonic.W, harmonic.pitches, FRONT_END, 11, 0.02)
    with pytest.raises(ParameterError, match="two timbres besides"):
        learn_from_score([pair], dictionary=other)


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_example_is_transcribed_better(root, solver):
    audio = read_audio(root / "examples" / "example.flac")
    reference = read_notes(root / "examples" / "reference.mid")
    learned = learn_from_score([(audio, reference)], solver=solver)
    before, after = (
        evaluate_notes(
            reference, Transcriber(dictionary, decoder="nmf", device="cpu").transcribe(audio)
        )
        for dictionary in ("default", learned)
    )
    assert after["F-measure_no_offset"] >= before["F-measure_no_offset"]
