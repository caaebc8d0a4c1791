"""Small scores that tests make up."""

from __future__ import annotations

import numpy as np

from harmnmf.score.bars import TICKS, Bars
from harmnmf.score.score import Key, Score, ScoreNotes


def waltz(n_bars: int = 40, seed: int = 0) -> Score:
    """A waltz: a bass note and two chords a bar, and quavers above."""
    rng = np.random.default_rng(seed)
    rows = []
    for bar in range(n_bars):
        start = 3 * TICKS * bar
        root = 40 + int(rng.choice([0, 5, 7]))
        rows.append((start, 2, root, TICKS))
        for beat in (1, 2):
            rows += [(start + beat * TICKS, 2, root + 12 + x, TICKS) for x in (0, 4, 7)]
        for eighth in range(6):
            pitch = 72 + int(rng.integers(0, 12))
            rows.append((start + eighth * TICKS // 2, 1, pitch, TICKS // 2))
    onset, staff, pitch, duration = np.array(sorted(rows)).T
    columns = (onset, duration, pitch, staff, np.ones_like(pitch), 7 * pitch % 12)
    notes = ScoreNotes(*columns, np.full(len(pitch), ""))
    return Score(notes, Bars([[3, 4]] * n_bars), (Key(0, 0),))


def musicxml(score: Score) -> str:
    """Write the notes of a score in quavers as MusicXML: two staves, a voice each."""
    measures = []
    names = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
    for bar in range(len(score.bars)):
        start, end = score.bars.starts[bar : bar + 2]
        content = ""
        if bar == 0:
            content += (
                "<attributes><divisions>2</divisions><time><beats>3</beats><beat-type>4"
                "</beat-type></time><staves>2</staves></attributes>"
            )
        for staff in (1, 2):
            last = -1
            for i in np.flatnonzero(
                (score.notes.staff == staff)
                & (score.notes.onset >= start)
                & (score.notes.onset < end)
            ):
                pitch, onset = score.notes.pitch[i], score.notes.onset[i]
                name = names[pitch % 12]
                content += (
                    f"<note>{'<chord/>' if onset == last else ''}<pitch><step>{name[0]}</step>"
                    f"<alter>{len(name) - 1}</alter><octave>{pitch // 12 - 1}</octave></pitch>"
                    f"<duration>{2 * score.notes.duration[i] // TICKS}</duration>"
                    f"<voice>{staff}</voice><staff>{staff}</staff></note>"
                )
                last = onset
            if staff == 1:
                content += "<backup><duration>6</duration></backup>"
        measures.append(f'<measure number="{bar + 1}">{content}</measure>')
    return (
        '<score-partwise><part-list><score-part id="P1"><part-name>Piano</part-name></score-part>'
        f'</part-list><part id="P1">{"".join(measures)}</part></score-partwise>'
    )
