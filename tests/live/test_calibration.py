from __future__ import annotations

import datetime
import os
import sys

import numpy as np
import pytest

from harmnmf import FormatError, HarmnmfError, ParameterError
from harmnmf.live.calibration import LiveCalibration, calibration_path, list_calibrations
from harmnmf.storage.arrays import load_arrays, save_arrays

RESPONSE = np.linspace(0.5, 1.5, 50, dtype=np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Folder of the user's data that is empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "data/harmnmf")
    return tmp_path / "data" / "harmnmf" / "pianos"


def assert_equal(a, b):
    assert (a.tuning, a.level) == (b.tuning, b.level)
    np.testing.assert_array_equal(a.response, b.response)


@pytest.mark.parametrize("name", ["upright", "Bechstein im Saal 2", "Flügel", "Op.27"])
def test_calibrations_are_kept_by_name(folder, name):
    calibration = LiveCalibration(-0.125, 0.3, RESPONSE, {"duration": 20.0, "sample_rate": 44100})
    assert calibration.save(name) == folder / f"{name}.safetensors"
    loaded = LiveCalibration.load(name)
    assert_equal(loaded, calibration)
    date = datetime.date.fromisoformat(loaded.metadata["date"])
    assert 0 <= (datetime.date.today() - date).days <= 1
    assert loaded.metadata == {"date": str(date), "duration": 20.0, "sample_rate": 44100}
    assert list_calibrations() == {name: folder / f"{name}.safetensors"}


def test_a_calibration_that_is_kept_again(folder):
    LiveCalibration(0.0, 0.3, RESPONSE).save("upright")
    LiveCalibration(0.1, 0.4, RESPONSE).save("upright")
    assert LiveCalibration.load("upright").tuning == 0.1


def test_files(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calibration = LiveCalibration(0.0, 0.3, RESPONSE)
    for path in (tmp_path / "a.safetensors", "b.safetensors", f".{os.sep}c.bin"):
        calibration.save(path)
        assert_equal(LiveCalibration.load(path), calibration)
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "b.safetensors", "c.bin"]
    assert list_calibrations() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="the convention of Linux")
def test_the_folder_of_the_platform(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert calibration_path("upright") == tmp_path / "harmnmf/pianos/upright.safetensors"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = tmp_path / ".local/share/harmnmf/pianos/upright.safetensors"
    assert calibration_path("upright") == expected


def test_unknown_names_say_which_are_known():
    with pytest.raises(HarmnmfError, match=r"grand: no such calibration \(none is kept yet"):
        LiveCalibration.load("grand")
    for name in ("upright", "at home"):
        LiveCalibration(0.0, 0.3, RESPONSE).save(name)
    with pytest.raises(HarmnmfError, match=r"grand: .* \(known: at home, upright; or give a file"):
        LiveCalibration.load("grand")
    with pytest.raises(HarmnmfError, match=r"grand\.safetensors: no such calibration"):
        LiveCalibration.load("grand.safetensors")


@pytest.mark.parametrize("name", ["", " ", ".", "..", ".hidden", "a:b", "what?", "a\n", "x" * 300])
def test_names_that_files_cannot_have(name):
    for use in (LiveCalibration(0.0, 0.3, RESPONSE).save, LiveCalibration.load, calibration_path):
        with pytest.raises(ParameterError, match="cannot be the name of a piano"):
            use(name)


def test_a_folder_that_cannot_be_made(folder):
    folder.parent.parent.write_text("a file")
    with pytest.raises(HarmnmfError, match="pianos: this folder cannot be made"):
        LiveCalibration(0.0, 0.3, RESPONSE).save("upright")


@pytest.mark.parametrize(
    ("tuning", "level", "response"),
    [
        (np.nan, 0.3, RESPONSE),
        ("0", 0.3, RESPONSE),
        (1e6, 0.3, RESPONSE),
        (0.0, 0.0, RESPONSE),
        (0.0, np.inf, RESPONSE),
        (0.0, 0.3, []),
        (0.0, 0.3, 1.0),
        (0.0, 0.3, [[1.0]]),
        (0.0, 0.3, [1.0, -1.0]),
        (0.0, 0.3, [1.0, np.nan]),
        (0.0, 0.3, ["1"]),
    ],
)
def test_values_that_are_wrong(tuning, level, response):
    with pytest.raises(ParameterError):
        LiveCalibration(tuning, level, response)


def test_the_response_is_a_copy():
    response = RESPONSE.copy()
    calibration = LiveCalibration(0.0, 0.3, response)
    response[0] = 9
    assert calibration.response[0] == np.float32(0.5)
    with pytest.raises(ValueError, match="read-only"):
        calibration.response[0] = 9


@pytest.mark.parametrize("change", ["tuning", "level", "response", "about"])
@pytest.mark.parametrize("value", [None, "x", -1.0])
def test_damaged_files(tmp_path, change, value):
    path = LiveCalibration(0.0, 0.3, RESPONSE).save(tmp_path / "a.safetensors")
    arrays, metadata = load_arrays(path, kind="live-calibration")
    if change == "response":
        arrays = {} if value is None else {"response": np.full(3, -1.0)}
    elif value is None:
        del metadata[change]
    elif (change, value) != ("tuning", -1.0):
        metadata[change] = value
    else:
        metadata[change] = [0.0]
    save_arrays(path, arrays, metadata)
    with pytest.raises(FormatError, match=r"a\.safetensors: damaged calibration"):
        LiveCalibration.load(path)


def test_other_files(tmp_path):
    save_arrays(tmp_path / "a.safetensors", {"W": np.eye(2)}, {"kind": "timbre-dictionary"})
    with pytest.raises(FormatError, match="holds timbre-dictionary"):
        LiveCalibration.load(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_text("text")
    with pytest.raises(FormatError, match="corrupt"):
        LiveCalibration.load(tmp_path / "b.safetensors")
