from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf.signal.spectrogram import STFT, LogFrequency
from harmnmf.signal.tuning import estimate_tuning

FRONT_ENDS = {"logarithmic": LogFrequency(), "linear": STFT(n_fft=8192)}


def chord(tuning, pitches=(45, 57, 60, 64, 69), n_partials=4):
    t = np.arange(16000) / 16000
    return sum(
        np.sin(2 * np.pi * h * 440 * 2 ** ((pitch - 69 + tuning) / 12) * t) / h**2
        for pitch in pitches
        for h in range(1, n_partials + 1)
    )


@pytest.mark.parametrize("name", FRONT_ENDS)
@given(tuning=st.floats(-0.4, 0.4))
@settings(max_examples=15, deadline=None)
def test_known_tunings(name, tuning):
    front_end = FRONT_ENDS[name]
    estimate = [
        estimate_tuning(front_end.transform(chord(t)).values, front_end.axis) for t in (tuning, 0.0)
    ]
    # Third partials lie 2 cents off the equal temperament; the difference of two estimates not.
    assert estimate[0] - estimate[1] == pytest.approx(tuning, abs=0.03)


def test_level_does_not_matter():
    front_end = FRONT_ENDS["logarithmic"]
    values = front_end.transform(chord(0.3)).values
    louder = estimate_tuning(1e3 * values, front_end.axis)
    assert louder == pytest.approx(estimate_tuning(values, front_end.axis), abs=1e-5)


@pytest.mark.parametrize("n_frames", [0, 1, 5])
def test_silence_is_in_tune(n_frames):
    axis = FRONT_ENDS["logarithmic"].axis
    assert estimate_tuning(np.zeros((axis.n_bins, n_frames)), axis) == 0
