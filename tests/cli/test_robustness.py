"""Writing to a full disk: one error line, and no partial files."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest
from matplotlib.figure import Figure

from harmnmf import Audio, HarmnmfError, NoteList, read_audio, write_audio, write_blocks, write_midi
from harmnmf.plotting.figures import save_figure
from harmnmf.signal.writing import write_parts, write_sounds
from harmnmf.storage.arrays import save_arrays

resource = pytest.importorskip("resource")

ROOM = 4096


@contextlib.contextmanager
def full_disk():
    """Limit files to one page, which gives the error of a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def noise(n_samples):
    return np.random.default_rng(0).uniform(-0.5, 0.5, n_samples)


NOTES = NoteList(np.arange(2000), np.arange(2000) + 0.5, [60] * 2000, [70] * 2000)
PICTURE = Figure()
PICTURE.add_subplot().imshow(noise(10_000).reshape(100, 100))
WRITERS = {
    "a.safetensors": lambda path: save_arrays(path, {"W": noise(10_000)}, {"kind": "test"}),
    "a.mid": lambda path: write_midi(path, NOTES),
    "a.png": lambda path: save_figure(PICTURE, path),
    "a.wav": lambda path: write_audio(path, Audio(noise(44_100), 44_100)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_gives_one_line_and_leaves_no_file(tmp_path, capfd, name):
    with full_disk(), pytest.raises(HarmnmfError) as caught:
        WRITERS[name](tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: cannot be written (")
    assert message.endswith("); make room on the disk, or choose another place")
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
    WRITERS[name](tmp_path / name)
    assert (tmp_path / name).stat().st_size > ROOM


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_a_full_disk_leaves_no_folder(tmp_path, capfd, subtype):
    path = tmp_path / "parts"
    blocks = [{"left": noise(44_100), "right": noise(44_100)}]
    sounds = [("short", Audio(noise(100), 44_100)), ("long", Audio(noise(44_100), 44_100))]
    for write in (
        lambda: write_parts(path, blocks, 44_100, subtype=subtype),
        lambda: write_sounds(path, sounds, subtype=subtype),
    ):
        with full_disk(), pytest.raises(HarmnmfError) as caught:
            write()
        assert str(caught.value).startswith(f"{path}: cannot be written (")
        assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_no_part_of_audio_is_lost_silently(tmp_path, suffix):
    # Closing the file also writes, and may fail.
    path, other = (tmp_path / f"{name}.{suffix}" for name in "ab")
    outcomes = set()
    for n_samples in range(500, 40_000, 1500):
        blocks = np.array_split(noise(n_samples), 3)
        try:
            with full_disk():
                write_blocks(path, blocks, 44_100)
        except HarmnmfError:
            outcomes.add("rejected")
            assert os.listdir(tmp_path) == []
            continue
        outcomes.add("written")
        write_blocks(other, blocks, 44_100)
        np.testing.assert_array_equal(read_audio(path).samples, read_audio(other).samples)
        path.unlink()
        other.unlink()
    assert outcomes == {"rejected", "written"}
