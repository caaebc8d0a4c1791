"""Notes become MIDI, and files of older versions become files of today."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from harmnmf import NoteList, TimbreDictionary, read_notes
from harmnmf.cli.main import main
from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig
from harmnmf.enhancement.models.registry import build_model, load_model
from harmnmf.signal.spectrogram import STFT


def save_old(path, arrays, metadata):
    text = json.dumps({"format": "harmnmf", "version": 1, **metadata}).encode()
    np.savez_compressed(path, metadata=np.frombuffer(text, np.uint8), **arrays)


def convert(*arguments):
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_dictionaries(tmp_path):
    W = np.random.default_rng(0).random((9, 2, 3), np.float32)
    front_end = STFT(sample_rate=1600, hop_length=8, n_fft=16)
    description = {
        "kind": "timbre-dictionary", "front_end": front_end.to_dict(), "n_attack": 2,
        "attack_lead": 0.02, "about": {"name": "toy"},
    }  # fmt: skip
    save_old(tmp_path / "toy.npz", {"W": W, "pitches": np.array([60, 64])}, description)
    result = convert(tmp_path / "toy.npz")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'toy.safetensors'}\n")
    assert convert(tmp_path / "toy.npz").exit_code == 1
    assert convert(tmp_path / "toy.npz", "--overwrite").exit_code == 0
    loaded = TimbreDictionary.load(tmp_path / "toy.safetensors")
    np.testing.assert_array_equal(loaded.W, W)
    assert loaded.front_end == front_end
    assert loaded.metadata == {"name": "toy"}


def test_note_networks(tmp_path):
    config = {
        "n_channels": 2, "n_partials": 2, "time_dilations": [1], "key_dilations": [12],
        "activations": True,
    }  # fmt: skip
    weights = NoteNetwork(NoteNetworkConfig(**config)).state_dict()
    arrays = {name.replace(".", "__"): x.numpy() for name, x in weights.items()}
    save_old(tmp_path / "a.npz", arrays, {"kind": "note-network", **config, "about": {"a": 1}})
    assert convert(tmp_path / "a.npz", "-o", tmp_path / "b.safetensors").exit_code == 0
    loaded = NoteNetwork.load(tmp_path / "b.safetensors")
    assert loaded.metadata == {"a": 1}
    for name, x in loaded.state_dict().items():
        torch.testing.assert_close(x, weights[name], rtol=0, atol=0)


def test_enhancement_models(tmp_path):
    config = {"n_channels": 4, "n_bands": 5, "n_features": 4, "n_heads": 2, "n_blocks": 1}
    weights = build_model("harmonic-light", **config).state_dict()
    arrays = {f"w{i}": x.numpy() for i, x in enumerate(weights.values())}
    metadata = {"kind": "enhancement-model", "model": "harmonic-light", "config": config, "a": 1}
    save_old(tmp_path / "a.npz", arrays, metadata)
    assert convert(tmp_path / "a.npz").exit_code == 0
    model, found = load_model(tmp_path / "a.safetensors")
    assert found == {"a": 1}
    for name, x in model.state_dict().items():
        torch.testing.assert_close(x, weights[name], rtol=0, atol=0)
    del arrays["w3"]
    save_old(tmp_path / "b.npz", arrays, metadata)
    result = convert(tmp_path / "b.npz")
    assert result.exit_code == 1
    assert "b.npz: cannot be converted" in result.stderr


def test_files_of_other_programs_are_not_converted(tmp_path):
    np.savez(tmp_path / "plain.npz", W=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", W=np.array([{}]), metadata=np.zeros(1))
    (tmp_path / "text.npz").write_text("no archive")
    for path in sorted(tmp_path.iterdir()):
        result = convert(path)
        assert result.exit_code == 1
        assert f"{path}: is not a file of an older harmnmf" in result.stderr
    save_old(tmp_path / "a.npz", {}, {"kind": "checkpoint"})
    result = convert(tmp_path / "a.npz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "a.npz: cannot be converted (no way to convert checkpoint)" in result.stderr


def test_reading_an_old_file_names_the_command(tmp_path):
    save_old(tmp_path / "a.npz", {}, {"kind": "timbre-dictionary"})
    result = CliRunner().invoke(main, ["dictionary", "show", str(tmp_path / "a.npz")])
    assert result.exit_code == 1
    assert "harmnmf convert" in result.stderr


class TestNotes:
    """Notes become MIDI files and tables."""

    lines = (
        '{"event":"note_on","time":0.5,"pitch":60,"velocity":80,"confidence":0.9}\n'
        '{"event":"pedal","time":0.6,"down":true}\n'
        '{"event":"note_off","time":1.0,"pitch":60}\n'
        '{"event":"pedal","time":2.0,"down":false}\n'
    )
    notes = NoteList([0.5], [1.0], [60], [80], pedal=[[0.6, 2.0]])

    @pytest.fixture(autouse=True)
    def take(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("take.jsonl").write_text(self.lines)

    def assert_notes(self, path, offset="key"):
        notes = read_notes(path, offset=offset)
        expected = self.notes if offset == "key" else self.notes.pedalled()
        np.testing.assert_allclose(notes.intervals, expected.intervals, atol=1e-3)
        np.testing.assert_allclose(notes.pedal, expected.pedal, atol=1e-3)
        np.testing.assert_array_equal(notes.velocity, expected.velocity)

    def test_events_of_a_take_that_was_cut_off(self):
        with open("take.jsonl", "a") as file:
            file.write('{"event":"note_on","ti')
        result = convert("take.jsonl")
        assert (result.exit_code, result.stdout) == (0, "take.mid\n")
        assert result.stderr == (
            "harmnmf: warning: take.jsonl: its last line, 5, is cut off and left out\n"
        )
        self.assert_notes("take.mid")

    def test_other_formats(self):
        for name in ("take.midi", "take.csv", "take.json"):
            result = convert("take.jsonl", "-o", name)
            assert (result.exit_code, result.output) == (0, f"{name}\n")
        self.assert_notes("take.midi")
        self.assert_notes("take.csv", offset="pedal")
        assert json.loads(Path("take.json").read_text())["pedal"] == [{"onset": 0.6, "offset": 2}]
        assert convert("take.csv").exit_code == 0
        self.assert_notes("take.mid", offset="pedal")

    def test_files_are_not_replaced(self):
        Path("take.mid").write_text("mine")
        result = convert("take.jsonl")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "take.mid: exists already; choose another name, or use --overwrite" in result.stderr
        assert Path("take.mid").read_text() == "mine"
        assert convert("take.jsonl", "--overwrite").exit_code == 0
        for name in ("take.mid", "./take.mid"):
            result = convert("take.mid", "-o", name, "--overwrite")
            assert result.exit_code == 1
            assert "take.mid: is also the output" in result.stderr
        self.assert_notes("take.mid")

    def test_outputs_of_other_formats_are_refused(self):
        result = convert("take.jsonl", "-o", "take.safetensors")
        assert result.exit_code == 2
        assert "take.safetensors: notes are written to files named .mid" in result.stderr

    def test_damage_is_an_error(self):
        Path("take.jsonl").write_text("hello\n" + self.lines)
        result = convert("take.jsonl")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "take.jsonl, line 1: is not a JSON object" in result.stderr
        assert not Path("take.mid").exists()
        result = convert("missing.jsonl")
        assert result.exit_code == 1
        assert "missing.jsonl: cannot be read (No such file or directory)" in result.stderr

    @pytest.mark.parametrize(
        ("command", "output"),
        [
            (["score", "take.jsonl"], "take.musicxml"),
            (["render", "take.jsonl"], "take_rendered.wav"),
            (["evaluate", "take.jsonl", "take.jsonl"], "take.jsonl"),
        ],
    )
    def test_commands_read_events(self, command, output):
        result = CliRunner().invoke(main, command)
        assert (result.exit_code, result.stderr) == (0, "")
        assert Path(output).exists()
