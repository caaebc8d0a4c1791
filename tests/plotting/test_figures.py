from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from harmnmf import (
    HarmnmfError,
    ParameterError,
    TimbreDictionary,
    plot_activations,
    plot_before_after,
    plot_dictionary,
    save_figure,
)
from harmnmf.plotting.axes import at_pitches, decibels, draw_image, frames_between, wide_figure
from harmnmf.plotting.figures import plot_learning_curve
from harmnmf.signal.front_end import Spectrogram
from harmnmf.signal.harmonics import FrequencyAxis
from harmnmf.signal.spectrogram import STFT, LogFrequency

AXIS = LogFrequency().axis


def silence(seconds):
    n_frames = round(seconds * 50)
    return Spectrogram(np.zeros((AXIS.n_bins, n_frames), np.float32), AXIS, 16000, 320)


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_activations():
    activations = np.zeros((88, 200))
    activations[39, 100] = 2.0
    figure = plot_activations(activations, range(21, 109), 0.02, start=1.0, end=3.0, title="A")
    image = figure.axes[0].images[0]
    assert image.get_array().shape == (88, 100)
    assert np.unravel_index(image.get_array().argmax(), (88, 100)) == (39, 50)
    assert image.get_extent() == pytest.approx((0.99, 2.99, 20.5, 108.5))
    assert names(figure.axes[0].yaxis)[:2] == ["C1", "C2"]


def test_activations_of_wrong_shape():
    for shape, pitches in (((3, 2, 5), [60, 61, 62]), ((2, 5), [60, 62]), ((2, 0), [60, 61])):
        with pytest.raises(ParameterError):
            plot_activations(np.zeros(shape), pitches, 0.02)


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [(0, None, (0, 3000)), (10, 20, (500, 1000)), (0, 0.001, (0, 1)), (0, np.inf, (0, 10_000))],
)
def test_frames_between(start, end, frames):
    assert frames_between(start, end, n_frames=10_000, hop=0.02) == frames


def test_empty_time_range():
    for start, end in ((5, None), (-1, 2), (np.nan, 1)):
        with pytest.raises(ParameterError, match=r"nothing to draw|must be a"):
            frames_between(start, end, n_frames=200, hop=0.02)


def test_dictionary_images_and_spectra():
    dictionary = TimbreDictionary.load("default")
    figure = plot_dictionary(dictionary, pitch=60)
    assert [text.get_text() for text in figure.texts] == ["Timbre dictionary: default"]
    images = [axes for axes in figure.axes if axes.get_xlabel() == "Key"]
    assert [axes.get_title() for axes in images[1:]] == ["sustain", "decay"]
    assert names(images[0].xaxis) == [f"C{octave}" for octave in range(1, 9)]
    levels = images[1].collections[0].get_array().reshape(dictionary.W.shape[:2])
    assert levels.max() == 0
    np.testing.assert_array_equal(levels.argmax(axis=0), dictionary.W[:, :, -2].argmax(axis=0))

    [spectra] = [axes for axes in figure.axes if axes.get_xlabel() == "Frequency (Hz)"]
    assert [line.get_label() for line in spectra.lines][1:] == ["sustain", "decay"]
    first_partial = spectra.collections[0].get_segments()[0][0][0]
    assert first_partial == pytest.approx(261.63, abs=0.01)

    [tuning] = [axes for axes in figure.axes if axes.get_ylabel() == "Cents"]
    np.testing.assert_allclose(tuning.lines[1].get_ydata(), 100 * dictionary.tuning)


@pytest.mark.parametrize(
    ("n_timbres", "pitches", "keys"),
    [(1, [60], "C4 to C4 (60 to 60)"), (6, [30, 60, 90], "F#1 to F#6 (30 to 90)")],
)
def test_dictionaries_of_other_shapes(tmp_path, n_timbres, pitches, keys):
    W = np.random.default_rng(0).uniform(size=(257, len(pitches), n_timbres))
    dictionary = TimbreDictionary(W, pitches, STFT(n_fft=512), 1, 0.02)
    figure = plot_dictionary(dictionary, pitch=60)
    assert sum(axes.get_xlabel() == "Key" for axes in figure.axes) == n_timbres
    figure.savefig(tmp_path / "toy.png", dpi=20)
    with pytest.raises(ParameterError, match=re.escape(f"no key 61, only {keys}")):
        plot_dictionary(dictionary, pitch=61)


def test_formats(tmp_path):
    figure = Figure(figsize=(1, 1))
    for name, magic in (("a.PNG", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        save_figure(figure, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(magic)
    with pytest.raises(ParameterError, match=r"\.png, \.svg or \.pdf"):
        save_figure(figure, tmp_path / "a.jpg")
    with pytest.raises(HarmnmfError, match="cannot write"):
        save_figure(figure, tmp_path / "missing" / "a.png")


def test_long_images_keep_their_peaks():
    _, axes = wide_figure(1.0)
    values = np.zeros((2, 100_001))
    values[1, 77_777] = 1
    image = draw_image(axes, values, left=0, hop=0.01, bottom=60, step=1, cmap="magma")
    rows = image.get_array()
    assert rows.shape[1] <= 4000
    left, right, _, _ = image.get_extent()
    column = int(rows[1].argmax())
    width = (right - left) / rows.shape[1]
    assert left + column * width <= 777.77 <= left + (column + 1) * width


def test_decibels():
    assert decibels(np.array([2.0, 0.2, 0.0])).tolist() == [0, -20, -60]
    assert (decibels(np.zeros((2, 3))) == -60).all()
    np.testing.assert_allclose(decibels(np.array([1e-30, 1e-31], np.float32)), [0, -20], atol=1e-4)


def test_at_pitches_agrees_on_both_scales():
    pitches = np.array([57.0, 69.0, 100.0, 140.0])
    log = FrequencyAxis.logarithmic(27.5, 48, 390)
    linear = FrequencyAxis.linear(2**14, 16000)
    read = [
        at_pitches(np.log(axis.frequencies + 1)[:, None], axis, pitches)[:, 0]
        for axis in (log, linear)
    ]
    np.testing.assert_allclose(read[0], read[1], rtol=1e-3)
    assert read[0][-1] == 0


@pytest.mark.parametrize(("before", "after"), [(1, 0.1), (0, 1)])
def test_before_and_after_share_their_colours(tmp_path, before, after):
    noise = np.random.default_rng(0).normal(size=32000)
    front_end = STFT(n_fft=512, hop_length=256)
    figure = plot_before_after(*(front_end.transform(x * noise) for x in (before, after)))
    upper, lower = (axes.images[0] for axes in figure.axes[:2])
    assert lower.get_clim() == upper.get_clim() == (-60, 0)
    if before:
        assert upper.get_array().max() == 0
        assert lower.get_array().max() == pytest.approx(20 * np.log10(after / before), abs=0.1)
    assert upper.get_extent()[2:] == pytest.approx((-15.625, 8015.625))
    figure.savefig(tmp_path / "a.png", dpi=20)


def test_before_and_after_need_the_same_linear_axis():
    linear = STFT(n_fft=512).transform(np.zeros(16000))
    for before in (linear, silence(2)):
        with pytest.raises(ParameterError, match="linear axis"):
            plot_before_after(before, silence(2))


def test_terms_added_by_a_resumed_run():
    lines = [
        {"step": 1, "error": 4.0, "level": -3.0},
        {"step": 2, "error": 2.0, "level": -4.0},
        {"step": 3, "error": 1.0, "level": -5.0, "more": 8.0},
        {"step": 4, "error": 1.0, "level": -6.0, "more": 6.0},
    ]
    [axes] = plot_learning_curve(lines).axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert curves == {
        "error": [[1, 1], [2, 0.5], [3, 0.25], [4, 0.25]],
        "more": [[3, 1], [4, 0.75]],
    }


def test_other_scores_are_not_among_the_losses():
    lines = [{"step": 1, "onset": 4.0, "f_measure": 0.5, "f_measure_downbeat": 0.25}]
    losses, score = plot_learning_curve(lines).axes
    assert [line.get_label() for line in losses.lines] == ["onset"]
    assert score.lines[0].get_xydata().tolist() == [[1, 0.5]]
