from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from sound_files import main_frequency, tone, write

from harmnmf import AudioError, HarmnmfError, ParameterError
from harmnmf.enhancement.mixtures.mixing import MixtureConditions, active_power
from harmnmf.enhancement.mixtures.speech import Sound, SpeechMixtures, load_samples, split_material
from harmnmf.signal.audio import SAMPLE_RATE as RATE

PLAIN = MixtureConditions(
    **{field.name: 0.0 for field in fields(MixtureConditions) if field.type == "float"}
)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def folders(tmp_path):
    """Folder of 40 speakers, and folders of noise named as in UrbanSound and ESC."""
    speech = touch(
        tmp_path / "speech",
        *(f"{speaker}/book/{n}.opus" for speaker in range(40) for n in range(3)),
    )
    urban = touch(
        tmp_path / "urban",
        *(f"{i}-4-{j}-{k}.ogg" for i in range(500, 560) for j in (0, 1) for k in (0, 117)),
    )
    esc = touch(
        tmp_path / "esc",
        *(f"{n:03}_5-{i}-{take}.ogg" for n, i in enumerate(range(530, 590)) for take in "AB"),
    )
    return speech, [urban, esc]


def test_speakers_and_recordings_are_not_divided(folders):
    training, validation = split_material(*folders)
    assert (len(training.speech), len(validation.speech)) == (36, 4)
    speakers = {**training.speech, **validation.speech}
    assert len(speakers) == 40
    for speaker, files in speakers.items():
        assert [path.parts[-3] for path in files] == [speaker] * 3

    def recordings(files):
        return {re.search(r"5[0-9]{2}", path.stem)[0] for path in files}

    assert len(training.noise) + len(validation.noise) == 60 * 4 + 60 * 2
    # 90 recordings, 30 of which have clips in both folders.
    assert len(recordings(training.noise)) == 81
    assert len(recordings(validation.noise)) == 9
    assert not recordings(training.noise) & recordings(validation.noise)


@pytest.mark.parametrize(
    ("names", "n_held_out"),
    [
        ([f"{name}.wav" for name in "abcdefghij"], 1),
        ([f"noise_2024_{n}.wav" for n in range(20)], 2),
        ([f"{n}-44100hz.wav" for n in range(20)], 2),
        ([f"{place}/ch{n:02}.wav" for place in range(10) for n in range(16)], 16),
        ([f"{place}/{n}.wav" for place in ("free", "bible") for n in range(10)], 2),
        ([f"all/{n}.wav" for n in range(10)], 1),
        ([*(f"{place}/{n}.wav" for place in range(9) for n in range(2)), "a.wav", "b.wav"], 2),
    ],
    ids=["letters", "same number", "rates", "places", "two folders", "one folder", "both"],
)
def test_any_names_of_noise(tmp_path, folders, names, n_held_out):
    noise = touch(tmp_path / "noise", *names)
    training, validation = split_material(folders[0], [noise])
    assert {*training.noise, *validation.noise} == {noise / name for name in names}
    assert len(validation.noise) == n_held_out
    if n_held_out == 16:
        assert len({path.parent for path in validation.noise}) == 1


def test_files_directly_in_the_folder_are_speakers(tmp_path):
    speech = touch(tmp_path / "speech", "ann/1.wav", "ann/2.wav", "bob.wav", "cid.wav")
    noise = touch(tmp_path / "noise", "a.wav", "b.wav")
    training, validation = split_material(speech, [noise])
    speakers = {**training.speech, **validation.speech}
    assert set(speakers) == {"ann", "bob.wav", "cid.wav"}
    assert len(speakers["ann"]) == 2


def test_more_speakers_change_little(folders):
    before = set(split_material(*folders)[1].speech)
    for n in range(40, 45):
        touch(folders[0], f"{n}/1.opus")
    after = set(split_material(*folders)[1].speech)
    assert len(before - after) <= 2
    assert len(after) in (4, 5)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "speech: no such folder"),
        (["speech/1.wav"], "speech: needs a folder or a file for each of at least two.*it has 1"),
        (["speech/ann/1.wav", "speech/ann/2.wav"], "at least two speakers.*it has 1"),
        (["speech/a/1.wav", "speech/b/1.wav", "noise/7-1-0-1.wav", "noise/7-1-0-2.wav"],
         "noise: needs at least two recordings.*there are 1"),
    ],
)  # fmt: skip
def test_too_little_material_raises(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(HarmnmfError, match=message):
        split_material(tmp_path / "speech", [tmp_path / "noise"])


@pytest.mark.parametrize("rate", [8000, 44100])
def test_files_are_resampled_and_normalised(tmp_path, rate):
    sound = 0.001 * tone(440, sample_rate=rate)
    samples = load_samples(write(tmp_path / "a.wav", sound, sample_rate=rate))
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(RATE, abs=2)
    expected = 32767 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(samples[200:15800], expected[200:15800], atol=300)


def test_ends_are_faded(tmp_path):
    samples = load_samples(write(tmp_path / "a.wav", np.full(RATE, 0.5)))
    assert samples[0] == samples[-1] == 0
    assert (samples[160:-160] == 32767).all()


def test_parts_contain_sound_at_a_random_position():
    samples = np.zeros(20 * RATE, np.int16)
    samples[5 * RATE : 6 * RATE] = 10000
    sound = Sound(samples)
    parts = [sound.draw(RATE, np.random.default_rng(seed)) for seed in range(100)]
    filled = np.mean([part > 0 for part in parts], axis=1)
    assert (filled > 0).all()
    assert filled.min() < 0.2 < 0.8 < filled.max()


def test_parts_are_contiguous_and_short_sounds_repeated():
    part = Sound(np.arange(1, 1601, dtype=np.int16)).draw(4000, np.random.default_rng(0)) * 32767
    steps = np.diff(np.rint(part))
    assert ((steps == 1) | (steps == -1599)).all()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    speech = {
        speaker: [write(folder / speaker / f"{n}.wav", tone(hz, 0.7)) for n in range(3)]
        for speaker, hz in (("ann", 300), ("bob", 150))
    }
    noise = [write(folder / f"{hz}.wav", tone(hz, 3.0)) for hz in (1000, 2000, 3000)]
    return speech, noise


def test_a_mixture_depends_on_seed_and_index_only(files):
    first, same, other = (SpeechMixtures(*files, seed=seed) for seed in (0, 0, 1))
    forwards = [first[i] for i in range(3)]
    backwards = [same[i] for i in (2, 1, 0)][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(a, b)
    mixtures = [*forwards, first[10**9], other[0]]
    for i, a in enumerate(mixtures):
        for b in mixtures[:i]:
            assert not np.array_equal(a.noisy, b.noisy)


def test_plain_mixtures_have_one_speaker_and_one_noise(files):
    mixtures = SpeechMixtures(*files, conditions=PLAIN)
    speakers = set()
    for i in range(20):
        noisy, clean = mixtures[i]
        assert noisy.shape == clean.shape == (2 * RATE,)
        assert noisy.dtype == clean.dtype == np.float32
        speakers.add(main_frequency(clean, [150, 300]))
        rest = noisy - clean
        assert -5.1 < 10 * np.log10(active_power(clean) / np.mean(rest**2)) < 25.1
        assert main_frequency(rest, [1000, 2000, 3000])
    assert speakers == {150, 300}


def test_second_noise(files):
    second = replace(PLAIN, second_noise=1.0)
    one, two = (SpeechMixtures(*files, conditions=c)[0] for c in (PLAIN, second))
    np.testing.assert_array_equal(one.clean, two.clean)
    assert np.abs(one.noisy - two.noisy).max() > 0.01


def test_speech_and_noise_are_played_faster_or_slower(tmp_path):
    speech, noise = (write(tmp_path / f"{hz}.wav", tone(hz, 3.0)) for hz in (1000, 3000))
    conditions = replace(PLAIN, speed=1.0)
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


def test_all_seconds_of_noise_are_equally_frequent(files, tmp_path):
    noise = [
        write(tmp_path / f"{hz}.wav", tone(hz, duration))
        for hz, duration in ((1000, 0.5), (3000, 2.0))
    ]
    mixtures = SpeechMixtures(files[0], noise, conditions=PLAIN, duration=0.1)
    rest = [mixture.noisy - mixture.clean for mixture in (mixtures[i] for i in range(200))]
    peaks = np.argmax(np.abs(np.fft.rfft(rest)), axis=-1) * 10
    assert np.mean(peaks > 2000) == pytest.approx(0.8, abs=0.1)


def test_invalid_files_and_parameters_raise(files, tmp_path):
    speech, noise = files
    with pytest.raises(AudioError, match=r"none\.wav: no such file"):
        SpeechMixtures({"ann": [Path("none.wav")]}, noise)
    with pytest.raises(AudioError, match=r"silent\.wav: is silent"):
        SpeechMixtures(speech, [write(tmp_path / "silent.wav", np.zeros(RATE))])
    for material in (({}, noise), ({"ann": []}, noise), (speech, [])):
        with pytest.raises(ParameterError, match="need files of speech"):
            SpeechMixtures(*material)
    for duration in (0.05, float("nan")):
        with pytest.raises(ParameterError, match="duration must be a finite number"):
            SpeechMixtures(*files, duration=duration)
    with pytest.raises(ParameterError, match="seed must be an integer"):
        SpeechMixtures(*files, seed=-1)
    with pytest.raises(ParameterError, match="index"):
        SpeechMixtures(*files)[-1]
