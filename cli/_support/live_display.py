"""Display of a live transcription on a terminal: keyboard, level, delay and the last events."""

from __future__ import annotations

import math
import os
import signal
import sys
import textwrap
import time
import unicodedata
from typing import TextIO

from .live_state import LiveState, decibels, event_text

_LOWEST, _HIGHEST = 21, 108  # A0 to C8
_WHITE = (0, 2, 4, 5, 7, 9, 11)  # pitch classes
_WHITE_KEYS = [pitch for pitch in range(_LOWEST, _HIGHEST + 1) if pitch % 12 in _WHITE]
_NO_BLACK_ABOVE = (4, 11)
_QUIETEST = -60  # dB, at the left end of the level meter
_MESSAGE_LINES = 4  # of the last messages
_COLUMNS, _LINES = 80, 24  # of a terminal that does not tell its size
_INTERVAL = 0.05  # seconds between two pictures, at the least
# Held keys, keys that sound by the pedal, white and black keys at rest, the level, its rest.
_BLOCKS = "█▒▁·█░"
_ASCII = "#o_.#-"

# Terminal control sequences, which all terminals of today know.
_OPEN = "\x1b[?1049h\x1b[?25l"  # another screen, and no cursor
_CLOSE = "\x1b[?25h\x1b[?1049l"
_HOME, _ERASE_LINE = "\x1b[H", "\x1b[2K"


def draw(state: LiveState, n_columns: int, n_lines: int, *, is_ascii: bool = False) -> list[str]:
    """Draw a live transcription.

    Parameters
    ----------
    state : LiveState
        What has been heard.
    n_columns, n_lines : int
        Size of the terminal.
    is_ascii : bool
        Whether the terminal has no block characters.

    Returns
    -------
    list of str
        At most `n_lines` lines of at most `n_columns` characters.
    """
    held, pedalled, white, black, loud, quiet = tuple(_ASCII if is_ascii else _BLOCKS)

    def sign(pitch: int, at_rest: str) -> str:
        is_held = state.keys.get(pitch)
        return at_rest if is_held is None else held if is_held else pedalled

    width = 2 if n_columns >= 2 * len(_WHITE_KEYS) else 1  # of a white key
    upper = lower = names = ""
    for pitch in _WHITE_KEYS:
        lower += sign(pitch, white) * width
        # A black key lies between two white ones, or above the lower one if these have one column.
        has_black = pitch % 12 not in _NO_BLACK_ABOVE and pitch < _HIGHEST
        upper += f"{sign(pitch + 1, black) if has_black else '':>{width}}"
        if pitch % 12 == 0:
            names = f"{names:<{len(lower) - width}}C{pitch // 12 - 1}"
    clock = f"{int(state.time) // 3600}:{int(state.time) // 60 % 60:02d}:{int(state.time) % 60:02d}"
    delay = f"delay {1000 * state.delay:.0f} ms, " if state.source.is_live else ""
    lines = [
        f"{clock}  {state.source.name}",
        _level(state.level, min(n_columns, len(lower)), loud, quiet),
        f"{state.n_notes} note{'s' * (state.n_notes != 1)}, {delay}look-ahead "
        f"{1000 * state.look_ahead:.0f} ms, {state.n_lost} samples lost",
        "",
        upper,
        lower,
        names,
        "pedal down" if state.is_pedal_down else "",
    ]
    last = state.messages[-_MESSAGE_LINES:]  # after hours there may be thousands
    messages = [part for message in last for part in textwrap.wrap(message, n_columns)]
    below = [*messages[-_MESSAGE_LINES:], "Ctrl-C ends"]
    n_events = min(len(state.events), max(0, n_lines - len(lines) - len(below)))
    events = list(state.events)[len(state.events) - n_events :]
    lines += [*map(event_text, events), *below]
    return [_fitted(line, n_columns) for line in lines[:n_lines]]


def _fitted(line: str, n_columns: int) -> str:
    """Cut a line to columns, of which some characters take two; names of files may have any."""
    fitted = ""
    for character in line.rstrip():
        n_columns -= 1 + (unicodedata.east_asian_width(character) in "WF")
        if n_columns < 0:
            break
        fitted += character if character.isprintable() else "?"
    return fitted


def _level(peak: float, width: int, loud: str, quiet: str) -> str:
    """Draw a level meter in decibels."""
    level = decibels(peak)
    text = f" {level:4d} dB" if peak < 1 else " CLIPPED"
    n = width - len(text)
    n_loud = round(n * min(max(1 - level / _QUIETEST, 0), 1))
    return loud * n_loud + quiet * (n - n_loud) + text


class LiveDisplay:
    """Draw on a terminal, which is as before when the block ends; Ctrl-Z has no effect meanwhile.

    Parameters
    ----------
    terminal : TextIO
        Standard output.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._drawn = -math.inf
        try:
            _BLOCKS.encode(terminal.encoding)
            self._is_ascii = False
        except UnicodeEncodeError:
            self._is_ascii = True

    def __enter__(self) -> LiveDisplay:
        """Open another screen."""
        if sys.platform != "win32":
            # A program that is suspended hears nothing, and would leave the terminal as it is.
            self._suspend = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        self._write(_OPEN)
        return self

    def __exit__(self, *error: object) -> None:
        """Return to the first screen."""
        self._write(_CLOSE)
        if sys.platform != "win32":
            signal.signal(signal.SIGTSTP, self._suspend)

    def show(self, state: LiveState) -> None:
        """Draw a state, unless the last was drawn a moment ago."""
        now = time.monotonic()
        if now - self._drawn < _INTERVAL:
            return
        self._drawn = now
        # Not shutil's, which prefers the variable COLUMNS to the size of a window that changes.
        size = os.get_terminal_size(self._terminal.fileno())
        # Serial lines and some containers do not know their size.
        n_columns, n_lines = size.columns or _COLUMNS, size.lines or _LINES
        lines = draw(state, n_columns, n_lines, is_ascii=self._is_ascii)
        lines += [""] * (n_lines - len(lines))
        self._write(_HOME + "\r\n".join(f"{_ERASE_LINE}{line}" for line in lines))

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()
