"""Small scores for tests."""

from __future__ import annotations

import numpy as np

from harmnmf.score.bars import Bars
from harmnmf.score.score import Key, Score, ScoreNotes


def make_score(notes, time_signatures=((4, 4),) * 4, *, pickup=0, fifths=0):
    """Make a score of tuples: onset and duration in ticks, pitch, and perhaps staff and voice."""
    rows = [(*note, 1, 1)[:5] for note in notes]
    table = np.array(rows, np.int64).reshape(-1, 5)
    order = np.lexsort((table[:, 2], table[:, 4], table[:, 3], table[:, 0]))
    onset, duration, pitch, staff, voice = (column.copy() for column in table[order].T)
    ornament = np.where(duration == 0, "grace", "")
    columns = onset, duration, pitch, staff, voice, 7 * pitch % 12, ornament
    return Score(ScoreNotes(*columns), Bars(time_signatures, pickup), (Key(0, fifths),))


def melody(*notes, staff=1, voice=1, start=0):
    """Make notes that follow each other of pitches and quarters; None is a rest."""
    made, position = [], 480 * start
    for pitch, quarters in notes:
        duration = round(480 * quarters)
        if pitch is not None:
            made.append((position, duration, pitch, staff, voice))
        position += duration
    return made
