"""Building blocks of the figures: images in decibels, axes with note names."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray
from scipy.interpolate import interp1d

from harmnmf.errors import ParameterError
from harmnmf.notes.pitch_names import pitch_name
from harmnmf.signal.harmonics import FrequencyAxis, pitch_to_hz
from harmnmf.storage.files import atomic_path
from harmnmf.validation import check_number

__all__ = [
    "RANGE", "SOFT_GREY", "at_pitches", "decibels", "draw_image", "frames_between", "label_hz",
    "label_pitches", "save_figure", "wide_figure",
]  # fmt: skip

RANGE = 60.0  # dynamic range of images in dB
# Colours of a spectrogram in the background.
SOFT_GREY = LinearSegmentedColormap.from_list("soft grey", ["#ffffff", "#8c8c8c"])
_MAX_DURATION = 60.0  # seconds to draw by default: in more, notes are thinner than a pixel
_MAX_COLUMNS = 4000  # columns of an image; a screen shows no more
_HZ_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000)
_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 150
_NATURALS = (0, 2, 4, 5, 7, 9, 11)


def decibels(values: NDArray, maximum: float | None = None) -> NDArray[np.float32]:
    """Convert magnitudes to decibels relative to `maximum`, by default their own.

    Levels below -RANGE are clipped.
    """
    greatest = float(values.max(initial=0.0)) if maximum is None else maximum
    floor = 10 ** (-RANGE / 20)
    ratio = values / max(greatest, np.finfo(np.float32).tiny)
    return (20 * np.log10(np.maximum(ratio, floor))).astype(np.float32)


def frames_between(start: float, end: float | None, n_frames: int, hop: float) -> tuple[int, int]:
    """Convert times in seconds to the first frame and the one after the last.

    `end` defaults to a minute after the start. An empty range raises ParameterError.
    """
    check_number("start", start)
    if end is None:
        end = start + _MAX_DURATION
    check_number("end", end, infinite=True)
    duration = n_frames * hop
    if not 0 <= start < min(end, duration):
        raise ParameterError(
            f"there is nothing to draw from {start:g} to {end:g} s of {duration:.2f} s"
        )
    first = int(start / hop)
    return first, max(first + 1, int(np.ceil(round(min(end, duration) / hop, 6))))


def wide_figure(duration: float) -> tuple[Figure, Axes]:
    """Create a figure with one set of axes, 8 to 16 inches wide depending on the duration."""
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
    maximum: float | None = None,
) -> AxesImage:
    """Draw magnitudes, shape (n_rows, n_frames), in decibels over time and pitch or frequency.

    `left` and `bottom` are the centres of the first frame and row; `hop` is in seconds, `step` in
    semitones or hertz. Levels are relative to `maximum`, by default that of the values. Frames are
    max-pooled if there are more than a screen shows.
    """
    share = -(-values.shape[1] // _MAX_COLUMNS)
    if share > 1:
        values = np.maximum.reduceat(values, np.arange(0, values.shape[1], share), axis=1)
    n_rows, n_columns = values.shape
    begin, low = left - 0.5 * hop, bottom - 0.5 * step
    return axes.imshow(
        decibels(values, maximum),
        cmap=cmap,
        vmin=-RANGE,
        vmax=0.0,
        origin="lower",
        aspect="auto",
        extent=(begin, begin + n_columns * share * hop, low, low + n_rows * step),
    )


def at_pitches(
    values: NDArray[np.float32], axis: FrequencyAxis, pitches: NDArray[np.float64]
) -> NDArray[np.floating]:
    """Interpolate a spectrogram at MIDI numbers; the result is zero beyond the ends of the axis."""
    interpolate = interp1d(
        np.arange(axis.n_bins), values, axis=0, bounds_error=False, fill_value=0.0
    )
    return np.asarray(interpolate(axis.to_bin(pitch_to_hz(pitches))))


def label_pitches(axis: Axis, low: float, high: float) -> None:
    """Label an axis of MIDI numbers: every C over three octaves or more, else every natural."""
    steps = (0,) if high - low >= 36 else _NATURALS
    ticks = [pitch for pitch in range(int(np.ceil(low)), int(high) + 1) if pitch % 12 in steps]
    axis.set_ticks(ticks, labels=[pitch_name(pitch) for pitch in ticks])


def label_hz(axis: Axis) -> None:
    """Label a logarithmic frequency axis in hertz, without powers of ten."""
    axis.set_major_locator(FixedLocator(_HZ_TICKS))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Save a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Figure.
    path : str or path-like
        File to write or replace, with the suffix .png, .svg or .pdf.

    Raises
    ------
    ParameterError
        If the suffix is not supported.
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(Figure(), f"{folder}/empty.png")
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ParameterError(f"{path}: the suffix of a figure must be .png, .svg or .pdf")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=_DPI)
