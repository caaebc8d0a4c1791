"""Ranking of hypotheses of beats and bars: which of them is how the piece is notated."""

from __future__ import annotations

from functools import lru_cache
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.storage.shipped import shipped_files

__all__ = ["KIND", "LIMIT", "MetreRanking", "default_ranking"]

KIND = "metre-ranking"
_NAMES = ("mean", "scale", "hidden", "output")
LIMIT = 4.0  # standard deviations


class MetreRanking:
    """Network of one hidden layer that ranks the hypotheses of a piece by their statistics.

    Each hypothesis is compared with the mean of all.

    Parameters
    ----------
    mean, scale : ndarray, shape (n_statistics,)
        Mean and standard deviation of each statistic.
    hidden : ndarray, shape (n_hidden, 2 * n_statistics + 1)
        Weights of the hidden layer, the bias last.
    output : ndarray, shape (n_hidden,)
        Weights of the output.
    """

    def __init__(
        self,
        mean: NDArray[np.floating],
        scale: NDArray[np.floating],
        hidden: NDArray[np.floating],
        output: NDArray[np.floating],
    ) -> None:
        self.mean, self.scale, self.hidden, self.output = mean, scale, hidden, output

    def scores(self, statistics: NDArray[np.floating]) -> NDArray[np.float64]:
        """Score hypotheses of a piece: the greater the score, the more likely.

        Parameters
        ----------
        statistics : ndarray, shape (n_hypotheses, n_statistics)
            Statistics of each.

        Returns
        -------
        ndarray, shape (n_hypotheses,)
            Logarithms of their probabilities, but for a constant.
        """
        values = np.clip((statistics - self.mean) / self.scale, -LIMIT, LIMIT)
        ones = np.ones((len(values), 1))
        inputs = np.concatenate([values, values - values.mean(axis=0), ones], axis=1)
        return np.asarray(np.maximum(inputs @ self.hidden.T, 0) @ self.output, np.float64)

    def save(self, path: str | PathLike[str], about: str = "") -> None:
        """Write the ranking to a safetensors file."""
        arrays = {name: getattr(self, name) for name in _NAMES}
        save_arrays(path, arrays, {"kind": KIND, "about": about})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> MetreRanking:
        """Read a ranking from a safetensors file."""
        arrays, _ = load_arrays(path, kind=KIND)
        return cls(*(arrays[name] for name in _NAMES))


@lru_cache(maxsize=1)
def default_ranking() -> MetreRanking:
    """Load the ranking that comes with the package."""
    return MetreRanking.load(shipped_files("harmnmf", "data/score")["metre"])
