"""Options that several commands have."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", re.ASCII)


class Time(click.ParamType):
    """A time in a recording, in seconds."""

    name = "time"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Convert seconds, m:ss or h:mm:ss to seconds."""
        if isinstance(value, float):
            return value
        match = _TIME.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not a time; use seconds, m:ss or h:mm:ss", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds


class FiniteNumber(click.ParamType):
    """Any finite number."""

    name = "float"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Convert the text of an option."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


PATH = click.Path(readable=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
COUNT = click.IntRange(min=1)


class Number(click.FloatRange):
    """Numbers in a range, infinity only if asked: click's own lets NaN pass."""

    name = "number"

    def __init__(self, *bounds: Any, infinite: bool = False, **options: Any) -> None:
        super().__init__(*bounds, **options)
        self.infinite = infinite

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Convert the text of an option."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number) or (math.isinf(number) and not self.infinite):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Formats(click.ParamType):
    """Output formats, separated by commas, each of them once."""

    name = "list"

    def __init__(self, known: Sequence[str]) -> None:
        self.known = known

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Convert the text of an option."""
        formats = [part.strip().lower() for part in value.split(",")]
        if unknown := [part for part in formats if part not in self.known]:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(self.known)}", param, ctx)
        return list(dict.fromkeys(formats))


about_option = click.option(
    "--about", metavar="TEXT", help="Description, sources and licence to store in the file."
)
device_option = click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    help="Compute device: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Print nothing but warnings and errors."
)
seed_option = click.option(
    "--seed", default=0, type=click.IntRange(0, 2**32 - 1), help="Random seed."
)
