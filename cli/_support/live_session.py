"""What `harmnmf listen` shows, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from harmnmf.live.event_lines import event_to_line

from .live_display import LiveDisplay
from .live_state import LiveState, event_text

if TYPE_CHECKING:
    from harmnmf.live.following import Following, Report

# A program that runs this one may pass on the Ctrl-C that the terminal has sent to both.
_SAME_SIGNAL = 1.0  # seconds


@contextmanager
def shown(state: LiveState, *, is_json: bool, is_quiet: bool) -> Iterator[Callable[[Report], None]]:
    """Yield a function that shows a report: on a display if there is a terminal, else as lines."""
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if is_terminal and not (is_json or is_quiet):
        try:
            with warnings.catch_warnings(), LiveDisplay(sys.stdout) as display:
                # Standard error would disturb the display.
                warnings.showwarning = lambda message, *_: state.messages.append(str(message))
                display.show(state)
                yield lambda report: display.show(state)
        finally:
            _warn(state.messages)
        return

    def print_lines(report: Report) -> None:
        _warn(report.messages)
        for event in () if is_quiet else report.events:
            click.echo(event_to_line(event) if is_json else event_text(event))

    if not is_quiet:
        click.echo(f"harmnmf: listening to {state.source.name}; Ctrl-C ends", err=True)
    yield print_lines


def _warn(messages: list[str]) -> None:
    for message in messages:
        click.echo(f"harmnmf: warning: {message}", err=True)


@contextmanager
def ended_by_signals(following: Following) -> Iterator[None]:
    """Let Ctrl-C, `kill` and a terminal that closes end the input; a later Ctrl-C, the program."""
    signals = [signal.SIGINT, signal.SIGTERM]
    # Windows has no SIGHUP, and nohup ignores it.
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in signals}
    first: float | None = None

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is None:
            first = now
            following.stop()
        elif number == signal.SIGINT and now - first > _SAME_SIGNAL:
            raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, before[number])
