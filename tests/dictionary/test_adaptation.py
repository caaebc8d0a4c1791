from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from harmnmf import (
    Audio,
    ParameterError,
    TimbreDictionary,
    Transcriber,
    adapt_dictionary,
    read_audio,
)
from harmnmf.signal.front_end import Spectrogram
from harmnmf.signal.spectrogram import STFT

KEYS = np.array([48, 50, 52, 53, 55, 57, 72, 74, 76])


@pytest.fixture(scope="module")
def dictionary():
    """Some keys of the shipped dictionary."""
    full = TimbreDictionary.load("default")
    return replace(full, W=full.W[:, KEYS - 21], pitches=KEYS, tuning=full.tuning[KEYS - 21])


def colour(dictionary):
    """Deviation of the piano from the dictionary in dB, too narrow for the response of a room."""
    semitones = 12 * np.log2(dictionary.axis.frequencies / 440)
    return 4 * np.sin(2 * np.pi * semitones / 3)


def performance(dictionary, n_frames=500, seed=0):
    """Spectrogram of random notes of the dictionary's keys, alone and together."""
    rng = np.random.default_rng(seed)
    H = np.zeros((*dictionary.W.shape[1:], n_frames + 60))
    for key in range(len(KEYS)):
        for onset in rng.choice(n_frames - 40, 8, replace=False):
            level = rng.uniform(0.3, 1.0)
            for j in range(10):
                H[key, j, onset + j] += level
            H[key, 10, onset + 10 : onset + 30] += 0.5 * level * np.exp(-np.arange(20) / 10)
    noise = 1e-4 * rng.random((dictionary.axis.n_bins, n_frames))
    values = (np.einsum("fkj,kjn->fn", dictionary.W, H[..., :n_frames]) + noise).astype(np.float32)
    front_end = dictionary.front_end
    return Spectrogram(values, front_end.axis, front_end.sample_rate, front_end.hop_length)


@pytest.fixture(scope="module")
def recording(dictionary):
    gain = 10 ** (colour(dictionary) / 10)
    return performance(replace(dictionary, W=dictionary.W * gain[:, None, None]))


@pytest.fixture(scope="module")
def adapted(dictionary, recording):
    return adapt_dictionary(recording, dictionary)


def test_spectra_move_towards_those_of_the_piano(dictionary, adapted):
    before, after = dictionary.W[:, :, 10], adapted.W[:, :, 10]
    for key in range(len(KEYS)):
        audible = before[:, key] > 0.01 * before[:, key].max()
        learned = 10 * np.log10(after[audible, key] / before[audible, key])
        true = colour(dictionary)[audible]
        assert np.corrcoef(learned, true)[0, 1] > 0.5
        assert learned.std() > 0.4 * true.std()


def test_timbres_of_a_key_have_the_same_deviation_and_settings_are_kept(dictionary, adapted):
    in_all = (dictionary.W > 1e-6).all(axis=2)
    ratio = adapted.W[in_all] / dictionary.W[in_all]
    np.testing.assert_allclose(ratio, ratio[:, :1].repeat(ratio.shape[1], axis=1), rtol=1e-3)
    for name in ("front_end", "n_attack", "attack_lead"):
        assert getattr(adapted, name) == getattr(dictionary, name)
    assert adapted.metadata == {**dictionary.metadata, "adapted": True}


def test_a_narrow_prior_keeps_the_dictionary(dictionary, recording):
    rigid = adapt_dictionary(recording, dictionary, sigma=1e-3)
    np.testing.assert_allclose(rigid.W, dictionary.W, rtol=1e-3, atol=1e-12)


def test_the_level_does_not_matter(dictionary, recording, adapted):
    louder = adapt_dictionary(replace(recording, values=100 * recording.values), dictionary)
    np.testing.assert_allclose(louder.W, adapted.W, rtol=0.1, atol=1e-6)


@pytest.mark.parametrize("n_frames", [0, 50])
def test_silence_changes_nothing(dictionary, recording, n_frames):
    silence = replace(recording, values=0 * recording.values[:, :n_frames])
    assert adapt_dictionary(silence, dictionary) is dictionary


def test_one_frame_gives_finite_spectra(dictionary, recording):
    short = replace(recording, values=recording.values[:, :1] + np.float32(0.01))
    assert np.isfinite(adapt_dictionary(short, dictionary).W).all()


def test_another_front_end():
    front_end = STFT(sample_rate=8000, hop_length=160, n_fft=512)
    rng = np.random.default_rng(0)
    W = rng.random((front_end.axis.n_bins, 3, 4))
    dictionary = TimbreDictionary(W, np.array([60, 64, 67]), front_end, 2, 0.01)
    recording = front_end.transform(rng.standard_normal(8000))
    adapted = adapt_dictionary(recording, dictionary)
    assert np.isfinite(adapted.W).all()
    assert not np.allclose(adapted.W, dictionary.W, rtol=0.01)


def test_invalid_arguments_are_errors(dictionary, recording):
    for sigma in (0.0, math.nan):
        with pytest.raises(ParameterError, match="sigma"):
            adapt_dictionary(recording, dictionary, sigma=sigma)
    with pytest.raises(ParameterError, match="different bins"):
        adapt_dictionary(STFT().transform(np.ones(1000)), dictionary)


@pytest.fixture
def song(root):
    return read_audio(root / "examples" / "example.flac", duration=1.5)


def test_transcriber_adapts_once_or_in_every_analysis(song):
    plain = Transcriber(decoder="nmf", n_iter=5, adapt=False)
    once = plain.adapted(song)
    assert (once.adapt, once.n_iter, once.dictionary.metadata["adapted"]) == (False, 5, True)
    assert once.tuning is not None
    expected = Transcriber(decoder="nmf", n_iter=5).analyse(song)
    np.testing.assert_array_equal(once.analyse(song).attack, expected.attack)
    assert not np.allclose(plain.analyse(song).attack, expected.attack)


def test_transcriber_adapts_to_the_beginning_with_a_given_tuning(song):
    transcriber = Transcriber(n_iter=1, calibration_duration=1.0, tuning=0.25)
    beginning = Audio(song.samples[..., : song.sample_rate], song.sample_rate)
    whole, start = (transcriber.adapted(audio) for audio in (song, beginning))
    np.testing.assert_array_equal(whole.dictionary.W, start.dictionary.W)
    assert whole.tuning == 0.25
