from __future__ import annotations

import inspect
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import (
    Audio,
    NoteList,
    ParameterError,
    evaluate_notes,
    read_audio,
    read_notes,
    transcription,
    write_audio,
)
from harmnmf.decoder.posteriors import decode_posteriors
from harmnmf.decoder.rules import decode_notes
from harmnmf.transcription import Transcriber

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", params=["learned", "nmf"])
def transcriber(request):
    return Transcriber(decoder=request.param)


@pytest.fixture(scope="module")
def example():
    return read_audio(ROOT / "examples" / "example.flac")


@pytest.fixture(scope="module")
def example_analysis(transcriber, example):
    return transcriber.analyse(example)


@pytest.fixture(scope="module")
def example_notes(transcriber, example_analysis):
    return transcriber.decode(example_analysis)


def latency(transcriber):
    """Seconds by which the decoder moves onsets forward, from the sound to the key."""
    decode = decode_notes if transcriber.decoder == "nmf" else decode_posteriors
    return inspect.signature(decode).parameters["latency"].default


def note_f(reference, notes, tolerance=0.05):
    return evaluate_notes(reference, notes, onset_tolerance=tolerance)["F-measure_no_offset"]


class TestRecordings:
    def test_the_example(self, example_notes):
        reference = read_notes(ROOT / "examples" / "reference.mid")
        scores = evaluate_notes(reference, example_notes)
        assert scores["F-measure_no_offset"] > 0.85
        assert scores["Frame_F-measure"] > 0.7
        matched = np.abs(reference.onset[:, None] - example_notes.onset).min(axis=1)
        # Onsets are moved forward to where keys go down; here they are where the sound begins.
        assert np.median(matched) < 0.025

    @pytest.mark.parametrize(
        ("sample_rate", "least"), [(8000, 0.9), (22050, 0.95), (44100, 0.95), (96000, 0.95)]
    )
    def test_the_sample_rate_hardly_matters(
        self, transcriber, example, example_notes, sample_rate, least
    ):
        assert note_f(example_notes, transcriber.transcribe(example.resample(sample_rate))) > least

    def test_channels_are_averaged(self, transcriber, example, example_notes):
        first = example.samples[: 8 * 16000]
        mono = transcriber.transcribe(Audio(first, 16000))
        sides = np.stack([1.5 * first, 0.5 * first, first])
        assert note_f(mono, transcriber.transcribe(Audio(sides, 16000)), 0.001) == 1.0

    @pytest.mark.parametrize("gain", [1e-3, 30.0])
    def test_the_level_does_not_matter(self, transcriber, example, gain):
        first = Audio(example.samples[: 8 * 16000], 16000)
        notes = transcriber.transcribe(first)
        louder = transcriber.transcribe(Audio(gain * first.samples, 16000))
        assert note_f(notes, louder, 0.005) > 0.97
        assert abs(np.median(louder.velocity) - np.median(notes.velocity)) <= 2

    def test_a_file_is_what_is_in_it(self, transcriber, example, tmp_path):
        part = Audio(np.stack([example.samples[:128000]] * 2), 16000).resample(44100)
        path = tmp_path / "part.wav"
        write_audio(path, part)
        heard = transcriber.transcribe(path)
        assert note_f(transcriber.transcribe(part), heard, 0.001) == 1.0
        assert note_f(heard, transcriber.transcribe(str(path)), 0.001) == 1.0

    @pytest.mark.parametrize("n_samples", [1, 319, 320, 2000, 50000])
    @pytest.mark.parametrize("level", [0.0, 1e-5])
    @pytest.mark.parametrize("decoder", ["learned", "nmf"])
    def test_silence_has_no_notes(self, n_samples, level, decoder):
        transcriber = Transcriber(decoder=decoder, tuning=0.0)
        samples = level * np.random.default_rng(0).standard_normal(n_samples)
        analysis = transcriber.analyse(Audio(samples, 16000))
        frames = analysis.attack if decoder == "nmf" else analysis.onset
        assert frames.shape == (88, 1 + n_samples // 320)
        assert len(transcriber.decode(analysis)) == 0

    def test_silence_among_music_has_no_notes(self, transcriber, example, monkeypatch):
        monkeypatch.setattr(transcription, "_BLOCK", 4.0)
        silence = np.zeros(10 * 16000, dtype=np.float32)
        notes = transcriber.transcribe(
            Audio(np.concatenate([example.samples[: 6 * 16000], silence]), 16000)
        )
        assert len(notes) > 15
        # The end of the excerpt is cut off, which makes a noise.
        assert notes.onset.max() < 6.1

    def test_thresholds_are_passed_on(self, transcriber, example_analysis, example_notes):
        def decode(**thresholds):
            return replace(transcriber, **thresholds).decode(example_analysis)

        is_nmf = transcriber.decoder == "nmf"
        assert 0 < len(decode(onset_threshold=-15.0 if is_nmf else 0.95)) < len(example_notes)
        shorter = decode(offset_threshold=-10.0 if is_nmf else 0.9)
        assert shorter.offset.sum() < example_notes.offset.sum()
        earlier, later = decode(latency=0.2), decode(latency=0.1)
        np.testing.assert_allclose(later.onset, earlier.onset + 0.1)

    def test_the_network_hears_the_pedal(self, example):
        reference = read_notes(ROOT / "examples" / "reference.mid", offset="key")
        pedal = Transcriber(decoder="learned", adapt=False).transcribe(example).pedal
        times = np.arange(0, 22, 0.02)

        def is_down(intervals):
            return ((times[:, None] >= intervals[:, 0]) & (times[:, None] < intervals[:, 1])).any(1)

        assert (is_down(pedal) == is_down(reference.pedal)).mean() > 0.6


class TestBlocks:
    def test_borders_leave_no_trace(self, transcriber, example, monkeypatch):
        """The rule of block borders: what blocks do not share with the whole is the response only.

        Each learns one from its own music. Where it is held at 1, notes are the same wherever they
        are, to less than 0.1 ms and one step of velocity, and so is the pedal.
        """
        monkeypatch.setattr(transcription, "room_bands", lambda *_: None)
        held = replace(transcriber, adapt=False, tuning=0.0)
        found = []
        for seconds in (1000.0, 4.0):
            monkeypatch.setattr(transcription, "_BLOCK", seconds)
            notes = held.transcribe(example)
            found.append((notes, np.lexsort((notes.onset, notes.pitch))))
        (whole, first), (blocks, second) = found
        assert len(whole) > 50
        np.testing.assert_array_equal(blocks.pitch[second], whole.pitch[first])
        np.testing.assert_allclose(blocks.intervals[second], whole.intervals[first], atol=1e-4)
        np.testing.assert_allclose(blocks.velocity[second], whole.velocity[first], atol=1)
        np.testing.assert_allclose(blocks.pedal, whole.pedal, atol=1e-4)

    def test_blocks_give_the_notes_of_the_whole(self, transcriber, example, monkeypatch):
        """With a response of its own for each block, nearly all notes agree, everywhere."""
        twice = Audio(np.tile(example.samples, 2), 16000)
        monkeypatch.setattr(transcription, "_BLOCK", 1000.0)
        whole = transcriber.transcribe(twice)
        monkeypatch.setattr(transcription, "_BLOCK", 10.0)
        progress = []
        analysis = transcriber.analyse(twice, progress=progress.append)
        frames = analysis.attack if transcriber.decoder == "nmf" else analysis.onset
        heard = frames.shape[1] * analysis.hop_duration
        assert heard == pytest.approx(twice.duration, abs=0.02)
        # Three blocks of 10 s, and a last one that is not too short to learn from.
        assert progress == pytest.approx([10, 20, 30, twice.duration], abs=0.05)
        blocks = transcriber.decode(analysis)
        assert note_f(whole, blocks, 0.02) > 0.93
        for border in (10, 20, 30):
            near, there = (notes.slice(border - 1.5, border + 1.5) for notes in (whole, blocks))
            assert len(near) >= 10
            assert note_f(near, there, 0.02) > 0.85
            assert abs(len(near) - len(there)) <= 2

    def test_decoded_while_it_is_read(self, example, monkeypatch):
        transcriber = Transcriber(tuning=0.0)
        monkeypatch.setattr(transcription, "_BLOCK", 4.0)
        seen, told = [], []
        analysis = transcriber.analyse(example, progress=seen.append)
        assert transcriber.transcribe(example, progress=told.append) == transcriber.decode(analysis)
        assert told == seen
        assert len(told) == 5

    def test_a_note_on_a_border_is_one_note(self, transcriber, monkeypatch):
        monkeypatch.setattr(transcription, "_BLOCK", 2.0)
        blow = piano_note(60, 4.0)
        for onset in (1.9, 1.96, 1.98, 2.0, 2.02):
            samples = np.zeros(7 * 16000)
            start = round(onset * 16000)
            samples[start : start + len(blow)] = blow
            notes = transcriber.transcribe(Audio(samples, 16000))
            kept = notes.pitch == 60
            assert kept.sum() == 1
            assert notes.onset[kept][0] == pytest.approx(onset, abs=0.03)
            assert notes.offset[kept][0] > 2.5

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(st.integers(1, 40), min_size=1, max_size=12),
        st.integers(1, 25),
        st.integers(0, 10),
    )
    def test_every_frame_once(self, lengths, n_frames, context):
        total = sum(lengths)
        numbers = np.arange(total, dtype=np.float32)[None]
        ends = np.cumsum(lengths)
        parts = (numbers[:, end - n : end] for n, end in zip(lengths, ends, strict=True))
        done = 0
        blocks = list(transcription._overlapping(parts, n_frames, context))
        for i, (V, inner) in enumerate(blocks):
            frames = V[0]
            assert (np.diff(frames) == 1).all()
            first, last = frames[inner][0], frames[inner][-1]
            assert first == done
            done = int(last) + 1
            # As much context as there is.
            assert first - frames[0] == min(context, first)
            assert frames[-1] - last == (0 if i == len(blocks) - 1 else context)
            assert len(frames[inner]) >= min(n_frames, total)
            assert len(frames) < 2 * (n_frames + context) + max(lengths)
        assert done == total

    def test_nothing_gives_no_blocks(self):
        assert list(transcription._overlapping([], 10, 2)) == []

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    @pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
    def test_memory_hardly_grows(self, tmp_path):
        """Twenty minutes cost two bytes for each key and frame, 12 MB, and what lies between them.

        All that the network says of them, and what it takes to decode it at once, is 200 MB.
        """
        # Not getrusage, which includes the process that this one was made by. What the network
        # itself takes would hide the rest.
        code = (
            "import re, sys; from pathlib import Path; from harmnmf import Transcriber; "
            "from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig; "
            "network = NoteNetwork(NoteNetworkConfig(n_channels=1, n_partials=1)).eval(); "
            "Transcriber(decoder=network, n_iter=1).transcribe(sys.argv[1]); "
            "print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
        )
        # What is freed goes back at once, and there are no huge pages, of which there may be few:
        # without these, the peak is anywhere within 100 MB.
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
    @pytest.mark.parametrize("name", ["onset_threshold", "offset_threshold", "latency"])
    def test_refuses_thresholds_before_the_work(self, transcriber, name):
        with pytest.raises(ParameterError, match="finite"):
            Transcriber(transcriber.dictionary, **{name: np.nan})

    def test_another_front_end(self, example):
        """Another dictionary decides the front end, the keys, and the frames of an attack."""
        from harmnmf import TimbreDictionary
        from harmnmf.signal.spectrogram import STFT

        front_end = STFT(sample_rate=8000, hop_length=160, n_fft=1024)
        W = np.random.default_rng(0).random((front_end.axis.n_bins, 3, 4))
        dictionary = TimbreDictionary(W, np.array([60, 64, 67]), front_end, 2, 0.01)
        with pytest.raises(ParameterError, match="nmf"):
            Transcriber(dictionary)
        activations = Transcriber(dictionary, decoder="nmf", n_iter=2, tuning=0.0).activations(
            Audio(example.samples[:32000], 16000)
        )
        assert activations.attack.shape == activations.sustain.shape == (3, 101)
        assert activations.pitches.tolist() == [60, 64, 67]
        assert (activations.hop_duration, activations.n_attack) == (0.02, 2)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ParameterError, match="'cuda:99' cannot be used here"):
        Transcriber(device="cuda:99")


def piano_note(pitch, duration, *, decay=1.5, brightness=1.0, B=4e-4, seed=0):
    """A note as strings make it: slightly inharmonic partials that decay, the high ones faster.

    Below them the knock of the hammer.
    """
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


class TestTuning:
    @pytest.mark.parametrize("cents", [-35, 20])
    def test_a_detuned_piano(self, transcriber, example, example_notes, cents):
        # Played faster by this ratio, and so higher.
        ratio = 2 ** (cents / 1200)
        detuned = Audio(soxr.resample(example.samples, 16000, 16000 / ratio), 16000)
        as_played = NoteList(
            example_notes.onset / ratio,
            example_notes.offset / ratio,
            example_notes.pitch,
            example_notes.velocity,
        )
        assert note_f(as_played, transcriber.transcribe(detuned)) > 0.9
        in_tune = Transcriber(tuning=0.0).transcribe(detuned)
        assert note_f(as_played, in_tune) < note_f(as_played, transcriber.transcribe(detuned))

    def test_a_given_tuning_is_not_estimated(self, example, example_notes, monkeypatch):
        monkeypatch.setattr(transcription, "estimate_tuning", None)
        assert len(Transcriber(tuning=0.0).transcribe(example)) > 0.9 * len(example_notes)

    def test_a_tuning_that_is_no_number(self):
        with pytest.raises(ParameterError, match="must be finite"):
            Transcriber(tuning=float("nan"))


class TestSingleNotes:
    @pytest.mark.parametrize("onset", [0.3, 1.0, 1.013])
    @pytest.mark.parametrize(
        "timbre",
        [
            {},
            {"decay": 4.0},
            {"decay": 0.6, "brightness": 0.7},
            {"brightness": 1.6, "B": 2e-4},
        ],
        ids=["plain", "short", "bright", "dull"],
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
        assert isinstance(notes, NoteList)
