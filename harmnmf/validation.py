"""Checks of parameters, which raise ParameterError with the parameter's name and value.

NumPy's numbers are numbers; booleans and strings are not.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ParameterError

__all__ = ["as_counts", "check_choice", "check_flag", "check_integer", "check_number", "real_array"]


def check_integer(name: str, value: Any, minimum: int = 1, maximum: int | None = None) -> None:
    """Check that a parameter is an integer from `minimum` to `maximum`.

    Examples
    --------
    >>> check_integer("n_iter", 5)
    >>> check_integer("n_iter", "5")
    Traceback (most recent call last):
    harmnmf.errors.ParameterError: n_iter must be an integer of at least 1, not '5'
    """
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not (is_integer and minimum <= value and (maximum is None or value <= maximum)):
        span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise ParameterError(f"{name} must be an integer {span}, not {value!r}")


def check_number(
    name: str,
    value: Any,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    infinite: bool = False,
) -> None:
    """Check that a parameter is a finite number from `minimum` to `maximum`.

    `above` and `below` are bounds that the number must not reach. With `infinite`, infinity is
    allowed, and so is minus infinity without a lower bound.

    Examples
    --------
    >>> check_number("beta", 0.5)
    >>> check_number("learning_rate", float("nan"), above=0)
    Traceback (most recent call last):
    harmnmf.errors.ParameterError: learning_rate must be a finite number above 0, not nan
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (
        is_number
        and (math.isfinite(value) or (infinite and not math.isnan(value)))
        and minimum <= value <= maximum
        and (above < value or not math.isfinite(above))
        and (value < below or not math.isfinite(below))
    ):
        relations = {
            "of at least": minimum, "above": above, "at most": maximum, "below": below
        }  # fmt: skip
        if math.isfinite(minimum) and math.isfinite(maximum):
            relations = {"from": minimum, "to": maximum}
        bounds = [f"{text} {bound}" for text, bound in relations.items() if math.isfinite(bound)]
        kind = "number" if infinite else "finite number"
        span = " ".join(["", *bounds])
        raise ParameterError(f"{name} must be a {kind}{span}, not {value!r}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Check that a parameter is one of some names.

    Examples
    --------
    >>> check_choice("solver", "sgd", ["adam", "lbfgs"])
    Traceback (most recent call last):
    harmnmf.errors.ParameterError: solver must be one of adam, lbfgs, not 'sgd'
    """
    if not isinstance(value, str) or value not in choices:
        raise ParameterError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_flag(name: str, value: object) -> None:
    """Check that a parameter is True or False.

    Examples
    --------
    >>> check_flag("augment", "no")
    Traceback (most recent call last):
    harmnmf.errors.ParameterError: augment must be True or False, not 'no'
    """
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name} must be True or False, not {value!r}")


def as_counts(name: str, values: object, minimum: int = 1) -> tuple[int, ...]:
    """Convert a parameter that holds integers of at least `minimum`, perhaps none, to a tuple.

    Examples
    --------
    >>> as_counts("n_channels", [16, 32])
    (16, 32)
    """
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
        raise ParameterError(f"{name} must be integers, not {values!r}")
    for value in values:
        check_integer(name, value, minimum)
    return tuple(int(value) for value in values)


def real_array(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Convert a parameter that may be an array; it must hold real numbers, perhaps not finite ones.

    Examples
    --------
    >>> real_array("tuning", [0, 0.5])
    array([0. , 0.5])
    >>> real_array("tuning", "0.5")
    Traceback (most recent call last):
    harmnmf.errors.ParameterError: tuning must be real numbers, not '0.5'
    """
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        raise ParameterError(f"{name} must be real numbers, not {values!r}")
    return array.astype(np.float64)
