"""Figure of harmonic integration."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from harmnmf.errors import ParameterError
from harmnmf.plotting.axes import SOFT_GREY, draw_image, frames_between
from harmnmf.signal.front_end import Spectrogram

__all__ = ["plot_integration"]

_VERMILION = "#D55E00"
# From transparent to a colour through which the spectrogram shows.
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
    """Plot the pitches that harmonic integration finds, and the harmonics that it selects.

    The upper panel shows the weight of each candidate, the softmax of the significance spectrum;
    the lower one the positive harmonics, on top of the spectrogram. Channels are averaged.

    Parameters
    ----------
    spectrogram : Spectrogram
        Spectrogram with a linear frequency axis from 0 Hz.
    significance : array_like, shape (n_channels, 1 + n_candidates, n_frames)
        K Uᵀ from :meth:`HarmonicLight.integrate`, for one recording; row 0 is "no pitch".
    harmonics : array_like, shape (n_channels, n_bins, n_frames)
        softmax(K Uᵀ) U, for the first bins of the spectrogram.
    candidates : array_like, shape (n_candidates,)
        Pitches in Hz, ascending.
    start, end : float, optional
        Time range in seconds; by default the first minute.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Figure; :func:`harmnmf.save_figure` writes it.

    Raises
    ------
    ParameterError
        If shapes or candidates do not fit the spectrogram, or the time range is empty.

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
    >>> harmonics = U.T @ softmax(significance, axis=0)
    >>> figure = plot_integration(spectrogram, [significance], [harmonics], range(60, 420))
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
    # The image needs evenly spaced rows.
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
