"""Pictures of dictionaries, activations, transcriptions and enhancements.

Each function returns a :class:`matplotlib.figure.Figure` that belongs to no window: it works
without a display, and :func:`save_figure` writes it. A notebook shows it as the value of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import mir_eval
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.notes.pitch_names import pitch_name
from harmnmf.signal.harmonics import PIANO_PITCHES, HarmonicSeries, piano_inharmonicity, pitch_to_hz
from harmnmf.signal.spectrogram import Spectrogram

from .axes import (
    RANGE,
    SOFT_GREY,
    at_pitches,
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
    "plot_transcription", "save_figure",
]  # fmt: skip

_ROWS_PER_SEMITONE = 4
# Colours of Okabe and Ito, which the colour-blind can tell apart.
_BLUE, _VERMILION, _GREEN, _BLACK = "#0072B2", "#D55E00", "#009E73", "#111111"
# Keeps repeated notes apart.
_EDGE: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.5}
_LOWEST = 25.0  # Hz: where pictures begin that could begin at 0
_LONGEST_NOTE = 30.0  # seconds
# In metrics of a training: what is no term of the loss, and what precedes those held out.
_SCORES = {"f_measure": "F-measure", "si_sdr_gain": "SI-SDR gain in dB"}
_HELD_OUT = "validation_"


def plot_dictionary(dictionary: TimbreDictionary, *, pitch: int | None = None) -> Figure:
    """Draw what a dictionary knows: an attack, and what follows it, of every key.

    Parameters
    ----------
    dictionary : TimbreDictionary
        What to draw: the strongest frame of the attacks and all timbres after them, in decibels
        below the greatest value of each.
    pitch : int, optional
        MIDI number of a key whose spectra are drawn below the others, with the places of its
        partials.

    Returns
    -------
    matplotlib.figure.Figure
        One image a timbre, and the spectra of one key if asked for.

    Raises
    ------
    ParameterError
        If the dictionary has no such key.

    Examples
    --------
    >>> figure = plot_dictionary(TimbreDictionary.load("default"), pitch=60)
    >>> [axes.get_title() for axes in figure.axes][:3]
    ['attack +20 ms', 'sustain', 'decay']
    """
    pitches, axis = dictionary.pitches, dictionary.axis
    if pitch is not None and pitch not in pitches:
        raise ParameterError(
            f"the dictionary has no key {pitch}, only {pitch_name(pitches[0])} to "
            f"{pitch_name(pitches[-1])} ({pitches[0]} to {pitches[-1]})"
        )
    W, n_attack = dictionary.W, dictionary.n_attack
    strongest = int(W[:, :, :n_attack].sum(axis=(0, 1)).argmax())
    timbres = [strongest, *range(n_attack, W.shape[2])]
    n_rows = 1 if pitch is None else 2
    figure = Figure(figsize=(4 * len(timbres) + 1.5, 4.6 * n_rows), layout="constrained")
    grid = figure.add_gridspec(n_rows, len(timbres))
    edges = np.maximum(axis.to_hz(np.arange(axis.n_bins + 1) - 0.5), _LOWEST)
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
    figure.suptitle(str(dictionary.metadata.get("name", "Timbre dictionary")), fontweight="bold")
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
    """Draw how strongly each key is active over time.

    Parameters
    ----------
    activations : array_like, shape (n_pitches, n_frames)
        Not negative.
    pitches : array_like of int, shape (n_pitches,)
        MIDI numbers of the keys, ascending by one.
    hop_seconds : float
        Seconds from frame to frame.
    start, end : float, optional
        Seconds to draw from and to; by default the first minute.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        An image in decibels below the strongest activation in it.

    Raises
    ------
    ParameterError
        If the shapes do not belong together, or nothing lies between `start` and `end`.

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


def plot_transcription(
    spectrogram: Spectrogram,
    notes: NoteList,
    reference: NoteList | None = None,
    *,
    start: float = 0.0,
    end: float | None = None,
    title: str = "",
) -> Figure:
    """Draw a piano roll over the spectrogram that it was transcribed from.

    Parameters
    ----------
    spectrogram : Spectrogram
        Of the recording, on any axis; drawn on the scale of pitches.
    notes : NoteList
        Notes, each a bar at its fundamental; the darker, the louder.
    reference : NoteList, optional
        What was really played. Hits (the right pitch, and the onset within 50 ms), false alarms
        and missed notes then have different colours.
    start, end : float, optional
        Seconds to draw from and to; by default the first minute. In more, notes are thin.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ParameterError
        If nothing lies between `start` and `end`.

    Examples
    --------
    >>> from harmnmf.signal.spectrogram import LogFrequency
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(32000) / 16000)
    >>> notes = NoteList(onset=[0.0], offset=[2.0], pitch=[69], velocity=[80])
    >>> figure = plot_transcription(LogFrequency().transform(tone), notes)
    >>> figure.axes[0].get_title(loc="right")
    'notes: 1'
    """
    hop = spectrogram.hop_length / spectrogram.sample_rate
    first, last = frames_between(start, end, spectrogram.n_frames, hop)
    left, right = first * hop, last * hop
    # Of both lists the same part, long enough to have all that still sounds at the start.
    given = [notes] if reference is None else [notes, reference]
    lists = [part.slice(max(0.0, left - _LONGEST_NOTE), right) for part in given]
    drawn = np.concatenate([part.pitch[part.offset > left] for part in lists])
    low, high = (
        (drawn.min() - 4, drawn.max() + 8) if len(drawn) else (PIANO_PITCHES[0], PIANO_PITCHES[-1])
    )

    figure, axes = wide_figure(right - left)
    grid = np.arange(low - 0.5, high + 0.5, 1 / _ROWS_PER_SEMITONE)
    values = at_pitches(spectrogram.values[:, first:last], spectrogram.axis, grid)
    step = 1 / _ROWS_PER_SEMITONE
    image = draw_image(axes, values, left=left, hop=hop, bottom=grid[0], step=step, cmap=SOFT_GREY)
    figure.colorbar(image, ax=axes, label="Level (dB)", pad=0.01, aspect=40)
    if reference is None:
        kept = lists[0].offset > left
        bars = _add_bars(axes, lists[0], kept, cmap="plasma_r", alpha=0.85, **_EDGE)
        bars.set_array(lists[0].velocity[kept])
        bars.set_clim(1, 127)
        figure.colorbar(bars, ax=axes, label="Velocity", pad=0.01, aspect=40)
        summary = f"notes: {sum(kept)}"
    else:
        summary = _add_compared(axes, *lists, start=left)
    axes.set(xlabel="Time (s)", ylabel="Pitch", xlim=(left, right), ylim=(low - 0.5, high + 0.5))
    label_pitches(axes.yaxis, low, high)
    axes.grid(axis="y", color="#00000022", linewidth=0.6)
    axes.set_title(title, loc="left", fontweight="bold")
    if last - first < spectrogram.n_frames:
        summary += f" ({left:.0f} to {right:.0f} s of {spectrogram.n_frames * hop:.0f} s)"
    axes.set_title(summary, loc="right", fontsize="medium", color="#444444")
    return figure


def plot_before_after(before: Spectrogram, after: Spectrogram, *, title: str = "") -> Figure:
    """Draw the spectrograms of a recording before and after it was enhanced.

    Parameters
    ----------
    before, after : Spectrogram
        On one linear axis from 0 Hz.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        Two images of the first minute in decibels, both below the maximum of the first.

    Raises
    ------
    ParameterError
        If the spectrograms are of different axes, or one is not linear.

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
    images: list[AxesImage] = []
    maxima: list[float] = []
    for part, spectrogram, name in zip(
        figure.subplots(2, 1, sharex=True), (before, after), ("Before", "After"), strict=True
    ):
        first, last = frames_between(0.0, None, spectrogram.n_frames, hop)
        values = spectrogram.values[:, first:last]
        maxima.append(max(float(values.max()), float(np.finfo(np.float32).tiny)))
        image = draw_image(
            part, values, left=0.0, hop=hop, bottom=0.0, step=float(axis.to_hz(1)), cmap="magma"
        )
        # The decibels of the image are below its own maximum.
        top = 20 * np.log10(maxima[0] / maxima[-1])
        image.set_clim(top - RANGE, top)
        images.append(image)
        part.set(title=name, ylabel="Frequency (Hz)")
    figure.axes[1].set_xlabel("Time (s)")
    figure.colorbar(images[0], ax=figure.axes, label="Level (dB)", pad=0.01, aspect=40)
    figure.suptitle(title, fontweight="bold")
    return figure


def plot_learning_curve(metrics: Sequence[Mapping[str, float]]) -> Figure:
    """Draw how a training went.

    Parameters
    ----------
    metrics : sequence of mapping
        Lines of a run's ``metrics.jsonl``: "step", the terms of the loss, and, if the network was
        validated, a score, "f_measure" or "si_sdr_gain", and perhaps the terms with "validation_"
        before them. Terms in decibels, which may be negative, are left out.

    Returns
    -------
    matplotlib.figure.Figure
        The terms of the loss, each relative to its first value, and the score, over steps.

    Raises
    ------
    ParameterError
        If there are no lines.

    Examples
    --------
    >>> lines = [{"step": 100, "onset": 4.0, "f_measure": 0.2},
    ...          {"step": 200, "onset": 1.0, "f_measure": 0.8}]
    >>> [axes.get_ylabel() for axes in plot_learning_curve(lines).axes]
    ['Loss, relative to the first', 'F-measure, held out']
    """
    if not metrics:
        raise ParameterError("a learning curve needs at least one line of metrics")
    steps = np.array([line["step"] for line in metrics])
    score = next((name for name in _SCORES if name in metrics[0]), None)
    figure = Figure(figsize=(10 if score else 5, 4), layout="constrained")
    axes = figure.subplots(1, 2 if score else 1, squeeze=False)[0]
    # A run may have gone on with more terms than it began with.
    losses = [name for name in dict.fromkeys(chain(*metrics)) if name not in ("step", score)]
    for name in losses:
        values = np.array([line.get(name, np.nan) for line in metrics])
        known = ~np.isnan(values)
        term = name.removeprefix(_HELD_OUT)
        if values[known].min() > 0:
            style = "--" if name.startswith(_HELD_OUT) else "-"
            label = f"{term}, held out" if name.startswith(_HELD_OUT) else term
            relative = values[known] / values[known][0]
            axes[0].plot(steps[known], relative, style, color=f"C{losses.index(term)}", label=label)
    axes[0].set(xlabel="Step", ylabel="Loss, relative to the first", ylim=(0, None))
    axes[0].legend(loc="lower left")
    if score:
        axes[1].plot(steps, [line[score] for line in metrics], _BLACK)
        axes[1].set(xlabel="Step", ylabel=f"{_SCORES[score]}, held out")
    return figure


def _plot_spectra(axes: Axes, dictionary: TimbreDictionary, pitch: int, timbres: list[int]) -> None:
    """Draw some timbres of one key, and where its partials should lie."""
    axis = dictionary.axis
    f0 = float(pitch_to_hz(pitch))
    series = HarmonicSeries(max(1, int(axis.frequencies[-1] / f0)), piano_inharmonicity(pitch))
    partials = series.frequencies(f0)
    partials = partials[partials <= axis.frequencies[-1]]
    axes.vlines(partials, -RANGE, 0, color="#cccccc", linewidth=0.8, label="partials")
    key = int(np.flatnonzero(dictionary.pitches == pitch)[0])
    for timbre, color in zip(timbres, (_VERMILION, _BLUE, _GREEN), strict=False):
        levels = decibels(dictionary.W[:, key, timbre])
        axes.plot(axis.frequencies, levels, color, label=dictionary.timbre_names[timbre])
    axes.set_xscale("log")
    label_hz(axes.xaxis)
    axes.set(xlim=(_LOWEST, axis.frequencies[-1]), ylim=(-RANGE, 8))
    axes.set(title=pitch_name(pitch), xlabel="Frequency (Hz)", ylabel="Level (dB)")
    axes.legend(loc="upper right", ncols=4, framealpha=0.9)


def _add_compared(axes: Axes, notes: NoteList, reference: NoteList, *, start: float) -> str:
    """Draw hits, false alarms and missed notes that end after the start; say how many there are."""
    is_hit, is_found = np.zeros(len(notes), bool), np.zeros(len(reference), bool)
    for ref, est in mir_eval.transcription.match_notes(
        reference.intervals, reference.hz, notes.intervals, notes.hz, offset_ratio=None
    ):
        is_found[ref] = is_hit[est] = True
    drawn, sought = notes.offset > start, reference.offset > start
    hits, false_alarms, missed = drawn & is_hit, drawn & ~is_hit, sought & ~is_found
    for kept, name, color in ((hits, "hit", _BLUE), (false_alarms, "false alarm", _VERMILION)):
        # The legend shows the plain colour of those that there are none of.
        shades = [to_rgba(color, 0.3 + 0.6 * v / 127) for v in notes.velocity[kept]] or color
        _add_bars(axes, notes, kept, label=name, facecolor=shades, **_EDGE)
    # An outline for each note of the reference: an empty one is a note that was missed.
    for kept, name, line in ((sought & is_found, "reference", ":"), (missed, "missed", "-")):
        style = {"facecolor": "none", "edgecolor": _BLACK, "linestyle": line}
        _add_bars(axes, reference, kept, label=name, **style)
    axes.legend(loc="upper right", ncols=4, framealpha=0.9)
    return f"hits: {sum(hits)}, false alarms: {sum(false_alarms)}, missed: {sum(missed)}"


def _add_bars(axes: Axes, notes: NoteList, kept: NDArray[np.bool_], **style: Any) -> PolyCollection:
    """Draw a bar for each note that is kept."""
    bars = [
        [(on, pitch - 0.4), (off, pitch - 0.4), (off, pitch + 0.4), (on, pitch + 0.4)]
        for (on, off), pitch in zip(notes.intervals[kept], notes.pitch[kept], strict=True)
    ]
    collection = PolyCollection(bars, **style)
    axes.add_collection(collection, autolim=False)
    return collection
