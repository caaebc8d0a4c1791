"""Judgement of outputs, and slow runs of the benchmark of robustness."""

from __future__ import annotations

import os

import numpy as np
import pytest

from benchmarks import robustness
from benchmarks.broken_audio import Case
from benchmarks.faults import COMMANDS
from benchmarks.robustness import judge
from harmnmf import Audio, NoteList, write_audio, write_midi

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes and signals of POSIX")

TRANSCRIBE, ENHANCE = COMMANDS
GOOD = Case("a.wav", lambda path: None)
BAD = Case("a.wav", lambda path: None, "is bad", errors={"enhance": r"is \d bad"})


@pytest.fixture
def outputs(tmp_path):
    write_midi(tmp_path / "a.mid", NoteList([], [], [], []))
    write_audio(tmp_path / "a_enhanced.wav", Audio(np.zeros(16_000), 8000))
    return tmp_path


def failed(error):
    return {"status": "failed", "error": error}


@pytest.mark.parametrize(
    ("command", "case", "record", "problem"),
    [
        (TRANSCRIBE, GOOD, {"status": "done", "error": None}, None),
        (ENHANCE, GOOD, failed("a.wav: is bad"), "failed: a.wav: is bad"),
        (ENHANCE, GOOD, {"status": "started"}, "started: None"),
        (ENHANCE, GOOD, None, "is lost"),
        (TRANSCRIBE, BAD, failed("a.wav: is bad"), None),
        (TRANSCRIBE, BAD, {"status": "done", "error": None}, "done, None, and not 'is bad'"),
        (ENHANCE, BAD, failed("a.wav: is 3 bad"), None),
    ],
)
def test_judged_records(outputs, command, case, record, problem):
    found = judge(command, case, record, outputs)
    assert (found is None) == (problem is None)
    assert problem is None or problem in found


def test_outputs_that_are_done_must_be_right(outputs):
    write_audio(outputs / "a_enhanced.wav", Audio(np.zeros(8000), 8000))
    (outputs / "a.mid").write_bytes(b"MThd")
    done = {"status": "done", "error": None}
    assert judge(ENHANCE, GOOD, done, outputs) == "lasts 1.0 s"
    assert "cannot be read as MIDI" in judge(TRANSCRIBE, GOOD, done, outputs)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_nothing_is_lost(tmp_path, command):
    counts, wrong = robustness.column(command, tmp_path, 4)
    assert wrong == []
    assert counts["files lost"] == "0"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("command", "limit"), [*zip(COMMANDS, (1.5, 1.0), strict=True)])
def test_memory_of_ten_minutes(tmp_path, command, limit):
    assert robustness.peak_memory(command, tmp_path, 600) < limit
