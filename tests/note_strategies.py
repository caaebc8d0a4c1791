"""Hypothesis strategies for note lists."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from harmnmf import NoteList

seconds = st.floats(0, 1000)
lengths = st.floats(1e-3, 100)
velocities = st.integers(1, 127)
note = st.tuples(seconds, lengths, st.integers(0, 127), velocities)
interval = st.tuples(seconds, lengths).map(lambda i: (i[0], i[0] + i[1]))
pedals = st.lists(interval, max_size=4)


def build(rows, pedal=()):
    on, length, pitch, velocity = np.array(rows, dtype=float).reshape(-1, 4).T
    return NoteList(on, on + length, pitch, velocity, pedal)


note_lists = st.builds(build, st.lists(note, max_size=12), pedals)
# Few pitches and times, so that notes overlap and coincide.
crowded = st.builds(
    build,
    st.lists(st.tuples(*(st.integers(a, b) for a, b in [(0, 9), (1, 9), (60, 62), (1, 127)]))),
    st.lists(st.tuples(st.integers(0, 9), st.integers(10, 20)), max_size=2),
)
