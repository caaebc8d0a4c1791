"""Checks of network configurations."""

from __future__ import annotations

from typing import Any

from harmnmf.errors import ParameterError
from harmnmf.validation import check_integer

__all__ = ["check_multiple", "check_positive"]


def check_positive(config: Any, *names: str) -> None:
    """Raise ParameterError unless all of these fields are integers of at least 1."""
    for name in names:
        check_integer(name, getattr(config, name))


def check_multiple(config: Any, name: str, divisor: str) -> None:
    """Raise ParameterError unless one field is a multiple of another."""
    value, step = getattr(config, name), getattr(config, divisor)
    if value % step:
        raise ParameterError(f"{name} must be a multiple of {divisor}, {step}, not {value}")
