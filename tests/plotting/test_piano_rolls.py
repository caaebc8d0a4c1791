from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection

from harmnmf import NoteList, ParameterError, plot_notes, plot_transcription
from harmnmf.signal.front_end import Spectrogram
from harmnmf.signal.spectrogram import STFT, LogFrequency

AXIS = LogFrequency().axis
NOTES = NoteList([0.5, 1.0, 2.0], [1.5, 2.0, 3.0], [48, 60, 84], [40, 80, 120])


def silence(seconds):
    n_frames = round(seconds * 50)
    return Spectrogram(np.zeros((AXIS.n_bins, n_frames), np.float32), AXIS, 16000, 320)


def bars(figure):
    """Boxes (start, end, pitch) of the bars of each label."""
    boxes = {}
    for collection in figure.axes[0].collections:
        assert isinstance(collection, PolyCollection)
        extents = [path.get_extents() for path in collection.get_paths()]
        boxes[collection.get_label()] = [
            (round(box.x0, 6), round(box.x1, 6), round((box.y0 + box.y1) / 2, 6)) for box in extents
        ]
    return boxes


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_bars_and_colours_show_notes_and_velocities():
    figure = plot_transcription(silence(4), NOTES, title="song")
    (drawn,) = bars(figure).values()
    assert drawn == [(0.5, 1.5, 48), (1, 2, 60), (2, 3, 84)]
    axes = figure.axes[0]
    assert (axes.get_title(loc="left"), axes.get_title(loc="right")) == ("song", "notes: 3")
    assert names(axes.yaxis) == ["C3", "C4", "C5", "C6"]
    assert axes.get_xlim() == (0, 4)
    [collection] = axes.collections
    assert list(collection.get_array()) == [40, 80, 120]
    assert collection.get_clim() == (1, 127)


def test_hits_false_alarms_and_misses():
    # One in tune and time, one 0.1 s late, one of another pitch.
    estimate = NoteList([0.52, 1.1, 2.0], [1.0, 2.0, 3.0], [48, 60, 83], [70, 70, 70])
    figure = plot_transcription(silence(4), estimate, NOTES)
    assert bars(figure) == {
        "hit": [(0.52, 1.0, 48)],
        "false alarm": [(1.1, 2, 60), (2, 3, 83)],
        "reference": [(0.5, 1.5, 48)],
        "missed": [(1, 2, 60), (2, 3, 84)],
    }
    summary = figure.axes[0].get_title(loc="right")
    assert summary == "hits: 1, false alarms: 2, missed: 2"


def test_a_part_shows_all_notes_that_sound_in_it():
    figure = plot_transcription(silence(4), NOTES, NOTES, start=1.2, end=2.0)
    assert bars(figure)["hit"] == [(0.5, 1.5, 48), (1, 2, 60)]
    axes = figure.axes[0]
    assert axes.get_title(loc="right").endswith("missed: 0 (1 to 2 s of 4 s)")
    assert axes.get_xlim() == pytest.approx((1.2, 2.0))


def test_hits_that_end_before_the_part_still_count():
    short = NoteList([0.5], [0.6], [48], [70])
    drawn = bars(plot_transcription(silence(4), short, NOTES, start=1, end=2))
    assert (drawn["reference"], drawn["missed"]) == ([(0.5, 1.5, 48)], [(1, 2, 60)])


def test_a_minute_is_drawn_by_default():
    late = NoteList([0, 30, 90], [1, 31, 91], [60, 62, 64], [70, 70, 70])
    figure = plot_transcription(silence(100), late)
    assert len(figure.axes[0].collections[0].get_paths()) == 2
    assert figure.axes[0].get_title(loc="right") == "notes: 2 (0 to 60 s of 100 s)"
    assert plot_transcription(silence(100), late, end=100).axes[0].get_xlim() == (0, 100)


def test_a_spectrogram_that_starts_later():
    late = NoteList([1, 100, 150, 170], [2, 101, 151, 171], [60, 62, 64, 65], [70] * 4)
    part = replace(silence(60), start=100.0)
    figure = plot_transcription(part, late)
    assert len(figure.axes[0].collections[0].get_paths()) == 2
    assert figure.axes[0].get_title(loc="right") == "notes: 2"
    assert figure.axes[0].get_xlim() == (100, 160)
    figure = plot_transcription(part, late, start=140, end=155)
    assert figure.axes[0].get_xlim() == pytest.approx((140, 155))
    assert figure.axes[0].get_title(loc="right") == "notes: 1 (140 to 155 s of 160 s)"
    assert part.times[:2] == pytest.approx([100, 100.02])


@pytest.mark.parametrize("reference", [None, NoteList([], [], [], [])])
def test_no_notes_and_no_sound(tmp_path, reference):
    figure = plot_transcription(silence(1), NoteList([], [], [], []), reference)
    figure.savefig(tmp_path / "empty.png", dpi=20)
    assert names(figure.axes[0].yaxis)[0] == "C1"


@pytest.mark.parametrize("front_end", [LogFrequency(), STFT(n_fft=4096)])
def test_notes_lie_on_their_fundamentals(front_end):
    t = np.arange(32000) / 16000
    spectrogram = front_end.transform(np.sin(2 * np.pi * 440 * t))
    figure = plot_transcription(spectrogram, NoteList([0], [2], [69], [70]))
    image = figure.axes[0].images[0]
    _, _, bottom, top = image.get_extent()
    rows = image.get_array()
    row = int(rows[:, 50].argmax())
    assert bottom + (row + 0.5) * (top - bottom) / len(rows) == pytest.approx(69, abs=0.13)
    assert rows.max() == 0


def lines(figure):
    """Times of the vertical lines."""
    found = [line for line in figure.axes[0].collections if isinstance(line, LineCollection)]
    return [[segment[0, 0] for segment in line.get_segments()] for line in found]


@pytest.mark.parametrize(
    "plot", [plot_notes, lambda *args, **how: plot_transcription(silence(4), *args, **how)]
)
def test_bar_lines_and_beats(plot):
    beats = np.arange(0, 4, 0.5)
    assert lines(plot(NOTES, beats=beats, downbeats=beats[::3])) == [list(beats), list(beats[::3])]
    assert lines(plot(NOTES)) == []


def test_hands_have_colours():
    figure = plot_notes(NOTES, staff=[2, 1, 1], title="song")
    assert bars(figure) == {"right hand": [(1, 2, 60), (2, 3, 84)], "left hand": [(0.5, 1.5, 48)]}
    axes = figure.axes[0]
    assert (axes.get_title(loc="left"), axes.get_title(loc="right")) == ("song", "notes: 3")
    assert len({tuple(part.get_facecolor()[0][:3]) for part in axes.collections}) == 2


def test_the_minute_from_the_first_note_on():
    late = NoteList([30, 60, 95], [31, 61, 96], [60, 62, 64], [70, 70, 70])
    axes = plot_notes(late).axes[0]
    assert axes.get_xlim() == (29.5, 89.5)
    assert axes.get_title(loc="right") == "notes: 2 (30 to 90 s of 96 s)"
    assert plot_notes(late, start=50, end=100).axes[0].get_xlim() == (50, 100)


def test_nothing_to_draw():
    with pytest.raises(ParameterError, match="there are no notes to draw"):
        plot_notes(NoteList([], [], [], []))
    with pytest.raises(ParameterError, match="no notes from 5 to 65 s"):
        plot_notes(NOTES, start=5, end=65)
    with pytest.raises(ParameterError, match="no notes from 1 to 0"):
        plot_notes(NoteList([0], [2], [60], [70]), start=1, end=0.5)
    with pytest.raises(ParameterError, match="staff must be 1 or 2 for each note"):
        plot_notes(NOTES, staff=[1])
