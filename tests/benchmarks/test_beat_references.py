from __future__ import annotations

import numpy as np
import pytest

from benchmarks.beat_references import (
    amaps_names,
    amaps_reference,
    asap_names,
    asap_reference,
    asap_score,
)
from harmnmf import NoteList, write_csv, write_midi

NOTES = NoteList([1, 2, 3], [1.5, 2.5, 3.5], [60, 62, 64], [70, 70, 70])


@pytest.fixture
def data(tmp_path):
    for folder in ("scores/amaps/Piano", "piano/real/Piano", "scores/asap", "piano/performances"):
        (tmp_path / folder).mkdir(parents=True)
    write_csv(tmp_path / "piano/real/Piano/a.tsv", NOTES)
    (tmp_path / "scores/amaps/Piano/a.beats.tsv").write_text(
        "0.0\tdb,1/4,-2\n0.5\tb\n1.0\tdb,3/4\n1.5\tb\n2.0\tdb\n2.5\tdb,2/4,1\n4.0\tb\n"
    )
    write_midi(tmp_path / "piano/performances/Bach__1__Me.mid", NOTES)
    (tmp_path / "scores/asap/Bach__1__Me.beats.tsv").write_text(
        "1.0\t1.0\tb,,3\n1.5\t1.5\tbR\n2.0\t2.0\tdb,2/2\n"
    )
    return tmp_path


def test_amaps(data):
    """Beats before the first note, the bar that fills the time, and what follows are left out."""
    assert amaps_names(data) == ["Piano/a"]
    found = amaps_reference(data, "Piano/a")
    assert found.annotations.beats.tolist() == [1, 1.5, 2, 2.5]
    assert found.annotations.downbeats.tolist() == [1, 2, 2.5]
    assert found.time_signatures == ((1, (3, 4)), (2.5, (2, 4)))
    assert [(time, key.fifths) for time, key in found.annotations.keys] == [(0, -2), (2.5, 1)]


def test_asap(data):
    assert asap_names(data) == ["Bach__1__Me"]
    found = asap_reference(data, "Bach__1__Me")
    np.testing.assert_allclose(found.notes.onset, NOTES.onset, atol=1e-3)
    assert found.annotations.beats.tolist() == [1, 1.5, 2]
    assert found.annotations.downbeats.tolist() == [2]
    assert found.time_signatures == ((2, (2, 2)),)
    assert asap_score(data, "Bach__1__Me").name == "Bach__1.mxl"
