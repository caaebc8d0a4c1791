from __future__ import annotations

import pytest

from harmnmf import FormatError
from harmnmf.score.reading.beat_files import read_beats


@pytest.mark.parametrize(
    ("text", "beats"),
    [
        ("0.5\n1\n1.5\n", [0.5, 1, 1.5]),
        ("# made by hand\n\n0.5, 1\r\n1, 2\r\n", [[0.5, 1], [1, 2]]),
        ("time;beat\n0.5;3\n1;1\n", [[0.5, 3], [1, 1]]),
        ("0.5 0.5 b,,-3\n1.0 1.0 db,3/4\n", [[0.5, 2], [1, 1]]),  # ASAP
        ("0.0\tdb,3/4,-3\n0.2\tb\n", [[0, 1], [0.2, 2]]),  # A-MAPS
        ("\ufeff0.5\t1.0\n1.0\t2.0", [[0.5, 1], [1, 2]]),
    ],
)
def test_beats_are_read(tmp_path, text, beats):
    path = tmp_path / "beats.txt"
    path.write_text(text, encoding="utf-8")
    assert read_beats(path).tolist() == beats


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has fewer than two times of beats"),
        (b"0.5 1\n", "fewer than two"),
        (b"0.5 1\n0.4 2\n", "line 2: '0.4 2' is not later than the beat before"),
        (b"0.5\nnan\n", "line 2: .* seconds that ascend"),
        (b"0.5 1\n1.0 two\n", "line 2: '1.0 two' is not the time of a beat"),
        (b"0.5 1.5\n1.5 2.5\n", "line 1: '0.5 1.5' is not"),
        (b"0,5\n0,9\n", "line 2: .* with a decimal point"),
        (b"0.5 2\n1.0 3\n", "no beat has the number 1, which begins a bar"),
        (b"Hello\nworld\n", "fewer than two"),
        (b"onset,offset,pitch,velocity\n0.5,1,60,70\n1,2,62,70\n", "do not tell the beats"),
        (b"MThd\0\0", "is not a text file with times of beats"),
        (b"1\n" * 2**20, "is not a text file"),
    ],
)
def test_files_without_beats(tmp_path, data, message):
    path = tmp_path / "beats.txt"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as caught:
        read_beats(path)
    assert str(caught.value).startswith(str(path))


def test_missing_files(tmp_path):
    with pytest.raises(FormatError, match="cannot be read"):
        read_beats(tmp_path / "missing.txt")
