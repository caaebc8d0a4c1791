"""Bars of a score, and the times of their beats in a performance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.validation import check_integer

__all__ = [
    "TICKS",
    "Bars",
    "BeatGrid",
    "bar_duration",
    "beat_duration",
    "irregular_signature",
    "is_compound",
]  # fmt: skip

# Ticks in a quarter note: divisible by the grids of 64th notes, triplets and quintuplets.
TICKS = 480

_UNITS = (1, 2, 4, 8, 16, 32)  # lower numbers of time signatures


def is_compound(numerator: int, denominator: int) -> bool:
    """Tell whether beats have three parts: in 6, 9, 12, ... eighths or shorter notes.

    Examples
    --------
    >>> is_compound(6, 8), is_compound(3, 8), is_compound(6, 4)
    (True, False, False)
    """
    return denominator >= 8 and numerator > 3 and numerator % 3 == 0


def beat_duration(numerator: int, denominator: int) -> int:
    """Ticks of a beat: the lower number of the time signature, or three of it in compound time.

    Examples
    --------
    >>> beat_duration(3, 4), beat_duration(6, 8), beat_duration(2, 2)
    (480, 720, 960)
    """
    unit = 4 * TICKS // denominator
    return 3 * unit if is_compound(numerator, denominator) else unit


def bar_duration(numerator: int, denominator: int) -> int:
    """Ticks of a bar.

    Examples
    --------
    >>> bar_duration(3, 4)
    1440
    """
    return numerator * 4 * TICKS // denominator


def irregular_signature(ticks: int, denominator: int) -> tuple[int, int]:
    """Time signature of an irregular bar, with the given lower number if that is possible.

    Examples
    --------
    >>> irregular_signature(960, 4), irregular_signature(720, 4)
    ((2, 4), (3, 8))
    """
    while ticks * denominator % (4 * TICKS) and denominator < _UNITS[-1]:
        denominator *= 2
    return max(1, round(ticks * denominator / (4 * TICKS))), denominator


@dataclass(frozen=True, eq=False, init=False)
class Bars:
    """Bars of a score, each with its time signature.

    Parameters
    ----------
    time_signatures : array_like of int, shape (n_bars, 2)
        Upper and lower number for each bar. The lower is a power of two up to 32.
    pickup : int, default=0
        Ticks of the first bar if it is a pickup, shorter than its time signature; 0 if it is a
        whole bar.

    Attributes
    ----------
    starts : ndarray of int, shape (n_bars + 1,)
        Position of each bar line in ticks, the last included; the first is 0.

    Raises
    ------
    ParameterError
        If there is no bar, a time signature is not possible, or the pickup is not shorter than its
        bar.

    Examples
    --------
    >>> bars = Bars([[3, 4], [3, 4], [2, 4]], pickup=480)
    >>> bars.starts
    array([   0,  480, 1920, 2880])
    >>> bars.beats()
    array([   0,  480,  960, 1440, 1920, 2400])
    """

    time_signatures: NDArray[np.int64]
    pickup: int
    starts: NDArray[np.int64]

    def __init__(self, time_signatures: ArrayLike, pickup: int = 0) -> None:
        signatures = np.array(time_signatures)
        if signatures.ndim != 2 or signatures.shape[1] != 2 or not len(signatures):
            raise ParameterError("time_signatures must have shape (n_bars, 2), with a bar or more")
        if signatures.dtype.kind not in "iu":
            raise ParameterError("time_signatures must be integers")
        signatures = signatures.astype(np.int64)
        for numerator, denominator in signatures:
            if numerator < 1 or denominator not in _UNITS:
                raise ParameterError(
                    f"time signature {numerator}/{denominator} is not possible; the upper number "
                    f"is 1 or more, the lower one of {', '.join(map(str, _UNITS))}"
                )
        durations = signatures[:, 0] * (4 * TICKS // signatures[:, 1])
        check_integer("pickup", pickup, 0)
        if pickup >= durations[0]:
            raise ParameterError("a pickup must be shorter than a bar")
        if pickup:
            durations[0] = pickup
        starts = np.concatenate([[0], np.cumsum(durations)])
        for name, array in (("time_signatures", signatures), ("starts", starts)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "pickup", int(pickup))

    def __len__(self) -> int:
        return len(self.time_signatures)

    def beats(self) -> NDArray[np.int64]:
        """Positions of all beats in ticks, downbeats included; without the last bar line."""
        beats = []
        for index, (numerator, denominator) in enumerate(self.time_signatures.tolist()):
            start, end = self.starts[index : index + 2]
            full = end - start if index or not self.pickup else bar_duration(numerator, denominator)
            beat = np.arange(end - full, end, beat_duration(numerator, denominator))
            beats.append(beat[beat >= start])
        return np.concatenate(beats)

    def bar_at(self, position: ArrayLike) -> NDArray[np.int64]:
        """Find the bar of each position in ticks: the first or the last outside of them."""
        found = np.searchsorted(self.starts, np.asarray(position), side="right") - 1
        return np.clip(found, 0, len(self) - 1)

    def downbeats(self) -> NDArray[np.bool_]:
        """Which of :meth:`beats` begin a bar; the first of a pickup does not."""
        starts = self.starts[1:-1] if self.pickup else self.starts[:-1]
        return np.isin(self.beats(), starts)


@dataclass(frozen=True, eq=False, init=False)
class BeatGrid:
    """Times of the beats of a performance, and the bars that they make.

    Parameters
    ----------
    time : array_like, shape (n_beats,)
        Time of each beat of `bars` in seconds, ascending; two or more.
    bars : Bars
        Bars, which have as many beats.

    Raises
    ------
    ParameterError
        If times are not ascending, or are not as many as the beats of the bars.

    Examples
    --------
    >>> grid = BeatGrid([0.5, 1.0, 1.5, 2.1], Bars([[2, 4], [2, 4]]))
    >>> grid.position([0.75, 2.1, 2.7])
    array([ 240., 1440., 1920.])
    >>> grid.time_at([240, 1920])
    array([0.75, 2.7 ])
    """

    time: NDArray[np.float64]
    bars: Bars

    def __init__(self, time: ArrayLike, bars: Bars) -> None:
        times = np.array(time, np.float64)
        if times.ndim != 1 or times.size < 2 or not (np.diff(times) > 0).all():
            raise ParameterError("times of beats must be two or more, and ascending")
        if times.size != bars.beats().size:
            raise ParameterError(
                f"the bars have {bars.beats().size} beats, and there are times of {times.size}"
            )
        times.flags.writeable = False
        object.__setattr__(self, "time", times)
        object.__setattr__(self, "bars", bars)

    def position(self, time: ArrayLike) -> NDArray[np.float64]:
        """Convert times in seconds to positions in ticks, at a constant tempo between beats.

        Before the first beat, and after the last, the tempo is that of the nearest two beats.
        """
        return _interpolate(np.asarray(time, np.float64), self.time, self.bars.beats())

    def time_at(self, position: ArrayLike) -> NDArray[np.float64]:
        """Convert positions in ticks to times in seconds: the inverse of :meth:`position`."""
        return _interpolate(np.asarray(position, np.float64), self.bars.beats(), self.time)

    @property
    def downbeats(self) -> NDArray[np.float64]:
        """Times of the beats that begin a bar, in seconds."""
        return self.time[self.bars.downbeats()]


def _interpolate(x: NDArray[np.float64], xp: NDArray[Any], fp: NDArray[Any]) -> NDArray[np.float64]:
    """Interpolate linearly, and extrapolate by the first and the last slope."""
    left = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, xp.size - 2)
    slope = (fp[left + 1] - fp[left]) / (xp[left + 1] - xp[left])
    return np.asarray(fp[left] + slope * (x - xp[left]), np.float64)
