"""Pictures of what networks find in spectrograms.

As those of :mod:`harmnmf.plotting.figures`, they are :class:`matplotlib.figure.Figure` objects
that belong to no window; :func:`harmnmf.save_figure` writes them.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from harmnmf.errors import ParameterError
from harmnmf.plotting.axes import SOFT_GREY, draw_image, frames_between
from harmnmf.signal.spectrogram import Spectrogram

__all__ = ["plot_integration"]

_VERMILION = "#D55E00"
# From nothing to a colour through which the spectrogram still shows.
_TINT = LinearSegmentedColormap.from_list(
    "tint", [to_rgba(_VERMILION, 0.0), to_rgba(_VERMILION, 0.9)]
)


def plot_integration(
    spectrogram: Spectrogram,
    significance: ArrayLike,
    harmonics: ArrayLike,
    candidates: ArrayLike,
    *,
    start: float = 0.0,
    end: float | None = None,
    title: str = "",
) -> Figure:
    """Draw the pitches that harmonic integration finds, and the harmonics that it selects.

    Above is what the channels give to each candidate on average, the softmax of the significance
    spectrum; below, on the spectrogram, the average of the harmonics where it is positive.

    Parameters
    ----------
    spectrogram : Spectrogram
        On a linear axis from 0 Hz.
    significance : array_like, shape (n_channels, 1 + n_candidates, n_frames)
        K Uᵀ, with no pitch first, as models' `integrate` gives it for one recording.
    harmonics : array_like, shape (n_channels, n_bins, n_frames)
        softmax(K Uᵀ) U, of the first bins of the spectrogram.
    candidates : array_like, shape (n_candidates,)
        Pitches in Hz, ascending.
    start, end : float, optional
        Seconds to draw from and to; by default the first minute.
    title : str, optional
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ParameterError
        If the shapes do not belong together, the axis or the candidates are not as described, or
        nothing lies between `start` and `end`.

    References
    ----------
    .. [1] T. Wang et al., "Harmonic attention for monaural speech enhancement", IEEE/ACM Trans.
       Audio, Speech, Lang. Process. 31, 2023.

    Examples
    --------
    >>> from harmnmf.enhancement import comb_matrix
    >>> from harmnmf.signal.spectrogram import STFT
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> spectrogram = STFT(n_fft=512, hop_length=128).transform(noise)
    >>> U = comb_matrix(spectrogram.axis)
    >>> significance = U @ spectrogram.values
    >>> figure = plot_integration(
    ...     spectrogram, [significance], [U.T @ softmax(significance, axis=0)], range(60, 420)
    ... )
    >>> [axes.get_ylabel() for axes in figure.axes[:2]]
    ['Pitch (Hz)', 'Frequency (Hz)']
    """
    scores, combs, pitches = (np.asarray(x) for x in (significance, harmonics, candidates))
    _check(spectrogram, scores, combs, pitches)
    hop = spectrogram.hop_length / spectrogram.sample_rate
    first, last = frames_between(start, end, spectrogram.n_frames, hop)
    left = first * hop
    figure = Figure(figsize=(12, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)

    weights = softmax(scores[..., first:last], axis=1).mean(axis=0)[1:]
    # Evenly spaced rows, as close as the closest candidates.
    step = np.diff(pitches).min()
    rows = np.arange(pitches[0], pitches[-1] + step / 2, step)
    nearest = np.abs(rows[:, None] - pitches).argmin(axis=1)
    image = draw_image(
        upper, weights[nearest], left=left, hop=hop, bottom=rows[0], step=step, cmap="magma"
    )
    figure.colorbar(image, ax=upper, label="Weight (dB)", pad=0.01, aspect=40)
    upper.set_ylabel("Pitch (Hz)")
    upper.set_title(title, loc="left", fontweight="bold")

    bin_width = float(spectrogram.axis.to_hz(1))
    levels = spectrogram.values[: combs.shape[1], first:last]
    image = draw_image(
        lower, levels, left=left, hop=hop, bottom=0.0, step=bin_width, cmap=SOFT_GREY
    )
    figure.colorbar(image, ax=lower, label="Level (dB)", pad=0.01, aspect=40)
    lower.imshow(
        combs[..., first:last].mean(axis=0),
        cmap=_TINT,
        vmin=0.0,
        origin="lower",
        aspect="auto",
        extent=(left - hop / 2, last * hop - hop / 2, *image.get_extent()[2:]),
    )
    lower.set(xlabel="Time (s)", ylabel="Frequency (Hz)", xlim=(left, last * hop))
    return figure


def _check(spectrogram: Spectrogram, scores: NDArray, combs: NDArray, pitches: NDArray) -> None:
    axis, n_frames = spectrogram.axis, spectrogram.n_frames
    if axis.scale != "linear" or axis.fmin != 0:
        raise ParameterError("the spectrogram must have a linear frequency axis from 0 Hz")
    if pitches.ndim != 1 or len(pitches) < 2 or (np.diff(pitches) <= 0).any():
        raise ParameterError("candidates must be at least two frequencies, ascending")
    if scores.ndim != 3 or scores.shape[1:] != (1 + len(pitches), n_frames):
        raise ParameterError(
            f"significance must have shape (n_channels, {1 + len(pitches)}, {n_frames}), "
            f"not {scores.shape}"
        )
    if combs.ndim != 3 or not 0 < combs.shape[1] <= axis.n_bins or combs.shape[2] != n_frames:
        raise ParameterError(
            f"harmonics must have shape (n_channels, n_bins, {n_frames}), with at most"
            f" {axis.n_bins} bins, not {combs.shape}"
        )
