from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sound_files import main_frequency, tone, write

from harmnmf import AudioError, HarmnmfError, ParameterError
from harmnmf.enhancement.mixtures.mixing import MixtureConditions, active_power
from harmnmf.enhancement.mixtures.speech import Sound, SpeechMixtures, load_samples, split_material
from harmnmf.signal.audio import SAMPLE_RATE as RATE

PLAIN = MixtureConditions(
    room=0, speed=0, equalizer=0, second_noise=0, stationary_noise=0, clean_only=0,
    noise_only=0, band_limit=0, clipping=0, codec=0, level=0,
)  # fmt: skip


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


class TestSplit:
    @pytest.fixture
    def folders(self, tmp_path):
        speech = touch(
            tmp_path / "speech",
            *(f"{speaker}/book/{n}.opus" for speaker in range(40) for n in range(3)),
        )
        urban = touch(
            tmp_path / "urban", *(f"{i}-4-{j}-{k}.ogg" for i in range(500, 560) for j in (0, 1)
                                  for k in (0, 117))
        )  # fmt: skip
        esc = touch(
            tmp_path / "esc",
            *(f"{n:03}_5-{i}-{take}.ogg" for n, i in enumerate(range(530, 590)) for take in "AB"),
        )
        return speech, [urban, esc]

    def test_speakers(self, folders):
        training, validation = split_material(*folders)
        assert len(training.speech) == 36
        assert len(validation.speech) == 4
        assert not training.speech.keys() & validation.speech.keys()
        for speaker, files in {**training.speech, **validation.speech}.items():
            assert [path.parts[-3] for path in files] == [speaker] * 3

    def test_recordings_of_noise(self, folders):
        training, validation = split_material(*folders)
        assert len(training.noise) + len(validation.noise) == 60 * 4 + 60 * 2

        def recordings(files):
            return {re.search(r"5[0-9]{2}", path.stem)[0] for path in files}

        # 90 recordings, 30 of which have clips in both folders.
        assert len(recordings(training.noise)) == 81
        assert len(recordings(validation.noise)) == 9
        assert not recordings(training.noise) & recordings(validation.noise)

    def test_names_without_numbers(self, tmp_path, folders):
        noise = touch(tmp_path / "noise", *(f"{name}.wav" for name in "abcdefghij"))
        training, validation = split_material(folders[0], [noise])
        assert (len(training.noise), len(validation.noise)) == (9, 1)

    def test_one_more_speaker_changes_little(self, folders):
        before = set(split_material(*folders)[1].speech)
        for n in range(40, 45):
            touch(folders[0], f"{n}/1.opus")
        after = set(split_material(*folders)[1].speech)
        assert len(before - after) <= 2
        assert len(after) in (4, 5)

    def test_two_of_each(self, tmp_path):
        speech = touch(tmp_path / "speech", "ann/1.wav", "bob/1.wav", "loose.wav")
        noise = touch(tmp_path / "noise", "1.wav", "2.wav")
        training, validation = split_material(speech, [noise])
        assert {*training.speech} | {*validation.speech} == {"ann", "bob"}
        assert len(training.noise) == len(validation.noise) == 1

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ([], "speech: no such folder"),
            (["speech/readme.txt"], "speech: no audio files"),
            (["speech/1.wav"], "speech: needs a folder for each of at least two.*it has 0"),
            (["speech/ann/1.wav", "speech/ann/2.wav"], "at least two speakers.*it has 1"),
            (["speech/a/1.wav", "speech/b/1.wav"], "noise: no such folder"),
            (["speech/a/1.wav", "speech/b/1.wav", "noise/7-1.wav", "noise/7-2.wav"],
             "noise: needs at least two recordings.*there are 1"),
        ],
    )  # fmt: skip
    def test_errors(self, tmp_path, names, message):
        touch(tmp_path, *names)
        with pytest.raises(HarmnmfError, match=message):
            split_material(tmp_path / "speech", [tmp_path / "noise"])

    def test_no_folder_of_noise(self, folders):
        with pytest.raises(ParameterError, match="at least two recordings of noise"):
            split_material(folders[0], [])


class TestLoad:
    @pytest.mark.parametrize("rate", [8000, 16000, 44100])
    def test_rates(self, tmp_path, rate):
        samples = load_samples(
            write(tmp_path / "a.wav", tone(440, sample_rate=rate), sample_rate=rate)
        )
        assert samples.dtype == np.int16
        assert len(samples) == pytest.approx(RATE, abs=2)
        assert np.abs(samples[200:-200]).max() == pytest.approx(32767, rel=0.01)
        spectrum = np.abs(np.fft.rfft(samples))
        assert np.argmax(spectrum) == pytest.approx(440, abs=1)

    def test_ends_are_faded(self, tmp_path):
        samples = load_samples(write(tmp_path / "a.wav", np.full(RATE, 0.5)))
        assert samples[0] == samples[-1] == 0
        assert (samples[160:-160] == 32767).all()

    def test_stereo_is_averaged(self, tmp_path):
        samples = load_samples(write(tmp_path / "a.wav", tone(440), 0 * tone(440)))
        np.testing.assert_array_equal(samples, load_samples(write(tmp_path / "b.wav", tone(440))))

    def test_soft_sounds_keep_their_resolution(self, tmp_path):
        samples = load_samples(write(tmp_path / "a.wav", 0.001 * tone(440)))
        expected = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
        np.testing.assert_allclose(samples[160:-160] / 32767, expected[160:-160], atol=1e-3)

    @pytest.mark.parametrize(
        ("samples", "message"),
        [(np.zeros(RATE), "is silent"), (tone(440, 0.05), "lasts 0.050 s")],
    )
    def test_errors(self, tmp_path, samples, message):
        with pytest.raises(AudioError, match=rf"bad\.wav: {message}"):
            load_samples(write(tmp_path / "bad.wav", samples))


class TestSound:
    def test_parts_are_rarely_silent(self):
        samples = np.zeros(20 * RATE, np.int16)
        samples[5 * RATE : 6 * RATE] = 10000
        sound = Sound(samples)
        parts = [sound.draw(RATE, np.random.default_rng(seed)) for seed in range(100)]
        filled = np.mean([part > 0 for part in parts], axis=1)
        assert (filled > 0).all()
        # The position of the sound within a part is random.
        assert filled.min() < 0.2 < 0.8 < filled.max()

    def test_parts_are_parts(self):
        samples = np.arange(1, 3001, dtype=np.int16)
        part = Sound(samples).draw(500, np.random.default_rng(0)) * 32767
        steps = np.diff(np.rint(part))
        assert ((steps == 1) | (steps == -2999)).all()

    def test_short_sounds_are_repeated(self):
        sound = Sound(np.arange(1, 1601, dtype=np.int16))
        part = sound.draw(4000, np.random.default_rng(0))
        np.testing.assert_array_equal(part[:2400], part[1600:])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    speech = {
        speaker: [write(folder / speaker / f"{n}.wav", tone(hz, 0.7)) for n in range(3)]
        for speaker, hz in (("ann", 300), ("bob", 150))
    }
    noise = [write(folder / f"{hz}.wav", tone(hz, 3.0)) for hz in (1000, 2000, 3000)]
    return speech, noise


class TestMixtures:
    def test_an_index_is_always_the_same(self, files):
        one, other = SpeechMixtures(*files), SpeechMixtures(*files)
        forwards = [one[i] for i in range(5)]
        backwards = [other[i] for i in reversed(range(5))][::-1]
        for a, b in zip(forwards, backwards, strict=True):
            np.testing.assert_array_equal(a.noisy, b.noisy)
            np.testing.assert_array_equal(a.clean, b.clean)

    def test_indices_and_seeds_differ(self, files):
        first, second = SpeechMixtures(*files, seed=0), SpeechMixtures(*files, seed=1)
        mixtures = [first[0], first[1], first[10**9], second[0]]
        for i, a in enumerate(mixtures):
            for b in mixtures[:i]:
                assert np.abs(a.noisy - b.noisy).max() > 0

    @pytest.mark.parametrize("duration", [0.1, 3.0])
    def test_durations(self, files, duration):
        noisy, clean = SpeechMixtures(*files, duration=duration)[0]
        assert noisy.shape == clean.shape == (round(duration * RATE),)
        assert noisy.dtype == clean.dtype == np.float32

    def test_utterances_of_one_speaker_are_joined(self, files):
        mixtures = SpeechMixtures(*files, conditions=PLAIN)
        speakers = {main_frequency(mixtures[i].clean, [150, 300]) for i in range(20)}
        assert speakers == {150, 300}

    def test_plain_mixtures_are_speech_and_scaled_noise(self, files):
        mixtures = SpeechMixtures(*files, conditions=PLAIN, duration=1.0)
        for i in range(4):
            noisy, clean = mixtures[i]
            rest = noisy - clean
            snr_db = 10 * np.log10(active_power(clean) / np.mean(rest**2))
            assert -5.1 < snr_db < 25.1
            assert main_frequency(rest, [1000, 2000, 3000])

    def test_second_noise(self, files):
        conditions = MixtureConditions(**{**vars(PLAIN), "second_noise": 1.0})
        one, two = (SpeechMixtures(*files, conditions=c)[0] for c in (PLAIN, conditions))
        np.testing.assert_array_equal(one.clean, two.clean)
        assert np.abs(one.noisy - two.noisy).max() > 0.01

    def test_speech_and_noise_are_played_faster_or_slower(self, tmp_path):
        speech, noise = (write(tmp_path / f"{hz}.wav", tone(hz, 3.0)) for hz in (1000, 3000))
        conditions = MixtureConditions(**{**vars(PLAIN), "speed": 1.0})
        mixtures = SpeechMixtures({"ann": [speech]}, [noise], conditions=conditions, duration=1.0)
        drawn = [mixtures[i] for i in range(40)]
        clean, rest = (
            np.argmax(np.abs(np.fft.rfft(x)), axis=-1)
            for x in ([m.clean for m in drawn], [m.noisy - m.clean for m in drawn])
        )
        for hz, peaks in ((1000, clean), (3000, rest)):
            assert peaks.min() == pytest.approx(hz / 1.15, rel=0.03)
            assert peaks.max() == pytest.approx(hz * 1.15, rel=0.03)
        assert abs(np.corrcoef(clean, rest)[0, 1]) < 0.5

    def test_every_second_of_noise_is_as_frequent(self, files, tmp_path):
        noise = [
            write(tmp_path / f"{hz}.wav", tone(hz, duration))
            for hz, duration in ((1000, 0.5), (3000, 2.0))
        ]
        mixtures = SpeechMixtures(files[0], noise, conditions=PLAIN, duration=0.1)
        rest = [mixture.noisy - mixture.clean for mixture in (mixtures[i] for i in range(200))]
        peaks = np.argmax(np.abs(np.fft.rfft(rest)), axis=-1) * 10
        assert np.mean(peaks > 2000) == pytest.approx(0.8, abs=0.1)


class TestErrors:
    def test_files(self, files, tmp_path):
        speech, noise = files
        text = tmp_path / "text.wav"
        text.write_text("no audio")
        with pytest.raises(AudioError, match=r"text\.wav: is not audio"):
            SpeechMixtures(speech, [*noise, text])
        with pytest.raises(AudioError, match=r"none\.wav: no such file"):
            SpeechMixtures({"ann": [Path("none.wav")]}, noise)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"duration": 0.05}, "duration must be at least"),
            ({"duration": float("nan")}, "duration must be at least"),
            ({"seed": -1}, "seed must not be negative"),
        ],
    )
    def test_parameters(self, files, parameters, message):
        with pytest.raises(ParameterError, match=message):
            SpeechMixtures(*files, **parameters)

    def test_nothing_to_mix(self, files):
        speech, noise = files
        for material in (({}, noise), ({"ann": []}, noise), (speech, [])):
            with pytest.raises(ParameterError, match="need files of speech"):
                SpeechMixtures(*material)

    def test_negative_index(self, files):
        with pytest.raises(ParameterError, match="index"):
            SpeechMixtures(*files)[-1]
