"""Piano rolls: figures of notes, with the beats and bars of their score."""

from __future__ import annotations

from typing import Any

import mir_eval
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.front_end import Spectrogram
from harmnmf.signal.harmonics import PIANO_PITCHES

from .axes import SOFT_GREY, at_pitches, draw_image, frames_between, label_pitches, wide_figure

__all__ = ["plot_notes", "plot_transcription"]

_ROWS_PER_SEMITONE = 4
# Colour-blind safe palette of Okabe and Ito.
_BLUE, _VERMILION, _BLACK = "#0072B2", "#D55E00", "#111111"
_EDGE: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.5}  # separates repeated notes
_BEAT: dict[str, Any] = {"color": "#0000002e", "linewidth": 0.7}
_BAR_LINE: dict[str, Any] = {"color": "#00000080", "linewidth": 1.0}
_MAX_DURATION = 60.0  # seconds to draw by default: in more, notes are thinner than a pixel
_MARGIN = 0.5  # seconds before the first note and after the last
_MAX_NOTE = 30.0  # seconds before the time range from which notes may still sound


def plot_transcription(
    spectrogram: Spectrogram,
    notes: NoteList,
    reference: NoteList | None = None,
    *,
    beats: ArrayLike = (),
    downbeats: ArrayLike = (),
    start: float | None = None,
    end: float | None = None,
    title: str = "",
) -> Figure:
    """Plot a piano roll over the spectrogram of the recording.

    Parameters
    ----------
    spectrogram : Spectrogram
        Spectrogram of the recording.
    notes : NoteList
        Transcribed notes, coloured by velocity.
    reference : NoteList, optional
        Ground truth. Hits (correct pitch, and onset within 50 ms), false alarms and missed notes
        then have different colours.
    beats, downbeats : array_like, optional
        Times in seconds of beats, and of those that begin bars: light and dark lines, such as
        `BeatGrid.time` and `BeatGrid.downbeats`.
    start, end : float, optional
        Time range in seconds; by default the first minute of the spectrogram.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        Bars over the spectrogram in decibels; the title counts the notes.

    Raises
    ------
    ParameterError
        If the time range is empty.

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
    begin = spectrogram.start
    first, last = frames_between(
        0.0 if start is None else start - begin,
        None if end is None else end - begin,
        spectrogram.n_frames,
        hop,
    )
    left, right = begin + first * hop, begin + last * hop
    # Earlier notes may still sound at the start.
    given = [notes] if reference is None else [notes, reference]
    lists = [part.slice(max(0.0, left - _MAX_NOTE), right) for part in given]
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
    _add_beats(axes, beats, downbeats, low - 0.5, high + 0.5)
    if reference is None:
        kept = lists[0].offset > left
        bars = _add_bars(axes, lists[0], kept, cmap="plasma_r", alpha=0.85, **_EDGE)
        bars.set_array(lists[0].velocity[kept])
        bars.set_clim(1, 127)
        figure.colorbar(bars, ax=axes, label="Velocity", pad=0.01, aspect=40)
        summary = f"notes: {sum(kept)}"
    else:
        summary = _add_compared(axes, *lists, start=left)
    if last - first < spectrogram.n_frames - 1:
        summary += f" ({left:.0f} to {right:.0f} s of {begin + spectrogram.n_frames * hop:.0f} s)"
    _finish(axes, (left, right), (low, high), title, summary)
    return figure


def plot_notes(
    notes: NoteList,
    *,
    staff: ArrayLike | None = None,
    beats: ArrayLike = (),
    downbeats: ArrayLike = (),
    start: float | None = None,
    end: float | None = None,
    title: str = "",
) -> Figure:
    """Plot a piano roll.

    Parameters
    ----------
    notes : NoteList
        Notes.
    staff : array_like of int, shape (n_notes,), optional
        1 for the notes of the right hand and 2 for those of the left, which then have different
        colours.
    beats, downbeats : array_like, optional
        Times in seconds of beats, and of those that begin bars: light and dark lines, such as
        `BeatGrid.time` and `BeatGrid.downbeats`.
    start, end : float, optional
        Time range in seconds; by default the minute from the first note on.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        Bars, fainter where the velocity is low; the title counts the notes.

    Raises
    ------
    ParameterError
        If there are no notes in the time range, or `staff` has another length.

    Examples
    --------
    >>> notes = NoteList([0.5, 1.0], [1.0, 2.0], [72, 48], [80, 60])
    >>> figure = plot_notes(notes, staff=[1, 2], beats=[0.5, 1.0, 1.5], downbeats=[0.5])
    >>> figure.axes[0].get_title(loc="right")
    'notes: 2'
    """
    if not len(notes):
        raise ParameterError("there are no notes to draw")
    last = float(notes.offset.max())
    left = max(0.0, float(notes.onset[0]) - _MARGIN) if start is None else start
    right = min(left + _MAX_DURATION, last + _MARGIN) if end is None else end
    kept = (notes.offset > left) & (notes.onset < right)
    if not (left < right and kept.any()):
        raise ParameterError(f"there are no notes from {left:g} to {right:g} s")
    low, high = notes.pitch[kept].min() - 4, notes.pitch[kept].max() + 8
    figure, axes = wide_figure(right - left)
    _add_beats(axes, beats, downbeats, low - 0.5, high + 0.5)
    is_left = np.zeros(len(notes), bool) if staff is None else np.asarray(staff) == 2
    if is_left.shape != (len(notes),):
        raise ParameterError("staff must be 1 or 2 for each note")
    hands = [("right hand", _BLUE, kept & ~is_left), ("left hand", _VERMILION, kept & is_left)]
    for name, color, drawn in hands if staff is not None else hands[:1]:
        _add_bars(axes, notes, drawn, label=name, facecolor=_shades(color, notes, drawn), **_EDGE)
    if staff is not None:
        axes.legend(loc="upper right", ncols=2, framealpha=0.9)
    summary = f"notes: {kept.sum()}"
    if not kept.all():
        summary += f" ({left:.0f} to {right:.0f} s of {last:.0f} s)"
    _finish(axes, (left, right), (low, high), title, summary)
    return figure


def _finish(
    axes: Axes, times: tuple[float, float], pitches: tuple[int, int], title: str, summary: str
) -> None:
    """Set the limits, the labels and the titles of a piano roll."""
    low, high = pitches
    axes.set(xlabel="Time (s)", ylabel="Pitch", xlim=times, ylim=(low - 0.5, high + 0.5))
    label_pitches(axes.yaxis, low, high)
    axes.grid(axis="y", color="#00000022", linewidth=0.6)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_title(summary, loc="right", fontsize="medium", color="#444444")


def _add_beats(
    axes: Axes, beats: ArrayLike, downbeats: ArrayLike, bottom: float, top: float
) -> None:
    """Plot vertical lines at beats, and darker ones at downbeats."""
    for times, style in ((beats, _BEAT), (downbeats, _BAR_LINE)):
        if lines := [[(time, bottom), (time, top)] for time in np.asarray(times, np.float64)]:
            axes.add_collection(LineCollection(lines, **style), autolim=False)


def _add_compared(axes: Axes, notes: NoteList, reference: NoteList, *, start: float) -> str:
    """Plot hits, false alarms and missed notes that end after the start; return their counts."""
    is_hit, is_found = np.zeros(len(notes), bool), np.zeros(len(reference), bool)
    for ref, est in mir_eval.transcription.match_notes(
        reference.intervals, reference.hz, notes.intervals, notes.hz, offset_ratio=None
    ):
        is_found[ref] = is_hit[est] = True
    drawn, sought = notes.offset > start, reference.offset > start
    hits, false_alarms, missed = drawn & is_hit, drawn & ~is_hit, sought & ~is_found
    for kept, name, color in ((hits, "hit", _BLUE), (false_alarms, "false alarm", _VERMILION)):
        _add_bars(axes, notes, kept, label=name, facecolor=_shades(color, notes, kept), **_EDGE)
    for kept, name, line in ((sought & is_found, "reference", ":"), (missed, "missed", "-")):
        style = {"facecolor": "none", "edgecolor": _BLACK, "linestyle": line}
        _add_bars(axes, reference, kept, label=name, **style)
    axes.legend(loc="upper right", ncols=4, framealpha=0.9)
    return f"hits: {sum(hits)}, false alarms: {sum(false_alarms)}, missed: {sum(missed)}"


def _shades(color: str, notes: NoteList, kept: NDArray[np.bool_]) -> Any:
    """Colour of each note that is kept, fainter where the velocity is low."""
    # Without bars, the legend shows the plain colour.
    return [to_rgba(color, 0.3 + 0.6 * v / 127) for v in notes.velocity[kept]] or color


def _add_bars(axes: Axes, notes: NoteList, kept: NDArray[np.bool_], **style: Any) -> PolyCollection:
    """Plot a bar for each note that is kept."""
    bars = [
        [(on, pitch - 0.4), (off, pitch - 0.4), (off, pitch + 0.4), (on, pitch + 0.4)]
        for (on, off), pitch in zip(notes.intervals[kept], notes.pitch[kept], strict=True)
    ]
    collection = PolyCollection(bars, **style)
    axes.add_collection(collection, autolim=False)
    return collection
