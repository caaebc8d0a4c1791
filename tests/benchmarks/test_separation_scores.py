"""SDR, SIR and SAR of several separations of the same sources."""

from __future__ import annotations

import warnings

import mir_eval
import numpy as np
import pytest

from benchmarks.separation_scores import BssEval

WINDOW = 2000


@pytest.fixture(scope="module")
def sources():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 8000)) * np.array([[1.0], [0.3]])


def estimates_of(sources):
    noise = np.random.default_rng(1).standard_normal(sources.shape)
    delayed = np.roll(sources, 3, axis=1)
    return 0.7 * sources + 0.2 * delayed + 0.1 * sources[::-1] + 0.02 * noise


def test_agrees_with_mir_eval(sources):
    estimates = estimates_of(sources)
    whole, _ = BssEval(sources, WINDOW)(estimates)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = mir_eval.separation.bss_eval_sources(
            sources, estimates, compute_permutation=False
        )
    np.testing.assert_allclose(whole, np.stack(expected[:3], axis=1), atol=1e-3)


def test_medians_leave_out_windows_without_a_source(sources):
    estimates = estimates_of(sources)
    pause = np.zeros((2, WINDOW))
    pause[0] = 1e-5 * np.random.default_rng(2).standard_normal(WINDOW)
    _, expected = BssEval(sources, WINDOW)(estimates)
    longer = np.concatenate([sources, pause], axis=1)
    noisy = np.concatenate([estimates, pause[::-1]], axis=1)
    _, medians = BssEval(longer, WINDOW)(noisy)
    np.testing.assert_allclose(medians, expected, atol=0.1)
