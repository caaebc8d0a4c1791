from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from harmnmf import TimbreDictionary
from harmnmf.cli.main import main
from harmnmf.signal.spectrogram import STFT


@pytest.fixture
def toy(tmp_path):
    """A small dictionary with metadata of every kind, also with control characters."""
    metadata = {
        "name": "toy",
        "about": "Two\nlines, and a \x1b[31mcolour.",
        "year": 2024,
        "instruments": {
            "grand": {"notes": 5, "keys": [60, 62]},
            "upright": {"notes": 2, "keys": [60], "tuning": -40},
            "odd": ["what", 1],
        },
    }
    W = np.random.default_rng(0).uniform(size=(257, 2, 3))
    path = tmp_path / "toy.safetensors"
    TimbreDictionary(W, [60, 62], STFT(n_fft=512), 1, 0.02, metadata, [-0.4, -0.2]).save(path)
    return path


def dictionary(*args):
    return CliRunner().invoke(main, ["dictionary", *map(str, args)])


def test_list():
    result = dictionary("list")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, *rows = result.stdout.splitlines()
    assert heading.split() == ["name", "keys", "timbres", "size", "about"]
    shown = [row.split()[:3] for row in rows]
    assert shown == [["default", "88", "12"], ["live", "88", "12"]]


def test_show_a_file(toy):
    lines = dictionary("show", toy).stdout.splitlines()
    shown = [line.split(maxsplit=1) for line in lines]
    for row in (
        ["path", str(toy)],
        ["keys", "2, C4 to D4"],
        ["tuning", "-30 cents (A4 = 432.4 Hz), keys -40 to -20"],
        ["timbres", "3: attack -20 ms, sustain, decay"],
        ["n_fft", "512"],
        ["about", "Two lines, and a [31mcolour."],
        ["year", "2024"],
        ["instruments"],
        ["grand", "5 notes, keys: 2, C4 to D4"],
        ["upright", "2 notes, keys: 1, C4 to C4, -40 cents"],
        ["odd", '["what", 1]'],
    ):
        assert row in shown
    assert all(line.isprintable() for line in lines)


def test_show_the_one_for_streams():
    result = dictionary("show", "live")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    for row in (["front", "end", "LowLatency, 390 bins"], ["max_delay", "0.04"], ["name", "live"]):
        assert row in shown


def test_plot_beside_a_file(toy, tmp_path):
    result = dictionary("plot", toy, "--pitch", "D4")
    picture = tmp_path / "toy.png"
    assert (result.exit_code, result.stdout) == (0, f"{picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = dictionary("plot", toy)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "toy.png: exists already" in result.stderr
    assert dictionary("plot", toy, "--overwrite").exit_code == 0


def test_plot_a_shipped_one_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dictionary("plot", "default").stdout == "default.png\n"
    assert [path.name for path in tmp_path.iterdir()] == ["default.png"]


@pytest.mark.parametrize(
    ("args", "exit_code", "message"),
    [
        (["plot", "toy.safetensors", "--pitch", "C#4"], 1, "no key 61, only C4 to D4"),
        (["plot", "toy.safetensors", "-o", "toy.jpg"], 1, ".png, .svg or .pdf"),
        (["plot", "toy.safetensors", "--pitch", "H4"], 2, "not a pitch"),
        (["show", "text.safetensors"], 1, "text.safetensors: is corrupt"),
        (["show", "nowhere"], 1, "nowhere: no such dictionary (shipped: default"),
    ],
)
def test_errors(toy, tmp_path, monkeypatch, args, exit_code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.safetensors").write_text("no dictionary")
    result = dictionary(*args)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert message in result.stderr
    assert exit_code == 2 or result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "text.safetensors",
        "toy.safetensors",
    ]
