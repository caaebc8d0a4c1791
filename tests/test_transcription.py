from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from harmnmf import (
    Audio,
    NoteList,
    ParameterError,
    TimbreDictionary,
    Transcriber,
    evaluate_notes,
    read_audio,
    read_notes,
    transcription,
    write_audio,
)
from harmnmf.decoder import analysis as block_analysis
from harmnmf.decoder.posteriors import PosteriorDecoder
from harmnmf.decoder.rules import decode_notes
from harmnmf.signal.spectrogram import STFT

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def example():
    return read_audio(ROOT / "examples" / "example.flac")


@pytest.fixture(scope="module")
def start(example):
    """The first 8 s of the example."""
    return Audio(example.samples[: 8 * 16000], 16000)


@pytest.fixture(scope="module")
def learned():
    return Transcriber()


@pytest.fixture(scope="module")
def start_notes(learned, start):
    return learned.transcribe(start)


@pytest.fixture(scope="module", params=["learned", "nmf"])
def transcriber(request):
    return Transcriber(decoder=request.param)


@pytest.fixture(scope="module")
def example_analysis(transcriber, example):
    return transcriber.analyse(example)


@pytest.fixture(scope="module")
def example_notes(transcriber, example_analysis):
    return transcriber.decode(example_analysis)


def variant(transcriber, **parameters):
    """A transcriber with the same dictionary and network and other parameters."""
    return Transcriber(transcriber.dictionary, transcriber.network or "nmf", **parameters)


def latency(transcriber):
    """Seconds by which the decoder moves onsets forward, from the sound to the key."""
    decode = PosteriorDecoder if transcriber.network else decode_notes
    return inspect.signature(decode).parameters["latency"].default


def frames_of(analysis):
    return analysis.onset if hasattr(analysis, "onset") else analysis.attack


def note_f(reference, notes, tolerance=0.05):
    return evaluate_notes(reference, notes, onset_tolerance=tolerance)["F-measure_no_offset"]


def piano_note(pitch, duration, *, decay=1.5, brightness=1.0, B=4e-4, seed=0):
    """A synthetic piano note: decaying, slightly inharmonic partials and the hammer's noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration * 16000)) / 16000
    f0 = 440 * 2 ** ((pitch - 69) / 12)
    samples = np.zeros_like(t)
    for h in range(1, 31):
        f = h * f0 * np.sqrt(1 + B * h**2)
        if f > 7500:
            break
        level = h ** (-1.5 * brightness) * (0.2 + np.abs(np.sin(np.pi * h / 8)))
        # Two strings, a little apart, and the double decay they make.
        fall = 0.7 * np.exp(-decay * (1 + 0.1 * h) * 2 * t) + 0.3 * np.exp(-0.3 * decay * t)
        samples += level * fall * np.sin(2 * np.pi * f * t + rng.uniform(0, 2 * np.pi))
    samples *= 1 - np.exp(-t / 0.002)
    knock = rng.standard_normal(len(t)) * np.exp(-t / 0.015)
    samples += 0.03 * np.convolve(knock, np.ones(16) / 16, mode="same")
    return 0.2 * samples / np.abs(samples).max()


def single(samples, onset, duration=5.0, noise=1e-4):
    out = noise * np.random.default_rng(1).standard_normal(round(duration * 16000))
    start = round(onset * 16000)
    end = min(len(out), start + len(samples))
    out[start:end] += samples[: end - start]
    return Audio(out, 16000)


class TestRecordings:
    def test_the_example(self, example_notes):
        reference = read_notes(ROOT / "examples" / "reference.mid")
        scores = evaluate_notes(reference, example_notes)
        assert scores["F-measure_no_offset"] > 0.85
        assert scores["Frame_F-measure"] > 0.7
        matched = np.abs(reference.onset[:, None] - example_notes.onset).min(axis=1)
        # Onsets are moved forward to where keys go down; here they are where the sound begins.
        assert np.median(matched) < 0.025

    @pytest.mark.parametrize(("sample_rate", "least"), [(8000, 0.9), (22050, 0.95), (96000, 0.95)])
    def test_the_sample_rate_hardly_matters(self, learned, start, start_notes, sample_rate, least):
        assert note_f(start_notes, learned.transcribe(start.resample(sample_rate))) > least

    def test_channels_are_averaged(self, learned, start, start_notes):
        sides = np.stack([1.5 * start.samples, 0.5 * start.samples, start.samples])
        assert note_f(start_notes, learned.transcribe(Audio(sides, 16000)), 0.001) == 1.0

    def test_the_level_does_not_matter(self, transcriber, start):
        unadapted = variant(transcriber, adapt=False, tuning=0.0)
        soft, notes, loud = (
            unadapted.transcribe(Audio(gain * start.samples, 16000)) for gain in (1e-3, 1.0, 30.0)
        )
        for scaled in (soft, loud):
            assert note_f(notes, scaled, 0.005) > 0.97
            assert abs(np.median(scaled.velocity) - np.median(notes.velocity)) <= 2

    def test_files_and_samples_give_the_same_notes(self, learned, start, tmp_path):
        stereo = Audio(np.stack([start.samples] * 2), 16000).resample(44100)
        path = tmp_path / "start.wav"
        write_audio(path, stereo)
        notes = learned.transcribe(stereo)
        assert learned.transcribe(path) == notes
        # A file that is read again after its beginning, with the level of that.
        again = variant(learned, calibration_duration=7.9).transcribe(str(path))
        assert note_f(notes, again, 0.001) > 0.97

    @pytest.mark.parametrize("level", [0.0, 1e-5])
    @pytest.mark.parametrize("n_samples", [1, 319, 320, 2000, 50000])
    def test_silence_has_no_notes(self, transcriber, n_samples, level):
        samples = level * np.random.default_rng(0).standard_normal(n_samples)
        analysis = variant(transcriber, tuning=0.0).analyse(Audio(samples, 16000))
        assert frames_of(analysis).shape == (88, 1 + n_samples // 320)
        assert len(transcriber.decode(analysis)) == 0

    def test_silence_among_music_has_no_notes(self, transcriber, start):
        silence = np.zeros(6 * 16000, dtype=np.float32)
        audio = Audio(np.concatenate([start.samples[: 5 * 16000], silence]), 16000)
        notes = variant(transcriber, adapt=False, block_duration=3.0).transcribe(audio)
        assert len(notes) > 12
        # The end of the excerpt is cut off, which makes a noise.
        assert notes.onset.max() < 5.1

    def test_thresholds_are_passed_on(self, transcriber, example_analysis, example_notes):
        def decode(**thresholds):
            return variant(transcriber, **thresholds).decode(example_analysis)

        is_nmf = transcriber.network is None
        assert 0 < len(decode(onset_threshold=-15.0 if is_nmf else 0.95)) < len(example_notes)
        shorter = decode(offset_threshold=-10.0 if is_nmf else 0.9)
        assert shorter.offset.sum() < example_notes.offset.sum()
        earlier, later = decode(latency=0.2), decode(latency=0.1)
        np.testing.assert_allclose(later.onset, earlier.onset + 0.1)

    def test_the_network_detects_the_pedal(self, transcriber, example_notes):
        if transcriber.network is None:
            pytest.skip("rules have no pedal")
        reference = read_notes(ROOT / "examples" / "reference.mid", offset="key")
        times = np.arange(0, 22, 0.02)

        def is_down(intervals):
            return ((times[:, None] >= intervals[:, 0]) & (times[:, None] < intervals[:, 1])).any(1)

        assert (is_down(example_notes.pedal) == is_down(reference.pedal)).mean() > 0.6


class TestPreparation:
    @pytest.mark.parametrize("options", [{}, {"adapt": True}, {"tuning": 0.1}], ids=str)
    @pytest.mark.parametrize(("calibration_duration", "n_expected"), [(180.0, 1), (1.5, 2)])
    def test_files_are_decoded_once_or_twice(
        self, transcriber, start, tmp_path, monkeypatch, options, calibration_duration, n_expected
    ):
        path = tmp_path / "song.wav"
        write_audio(path, Audio(start.samples[:32000], 16000))
        opened = []
        construct = soundfile.SoundFile.__init__

        def count(*args, **kwargs):
            opened.append(args)
            construct(*args, **kwargs)

        monkeypatch.setattr(soundfile.SoundFile, "__init__", count)
        preparing = variant(
            transcriber, calibration_duration=calibration_duration, n_iter=1, **options
        )
        recording = preparing.prepare(path)
        preparing.transcribe(recording)
        assert len(opened) == n_expected
        # It has the spectrogram for a picture.
        assert recording.beginning.n_frames == pytest.approx(
            min(calibration_duration, 2.0) / recording.hop_duration, abs=1
        )

    def test_prepared_recordings_can_be_transcribed_again(self, learned, start, start_notes):
        recording = learned.prepare(start)
        assert learned.transcribe(recording) == learned.transcribe(recording) == start_notes


class TestBlocks:
    def test_borders_leave_no_trace(self, transcriber, start, monkeypatch):
        """Blocks differ from the whole in the response of the room only.

        With a constant response, notes are the same to less than 0.1 ms and one step of velocity,
        and so is the pedal.
        """
        monkeypatch.setattr(block_analysis, "room_bands", lambda *_: None)
        found = []
        for seconds in (1000.0, 2.0):
            held = variant(transcriber, adapt=False, tuning=0.0, block_duration=seconds)
            notes = held.transcribe(start)
            found.append((notes, np.lexsort((notes.onset, notes.pitch))))
        (whole, first), (blocks, second) = found
        assert len(whole) > 20
        np.testing.assert_array_equal(blocks.pitch[second], whole.pitch[first])
        np.testing.assert_allclose(blocks.intervals[second], whole.intervals[first], atol=1e-4)
        np.testing.assert_allclose(blocks.velocity[second], whole.velocity[first], atol=1)
        np.testing.assert_allclose(blocks.pedal, whole.pedal, atol=1e-4)

    def test_blocks_give_the_notes_of_the_whole(self, transcriber, example, example_notes):
        """With the response estimated in each block, nearly all notes agree, everywhere."""
        progress = []
        blocks = variant(transcriber, block_duration=6.0).transcribe(
            example, progress=progress.append
        )
        # The last block is not too short to estimate a response from.
        assert progress == pytest.approx([6, 12, example.duration], abs=0.05)
        assert note_f(example_notes, blocks, 0.02) > 0.93
        for border in (6, 12):
            near, there = (
                notes.slice(border - 1.5, border + 1.5) for notes in (example_notes, blocks)
            )
            assert len(near) >= 10
            assert note_f(near, there, 0.02) > 0.85
            assert abs(len(near) - len(there)) <= 2

    def test_notes_are_decoded_while_blocks_are_analysed(self, learned, start):
        transcriber = variant(learned, tuning=0.0, block_duration=2.0)
        analysed, transcribed = [], []
        analysis = transcriber.analyse(start, progress=analysed.append)
        notes = transcriber.transcribe(start, progress=transcribed.append)
        assert notes == transcriber.decode(analysis)
        assert transcribed == analysed
        assert len(analysed) == 3
        assert len(analysis.pedal) * analysis.hop_duration == pytest.approx(8, abs=0.03)

    def test_a_note_on_a_border_is_one_note(self, transcriber):
        in_blocks = variant(transcriber, adapt=False, block_duration=2.0)
        blow = piano_note(60, 3.0)
        for onset in (1.9, 1.98, 2.02):
            notes = in_blocks.transcribe(single(blow, onset, noise=0.0))
            kept = notes.pitch == 60
            assert kept.sum() == 1
            assert notes.onset[kept][0] == pytest.approx(onset, abs=0.03)
            assert notes.offset[kept][0] > 2.5

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    @pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
    def test_memory_hardly_grows(self, tmp_path):
        """Twenty minutes take two bytes for each key and frame, 12 MB, and temporary memory.

        Their probabilities, and decoding them at once, would take 200 MB.
        """
        # Not getrusage, which includes the parent process. A small network, so that its memory
        # does not hide the rest.
        code = (
            "import re, sys; from pathlib import Path; from harmnmf import Transcriber; "
            "from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig; "
            "network = NoteNetwork(NoteNetworkConfig(n_channels=1, n_partials=1)).eval(); "
            "Transcriber(decoder=network, n_iter=1).transcribe(sys.argv[1]); "
            "print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
        )
        # Freed memory is returned at once, and there are no huge pages: without these settings, the
        # peak varies by 100 MB.
        steady = {"MALLOC_MMAP_THRESHOLD_": "1000000", "NUMPY_MADVISE_HUGEPAGE": "0"}
        rng = np.random.default_rng(0)
        peak = []
        for minutes in (3, 23):
            path = tmp_path / f"{minutes}.flac"
            samples = 0.1 * rng.standard_normal(minutes * 60 * 8000).astype(np.float32)
            write_audio(path, Audio(samples, 8000))
            done = subprocess.run(
                [sys.executable, "-c", code, str(path)],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
                env={**os.environ, **steady},
            )
            peak.append(1024 * int(done.stdout))
        assert peak[1] - peak[0] < 60e6
        assert peak[1] < 1e9


class TestTranscriber:
    @pytest.mark.parametrize("name", ["onset_threshold", "offset_threshold", "latency", "tuning"])
    def test_thresholds_are_checked_first(self, transcriber, name):
        with pytest.raises(ParameterError, match="finite"):
            variant(transcriber, **{name: np.nan})

    def test_another_front_end(self, start):
        """The dictionary decides the front end, the keys, and the frames of an attack."""
        front_end = STFT(sample_rate=8000, hop_length=160, n_fft=1024)
        W = np.random.default_rng(0).random((front_end.axis.n_bins, 3, 4))
        dictionary = TimbreDictionary(W, np.array([60, 64, 67]), front_end, 2, 0.01)
        with pytest.raises(ParameterError, match="nmf"):
            Transcriber(dictionary)
        rules = Transcriber(dictionary, "nmf", n_iter=2, tuning=0.0, adapt=False)
        activations = rules.analyse(Audio(start.samples[:32000], 16000))
        assert activations.attack.shape == activations.sustain.shape == (3, 101)
        assert activations.pitches.tolist() == [60, 64, 67]
        assert (activations.hop_duration, activations.n_attack) == (0.02, 2)

    def test_unknown_devices_are_refused(self):
        with pytest.raises(ParameterError, match="'cuda:99' cannot be used here"):
            Transcriber(device="cuda:99")


class TestTuning:
    @pytest.mark.parametrize("cents", [-35, 40])
    def test_a_detuned_piano(self, learned, start, start_notes, cents):
        # Played faster by this ratio, and so higher.
        ratio = 2 ** (cents / 1200)
        detuned = Audio(soxr.resample(start.samples, 16000, 16000 / ratio), 16000)
        as_played = NoteList(
            start_notes.onset / ratio,
            start_notes.offset / ratio,
            start_notes.pitch,
            start_notes.velocity,
        )
        in_tune = note_f(as_played, learned.transcribe(detuned))
        assert in_tune > 0.9
        assert note_f(as_played, variant(learned, tuning=0.0).transcribe(detuned)) < in_tune

    def test_a_given_tuning_is_not_estimated(self, learned, start, start_notes, monkeypatch):
        monkeypatch.setattr(transcription, "relative_tuning", None)
        notes = variant(learned, tuning=0.0).transcribe(start)
        assert len(notes) > 0.9 * len(start_notes)


class TestSingleNotes:
    @pytest.mark.parametrize(
        ("timbre", "onset"),
        [
            ({}, 0.3),
            ({}, 1.013),
            ({"decay": 4.0}, 1.0),
            ({"decay": 0.6, "brightness": 0.7}, 1.013),
            ({"brightness": 1.6, "B": 2e-4}, 0.3),
        ],
        ids=["plain", "late", "short", "bright", "dull"],
    )
    def test_one_note_at_its_time(self, transcriber, timbre, onset):
        notes = transcriber.transcribe(single(piano_note(60, 3.0, **timbre), onset))
        assert notes.pitch.tolist() == [60]
        assert notes.onset[0] == pytest.approx(onset - latency(transcriber), abs=0.012)

    @pytest.mark.parametrize("name", ["steinway_splendid_C4", "steinway_iowa_C4"])
    @pytest.mark.parametrize("delay", [0.0, 0.007, 0.013])
    def test_a_recorded_note(self, transcriber, name, delay):
        recorded = read_audio(ROOT / "tests" / "data" / f"{name}.flac")
        onset = np.argmax(np.abs(recorded.samples) > 0.1 * np.abs(recorded.samples).max()) / 16000
        samples = np.r_[np.zeros(round(delay * 16000)), recorded.samples]
        notes = transcriber.transcribe(Audio(samples, 16000))
        assert notes.pitch.tolist() == [60]
        expected = max(0.0, onset + delay - latency(transcriber))
        assert notes.onset[0] == pytest.approx(expected, abs=0.012)

    def test_a_chord(self, transcriber):
        samples = sum(piano_note(pitch, 3.0, seed=pitch) for pitch in (48, 64, 67))
        notes = transcriber.transcribe(single(samples, 1.0))
        assert set(notes.pitch) >= {48, 64, 67}
