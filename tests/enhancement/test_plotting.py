from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from harmnmf import FrequencyAxis, ParameterError, save_figure
from harmnmf.enhancement import comb_matrix, plot_integration
from harmnmf.signal.front_end import Spectrogram

AXIS = FrequencyAxis.linear(512, 16000)
CANDIDATES = np.arange(100, 300, 5)
U = comb_matrix(AXIS, CANDIDATES)[:, :256]
N_FRAMES = 250  # two seconds


def spectrogram(axis=AXIS):
    return Spectrogram(np.ones((axis.n_bins, N_FRAMES), np.float32), axis, 16000, 128)


def integration():
    """Two channels that find 200 Hz in the second half, and no pitch in the first."""
    significance = np.zeros((2, len(U), N_FRAMES))
    significance[:, 0] = 20
    significance[:, 1 + 20, 125:] = 40
    return significance, U.T @ softmax(significance, axis=1)


def test_positions_of_pitches_and_harmonics(tmp_path):
    figure = plot_integration(spectrogram(), *integration(), CANDIDATES, title="song")
    save_figure(figure, tmp_path / "integration.png")
    upper, lower = figure.axes[:2]
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("Pitch (Hz)", "Frequency (Hz)")
    assert lower.get_xlabel() == "Time (s)"
    assert upper.get_title(loc="left") == "song"

    (pitches,) = upper.images
    assert pitches.get_extent() == pytest.approx((-0.004, 1.996, 97.5, 297.5))
    assert (pitches.get_array()[:, 125:].argmax(axis=0) == 20).all()
    assert (pitches.get_array()[:, :125] == -60).all()

    levels, harmonics = lower.images
    assert levels.get_extent() == harmonics.get_extent()
    assert harmonics.get_extent()[2:] == pytest.approx((-15.625, 8000 - 15.625))
    np.testing.assert_allclose(harmonics.get_array()[:, -1], U[21], atol=1e-6)
    colors = harmonics.cmap(harmonics.norm(harmonics.get_array()))
    is_tinted = colors[:, -1, 3] > 0
    np.testing.assert_array_equal(is_tinted, U[21] > 0.01 * U[21].max())
    assert (colors[:, 0, 3] == 0).all()


def test_channels_are_averaged():
    significance, harmonics = integration()
    significance[1] = harmonics[1] = 0
    figure = plot_integration(spectrogram(), significance, harmonics, CANDIDATES)
    np.testing.assert_allclose(figure.axes[1].images[1].get_array()[:, -1], U[21] / 2, atol=1e-6)
    weights = np.asarray(figure.axes[0].images[0].get_array())[:, -1]
    # The second channel has equal weights for all candidates.
    n = len(U)
    expected = 20 * np.log10((1 / n) / (1 + 1 / n))
    assert weights[[0, 20]] == pytest.approx([expected, 0], abs=0.01)


def test_unevenly_spaced_candidates():
    candidates = np.geomspace(60, 420, 40)
    significance = np.zeros((1, 41, N_FRAMES))
    significance[0, 1 + 30] = 20
    figure = plot_integration(spectrogram(), significance, np.zeros((1, 256, N_FRAMES)), candidates)
    (image,) = figure.axes[0].images
    _, _, low, high = image.get_extent()
    column = image.get_array()[:, 0]
    rows = low + (np.arange(len(column)) + 0.5) * (high - low) / len(column)
    drawn = rows[column == 0]
    middles = (candidates[29:31] + candidates[30:32]) / 2
    step = candidates[1] - candidates[0]
    assert [drawn[0], drawn[-1]] == pytest.approx(middles, abs=step)


def test_a_time_range():
    figure = plot_integration(spectrogram(), *integration(), CANDIDATES, start=0.8, end=1.6)
    for image in (figure.axes[0].images[0], *figure.axes[1].images):
        assert image.get_array().shape[1] == 100
        assert image.get_extent()[:2] == pytest.approx((0.796, 1.596))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spectrogram": spectrogram(axis=FrequencyAxis.logarithmic(50, 12, 60))}, "linear"),
        ({"candidates": [100]}, "at least two"),
        ({"candidates": CANDIDATES[::-1]}, "ascending"),
        ({"candidates": CANDIDATES[1:]}, r"significance must have shape \(n_channels, 40, 250\)"),
        ({"harmonics": np.zeros((2, 258, N_FRAMES))}, "at most 257 bins"),
        ({"harmonics": np.zeros((2, 256, 249))}, "harmonics"),
        ({"start": 5}, "nothing to draw"),
    ],
)
def test_invalid_arguments(change, message):
    names = ("spectrogram", "significance", "harmonics", "candidates")
    arguments = dict(zip(names, (spectrogram(), *integration(), CANDIDATES), strict=True))
    with pytest.raises(ParameterError, match=message):
        plot_integration(**{**arguments, **change})
