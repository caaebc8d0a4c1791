from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harmnmf import FormatError, HarmnmfError, ParameterError, TimbreDictionary
from harmnmf.dictionary.timbre_dictionary import shipped_dictionaries
from harmnmf.dictionary.tuning import shift_spectra
from harmnmf.signal.spectrogram import STFT, LogFrequency
from harmnmf.storage.arrays import load_arrays, save_arrays

FRONT_END = STFT(sample_rate=1600, hop_length=32, n_fft=64)


def make(**changes):
    rng = np.random.default_rng(0)
    values = {
        "W": rng.uniform(size=(33, 3, 4)),
        "pitches": [60, 61, 64],
        "front_end": FRONT_END,
        "n_attack": 2,
        "attack_lead": 0.02,
        "metadata": {"name": "toy", "instruments": {"a": {"notes": 3, "keys": [60, 61, 64]}}},
    }
    return TimbreDictionary(**{**values, **changes})


def test_round_trip(tmp_path):
    saved = make(tuning=[0.1, -0.2, 0.4])
    saved.save(tmp_path / "toy.safetensors")
    loaded = TimbreDictionary.load(tmp_path / "toy.safetensors")
    for name in ("W", "pitches", "tuning"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    for name in ("front_end", "n_attack", "attack_lead", "metadata", "axis", "timbre_names"):
        assert getattr(loaded, name) == getattr(saved, name)


def test_copies_its_arrays_and_is_read_only():
    W, pitches = np.ones((33, 1, 1), np.float32), np.array([60])
    dictionary = make(W=W, pitches=pitches, n_attack=1)
    W[:], pitches[:] = 0, 0
    assert dictionary.W.min() == 1
    assert dictionary.pitches == [60]
    for array in (dictionary.W, dictionary.pitches):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(TypeError):
        dictionary.metadata["name"] = "other"


def test_timbre_names():
    assert make().timbre_names == ["attack -20 ms", "attack +0 ms", "sustain", "decay"]
    assert make(n_attack=4).timbre_names[-1] == "attack +40 ms"
    assert make(n_attack=1).timbre_names[1:] == ["sustain 1", "sustain 2", "sustain 3"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W": np.ones((32, 3, 4))}, "W must have shape"),
        ({"W": np.full((33, 3, 4), 1j)}, "real numbers"),
        ({"W": np.full((33, 3, 4), np.nan)}, "finite"),
        ({"W": np.full((33, 3, 4), -1.0)}, "not negative"),
        ({"pitches": [60, 61, 61]}, "ascending"),
        ({"pitches": [60, 61, 128]}, "0 to 127"),
        ({"pitches": [60.5, 61, 64]}, "whole numbers"),
        ({"pitches": [[60], [61], [64]]}, "pitches must be of shape"),
        ({"pitches": np.array([], int), "W": np.ones((33, 0, 4))}, "pitches must be of shape"),
        ({"n_attack": 5}, "n_attack"),
        ({"n_attack": 1.5}, "n_attack"),
        ({"attack_lead": np.nan}, "attack_lead"),
        ({"tuning": [0.1, 0.2]}, "tuning"),
        ({"tuning": np.nan}, "tuning"),
    ],
)
def test_invalid_parameters(changes, message):
    with pytest.raises(ParameterError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, about: arrays.pop("W"),
        lambda arrays, about: arrays.update(W=arrays["W"][1:]),
        lambda arrays, about: arrays.update(tuning=np.full(3, np.nan)),
        lambda arrays, about: about.pop("front_end"),
        lambda arrays, about: about.update(front_end={"name": "Wavelets"}),
        lambda arrays, about: about.update(front_end=None),
        lambda arrays, about: about.update(n_attack="two"),
        lambda arrays, about: about.update(attack_lead=[0.02]),
        lambda arrays, about: about.update(about=[[[1], 2]]),
        lambda arrays, about: arrays.update(W=np.full(arrays["W"].shape, 1e300)),
        lambda arrays, about: about["front_end"].update(sample_rate=10**400),
        lambda arrays, about: about.update(
            front_end=LogFrequency().to_dict() | {"n_bins": 10**12, "bins_per_octave": 1e13}
        ),
        lambda arrays, about: about.update(
            front_end=LogFrequency().to_dict() | {"n_cycles": 10**400}
        ),
    ],
)
def test_damaged_files(tmp_path, recwarn, damage):
    path = tmp_path / "toy.safetensors"
    make().save(path)
    arrays, about = load_arrays(path, kind="timbre-dictionary")
    damage(arrays, about)
    save_arrays(path, arrays, about)
    with pytest.raises(FormatError, match=r"toy\.safetensors: damaged timbre dictionary") as error:
        TimbreDictionary.load(path)
    assert "\n" not in str(error.value)
    assert not recwarn


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "other.safetensors"
    for content in (b"", b"text", None):
        if content is None:
            save_arrays(path, {}, {"kind": "activations"})
        else:
            path.write_bytes(content)
        with pytest.raises(FormatError, match=r"other\.safetensors"):
            TimbreDictionary.load(path)
    with pytest.raises(FormatError, match="cannot be opened"):
        TimbreDictionary.load(tmp_path)
    with pytest.raises(HarmnmfError, match=r"nowhere: no such dictionary \(shipped: .*default"):
        TimbreDictionary.load("nowhere")


def test_metadata_must_be_json(tmp_path):
    with pytest.raises(ParameterError, match="JSON"):
        make(metadata={"made": object()}).save(tmp_path / "toy.safetensors")
    assert not list(tmp_path.iterdir())


def test_shipped_dictionaries():
    assert "default" in shipped_dictionaries()
    for name in shipped_dictionaries():
        dictionary = TimbreDictionary.load(name)
        assert list(dictionary.pitches) == list(range(21, 109))
        sums = dictionary.W.sum(axis=0)
        np.testing.assert_allclose(sums[:, : dictionary.n_attack].mean(axis=1), 1, rtol=1e-3)
        np.testing.assert_allclose(sums[:, dictionary.n_attack :], 1, rtol=1e-3)


@pytest.mark.parametrize("tuning", [-0.4, 0.3])
def test_older_files_are_brought_to_440_hz(tmp_path, tuning):
    default = TimbreDictionary.load("default")
    W = shift_spectra(default.W, default.axis, tuning)
    path = tmp_path / "old.safetensors"
    replace(default, W=W).save(path)
    arrays, about = load_arrays(path, kind="timbre-dictionary")
    del arrays["tuning"]
    save_arrays(path, arrays, about)
    loaded = TimbreDictionary.load(path)
    difference = loaded.overall_tuning - default.overall_tuning
    assert difference == pytest.approx(tuning, abs=0.02)
    assert np.abs(loaded.W - default.W)[5:380].sum() < 0.3 * default.W.sum()
    # The tuning is known from now on, and nothing is shifted twice.
    loaded.save(path)
    again = TimbreDictionary.load(path)
    np.testing.assert_array_equal(again.W, loaded.W)
    np.testing.assert_array_equal(again.tuning, loaded.tuning)


def test_shipped_spectra_are_used_as_they_are():
    path = shipped_dictionaries()["default"]
    arrays, _ = load_arrays(path, kind="timbre-dictionary")
    dictionary = TimbreDictionary.load("default")
    np.testing.assert_array_equal(dictionary.W, arrays["W"])
    assert dictionary.overall_tuning == pytest.approx(0, abs=0.05)
    assert dictionary.tuning[0] < -0.1 < 0.2 < dictionary.tuning[-5]
