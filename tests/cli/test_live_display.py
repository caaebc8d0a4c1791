"""The display of `harmnmf listen`."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from harmnmf.cli._support.live_display import LiveDisplay, draw
from harmnmf.cli._support.live_state import LiveState, event_text
from harmnmf.live.events import NoteOff, NoteOn, PedalEvent

SONG = SimpleNamespace(name="song.wav", is_live=True)
SIZES = [(80, 24), (120, 40), (103, 24), (104, 24), (52, 13), (20, 5), (1, 1)]


def report(*events, **values):
    others = {
        "time": 3661.5, "level": 0.1, "delay": 0.1, "look_ahead": 0.12, "n_lost": 0, "messages": [],
    }  # fmt: skip
    return SimpleNamespace(**{**others, **values}, events=events)


def heard(*events, **values):
    """State after one report."""
    state = LiveState(SONG, 0.2)
    state.update(report(*events, **values))
    return state


def keyboard(lines):
    """The lines of the black and the white keys."""
    return lines[4:6]


@pytest.mark.parametrize("is_ascii", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_terminal(size, is_ascii):
    events = [NoteOn(0.1 * i, 21 + i, 64, 0.5) for i in range(88)]
    state = heard(*events, messages=["x" * 500, "short"])
    n_columns, n_lines = size
    lines = draw(state, n_columns, n_lines, is_ascii=is_ascii)
    assert len(lines) <= n_lines
    assert max(map(len, lines)) <= n_columns
    assert "".join(lines).isprintable()
    assert not is_ascii or "".join(lines).isascii()


def test_sounding_keys_are_marked_where_they_are():
    state = heard(NoteOn(0.5, 60, 80, 0.9), NoteOn(0.5, 63, 80, 0.9), NoteOn(0.5, 108, 80, 0.9))
    black, white = keyboard(draw(state, 80, 24, is_ascii=True))
    n_below = 2 + 3 * 7  # white keys below C4
    assert [i for i, sign in enumerate(white) if sign == "#"] == [n_below, 51]
    assert black.index("#") == n_below + 1  # above D4, for D#4
    assert black.count("#") == 1
    assert len(white) == 52
    assert black.count(".") == 35
    names = draw(state, 80, 24)[6]
    assert names.index("C4") == n_below
    black, white = keyboard(draw(state, 120, 24, is_ascii=True))
    assert [i for i, sign in enumerate(white) if sign == "#"] == [46, 47, 102, 103]
    assert black.index("#") == 2 * (n_below + 1) + 1


def test_the_pedal_keeps_notes_sounding():
    state = heard(PedalEvent(0.1, True), NoteOn(0.5, 60, 80, 0.9), NoteOff(0.7, 60))
    lines = draw(state, 80, 24, is_ascii=True)
    assert keyboard(lines)[1][23] == "o"
    assert "pedal down" in lines
    state.update(report(NoteOn(1, 62, 80, 0.9), PedalEvent(1.0, False)))
    lines = draw(state, 80, 24, is_ascii=True)
    assert keyboard(lines)[1][23:25] == "_#"
    assert "pedal down" not in lines


def test_numbers():
    lines = draw(heard(NoteOn(3661.4, 60, 80, 0.9), n_lost=441), 80, 24)
    assert lines[0] == "1:01:01  song.wav"
    assert lines[1].endswith(" -20 dB")
    assert lines[2] == "1 note, delay 200 ms, look-ahead 120 ms, 441 samples lost"


def test_the_level_meter_goes_from_60_db_to_full_scale():
    meters = [draw(heard(level=level), 80, 24)[1] for level in (0, 0.001, 0.0316, 0.999, 1.5)]
    assert [meter.count("█") for meter in meters] == [0, 0, 22, 44, 44]
    assert [meter.count("░") for meter in meters] == [44, 44, 22, 0, 0]
    assert meters[-1].endswith("CLIPPED")


def test_the_last_events_and_messages_are_shown():
    events = [NoteOn(i, 60, 64, 0.5) for i in range(200)]
    lines = draw(heard(*events, messages=["it is late", "it is too slow"]), 80, 24)
    assert len(lines) == 24
    assert lines[-3:] == ["it is late", "it is too slow", "Ctrl-C ends"]
    assert lines[-4] == event_text(events[-1])
    assert lines[8] == event_text(events[-13])


def test_names_of_files_are_harmless():
    lines = draw(LiveState(SimpleNamespace(name="a\x1b[2J\n曲曲曲曲", is_live=True), 0.2), 22, 24)
    assert lines[0] == "0:00:00  a?[2J?曲曲曲"


def test_events_are_lines_of_text():
    assert event_text(NoteOn(1.25, 61, 8, 0.876)).split() == [
        *("1.250", "C#4", "on", "velocity", "8", "confidence", "0.88"),
    ]
    assert event_text(NoteOff(1.25, 61)).split() == ["1.250", "C#4", "off"]
    assert event_text(PedalEvent(1.25, True)).split() == ["1.250", "pedal", "down"]
    assert event_text(PedalEvent(1.25, False)).split() == ["1.250", "pedal", "up"]


def test_the_closing_line():
    assert heard(time=9.0, level=0.01).describe() == (
        "0 notes in 9.0 s, no samples lost, peak level -40 dB"
    )
    notes = [NoteOn(3661.5 - 0.001 * i, 60, 80, 0.9) for i in range(101)]
    state = heard(*notes, n_lost=1)
    heard_of = "101 notes in 3661.5 s, 1 sample lost"
    assert state.describe() == f"{heard_of}, delay 150 ms (99% within 199 ms)"
    # A recording is not played in real time.
    state = LiveState(SimpleNamespace(name="song.wav", is_live=False), 0.2)
    state.update(report(*notes, delay=10.0, n_lost=1))
    assert state.describe() == heard_of
    assert "delay" not in draw(state, 80, 24)[2]


def test_the_level_falls_slowly():
    state = heard(level=1.0, time=1.0)
    state.update(report(level=0.0, time=1.5))
    assert state.level == pytest.approx(10 ** (-15 / 20))
    state.update(report(level=0.9, time=1.6))
    assert state.level == 0.9


def test_the_terminal_is_as_before_after_an_error():
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    with pytest.raises(ZeroDivisionError), LiveDisplay(terminal):
        raise ZeroDivisionError
    written = terminal.buffer.getvalue()
    assert written.startswith(b"\x1b[?1049h\x1b[?25l")  # another screen, no cursor
    assert written.endswith(b"\x1b[?25h\x1b[?1049l")
