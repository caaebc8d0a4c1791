"""Parts that figures share: images in decibels, axes with note names."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.pitch_names import pitch_name
from harmnmf.signal.harmonics import FrequencyAxis, pitch_to_hz
from harmnmf.storage.files import atomic_path

__all__ = [
    "RANGE",
    "SOFT_GREY",
    "at_pitches",
    "decibels",
    "draw_image",
    "frames_between",
    "label_hz",
    "label_pitches",
    "save_figure",
    "wide_figure",
]

RANGE = 60.0  # decibels from the first colour to the last
# Under what is drawn on a spectrogram.
SOFT_GREY = LinearSegmentedColormap.from_list("soft grey", ["#ffffff", "#8c8c8c"])
_MAX_DURATION = 60.0  # seconds: in a longer picture, notes are thinner than a pixel
_MAX_COLUMNS = 4000  # of an image: more than a screen shows
_HZ_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000)
_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 150
_NATURALS = (0, 2, 4, 5, 7, 9, 11)


def decibels(values: NDArray) -> NDArray[np.float32]:
    """Express magnitudes in decibels below the greatest, and cut them off at the range's end.

    Parameters
    ----------
    values : ndarray
        Magnitudes, not negative.

    Returns
    -------
    ndarray
        From -RANGE to 0, of the same shape; -RANGE everywhere if all is zero.

    Examples
    --------
    >>> decibels(np.array([2.0, 0.2, 0.0]))
    array([  0., -20., -60.], dtype=float32)
    """
    greatest = max(float(values.max(initial=0.0)), np.finfo(np.float32).tiny)
    floor = 10 ** (-RANGE / 20)
    return (20 * np.log10(np.maximum(values / greatest, floor))).astype(np.float32)


def frames_between(start: float, end: float | None, n_frames: int, hop: float) -> tuple[int, int]:
    """Find the frames of a part of a recording.

    Parameters
    ----------
    start, end : float
        Seconds; without an end, a minute after the start.
    n_frames : int
        Frames that there are.
    hop : float
        Seconds from frame to frame.

    Returns
    -------
    tuple of int
        First frame, and the one after the last.

    Raises
    ------
    ParameterError
        If there are none.

    Examples
    --------
    >>> frames_between(1.0, None, n_frames=500, hop=0.02)
    (50, 500)
    """
    if end is None:
        end = start + _MAX_DURATION
    duration = n_frames * hop
    if not 0 <= start < min(end, duration):
        raise ParameterError(
            f"there is nothing to draw from {start:g} to {end:g} s of {duration:.2f} s"
        )
    first = int(start / hop)
    return first, max(first + 1, int(np.ceil(round(min(end, duration) / hop, 6))))


def wide_figure(duration: float) -> tuple[Figure, Axes]:
    """Make a figure as wide as its time needs, from 8 to 16 inches.

    Parameters
    ----------
    duration : float
        Seconds to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    axes : matplotlib.axes.Axes
        Its only axes.

    Examples
    --------
    >>> figure, axes = wide_figure(duration=10.0)
    >>> float(figure.get_size_inches()[0])
    8.0
    """
    figure = Figure(figsize=(float(np.clip(5 + 0.3 * duration, 8, 16)), 6), layout="constrained")
    return figure, figure.add_subplot()


def draw_image(
    axes: Axes,
    values: NDArray,
    *,
    left: float,
    hop: float,
    bottom: float,
    step: float,
    cmap: str | Colormap,
) -> AxesImage:
    """Draw magnitudes over time and pitch, or frequency, in decibels.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where.
    values : ndarray, shape (n_rows, n_frames)
        Magnitudes, not negative.
    left, hop : float
        Centre of the first frame, and from each to the next, in seconds.
    bottom, step : float
        Centre of the first row, and from each to the next, in semitones or hertz.
    cmap : str or Colormap
        Colours.

    Returns
    -------
    matplotlib.image.AxesImage
        The image; of more frames than a screen shows, neighbours share their greatest value.

    Examples
    --------
    >>> _, axes = wide_figure(4.0)
    >>> image = draw_image(
    ...     axes, np.eye(4), left=0.0, hop=1.0, bottom=60, step=1, cmap="magma"
    ... )
    >>> [float(edge) for edge in image.get_extent()]
    [-0.5, 3.5, 59.5, 63.5]
    """
    share = -(-values.shape[1] // _MAX_COLUMNS)
    if share > 1:
        values = np.maximum.reduceat(values, np.arange(0, values.shape[1], share), axis=1)
    n_rows, n_columns = values.shape
    begin, low = left - 0.5 * hop, bottom - 0.5 * step
    return axes.imshow(
        decibels(values),
        cmap=cmap,
        vmin=-RANGE,
        vmax=0.0,
        origin="lower",
        aspect="auto",
        extent=(begin, begin + n_columns * share * hop, low, low + n_rows * step),
    )


def at_pitches(
    values: NDArray[np.float32], axis: FrequencyAxis, pitches: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Read a spectrogram at pitches instead of bins, between them by interpolation.

    Parameters
    ----------
    values : ndarray, shape (n_bins, n_frames)
        Magnitudes.
    axis : FrequencyAxis
        Frequencies of the bins.
    pitches : ndarray, shape (n_pitches,)
        MIDI numbers, also fractional.

    Returns
    -------
    ndarray, shape (n_pitches, n_frames)
        Magnitudes; zero beyond the ends of the axis.

    Examples
    --------
    >>> axis = FrequencyAxis.linear(n_fft=4, sample_rate=1760)
    >>> at_pitches(np.array([[0.0], [1.0], [4.0]]), axis, np.array([69.0, 81.0, 93.0]))
    array([[1.],
           [4.],
           [0.]])
    """
    bins = axis.to_bin(pitch_to_hz(pitches))
    is_inside = (bins >= -0.5) & (bins <= axis.n_bins - 0.5)
    bins = np.clip(bins, 0, axis.n_bins - 1)
    below = bins.astype(int)
    above = np.minimum(below + 1, axis.n_bins - 1)
    weight = (bins - below)[:, None].astype(values.dtype)
    return is_inside[:, None] * ((1 - weight) * values[below] + weight * values[above])


def label_pitches(axis: Axis, low: float, high: float) -> None:
    """Write note names along an axis of pitches.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The x or y axis.
    low, high : float
        Lowest and highest MIDI number on it: each C is named if there are three octaves or
        more, each natural otherwise.

    Examples
    --------
    >>> _, axes = wide_figure(1.0)
    >>> label_pitches(axes.yaxis, 36, 84)
    >>> [label.get_text() for label in axes.yaxis.get_ticklabels()]
    ['C2', 'C3', 'C4', 'C5', 'C6']
    """
    steps = (0,) if high - low >= 36 else _NATURALS
    ticks = [pitch for pitch in range(int(np.ceil(low)), int(high) + 1) if pitch % 12 in steps]
    axis.set_ticks(ticks, labels=[pitch_name(pitch) for pitch in ticks])


def label_hz(axis: Axis) -> None:
    """Write frequencies in plain hertz along a logarithmic axis.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The x or y axis.

    Examples
    --------
    >>> _, axes = wide_figure(1.0)
    >>> label_hz(axes.xaxis)
    >>> axes.xaxis.get_major_formatter()(2000.0)
    '2000'
    """
    axis.set_major_locator(FixedLocator(_HZ_TICKS))
    axis.set_major_formatter(FuncFormatter(lambda hz, _: f"{hz:g}"))
    axis.set_minor_locator(NullLocator())


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure to a file, which appears whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : str or path-like
        File to write or replace; its suffix tells the format: .png, .svg or .pdf.

    Raises
    ------
    ParameterError
        If the suffix is another.
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> save_figure(Figure(), "picture.jpg")
    Traceback (most recent call last):
        ...
    harmnmf.errors.ParameterError: picture.jpg: a picture's name must end in .png, .svg or .pdf
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ParameterError(f"{path}: a picture's name must end in .png, .svg or .pdf")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=_DPI)
