from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from harmnmf import (
    Audio,
    AudioError,
    NoteList,
    ParameterError,
    TimbreDictionary,
    Transcriber,
    evaluate_notes,
    read_audio,
    read_notes,
    write_audio,
)
from harmnmf.decoder import analysis as block_analysis
from harmnmf.signal import reading as audio_files
from harmnmf.signal.decoding import open_sound
from harmnmf.signal.spectrogram import STFT

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def start():
    """The first 8 s of the example."""
    return read_audio(ROOT / "examples" / "example.flac", duration=8.0)


@pytest.fixture(scope="module")
def reference():
    notes = read_notes(ROOT / "examples" / "reference.mid", offset="key")
    return notes.slice(0.0, 8.0)


@pytest.fixture(scope="module")
def learned():
    return Transcriber()


@pytest.fixture(scope="module")
def start_notes(learned, start):
    return learned.transcribe(start)


@pytest.fixture(scope="module", params=["learned", "nmf"])
def transcriber(request):
    return Transcriber(decoder=request.param)


def variant(transcriber, **parameters):
    """A transcriber with the same dictionary and network and other parameters."""
    return Transcriber(transcriber.dictionary, transcriber.network or "nmf", **parameters)


def note_f(reference, notes, tolerance=0.05):
    return evaluate_notes(reference, notes, onset_tolerance=tolerance)["F-measure_no_offset"]


def piano_note(pitch, *, decay=1.5, brightness=1.0, B=4e-4, seed=0):
    """A synthetic piano note of 2 s: decaying, slightly inharmonic partials, and the hammer."""
    rng = np.random.default_rng(seed)
    t = np.arange(32000) / 16000
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


def single(samples, onset):
    """A sound in weak noise."""
    padded = np.pad(samples, (round(onset * 16000), 8000))
    return Audio(padded + 1e-4 * np.random.default_rng(1).standard_normal(len(padded)), 16000)


def test_the_example(transcriber, reference, start):
    analysis = transcriber.analyse(start)
    notes = transcriber.decode(analysis)
    scores = evaluate_notes(reference.pedalled(), notes.pedalled())
    assert scores["F-measure_no_offset"] > 0.85
    assert scores["Frame_F-measure"] > 0.7
    # Onsets lie where the sound begins.
    distance = np.abs(reference.onset[:, None] - notes.onset).min(axis=1)
    assert np.median(distance) < 0.006

    def decode(**thresholds):
        return variant(transcriber, **thresholds).decode(analysis)

    is_nmf = transcriber.network is None
    assert 0 < len(decode(onset_threshold=-15.0 if is_nmf else 0.8)) < len(notes)
    shorter = decode(offset_threshold=-10.0 if is_nmf else 0.9)
    assert shorter.offset.sum() < notes.offset.sum()
    earlier, later = decode(latency=0.2), decode(latency=0.1)
    np.testing.assert_allclose(later.onset, earlier.onset + 0.1)


def test_the_network_detects_the_pedal(start_notes, reference):
    times = np.arange(0, 8, 0.02)

    def is_down(intervals):
        return ((times[:, None] >= intervals[:, 0]) & (times[:, None] < intervals[:, 1])).any(1)

    assert (is_down(start_notes.pedal) == is_down(reference.pedal)).mean() > 0.6


def test_note_ends(learned, start, start_notes):
    sound = variant(learned, note_ends="sound").transcribe(start)
    np.testing.assert_array_equal(sound.onset, start_notes.onset)
    np.testing.assert_array_equal(sound.pedal, start_notes.pedal)
    np.testing.assert_array_equal(sound.offset, start_notes.pedalled().offset)
    assert (start_notes.offset < sound.offset - 0.1).mean() > 0.2
    with pytest.raises(ParameterError, match="note_ends must be one of key, sound"):
        variant(learned, note_ends="pedal")


@pytest.mark.parametrize(("sample_rate", "least"), [(8000, 0.9), (96000, 0.95)])
def test_the_sample_rate_hardly_matters(learned, start, start_notes, sample_rate, least):
    assert note_f(start_notes, learned.transcribe(start.resample(sample_rate))) > least


@pytest.mark.parametrize("gain", [1e-3, 30.0])
def test_the_level_does_not_matter(learned, start, start_notes, gain):
    scaled = learned.transcribe(Audio(gain * start.samples, 16000))
    assert note_f(start_notes, scaled, 0.005) > 0.97
    assert abs(np.median(scaled.velocity) - np.median(start_notes.velocity)) <= 2


def test_files_and_samples_give_the_same_notes(learned, start, start_notes, tmp_path):
    sides = np.stack([1.5 * start.samples, 0.5 * start.samples])
    stereo = Audio(sides, 16000).resample(44100)
    path = tmp_path / "start.wav"
    write_audio(path, stereo)
    notes = learned.transcribe(path)
    assert learned.transcribe(stereo) == notes
    assert note_f(start_notes, notes) > 0.95
    # A file that is read again after its beginning, with the level of that.
    again = variant(learned, calibration_duration=7.9).transcribe(str(path))
    assert note_f(notes, again, 0.001) > 0.97


@pytest.mark.parametrize("n_samples", [1, 2000])
def test_silence_has_no_notes(transcriber, n_samples):
    samples = 1e-5 * np.random.default_rng(0).standard_normal(n_samples)
    with pytest.warns(UserWarning, match=r"the audio: no notes were found: it is silent"):
        notes = variant(transcriber, tuning=0.0).transcribe(Audio(samples, 16000))
    assert len(notes) == 0


def test_why_nothing_is_heard(learned, start, tmp_path):
    rng = np.random.default_rng(0)
    for samples, options, reason in (
        (np.zeros(16000), {}, "all samples are zero"),
        (0.1 * rng.standard_normal(16000), {}, "only noise, hum or speech"),
        (0.1 * rng.standard_normal(1600), {}, "only 0.10 s long"),
        (start.samples[:32000], {"onset_threshold": 1.0}, "no onset reaches the threshold"),
    ):
        write_audio(tmp_path / "song.wav", Audio(samples, 16000))
        with pytest.warns(UserWarning, match=rf"song\.wav: no notes were found: .*{reason}"):
            assert len(variant(learned, **options).transcribe(tmp_path / "song.wav")) == 0


def test_music_that_begins_late(learned, start, start_notes):
    noise = 1e-3 * np.random.default_rng(0).standard_normal(20 * 16000)
    late = Audio(np.concatenate([noise, start.samples]), 16000)
    recording = variant(learned, calibration_duration=8.0).prepare(late)
    assert recording.intervals == ((20.0, 28.0),)
    notes = learned.transcribe(recording)
    on_time = NoteList(notes.onset - 20, notes.offset - 20, notes.pitch, notes.velocity)
    assert note_f(start_notes, on_time, 0.02) > 0.97


@pytest.mark.parametrize("calibration_duration", [180.0, 5.0])
def test_opposite_channels(learned, start, tmp_path, calibration_duration):
    path = tmp_path / "opposite.wav"
    write_audio(path, Audio(np.stack([start.samples, -start.samples]), 16000))
    transcriber = variant(learned, calibration_duration=calibration_duration)
    with pytest.warns(UserWarning, match=r"opposite\.wav: .*channel 2 is inverted"):
        notes = transcriber.transcribe(path)
    assert notes == transcriber.transcribe(start)


def test_silence_among_music_has_no_notes(learned, start):
    silence = np.zeros(6 * 16000, dtype=np.float32)
    audio = Audio(np.concatenate([start.samples[: 5 * 16000], silence]), 16000)
    notes = variant(learned, block_duration=3.0).transcribe(audio)
    assert len(notes) > 12
    # The end of the excerpt is cut off, which makes a noise.
    assert notes.onset.max() < 5.1


def test_a_file_too_short_to_resample_is_named(learned, tmp_path):
    write_audio(tmp_path / "short.wav", Audio(np.ones(1), 96000))
    with pytest.raises(AudioError, match=r"short\.wav: is too short"):
        learned.prepare(tmp_path / "short.wav")


@pytest.mark.parametrize(("calibration_duration", "n_expected"), [(180.0, 1), (1.5, 2)])
def test_files_are_decoded_once_or_twice(
    transcriber, start, tmp_path, monkeypatch, calibration_duration, n_expected
):
    path = tmp_path / "song.wav"
    write_audio(path, Audio(start.samples[:32000], 16000))
    opened = []

    def count(path):
        opened.append(path)
        return open_sound(path)

    monkeypatch.setattr(audio_files, "open_sound", count)
    preparing = variant(transcriber, calibration_duration=calibration_duration, n_iter=1)
    recording = preparing.prepare(path)
    preparing.transcribe(recording)
    assert len(opened) == n_expected
    assert recording.calibration.n_frames == pytest.approx(
        min(calibration_duration, 2.0) / recording.hop_duration, abs=1
    )


def test_borders_of_blocks_do_not_change_the_notes(transcriber, start, monkeypatch):
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


def test_notes_are_decoded_while_blocks_are_analysed(learned, start, start_notes):
    transcriber = variant(learned, block_duration=3.0)
    progress, again = [], []
    recording = transcriber.prepare(start)
    notes = transcriber.transcribe(recording, progress=progress.append)
    analysis = transcriber.analyse(recording, progress=again.append)
    assert notes == transcriber.decode(analysis)
    assert len(analysis.pedal) * analysis.hop_duration == pytest.approx(8, abs=0.03)
    # The last block is not too short to estimate the response of the room from.
    assert progress == again == pytest.approx([3, 8], abs=0.05)
    assert note_f(start_notes, notes, 0.02) > 0.93


@pytest.mark.parametrize("calibration_duration", [180.0, 1.0])
def test_a_part_is_transcribed_as_if_it_were_all(transcriber, start, calibration_duration):
    parted = variant(transcriber, calibration_duration=calibration_duration)
    part = Audio(start.samples[8000:40000], 16000)
    recording = parted.prepare(start, start=0.5, end=2.5)
    assert parted.transcribe(recording) == parted.transcribe(part)


@pytest.mark.parametrize("end", [1.0, float("nan")])
def test_a_part_has_a_length(transcriber, start, end):
    with pytest.raises(ParameterError, match="end must be after start"):
        transcriber.prepare(start, start=1.0, end=end)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_hardly_grows(tmp_path):
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


@pytest.mark.parametrize("name", ["onset_threshold", "offset_threshold", "latency"])
def test_thresholds_are_checked_first(learned, name):
    with pytest.raises(ParameterError, match="finite"):
        variant(learned, **{name: np.nan})


@pytest.mark.parametrize("tuning", [np.nan, -1.01, 12.0])
def test_the_tuning_is_checked_first(learned, tuning):
    with pytest.raises(ParameterError, match="tuning must be a finite number"):
        variant(learned, tuning=tuning)


def test_another_front_end(start):
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


def test_a_detuned_piano(learned, start, start_notes):
    # Played 40 cents faster, and so higher.
    ratio = 2 ** (40 / 1200)
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


@pytest.mark.parametrize(
    ("timbre", "onset"),
    [({}, 1.013), ({"decay": 0.6, "brightness": 0.7}, 1.0), ({"brightness": 1.6, "B": 2e-4}, 0.3)],
    ids=["plain", "bright", "dull"],
)
def test_one_note_at_its_time(transcriber, timbre, onset):
    notes = transcriber.transcribe(single(piano_note(60, **timbre), onset))
    assert notes.pitch.tolist() == [60]
    assert notes.onset[0] == pytest.approx(onset, abs=0.012)


@pytest.mark.parametrize("name", ["steinway_splendid_C4", "steinway_iowa_C4"])
def test_a_recorded_note(transcriber, name):
    recorded = read_audio(ROOT / "tests" / "data" / f"{name}.flac")
    onset = np.argmax(np.abs(recorded.samples) > 0.1 * np.abs(recorded.samples).max()) / 16000
    samples = np.r_[np.zeros(round(0.047 * 16000)), recorded.samples]
    notes = transcriber.transcribe(Audio(samples, 16000))
    assert notes.pitch.tolist() == [60]
    assert notes.onset[0] == pytest.approx(onset + 0.047, abs=0.012)


def test_a_chord(transcriber):
    samples = sum(piano_note(pitch, seed=pitch) for pitch in (48, 64, 67))
    assert set(transcriber.transcribe(single(samples, 1.0)).pitch) >= {48, 64, 67}


@pytest.mark.cuda
@pytest.mark.parametrize("decoder", ["learned", "nmf"])
def test_a_gpu_finds_the_same_notes(decoder, start):
    here, there = (
        Transcriber(decoder=decoder, device=device).transcribe(start) for device in ("cpu", "cuda")
    )
    assert evaluate_notes(here, there)["F-measure"] > 0.98
