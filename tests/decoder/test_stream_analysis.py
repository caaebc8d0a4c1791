"""Features of a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin2, lfilter
from small_streams import SETTINGS, dictionary, music

from harmnmf import ParameterError, TimbreDictionary, read_audio
from harmnmf.decoder.causal_network import stream_settings
from harmnmf.decoder.features import FeatureSettings, NoteFeatures, SlidingWindow
from harmnmf.decoder.levels import reference_level
from harmnmf.decoder.stream_analysis import StreamAnalysis, measure_stream
from harmnmf.nmf.solvers.convolutive import estimate_note_activations, room_bands
from harmnmf.signal.spectrogram import STFT

DICTIONARY = dictionary()
HOP, LOOK_AHEAD = 320, 480
MUSIC = music(2.0)


def analyse(samples, blocks=None, **options):
    analysis = StreamAnalysis(DICTIONARY, SETTINGS, **options)
    steps = []
    for block in [samples] if blocks is None else blocks:
        steps += analysis.push(block)
    return NoteFeatures.join(steps + analysis.finish()), analysis


def assert_same(a, b):
    for name, levels in a.arrays.items():
        np.testing.assert_array_equal(levels, b.arrays[name])


@pytest.fixture(scope="module")
def whole():
    """Features of detuned music, whose tuning is tracked."""
    return analyse(music(2.0, tuning=0.3), track_tuning=True)


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, 32000), max_size=12), singles=st.integers(0, 30))
def test_any_blocks_give_the_same_bits(whole, cuts, singles):
    samples = music(2.0, tuning=0.3)
    blocks = np.split(samples, sorted([*cuts, *range(singles)]))
    features, analysis = analyse(samples, blocks, track_tuning=True)
    assert_same(features, whole[0])
    assert (analysis.tuning, analysis.level) == (whole[1].tuning, whole[1].level)
    np.testing.assert_array_equal(analysis.response, whole[1].response)


@pytest.mark.parametrize("n_samples", [1, 319, 320, 480, 800, 801, 3200, 3519, 3520, 3521])
def test_number_of_frames(n_samples):
    features, _ = analyse(MUSIC[:n_samples])
    n_frames = 1 + n_samples // HOP
    assert features.n_frames == n_frames + n_frames % 2  # of whole steps


def test_steps_are_returned_when_their_frames_are_complete():
    analysis = StreamAnalysis(DICTIONARY, SETTINGS)
    n_steps = 0
    for n in range(1, 20):
        end = n * 2 * HOP - HOP + LOOK_AHEAD
        start = end - 2 * HOP if n > 1 else 0
        assert analysis.push(MUSIC[start : end - 1]) == []
        steps = analysis.push(MUSIC[end - 1 : end])
        assert [step.n_frames for step in steps] == [2]
        n_steps += 1
    assert n_steps == 19


def test_spectra_are_those_of_the_front_ends():
    features, analysis = analyse(MUSIC)
    for levels, front_end in (
        (features.spectrum, SETTINGS.front_end),
        (features.onset_spectrum, SETTINGS.onset_front_end),
    ):
        V = front_end.transform(MUSIC).values
        expected = SETTINGS.levels(V, analysis.level).astype(int)
        levels = levels[:, : V.shape[1]].astype(int)
        # The level to which they are relative changes from step to step.
        both = (np.minimum(levels, expected) > 0) & (np.maximum(levels, expected) < 255)
        change = np.ma.masked_array(levels - expected, ~both)
        assert (change.max(axis=0) - change.min(axis=0)).max() <= 1
        assert both.mean() > 0.2
        assert np.abs(change[:, 60:]).max() <= 10


def test_older_activations_are_known_better():
    features, _ = analyse(MUSIC)
    new, old = features.activations[:, :3], features.activations[:, 3:]
    assert features.activations.shape[:2] == (24, 6)
    # Those of age 4 are of frames that came four frames before.
    attacks = new[:, 0, :-4].astype(float), old[:, 0, 4:].astype(float)
    aligned = np.corrcoef(attacks[0].ravel(), attacks[1].ravel())[0, 1]
    others = [
        np.corrcoef(new[:, 0, :-4].ravel(), np.roll(old[:, 0, 4:], k, axis=1).ravel())[0, 1]
        for k in (-4, 4)
    ]
    assert aligned > max(others)
    assert (features.activations[:, 3:, :4] == 0).all()


def test_samples_after_a_step_do_not_change_it():
    n = 16000
    changed = MUSIC.copy()
    changed[n:] = 0.9
    first, _ = analyse(MUSIC)
    second, _ = analyse(changed)
    n_known = (n - LOOK_AHEAD) // HOP + 1
    n_known -= n_known % 2
    assert_same(first[:n_known], second[:n_known])
    assert not np.array_equal(first.spectrum, second.spectrum)


@pytest.mark.parametrize("gain", [0.1, 5.0])
def test_gain_does_not_matter(gain):
    (quiet, one), (loud, other) = analyse(MUSIC), analyse(gain * MUSIC)
    assert other.level / one.level == pytest.approx(gain, rel=0.06)
    for name, levels in quiet.arrays.items():
        difference = np.abs(levels.astype(int) - loud.arrays[name])
        # Levels are counted in steps of half a decibel, which are one or two of the features.
        assert np.quantile(difference, 0.99) <= 3, name


@pytest.mark.parametrize("tuning", [-0.3])
def test_a_detuned_piano_is_followed(tuning):
    samples = music(6.5, tuning=tuning)
    late = slice(200, None)
    reference, own = analyse(music(6.5), track_tuning=True)
    features, analysis = analyse(samples, track_tuning=True)
    assert analysis.tuning - own.tuning == pytest.approx(tuning, abs=0.03)
    fixed, _ = analyse(samples)

    def distance(other):
        levels = (x.spectrum[:, late].astype(float) for x in (other, reference))
        return np.abs(np.subtract(*levels)).mean()

    assert distance(features) < 0.75 * distance(fixed)


def test_a_tuning_to_begin_with():
    samples = music(1.5, tuning=-0.25)
    known, analysis = analyse(samples, tuning=-0.25)
    assert analysis.tuning == -0.25
    reference, _ = analyse(music(1.5))
    unknown, _ = analyse(samples)
    errors = [
        np.abs(x.spectrum.astype(float) - reference.spectrum).mean() for x in (known, unknown)
    ]
    assert errors[0] < 0.5 * errors[1]


def test_a_level_to_begin_with():
    level = reference_level(SETTINGS.front_end.transform(MUSIC).values)
    analysis = StreamAnalysis(DICTIONARY, SETTINGS, level=level)
    assert analysis.level == pytest.approx(level, rel=0.03)
    (first,) = analysis.push(np.full(HOP + LOOK_AHEAD, 1e-3, np.float32) * MUSIC[3200:4000])
    assert analysis.level == pytest.approx(level, rel=0.03)
    assert first.spectrum.max() < 100  # soft, not as loud as all that was heard


def test_a_response_to_begin_with():
    _, heard = analyse(music(2.0))
    analysis = StreamAnalysis(DICTIONARY, SETTINGS, response=heard.response)
    np.testing.assert_array_equal(analysis.response, heard.response)
    # Nothing is learned from silence and noise before the music.
    noise = np.random.default_rng(0).normal(0, 1e-4, 16000).astype(np.float32)
    analysis = StreamAnalysis(DICTIONARY, SETTINGS, response=heard.response, level=heard.level)
    analysis.push(np.concatenate([np.zeros(16000, np.float32), noise]))
    np.testing.assert_array_equal(analysis.response, heard.response)


@pytest.mark.slow
def test_the_response_is_that_of_an_equaliser(root):
    dictionary, settings = TimbreDictionary.load("live"), stream_settings()
    samples = read_audio(root / "examples" / "example.flac", duration=12.0).samples
    gains = [0, 100, 400, 1500, 4000, 8000], [2, 2, 0.7, 1.5, 0.5, 0.5]
    filtered = lfilter(firwin2(1023, *gains, fs=16000), 1, samples).astype(np.float32)
    responses = []
    for played in (samples, filtered):
        analysis = StreamAnalysis(dictionary, settings)
        analysis.push(played)
        responses.append(analysis.response)
    centres = dictionary.axis.frequencies[0] * 2 ** (np.arange(len(responses[0])) / 6)
    change, expected = np.log(responses[1] / responses[0]), np.log(np.interp(centres, *gains))
    assert np.corrcoef(change, expected)[0, 1] > 0.9
    # As from a file.
    bands = room_bands(dictionary.axis)
    file = estimate_note_activations(
        torch.from_numpy(settings.front_end.transform(filtered).values),
        torch.tensor(dictionary.W),
        dictionary.n_attack,
        bands=bands,
        reverberation=settings.room(0.02),
        max_iter=20,
        tol=None,
    ).response
    response = np.log(bands.numpy() @ responses[1])
    assert np.corrcoef(response, np.log(file.numpy()))[0, 1] > 0.9


@pytest.mark.parametrize("silent", [0.0, 1e-9])
def test_silence(silent):
    samples = np.concatenate([np.full(16000, silent, np.float32), MUSIC[:16000]])
    features, analysis = analyse(samples, track_tuning=True)
    assert (features.spectrum[:, :40] == 0).all()
    assert (features.activations[:, :, :40] == 0).all()
    assert np.isfinite(analysis.response).all()
    assert np.isfinite([analysis.level, analysis.tuning]).all()
    assert features.activations.max() > 100


def test_nothing_at_all():
    analysis = StreamAnalysis(DICTIONARY, SETTINGS)
    assert analysis.push([]) == []
    assert analysis.finish() == []


def test_features_for_training_are_those_of_a_stream():
    assert_same(measure_stream(MUSIC, DICTIONARY, SETTINGS), analyse(MUSIC)[0])


def test_settings_must_be_for_streams():
    for wrong in (
        replace(SETTINGS, sliding=None),
        FeatureSettings(STFT(), STFT(), sliding=SlidingWindow()),
    ):
        with pytest.raises(ParameterError, match="sliding window"):
            StreamAnalysis(DICTIONARY, wrong)


def test_a_response_of_another_axis():
    with pytest.raises(ParameterError, match=r"has 3 bands, and .* calibrate again"):
        StreamAnalysis(DICTIONARY, SETTINGS, response=np.ones(3, np.float32))
