"""`harmnmf listen`: notes while they are played."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from harmnmf.cli._support.options import COUNT, PATH, Number, quiet_option
from harmnmf.errors import HarmnmfError

if TYPE_CHECKING:
    from harmnmf.live.calibration import LiveCalibration
    from harmnmf.live.events import Event
    from harmnmf.live.inputs import Source

# Those of LiveTranscriber, which takes long to import.
LOOK_AHEADS = (60, 120, 200, 320, 500)  # milliseconds
_RATE, _CHANNELS = 44100, 2  # of --stdin
_CALIBRATION = 20.0  # seconds


class _LookAhead(click.ParamType):
    """One of `LOOK_AHEADS`, in milliseconds or seconds; converted to seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        known = {f"{n}": n for n in LOOK_AHEADS} | {f"{n / 1000:g}": n for n in LOOK_AHEADS}
        text = value.strip().lower()
        ...


@click.command()
@click.option(
    "--input",
    "device",
    metavar="DEVICE",
    help="Audio input: a number or a part of a name from --list.  [default: the system's]",
)
@click.option("--stdin", is_flag=True, help="Hear raw samples from standard input: 16-bit little-endian.")
