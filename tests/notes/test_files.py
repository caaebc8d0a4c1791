from __future__ import annotations

import os

import pytest

from harmnmf import (
    FormatError,
    HarmnmfError,
    NoteList,
    ParameterError,
    read_notes,
    write_midi,
)


@pytest.mark.parametrize("suffix", [".mid", ".csv", ".jsonl"])
def test_missing_files_and_folders(tmp_path, suffix):
    for path in (tmp_path / f"missing{suffix}", tmp_path / f"folder{suffix}"):
        with pytest.raises(FormatError, match=rf"{path.name}: cannot be read \("):
            read_notes(path)
        (tmp_path / f"folder{suffix}").mkdir(exist_ok=True)
    with pytest.raises(HarmnmfError):
        write_midi(tmp_path / f"folder{suffix}", NoteList([], [], [], []))


def test_unknown_suffix_and_offset(tmp_path):
    with pytest.raises(FormatError, match=r"test_files\.py: not a note file"):
        read_notes(__file__)
    with pytest.raises(FormatError, match=r"missing: cannot be read \("):
        read_notes(tmp_path / "missing")
    with pytest.raises(ParameterError, match="'pedal' or 'key'"):
        read_notes(tmp_path / "song.mid", offset="sound")


class TestFilesThatExhaustResources:
    """Files that would take all memory or time."""

    @pytest.mark.parametrize(
        ("name", "limit"), [("song.mid", 2**23), ("song.csv", 2**23), ("song.jsonl", 2**26)]
    )
    def test_files_that_are_too_large(self, tmp_path, name, limit):
        with open(tmp_path / name, "wb") as file:
            file.truncate(limit + 1)
        with pytest.raises(FormatError, match=rf"{name}: too large for notes"):
            read_notes(tmp_path / name)

    @pytest.mark.skipif(os.name != "posix", reason="POSIX pipes")
    @pytest.mark.parametrize("name", ["song.mid", "song.csv"])
    def test_pipes(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(FormatError, match=rf"{name}: cannot be read \(a pipe or a device"):
            read_notes(tmp_path / name)
