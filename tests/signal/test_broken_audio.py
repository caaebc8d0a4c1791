"""Reading of every file of the corpus of broken audio."""

from __future__ import annotations

import os
import re
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.broken_audio import corpus
from harmnmf import AudioError, HarmnmfError, audio_info, read_audio, read_notes, stream_audio
from harmnmf.cli.main import main
from harmnmf.signal.audio_folders import audio_files

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="names and pipes of POSIX"),
    pytest.mark.timeout(30),
]

CASES = {case.name: case for case in corpus()}


def read_whole(path):
    audio = read_audio(path)
    return audio.samples, audio.sample_rate


def read_blocks(path):
    blocks = list(stream_audio(path, block_duration=0.7))
    return np.concatenate(blocks), audio_info(path).sample_rate


def outcome(read, path):
    """Return the error message, if any, and the result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = read(path)
        except AudioError as error:
            return str(error), None
    assert all("is truncated" in str(warning.message) for warning in caught)
    return None, result


def loudest_hz(samples, rate):
    n_fft = 2**18
    spectrum = np.abs(np.fft.rfft(samples[:n_fft] * np.hanning(len(samples[:n_fft])), n_fft))
    return spectrum.argmax() * rate / n_fft


@pytest.mark.parametrize("name", CASES, ids=ascii)
def test_a_file_gives_its_tone_or_a_one_line_error(tmp_path, capfd, name):
    case, path = CASES[name], tmp_path / name
    case.make(path)
    for read in (read_whole, read_blocks):
        error, result = outcome(read, path)
        if case.error is not None:
            start = " ".join(f"{path}: ".splitlines())
            assert error is not None
            assert re.fullmatch(re.escape(start) + case.error, error)
            continue
        assert error is None
        samples, rate = result
        assert np.isfinite(samples).all()
        assert case.seconds[0] <= len(samples) / rate <= case.seconds[1]
        if case.hz is not None:
            assert loudest_hz(samples, rate) == pytest.approx(case.hz, rel=0.02)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


def test_folders_are_searched_by_suffix(tmp_path):
    for name, case in CASES.items():
        case.make(tmp_path / name)
    (tmp_path / "folder.wav" / "inside.WAV").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.wav").touch()
    (tmp_path / "._a.wav").touch()
    found = {str(path.relative_to(tmp_path)) for path in audio_files(tmp_path)}
    assert found == {name for name, case in CASES.items() if case.listed} | {
        "folder.wav/inside.WAV"
    }


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_an_unreadable_folder_raises(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(HarmnmfError, match=r"locked: this folder cannot be read"):
        audio_files(tmp_path)


def test_an_unknown_length_is_0(tmp_path):
    CASES["no length.flac"].make(tmp_path / "a.flac")
    assert audio_info(tmp_path / "a.flac").duration == 0


def test_the_size_of_a_block_is_limited(tmp_path):
    CASES["1024 channels.wav"].make(tmp_path / "a.wav")
    [block] = stream_audio(tmp_path / "a.wav", mono=False, block_duration=1e300)
    assert block.shape[0] == 1024


FEW = [
    "flac cut off at 5 tenths.flac", "65535 channels.wav", "one sample.wav", "NaN.wav",
    "PCM_24.wav", "1 Hz.wav", "text.wav", "empty.opus", "new\nline.wav", "pipe.wav",
    "broken link.wav", os.fsdecode(b"not UTF-8 \xff\xfe.wav"),
]  # fmt: skip


def test_commands_report_failures_and_continue(tmp_path):
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    for name in FEW:
        CASES[name].make(source / name)
    for command, suffix, read in (
        ("transcribe", ".mid", read_notes),
        ("enhance", "_enhanced.wav", read_audio),
    ):
        errors = {name: CASES[name].errors.get(command, CASES[name].error) for name in FEW}
        failing = [name for name, error in errors.items() if error is not None]
        result = CliRunner().invoke(main, [command, str(source), "-o", str(output)])
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        lines = result.stderr.splitlines()
        assert lines[-1] == f"harmnmf: {len(failing)} of {len(FEW)} recordings failed"
        assert all(
            line.startswith(("harmnmf: error: ", "harmnmf: warning: ")) for line in lines[1:-1]
        )
        assert lines[0].startswith(f"harmnmf: {source}: {len(FEW)} recordings")
        for name in failing:
            path = " ".join(f"{source / name}: ".split())
            [line] = [line for line in lines if f"error: {path}" in line]
            assert re.fullmatch(f".*{errors[name]}", line)
        for name in set(FEW) - set(failing):
            read(output / f"{name.rpartition('.')[0]}{suffix}")
