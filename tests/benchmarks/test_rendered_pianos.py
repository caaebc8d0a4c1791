"""Pianos to train an enhancer with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.rendered_pianos import render_pianos
from harmnmf import Audio, NoteList, read_audio, write_audio, write_midi


def test_each_performance_is_played_by_the_next_piano(tmp_path):
    time = np.arange(16_000) / 16_000
    for name, hz in (("a", 200.0), ("b", 300.0)):
        folder = tmp_path / "piano/notes" / name
        folder.mkdir(parents=True)
        sound = np.sin(2 * np.pi * hz * time) * np.exp(-3 * time)
        write_audio(folder / "060_FF.flac", Audio(sound, 16_000))
    (tmp_path / "piano/notes/notes.tsv").touch()
    performances = tmp_path / "piano/performances_free"
    performances.mkdir()
    notes = NoteList([0.0, 1.0], [0.5, 1.5], [60, 60], [80, 80])
    for name in ("first", "second", "third"):
        write_midi(performances / f"{name}.mid", notes)

    render_pianos(tmp_path, tmp_path / "out", duration=1.5)

    for name, hz in (("first", 200.0), ("second", 300.0), ("third", 200.0)):
        samples = read_audio(tmp_path / "out" / name / "piano.flac").samples
        spectrum = np.abs(np.fft.rfft(samples))
        assert spectrum.argmax() * 16_000 / len(samples) == pytest.approx(hz, abs=2)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=1e-3)
