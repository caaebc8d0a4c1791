"""Figures of dictionaries, activations, enhanced recordings and training.

Each function returns a :class:`matplotlib.figure.Figure` without using pyplot, so no display is
needed. :func:`save_figure` writes it to a file; notebooks show it as the value of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.notes.pitch_names import pitch_name
from harmnmf.signal.front_end import Spectrogram
from harmnmf.signal.harmonics import HarmonicSeries, piano_inharmonicity, pitch_to_hz
from harmnmf.validation import check_integer

from .axes import (
    RANGE,
    decibels,
    draw_image,
    frames_between,
    label_hz,
    label_pitches,
    save_figure,
    wide_figure,
)

__all__ = [
    "plot_activations", "plot_before_after", "plot_dictionary", "plot_learning_curve",
    "save_figure",
]  # fmt: skip

# Colour-blind safe palette of Okabe and Ito.
_BLUE, _VERMILION, _GREEN, _BLACK = "#0072B2", "#D55E00", "#009E73", "#111111"
_MIN_HZ = 25.0  # lower end of logarithmic frequency axes
# Metrics of a training that are not terms of the loss.
_SCORES = {"f_measure": "F-measure", "si_sdr_gain": "SI-SDR gain (dB)"}
_VALIDATION = "validation_"


def plot_dictionary(dictionary: TimbreDictionary, *, pitch: int | None = None) -> Figure:
    """Plot the spectra and the tuning of all keys of a dictionary.

    Parameters
    ----------
    dictionary : TimbreDictionary
        Dictionary.
    pitch : int, optional
        MIDI number of a key whose spectra are plotted below, with its expected partials.

    Returns
    -------
    matplotlib.figure.Figure
        One image for the strongest attack frame and one for each later timbre, in decibels
        relative to the maximum of the image; below, the tuning of the keys in cents, if it is not
        zero.

    Raises
    ------
    ParameterError
        If the dictionary does not have the key.

    Examples
    --------
    >>> figure = plot_dictionary(TimbreDictionary.load("default"), pitch=60)
    >>> [axes.get_title() for axes in figure.axes][:3]
    ['attack +20 ms', 'sustain', 'decay']
    """
    pitches, axis = dictionary.pitches, dictionary.axis
    if pitch is not None:
        check_integer("pitch", pitch, 0, 127)
    if pitch is not None and pitch not in pitches:
        raise ParameterError(
            f"the dictionary has no key {pitch}, only {pitch_name(pitches[0])} to "
            f"{pitch_name(pitches[-1])} ({pitches[0]} to {pitches[-1]})"
        )
    W, n_attack = dictionary.W, dictionary.n_attack
    strongest = int(W[:, :, :n_attack].sum(axis=(0, 1)).argmax())
    timbres = [strongest, *range(n_attack, W.shape[2])]
    heights = [4.6]
    heights += [] if pitch is None else [4.6]
    heights += [1.8] if np.any(dictionary.tuning) else []
    figure = Figure(figsize=(4 * len(timbres) + 1.5, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), len(timbres), height_ratios=heights)
    edges = np.maximum(axis.to_hz(np.arange(axis.n_bins + 1) - 0.5), _MIN_HZ)
    images: list[Axes] = []
    for column, timbre in enumerate(timbres):
        axes = figure.add_subplot(grid[0, column], sharey=images[0] if images else None)
        images.append(axes)
        mesh = axes.pcolormesh(
            np.append(pitches - 0.5, pitches[-1] + 0.5),
            edges,
            decibels(W[:, :, timbre]),
            cmap="magma",
            vmin=-RANGE,
            vmax=0.0,
            rasterized=True,
        )
        axes.set_yscale("log")
        label_hz(axes.yaxis)
        label_pitches(axes.xaxis, pitches[0], pitches[-1])
        axes.set(title=dictionary.timbre_names[timbre], xlabel="Key", ylim=(edges[0], edges[-1]))
        if column:
            axes.tick_params(labelleft=False)
    images[0].set_ylabel("Frequency (Hz)")
    figure.colorbar(mesh, ax=images, label="Level (dB)", pad=0.01)
    if pitch is not None:
        _plot_spectra(figure.add_subplot(grid[1, :]), dictionary, pitch, timbres)
    if np.any(dictionary.tuning):
        _plot_tuning(figure.add_subplot(grid[-1, :]), dictionary)
    name = dictionary.metadata.get("name", "unnamed")
    figure.suptitle(f"Timbre dictionary: {name}", fontweight="bold")
    return figure


def plot_activations(
    activations: ArrayLike,
    pitches: ArrayLike,
    hop_seconds: float,
    *,
    start: float = 0.0,
    end: float | None = None,
    title: str = "",
) -> Figure:
    """Plot the activations of keys over time.

    Parameters
    ----------
    activations : array_like, shape (n_pitches, n_frames)
        Activations, not negative.
    pitches : array_like of int, shape (n_pitches,)
        MIDI numbers of the keys, ascending by one.
    hop_seconds : float
        Seconds between frames.
    start, end : float, optional
        Time range in seconds; by default the first minute.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        Image in decibels relative to the maximum.

    Raises
    ------
    ParameterError
        If the shapes disagree, pitches have gaps, or the time range is empty.

    Examples
    --------
    >>> figure = plot_activations(np.eye(3), [60, 61, 62], hop_seconds=0.5)
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('Time (s)', 'Key')
    """
    values, keys = np.asarray(activations), np.asarray(pitches)
    if values.ndim != 2 or not values.size or values.shape[:1] != keys.shape:
        raise ParameterError(f"activations {values.shape} need one row per pitch {keys.shape}")
    if (np.diff(keys) != 1).any():
        raise ParameterError("pitches must ascend by one semitone")
    first, last = frames_between(start, end, values.shape[1], hop_seconds)
    figure, axes = wide_figure((last - first) * hop_seconds)
    image = draw_image(
        axes,
        values[:, first:last],
        left=first * hop_seconds,
        hop=hop_seconds,
        bottom=keys[0],
        step=1.0,
        cmap="magma",
    )
    label_pitches(axes.yaxis, keys[0], keys[-1])
    axes.set(xlabel="Time (s)", ylabel="Key")
    axes.set_title(title, loc="left", fontweight="bold")
    figure.colorbar(image, ax=axes, label="Activation (dB)", pad=0.01, aspect=40)
    return figure


def plot_before_after(before: Spectrogram, after: Spectrogram, *, title: str = "") -> Figure:
    """Plot the spectrograms of a recording before and after enhancement.

    Parameters
    ----------
    before, after : Spectrogram
        Spectrograms with the same linear frequency axis from 0 Hz.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        Two images of the first minute in decibels, both relative to the maximum of the first.

    Raises
    ------
    ParameterError
        If the axes differ, or are not linear from 0 Hz.

    Examples
    --------
    >>> from harmnmf.signal.spectrogram import STFT
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> spectrograms = [STFT(n_fft=512).transform(x) for x in (noise, 0.1 * noise)]
    >>> [axes.get_title() for axes in plot_before_after(*spectrograms).axes[:2]]
    ['Before', 'After']
    """
    axis = before.axis
    if axis != after.axis or axis.scale != "linear" or axis.fmin != 0:
        raise ParameterError("both spectrograms must have the same linear axis from 0 Hz")
    hop = before.hop_length / before.sample_rate
    figure = Figure(figsize=(12, 8), layout="constrained")
    first, last = frames_between(0.0, None, before.n_frames, hop)
    maximum = float(before.values[:, first:last].max())
    for part, spectrogram, name in zip(
        figure.subplots(2, 1, sharex=True), (before, after), ("Before", "After"), strict=True
    ):
        image = draw_image(
            part, spectrogram.values[:, first:last], left=0.0, hop=hop, bottom=0.0,
            step=float(axis.to_hz(1)), cmap="magma", maximum=maximum,
        )  # fmt: skip
        part.set(title=name, ylabel="Frequency (Hz)")
    figure.axes[1].set_xlabel("Time (s)")
    figure.colorbar(image, ax=figure.axes, label="Level (dB)", pad=0.01, aspect=40)
    figure.suptitle(title, fontweight="bold")
    return figure


def plot_learning_curve(metrics: Sequence[Mapping[str, float]]) -> Figure:
    """Plot the learning curve of a training run.

    `metrics` are the lines of ``metrics.jsonl``: "step", the terms of the loss, and optionally a
    validation score ("f_measure" or "si_sdr_gain") and terms of the validation loss, prefixed by
    "validation_". Other scores, whose names begin with that of the score, and terms with negative
    values (decibels) are left out.
    """
    steps = np.array([line["step"] for line in metrics])
    # An interrupted run has lines without validation.
    score = next((name for name in _SCORES if any(name in line for line in metrics)), None)
    figure = Figure(figsize=(10 if score else 5, 4), layout="constrained")
    axes = figure.subplots(1, 2 if score else 1, squeeze=False)[0]
    # A resumed run may have more terms than it began with.
    names = [name for name in dict.fromkeys(chain(*metrics)) if name != "step"]
    losses = [name for name in names if not (score and name.startswith(score))]
    for name in losses:
        values = np.array([line.get(name, np.nan) for line in metrics])
        known = ~np.isnan(values)
        term = name.removeprefix(_VALIDATION)
        if values[known].min() > 0:
            style, label = ("-", term) if name == term else ("--", f"{term} (validation)")
            relative = values[known] / values[known][0]
            axes[0].plot(steps[known], relative, style, color=f"C{losses.index(term)}", label=label)
    axes[0].set(xlabel="Training step", ylabel="Loss relative to the first value", ylim=(0, None))
    axes[0].legend(loc="upper right")
    if score:
        scores = np.array([line.get(score, np.nan) for line in metrics])
        known = ~np.isnan(scores)
        axes[1].plot(steps[known], scores[known], _BLACK)
        axes[1].set(xlabel="Training step", ylabel=f"Validation {_SCORES[score]}")
    return figure


def _plot_spectra(axes: Axes, dictionary: TimbreDictionary, pitch: int, timbres: list[int]) -> None:
    """Plot timbres of one key and its expected partials."""
    axis = dictionary.axis
    f0 = float(pitch_to_hz(pitch))
    series = HarmonicSeries(max(1, int(axis.frequencies[-1] / f0)), piano_inharmonicity(pitch))
    partials = series.frequencies(f0)
    partials = partials[partials <= axis.frequencies[-1]]
    axes.vlines(partials, -RANGE, 0, color="#cccccc", linewidth=0.8, label="expected partials")
    key = int(np.flatnonzero(dictionary.pitches == pitch)[0])
    for timbre, color in zip(timbres, (_VERMILION, _BLUE, _GREEN), strict=False):
        levels = decibels(dictionary.W[:, key, timbre])
        axes.plot(axis.frequencies, levels, color, label=dictionary.timbre_names[timbre])
    axes.set_xscale("log")
    label_hz(axes.xaxis)
    axes.set(xlim=(_MIN_HZ, axis.frequencies[-1]), ylim=(-RANGE, 8))
    axes.set(title=f"Spectra of {pitch_name(pitch)}", xlabel="Frequency (Hz)", ylabel="Level (dB)")
    axes.legend(loc="upper right", ncols=4, framealpha=0.9)


def _plot_tuning(axes: Axes, dictionary: TimbreDictionary) -> None:
    """Plot the deviation of each key from equal temperament."""
    overall = 100 * dictionary.overall_tuning
    axes.axhline(overall, color="#cccccc", linewidth=0.8, label=f"overall {overall:+.0f} cents")
    cents = 100 * np.asarray(dictionary.tuning)
    axes.plot(dictionary.pitches, cents, color=_BLUE, marker=".", label="keys")
    label_pitches(axes.xaxis, dictionary.pitches[0], dictionary.pitches[-1])
    axes.set(title="Tuning relative to A4 = 440 Hz", ylabel="Cents")
    axes.legend(loc="upper left", ncols=2, framealpha=0.9)
