"""Work on many recordings: what fails is named, what is done is said."""

from __future__ import annotations

import io

import click
import numpy as np
import pytest
from click.testing import CliRunner

from harmnmf import Audio, AudioError, write_audio
from harmnmf.cli.batch import _progress, process_each


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    write_audio(path, Audio(np.zeros(16000), 8000))
    return path


def test_progress_is_for_terminals(song, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        with _progress(song) as progress:
            assert (progress is not None) == shown
            if progress is not None:
                progress(1.0)
                progress(2.02)  # the last frame ends a little after the last sample
        assert ("song.wav (seconds)" in stream.getvalue()) == shown
        assert ("2/2" in stream.getvalue()) == shown


def test_one_that_fails_does_not_stop_the_rest(tmp_path):
    plan = {tmp_path / name: [tmp_path / f"{name}.out"] for name in ("bad", "good")}

    def work(source, outputs, progress):
        assert progress is None
        if source.name == "bad":
            raise AudioError(f"{source}: is\nbad")
        return "3 things"

    @click.command()
    @click.pass_context
    def command(ctx):
        process_each(ctx, plan, work)

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{tmp_path / 'good.out'}: 3 things in 0.0 s")
    assert result.stderr.splitlines() == [
        f"harmnmf: error: {tmp_path / 'bad'}: is bad",
        "harmnmf: 1 of 2 recordings failed",
    ]
