"""Spectra of the highest keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmnmf import TimbreDictionary
from harmnmf.decoder.treble import widen_treble
from harmnmf.nmf.solvers.convolutive import estimate_note_activations
from harmnmf.signal.harmonics import pitch_to_hz
from harmnmf.signal.spectrogram import STFT

DICTIONARY = TimbreDictionary.load("default")


def test_only_the_highest_keys_change_and_keep_their_level() -> None:
    W = widen_treble(DICTIONARY)
    assert W.dtype == np.float32
    np.testing.assert_array_equal(W[:, :77], DICTIONARY.W[:, :77])
    assert (W[:, 77:] != DICTIONARY.W[:, 77:]).any(axis=(0, 2)).all()
    np.testing.assert_allclose(W.sum(axis=0), DICTIONARY.W.sum(axis=0), rtol=1e-5)


def test_linear_axes_are_dense_enough() -> None:
    front_end = STFT(n_fft=1024)
    W = np.ones((front_end.axis.n_bins, 2, 3), np.float32)
    dictionary = TimbreDictionary(W, np.array([60, 108]), front_end, 1, 0.02, {})
    np.testing.assert_array_equal(widen_treble(dictionary), W)


@pytest.mark.parametrize("key", [98, 104, 108])
@pytest.mark.parametrize("cents", [20, 40])
def test_sharp_strings_are_found(key: int, cents: int) -> None:
    t = np.arange(8000) / 16000
    hz = pitch_to_hz(key) * 2 ** (cents / 1200)
    note = np.exp(-8 * t) * np.sin(2 * np.pi * hz * t)
    samples = np.concatenate([np.zeros(2000), note]).astype(np.float32)
    V = torch.from_numpy(DICTIONARY.front_end.transform(samples).values)
    W = torch.from_numpy(widen_treble(DICTIONARY))
    A = estimate_note_activations(V, W, DICTIONARY.n_attack, max_iter=30).A
    assert int(A.amax(dim=1).argmax()) + 21 == key
