"""Validation of what the estimator is given, and the factors that it starts from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_array

from harmnmf.errors import ParameterError
from harmnmf.signal.spectrogram import LogFrequency

from .templates import harmonic_templates, initial_weights

__all__ = ["MAGNITUDES", "check_magnitudes", "initial_factors", "parameter_errors"]

# Options of scikit-learn's validation.
MAGNITUDES: dict[str, Any] = {"dtype": [np.float32, np.float64], "ensure_non_negative": True}
# Initial ratio between the weights of the last template in a key's last timbre and in its first.
_MAX_TILT = 10.0

_Array = NDArray[np.floating]


def initial_factors(
    templates: ArrayLike | None, weights: ArrayLike | None, n_timbres: int, n_bins: int
) -> tuple[_Array, _Array]:
    """Validate templates and weights, or make the default ones, and divide pitches into timbres.

    Returns templates, (n_bins, n_components, n_templates), and weights, (n_templates,
    n_components), where a component is a timbre of a pitch; parameters are those of
    :class:`harmnmf.nmf.estimator.HarmonicNMF`, for data of `n_bins` bins. Raises ParameterError.

    Examples
    --------
    >>> P, E = initial_factors(np.ones((390, 88, 6)), None, n_timbres=2, n_bins=390)
    >>> P.shape, E.shape
    ((390, 176, 6), (6, 176))
    """
    P: _Array
    default: _Array
    if templates is None:
        front_end = LogFrequency()
        P = harmonic_templates(front_end.axis, window_durations=front_end.window_durations)
        default = initial_weights()
    else:
        P = check_magnitudes("templates", templates)
        if P.ndim != 3:
            raise ParameterError(
                "templates must have shape (n_bins, n_pitches, n_templates), as "
                f"harmonic_templates makes them, not {P.shape}"
            )
        default = np.ones(P.shape[:0:-1])
    E = default if weights is None else check_magnitudes("weights", weights)
    if len(P) != n_bins:
        raise ParameterError(
            f"X has {n_bins} features, but the templates have {len(P)} bins: "
            "X must be V.T, (n_frames, n_bins)"
        )
    if E.shape != default.shape:
        raise ParameterError(
            f"weights must have shape {default.shape}, (n_templates, n_pitches), not {E.shape}"
        )
    # Timbres that start equal would stay equal.
    if n_timbres > 1 and len(E) == 1:
        raise ParameterError("n_timbres above 1 needs more than one template for each pitch")
    tilt = _MAX_TILT ** np.outer(np.linspace(0, 1, len(E)), np.linspace(0, 1, n_timbres))
    E = (E[:, :, None] * tilt[:, None]).reshape(len(E), -1)
    return np.repeat(P, n_timbres, axis=1), E


def check_magnitudes(name: str, array: ArrayLike) -> _Array:
    """Validate an array of magnitudes other than the data, of two or three dimensions."""
    with parameter_errors():
        valid: _Array = check_array(array, input_name=name, allow_nd=True, **MAGNITUDES)
    return valid


@contextmanager
def parameter_errors() -> Iterator[None]:
    """Turn the errors of scikit-learn's validation into ParameterError."""
    try:
        yield
    except ValueError as error:
        raise ParameterError(str(error)) from error
