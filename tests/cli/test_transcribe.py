from __future__ import annotations

import inspect
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from harmnmf import Transcriber, read_notes, shipped_dictionaries
from harmnmf.cli.main import main
from harmnmf.decoder.posteriors import decode_posteriors
from harmnmf.decoder.rules import decode_notes

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session")
def excerpt(pytestconfig):
    """Two seconds of the example, and their sample rate."""
    return soundfile.read(pytestconfig.rootpath / "examples" / "example.flac", frames=32000)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def song(folder, excerpt):
    path = folder / "song.wav"
    soundfile.write(path, *excerpt)
    return path


def transcribe(*args):
    result = CliRunner().invoke(main, ["transcribe", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is a fault
    return result


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def listing(folder):
    """Everything in a folder, with what is in it."""
    return {
        path.relative_to(folder): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def assert_refused(result, *parts, exit_code=1):
    """One line on stderr, which says these things, and a count if a recording was tried."""
    assert (result.exit_code, result.stdout) == (exit_code, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("harmnmf: error: ")
    assert lines[1:] in ([], ["harmnmf: 1 of 1 recordings failed"])
    for part in parts:
        assert str(part) in lines[0]


def test_adaptation_can_be_asked_for_and_is_the_default_of_rules(song, monkeypatch):
    adapted = []
    adapt = Transcriber.adapted
    monkeypatch.setattr(Transcriber, "adapted", lambda *args: adapted.append(args) or adapt(*args))
    nmf = ["--decoder", "nmf"]
    for options, n_adapted in (
        ([], 0), (["--adapt"], 1), (["--no-adapt"], 1), (nmf, 2), ([*nmf, "--no-adapt"], 2)
    ):  # fmt: skip
        assert transcribe(song, "--overwrite", *options).exit_code == 0
        assert len(adapted) == n_adapted
        assert len(read_notes(song.with_name("song.mid"))) > 3


class TestOutputs:
    def test_midi_beside_the_recording(self, song):
        result = transcribe(song)
        assert (result.exit_code, result.stderr) == (0, "")
        midi = song.with_name("song.mid")
        n_notes = len(read_notes(midi))
        assert n_notes > 3
        assert result.stdout.startswith(f"{midi}: {n_notes} notes in ")
        assert files(song.parent) == ["song.mid", "song.wav"]

    def test_the_short_form_of_a_relative_path(self, song):
        assert transcribe("song.wav").stdout.startswith("song.mid: ")

    @pytest.mark.parametrize("name", ["out.mid", "OUT.MIDI", "new/folder/take.1.mid"])
    def test_a_file(self, song, name):
        assert transcribe(song, "-o", name).exit_code == 0
        assert files(song.parent) == sorted([name, "song.wav"])
        assert len(read_notes(song.parent / name)) > 3

    def test_a_file_tells_the_format(self, song):
        assert transcribe(song, "-o", "out.csv").exit_code == 0
        assert files(song.parent) == ["out.csv", "song.wav"]

    def test_a_file_and_more_formats(self, song):
        assert transcribe(song, "-o", "out.midi", "--format", "csv,mid").exit_code == 0
        assert files(song.parent) == ["out.csv", "out.midi", "song.wav"]

    def test_a_folder_is_made(self, song):
        result = transcribe(song, "-o", "new/deep.er")
        assert result.stdout.startswith(os.path.join("new", "deep.er", "song.mid"))
        assert files(song.parent / "new" / "deep.er") == ["manifest.jsonl", "song.mid"]

    def test_a_folder_that_is_there_whatever_its_name(self, song):
        (song.parent / "takes.mid").mkdir()
        assert transcribe(song, "-o", "takes.mid").exit_code == 0
        assert files(song.parent / "takes.mid") == ["manifest.jsonl", "song.mid"]

    def test_all_formats_and_a_picture(self, song):
        result = transcribe(song, "--format", "mid, csv,NPZ,mid", "--plot")
        assert (result.exit_code, result.stderr) == (0, "")
        assert files(song.parent) == [f"song.{s}" for s in ("csv", "mid", "npz", "png", "wav")]
        midi, csv = (read_notes(song.with_suffix(s)) for s in (".mid", ".csv"))
        assert midi.pitch.tolist() == csv.pitch.tolist()
        np.testing.assert_allclose(midi.onset, csv.onset, atol=1e-3)
        with np.load(song.with_suffix(".npz")) as arrays:
            assert len(arrays["onset"]) == 88
        assert song.with_suffix(".png").read_bytes().startswith(PNG)

    def test_the_decoder_without_a_network(self, song):
        assert transcribe(song, "--decoder", "nmf", "--format", "mid,npz").exit_code == 0
        with np.load(song.with_suffix(".npz")) as arrays:
            assert len(arrays["attack"]) == 88

    @pytest.mark.parametrize(
        ("decoder", "thresholds"), [("learned", (0.05, 0.4, 1.0)), ("nmf", (-45, -20, 5))]
    )
    def test_the_threshold(self, song, decoder, thresholds):
        counts = []
        for threshold in thresholds:
            options = ("--decoder", decoder, "--onset-threshold", threshold, "--overwrite")
            transcribe(song, *options)
            counts.append(len(read_notes(song.with_suffix(".mid"))))
        assert counts[0] > counts[1] > counts[2]

    def test_help_tells_the_default(self):
        text = " ".join(transcribe("--help").stdout.split())
        learned, nmf = (
            inspect.signature(function).parameters["onset_threshold"].default
            for function in (decode_posteriors, decode_notes)
        )
        assert f"[default: {learned:g}; {nmf:g} with nmf]" in text


class TestInputs:
    @pytest.fixture
    def takes(self, folder, excerpt):
        for name in ("takes/one.wav", "takes/more/two.flac", "takes/more/.hidden.wav"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, *excerpt)
        (folder / "takes" / "notes.txt").write_text("text")
        return folder / "takes"

    def test_a_folder(self, takes):
        assert transcribe(takes).exit_code == 0
        new = [name for name in files(takes) if name.endswith(".mid")]
        assert new == [os.path.join("more", "two.mid"), "one.mid"]

    def test_a_folder_keeps_its_shape(self, takes):
        assert transcribe("takes", "-o", "midi").exit_code == 0
        new = ["manifest.jsonl", os.path.join("more", "two.mid"), "one.mid"]
        assert files(takes.parent / "midi") == new
        assert not list(takes.rglob("*.mid"))

    @pytest.mark.parametrize(
        ("pattern", "outputs"),
        [
            ("takes/*.wav", ["one.mid"]),
            ("takes/**/*.[wf]*", ["one.mid", "two.mid"]),
            ("*", ["one.mid", os.path.join("more", "two.mid")]),
        ],
    )
    def test_patterns(self, takes, pattern, outputs):
        assert transcribe(pattern, "-o", "midi").exit_code == 0
        assert files(takes.parent / "midi") == sorted(["manifest.jsonl", *outputs])

    def test_brackets_in_a_name_are_no_pattern(self, song):
        song.rename("take[1].wav")
        assert transcribe("take[1].wav").exit_code == 0
        assert (song.parent / "take[1].mid").exists()

    def test_a_recording_counts_once(self, song):
        result = transcribe("song.wav", song, "./song.wav", song.parent, "s*.wav")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.count("\n") == 1

    def test_names_that_are_no_text(self, song):
        name = os.fsdecode(b"caf\xe9.wav")
        try:
            song.rename(name)
        except OSError:
            pytest.skip("this file system has no such names")
        result = transcribe(name, "--plot")
        assert (result.exit_code, result.stderr) == (0, "")
        assert len(list(song.parent.iterdir())) == 3

    @pytest.mark.parametrize(
        ("rate", "channels", "subtype"),
        [
            (3000, 1, "PCM_16"),
            (8000, 1, "PCM_U8"),
            (44100, 2, "PCM_16"),
            (48000, 6, "PCM_24"),
            (96000, 1, "FLOAT"),
            (192000, 2, "PCM_32"),
        ],
    )
    def test_formats_of_audio(self, folder, excerpt, rate, channels, subtype):
        import soxr

        samples = soxr.resample(excerpt[0], excerpt[1], rate)
        sides = np.stack([samples] * channels, axis=1)
        soundfile.write("song.wav", sides, rate, subtype=subtype)
        result = transcribe("song.wav", "--plot")
        assert (result.exit_code, result.stderr) == (0, "")
        if rate >= 8000:
            assert len(read_notes(folder / "song.mid")) > 3

    def test_clipped(self, folder, excerpt):
        soundfile.write("song.wav", np.clip(20 * excerpt[0], -1, 1), excerpt[1])
        result = transcribe("song.wav")
        assert (result.exit_code, result.stderr) == (0, "")

    @pytest.mark.parametrize("n_samples", [10, 100, 44100])
    def test_silence_has_no_notes(self, folder, n_samples):
        soundfile.write("song.wav", np.zeros(n_samples), 44100)
        result = transcribe("song.wav", "--format", "mid,csv", "--plot")
        assert (result.exit_code, result.stderr) == (0, "")
        assert ": 0 notes in " in result.stdout
        assert len(read_notes("song.mid")) == len(read_notes("song.csv")) == 0
        assert (folder / "song.png").read_bytes().startswith(PNG)

    def test_a_truncated_file_is_said(self, song):
        soundfile.write("song.flac", np.random.default_rng(0).uniform(-0.1, 0.1, 160000), 16000)
        data = (song.parent / "song.flac").read_bytes()
        (song.parent / "song.flac").write_bytes(data[: len(data) // 2])
        result = transcribe("song.flac")
        assert result.exit_code == 0
        assert result.stderr.startswith("harmnmf: warning: song.flac: is truncated")
        assert result.stderr.count("\n") == 1


class TestRefusals:
    @pytest.fixture(autouse=True)
    def unchanged(self, request, song):
        """Whatever is refused leaves the folder as it was."""
        before = None

        def freeze():
            nonlocal before
            before = listing(song.parent)

        yield freeze
        if before is not None:
            assert listing(song.parent) == before

    @pytest.mark.parametrize("existing", ["song.mid", "song.png"])
    def test_an_existing_output(self, song, unchanged, existing):
        song.with_name(existing).write_text("precious")
        unchanged()
        assert_refused(transcribe(song, "--plot"), existing, "exists already", "--overwrite")

    def test_unless_it_may_be_replaced(self, song):
        song.with_suffix(".mid").write_text("worthless")
        assert transcribe(song, "--overwrite").exit_code == 0
        assert len(read_notes(song.with_suffix(".mid"))) > 3

    def test_a_failure_does_not_replace(self, song, unchanged):
        song.with_suffix(".mid").write_text("precious")
        song.write_text("text")
        unchanged()
        assert_refused(transcribe(song, "--overwrite"), "song.wav: is not audio")

    def test_collisions(self, song, unchanged, monkeypatch):
        shutil.copy(song, "song.flac")
        unchanged()
        monkeypatch.setattr("harmnmf.transcription.Transcriber", None)  # no work is begun
        result = transcribe(song.parent)
        assert_refused(result, "song.mid: would be written for both", "song.flac", "song.wav")
        assert_refused(transcribe("song.wav", "song.flac", "--overwrite"), "both")

    def test_collisions_in_one_folder(self, song, unchanged):
        (song.parent / "other").mkdir()
        shutil.copy(song, "other")
        unchanged()
        assert_refused(transcribe("song.wav", "other/song.wav", "-o", "midi"), "both")
        assert_refused(transcribe("song.wav", "other", "-o", "midi"), "both")

    def test_collisions_behind_links(self, song, unchanged):
        try:
            os.symlink(song.parent, "link")
        except OSError:
            pytest.skip("links are not allowed here")
        unchanged()
        assert_refused(transcribe("song.wav", "link/song.wav"), "both")

    def test_a_missing_file(self, song, unchanged):
        unchanged()
        assert_refused(transcribe("missing.wav"), "missing.wav: no such file")
        assert_refused(transcribe("no/such/folder/x.wav"), "no/such/folder/x.wav: no such file")
        assert_refused(transcribe("x*.wav"), "x*.wav: no such file")

    def test_a_folder_without_audio(self, song, unchanged):
        (song.parent / "empty").mkdir()
        unchanged()
        assert_refused(transcribe("empty"), "empty: no audio files")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty (0 bytes)"),
            (b"Dear diary,\n", "is not audio"),
            (b"RIFF\x24\x00\x00\x00WAVEfmt ", "is not audio"),
        ],
    )
    @pytest.mark.parametrize("options", [[], ["-o", "new/x.mid"], ["--plot", "--format", "npz"]])
    def test_files_that_are_no_audio(self, song, unchanged, content, message, options):
        song.write_bytes(content)
        unchanged()
        assert_refused(transcribe("song.wav", *options), "song.wav: ", message)

    def test_not_a_number(self, song, excerpt, unchanged):
        samples = excerpt[0].copy()
        samples[20000] = np.nan
        soundfile.write(song, samples, excerpt[1], subtype="FLOAT")
        unchanged()
        assert_refused(transcribe("song.wav"), "song.wav: contains NaN")

    def test_no_samples(self, song, unchanged):
        soundfile.write(song, np.zeros(0), 16000)
        unchanged()
        assert_refused(transcribe("song.wav"), "song.wav: has no samples")

    def test_an_output_folder_that_is_a_file(self, song, unchanged):
        (song.parent / "file").write_text("text")
        unchanged()
        for output in ("file", "file/folder", "file/song.mid"):
            assert_refused(transcribe("song.wav", "-o", output), "file is not a folder")

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
    )
    def test_a_folder_that_cannot_be_written(self, song, unchanged):
        unchanged()
        song.parent.chmod(0o555)
        try:
            for options in ([], ["-o", "new"], ["-o", "new.mid"]):
                assert_refused(transcribe("song.wav", *options), "cannot write to the folder")
        finally:
            song.parent.chmod(0o755)

    @pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="Linux's /proc")
    def test_a_folder_that_nobody_can_write(self, song, unchanged):
        unchanged()
        for output in ("/proc/harmnmf", "/proc/harmnmf.mid"):
            assert_refused(transcribe("song.wav", "-o", output), "/proc")

    def test_dictionaries(self, song, unchanged):
        (song.parent / "mine.npz").write_bytes(b"no arrays")
        unchanged()
        assert_refused(transcribe("song.wav", "--dictionary", "mine.npz"), "mine.npz", "corrupt")
        assert_refused(
            transcribe("song.wav", "--dictionary", "stradivari"), "stradivari", "no such dictionary"
        )

    def test_decoders(self, song, unchanged):
        (song.parent / "mine.npz").write_bytes(b"no arrays")
        shutil.copy(shipped_dictionaries()["default"], "dictionary.npz")
        unchanged()
        for name, reason in (
            ("mine.npz", "corrupt"),
            ("rules", "no such network"),
            ("dictionary.npz", "note-network is needed"),
        ):
            assert_refused(transcribe("song.wav", "--decoder", name), name, reason)

    @pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
    def test_devices(self, song, unchanged, device):
        unchanged()
        assert_refused(transcribe("song.wav", "--device", device), device, "cannot be used here")

    def test_thresholds(self, song, unchanged):
        unchanged()
        assert_refused(transcribe("song.wav", "--onset-threshold", "nan"), "finite")

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ([], "Missing argument 'AUDIO...'"),
            (["song.wav", "--format", "mid,xml"], "'xml' is none of mid, csv, npz"),
            (["song.wav", "--format", ""], "'' is none of"),
            (["song.wav", "song.flac", "-o", "out.mid"], "one file, but there are 2 recordings"),
            (["song.wav", "-o", "out.csv", "--format", "mid"], "out.csv is neither"),
            (["song.wav", "-o", "out.png", "--plot"], "out.png is neither"),
            (["song.mid", "-o", "song.flac"], "song.flac is neither"),
            (["song.wav", "--onset-threshold", "high"], "not a valid float"),
            (["song.wav", "--faster"], "No such option"),
        ],
    )
    def test_wrong_use(self, song, unchanged, args, message):
        unchanged()
        result = transcribe(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in " ".join(result.stderr.split())


def test_one_failure_does_not_stop_the_others(song):
    (song.parent / "a.wav").write_text("text")
    shutil.copy(song, "z.wav")
    result = transcribe("a.wav", "missing.wav", song, "z.wav", "-o", "midi")
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        os.path.join("midi", "song.mid"),
        os.path.join("midi", "z.mid"),
    ]
    first, second, last = result.stderr.splitlines()
    assert first.startswith("harmnmf: error: a.wav: is not audio")
    assert second.startswith("harmnmf: error: missing.wav: no such file")
    assert last == "harmnmf: 2 of 4 recordings failed"
    assert files(song.parent / "midi") == ["manifest.jsonl", "song.mid", "z.mid"]


class TestProcesses:
    def test_the_whole_way(self, song, python):
        done = python("-W", "error", "-m", "harmnmf", "transcribe", str(song), "--plot")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
        assert files(song.parent) == ["song.mid", "song.png", "song.wav"]

    def test_failures(self, song, python):
        song.write_text("text")
        done = python("-m", "harmnmf", "transcribe", str(song))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[0].startswith(f"harmnmf: error: {song}: is not audio")
        assert files(song.parent) == ["song.wav"]

    def test_help_loads_nothing_heavy(self, python):
        code = (
            "import sys, harmnmf.cli.transcribe; "
            "print([m for m in ('numpy', 'matplotlib', 'soundfile', 'torch') if m in sys.modules])"
        )
        assert python("-c", code).stdout == "[]\n"

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
    def test_ctrl_c(self, song, root):
        # Ten minutes of noise, which take a while.
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, 600 * 8000)
        soundfile.write(song, noise, 8000)
        shutil.copy(song, "song2.wav")
        process = subprocess.Popen(
            [sys.executable, "-c", CTRL_C, "transcribe", str(song), "song2.wav", "-o", "out"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert process.stdout.readline() == "working\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stdout, stderr) == (130, "", "harmnmf: interrupted\n")
        assert files(song.parent) == ["out/manifest.jsonl", "song.wav", "song2.wav"]


# Says when the work has begun.
CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from harmnmf import transcription
from harmnmf.cli.main import main
estimate = transcription.estimate_note_activations
def begin(*args, **kwargs):
    transcription.estimate_note_activations = estimate
    print("working", flush=True)
    return estimate(*args, **kwargs)
transcription.estimate_note_activations = begin
main(prog_name="harmnmf")
"""
