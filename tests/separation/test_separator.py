"""Separation of recordings into the sounds of their notes."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from note_strategies import crowded

from harmnmf import Audio, AudioError, NoteList, ParameterError, write_audio
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.separation.groups import RESIDUAL, group_by_hand
from harmnmf.separation.separator import Separator, separate

RATE = 8000
# Few partials of the two pitches are near each other.
NOTES = NoteList([0.2, 0.3, 0.9], [0.8, 1.3, 1.4], [57, 63, 57], [80, 70, 90])
quick = settings(deadline=None, max_examples=15)


@pytest.fixture(scope="module")
def separator():
    return Separator(device="cpu")


@pytest.fixture(scope="module")
def prepared(separator):
    return separator.prepare(Audio(record(NOTES), RATE), NOTES)


def sounds(notes, rate=RATE, duration=1.6, tuning=0.0, late=0.0):
    """Sound of each note, (n_notes, n_samples): decaying partials with random phases."""
    time = np.arange(round(duration * rate)) / rate
    rng = np.random.default_rng(0)
    made = np.zeros((len(notes), len(time)))
    hz = notes.hz * 2 ** (tuning / 12)
    for i, (onset, offset) in enumerate(notes.intervals + late):
        age = np.clip(time - onset, 0, None)
        for h in range(1, 9):
            phase = rng.uniform(0, 2 * np.pi)
            if h * hz[i] < 0.45 * rate:
                made[i] += 0.1 / h * np.sin(2 * np.pi * h * hz[i] * age + phase)
        ends = np.clip(age / 0.005, 0, 1) * np.clip(1 - (time - offset) / 0.05, 0, 1)
        made[i] *= np.exp(-3 * age) * ends
    return made


def record(notes, n_channels=1, noise=1e-3, **options):
    """A recording of notes with noise, the channels of other levels."""
    mixture = sounds(notes, **options).sum(axis=0)
    rng = np.random.default_rng(1)
    levels = np.linspace(1, 0.5, n_channels)[:, None]
    return levels * mixture + noise * rng.normal(size=(n_channels, len(mixture)))


def join(separation, groups, **options):
    blocks = list(separation.parts(groups, **options))
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


def assert_adds_up(parts, samples, atol=2e-6):
    np.testing.assert_allclose(sum(parts.values()), samples, atol=atol)


def si_sdr(found, expected):
    """Scale-invariant signal-to-distortion ratio in dB."""
    scaled = expected * (found @ expected) / (expected @ expected)
    return 10 * np.log10((scaled @ scaled) / np.sum((found - scaled) ** 2))


def test_notes_are_separated():
    expected = sounds(NOTES)
    parts = separate(Audio(record(NOTES)[0], RATE), NOTES, {"a": [0], "b": [1], "c": [2]})
    for name, sound in zip("abc", expected, strict=True):
        assert si_sdr(parts[name].samples, sound) > 15
    assert list(parts) == ["a", "b", "c", RESIDUAL]


@pytest.mark.parametrize("tuning", [-0.35, 0.35])
@pytest.mark.parametrize("late", [-0.06, 0.06])
@pytest.mark.parametrize("adapt", [True, False])
def test_recordings_out_of_tune_and_time_are_separated(tuning, late, adapt):
    notes = NoteList([0.2, 0.3], [1.2, 1.3], [57, 63], [80, 70])
    expected = sounds(notes, tuning=tuning, late=late)
    audio = Audio(expected.sum(axis=0), RATE)
    parts = separate(audio, notes, {"low": [0], "high": [1]}, adapt=adapt)
    for name, sound in zip(("low", "high"), expected, strict=True):
        assert si_sdr(parts[name].samples, sound) > (15 if adapt else 10)


def test_learning_the_spectra_helps():
    """Of a piano whose even partials are missing, which the dictionary does not know."""
    notes = NoteList([0.2, 0.2], [1.4, 1.4], [57, 69], [80, 80])
    time = np.arange(1.6 * RATE) / RATE
    age = np.clip(time - 0.2, 0, None)
    expected = np.array([
        sum(0.1 / h * np.sin(2 * np.pi * h * hz * age) for h in (1, 3, 5)) * np.exp(-3 * age)
        for hz in notes.hz
    ])  # fmt: skip
    audio = Audio(expected.sum(axis=0), RATE)
    quality = {}
    for adapt in (True, False):
        parts = separate(audio, notes, {"low": [0], "high": [1]}, adapt=adapt)
        quality[adapt] = si_sdr(parts["high"].samples, expected[1])
    assert quality[True] > quality[False] + 1


@quick
@given(
    st.sampled_from([1000, 8000, 11025, 22051, 44100, 48000]),
    st.integers(1, 3),
    st.floats(0.001, 0.6),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1), st.integers(21, 108)), min_size=1,
             max_size=6),
    st.data(),
)  # fmt: skip
def test_parts_add_up_to_the_recording(separator, rate, n_channels, duration, rows, data):
    """At any rate, also if it is shorter than a frame, and whatever the notes are."""
    n_samples = max(2, round(duration * rate))
    samples = np.random.default_rng(0).uniform(-1, 1, (n_channels, n_samples))
    onset, length, pitch = np.array(rows).T
    onset *= n_samples / rate
    notes = NoteList(onset, onset + length, pitch, [70] * len(rows))
    group = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(notes),
                                        max_size=len(notes))))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these are not its notes
        separation = separator.prepare(Audio(samples, rate), notes)
    parts = join(separation, {"a": group == 0, "b": np.flatnonzero(group == 1)})
    assert_adds_up(parts, samples, atol=1e-5)
    assert (separation.n_samples, separation.n_channels) == (n_samples, n_channels)
    # Group "a" is the sum of its notes, each in its time.
    total = np.zeros_like(samples)
    for i in np.flatnonzero(group == 0):
        start, sound = separation.note(i)
        assert sound.sample_rate == rate
        heard = np.atleast_2d(sound.samples)
        first = round(start * rate)
        assert first / rate == pytest.approx(start)
        total[:, first : first + heard.shape[1]] += heard
    np.testing.assert_allclose(parts["a"], total, atol=1e-5)


def test_a_group_is_the_sum_of_its_notes(prepared):
    each = join(prepared, {"a": [0], "b": [1], "c": [2]})
    some = join(prepared, {"b": [1], "ca": [2, 0]})
    assert list(some) == ["b", "ca", RESIDUAL]
    np.testing.assert_allclose(some["ca"], each["a"] + each["c"], atol=1e-6)
    np.testing.assert_allclose(some["b"], each["b"], atol=1e-6)
    np.testing.assert_allclose(some[RESIDUAL], each[RESIDUAL], atol=1e-6)
    # A note in no group belongs to the residual.
    rest = join(prepared, {"a": [0]})[RESIDUAL]
    np.testing.assert_allclose(rest, each["b"] + each["c"] + each[RESIDUAL], atol=1e-6)


def test_each_note_is_its_part(prepared):
    each = join(prepared, {str(i): [i] for i in range(len(NOTES))})
    for i in range(len(NOTES)):
        start, sound = prepared.note(i)
        assert sound.samples.ndim == 1
        assert NOTES.onset[i] - 0.25 < start < NOTES.onset[i]
        first = round(start * RATE)
        inside = slice(first, first + len(sound.samples))
        np.testing.assert_allclose(each[str(i)][0, inside], sound.samples, atol=1e-6)
        outside = np.delete(each[str(i)][0], np.r_[inside])
        np.testing.assert_allclose(outside, 0, atol=1e-6)


@quick
@given(crowded)
def test_all_notes_are_those_one_by_one(separator, notes):
    audio = Audio(record(NOTES, 2, rate=1000, duration=25.0), 1000)
    notes = notes.slice(0.0, audio.duration)
    assume(len(notes) > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes are not those of the recording
        separation = separator.prepare(audio, notes)
    found = list(separation.all_notes())
    assert len(found) == len(notes)
    for index, (start, sound) in enumerate(found):
        expected_start, expected = separation.note(index)
        assert start == expected_start
        np.testing.assert_array_equal(sound.samples, expected.samples)


def test_the_length_of_blocks_does_not_matter(separator):
    """More groups and channels make blocks shorter."""
    notes = NoteList([0.5, 13, 13.2], [2, 14.5, 15], [57, 63, 57], [80] * 3)
    audio = Audio(record(notes, 2, rate=2000, duration=16.0), 2000)
    separation = separator.prepare(audio, notes)
    whole = list(separation.parts({"a": [0, 2]}))
    names = [f"empty {i}" for i in range(300)]
    blocks = list(separation.parts({"a": [0, 2], **{name: [] for name in names}}))
    assert len(blocks) > len(whole) > 1
    assert all((block[name] == 0).all() for block in blocks for name in names[::50])
    for name in ("a", RESIDUAL):
        np.testing.assert_allclose(
            np.concatenate([block[name] for block in blocks], axis=1),
            np.concatenate([block[name] for block in whole], axis=1),
            atol=1e-6,
        )  # fmt: skip


def test_the_level_does_not_matter(separator):
    samples = record(NOTES)
    groups = {"low": NOTES.pitch < 60}
    expected = join(separator.prepare(Audio(samples, RATE), NOTES), groups)
    for gain in (1e-4, 30.0):
        found = join(separator.prepare(Audio(gain * samples, RATE), NOTES), groups)
        for name, part in expected.items():
            np.testing.assert_allclose(found[name], gain * part, atol=2e-3 * gain)


def test_channels_keep_their_sounds(separator):
    """A note in one channel only stays there, and other channels change it little."""
    a, b, c = sounds(NOTES)
    audio = Audio(np.stack([a + c, b, 0 * b]), RATE)
    parts = join(separator.prepare(audio, NOTES), {"low": [0, 2], "high": [1]})
    assert si_sdr(parts["low"][0], a + c) > 15
    assert si_sdr(parts["high"][1], b) > 15
    for part in parts.values():
        np.testing.assert_array_equal(part[2], 0)
    assert_adds_up(parts, audio.samples)


def test_channels_that_cancel(separator):
    samples = record(NOTES)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mono = join(separator.prepare(Audio(samples, RATE), NOTES), {"low": [0, 2]})
        audio = Audio(np.stack([samples, -samples]), RATE)
        parts = join(separator.prepare(audio, NOTES), {"low": [0, 2]})
    for name, part in parts.items():
        np.testing.assert_allclose(part[0], mono[name][0], atol=1e-4)
        np.testing.assert_array_equal(part[0], -part[1])


def test_an_offset_belongs_to_no_note(separator):
    """As cheap converters add it; in a note it would be a click at its start and its end."""
    samples = record(NOTES)
    expected = join(separator.prepare(Audio(samples, RATE), NOTES), {"all": [0, 1, 2]})["all"]
    audio = Audio(samples + 0.05, RATE)
    parts = join(separator.prepare(audio, NOTES), {"all": [0, 1, 2]})
    assert_adds_up(parts, audio.samples)
    inside = slice(800, -800)
    assert np.abs(parts["all"] - expected)[:, inside].max() < 0.01


def test_silence_before_and_after_belongs_to_no_note(separator):
    notes = NOTES.shift(1.0)
    samples = record(notes, duration=4.0, noise=1e-4)
    parts = join(separator.prepare(Audio(samples, RATE), notes), {"all": [0, 1, 2]})
    for inside in (slice(0, round(0.9 * RATE)), slice(round(3.0 * RATE), None)):
        np.testing.assert_allclose(parts["all"][:, inside], 0, atol=1e-7)
        np.testing.assert_allclose(parts[RESIDUAL][:, inside], samples[:, inside], atol=1e-6)
    assert np.abs(parts["all"]).max() > 0.05


def test_no_groups_and_empty_groups(prepared):
    samples = record(NOTES)
    alone = join(prepared, {})
    assert list(alone) == [RESIDUAL]
    assert_adds_up(alone, samples)
    parts = join(prepared, {"none": [], "nothing": np.zeros(3, bool), "all": [0, 1, 2]})
    assert (parts["none"] == 0).all()
    assert (parts["nothing"] == 0).all()
    assert_adds_up(parts, samples)


def test_the_order_of_groups_does_not_matter(prepared):
    one = join(prepared, {"a": [0], "b": [1, 2]})
    other = join(prepared, {"b": [2, 1], "a": np.array([True, False, False])})
    assert list(other) == ["b", "a", RESIDUAL]
    for name, part in one.items():
        np.testing.assert_allclose(other[name], part, atol=1e-6)


def test_files_and_samples_give_the_same(separator, tmp_path):
    rounded = np.round(record(NOTES, 2) * 2**15) / 2**15
    audio = Audio(rounded, RATE)
    groups = {"low": [0, 2]}
    expected = join(separator.prepare(audio, NOTES), groups)
    for name, subtype in (("a.wav", "PCM_16"), ("b.wav", "FLOAT"), ("c.flac", "PCM_24")):
        write_audio(tmp_path / name, audio, subtype=subtype)
        separation = separator.prepare(tmp_path / name, NOTES)
        for part, samples in join(separation, groups).items():
            np.testing.assert_array_equal(samples, expected[part])
        start, sound = separation.note(1)
        expected_start, expected_sound = separator.prepare(audio, NOTES).note(1)
        assert start == expected_start
        np.testing.assert_array_equal(sound.samples, expected_sound.samples)


@pytest.mark.cuda
def test_a_gpu_gives_the_same(prepared):
    separation = Separator(device="cuda").prepare(Audio(record(NOTES), RATE), NOTES)
    expected = join(prepared, {"low": [0, 2]})
    for name, part in join(separation, {"low": [0, 2]}).items():
        np.testing.assert_allclose(part, expected[name], atol=1e-3)


def test_progress_counts_seconds(separator):
    notes = NoteList([0.5, 22], [2, 23], [57, 63], [80] * 2)
    audio = Audio(record(notes, rate=1000, duration=25.0), 1000)
    preparing, writing = [], []
    separation = separator.prepare(audio, notes, progress=preparing.append)
    list(separation.parts({}, progress=writing.append))
    for seconds in (preparing, writing):
        assert len(seconds) > 1
        assert seconds == sorted(seconds)
        assert seconds[-1] == pytest.approx(25.0)


def test_hands_are_the_default():
    notes = NoteList([0.2, 0.2], [1.2, 1.2], [45, 76], [80, 80])
    audio = Audio(record(notes)[0], RATE)
    found, expected = separate(audio, notes), separate(audio, notes, group_by_hand(notes))
    assert list(found) == ["left", "right", RESIDUAL]
    for name, part in expected.items():
        np.testing.assert_array_equal(found[name].samples, part.samples)
        assert (found[name].sample_rate, found[name].n_channels) == (RATE, 1)


def test_stereo_in_stereo_out():
    samples = record(NOTES, 2)
    parts = separate(Audio(samples, RATE), NOTES, {"low": [0, 2]})
    assert parts["low"].samples.shape == samples.shape
    np.testing.assert_allclose(sum(part.samples for part in parts.values()), samples, atol=1e-6)


def test_notes_of_one_key_at_once(separator):
    """Of two, the later begins where the earlier ends; of equal ones, one sounds."""
    notes = NoteList([0.2, 0.2, 0.6], [1.4, 1.4, 1.4], [57, 57, 57], [80] * 3)
    samples = record(NOTES)
    separation = separator.prepare(Audio(samples, RATE), notes)
    parts = join(separation, {str(i): [i] for i in range(3)})
    assert_adds_up(parts, samples)
    levels = [np.abs(parts[str(i)]).max() for i in range(3)]
    assert sorted(np.array(levels) > 0.01) == [False, True, True]
    assert levels[2] > 0.01
    for i in range(3):
        start, sound = separation.note(i)
        assert 0 <= start <= start + sound.duration <= 1.6 + 1e-9


def test_keys_above_half_the_sample_rate_are_silent(separator):
    notes = NoteList([0.2, 0.2, 0.5], [1.2, 1.2, 1.0], [57, 63, 108], [80] * 3)
    samples = record(notes)
    parts = join(separator.prepare(Audio(samples, RATE), notes), {"low": [0, 1], "high": [2]})
    assert (parts["high"] == 0).all()
    assert np.abs(parts["low"]).max() > 0.05
    assert_adds_up(parts, samples)


def test_a_note_at_the_very_end_has_a_sound(separator):
    samples = record(NOTES)
    duration = samples.shape[1] / RATE
    notes = NoteList(
        [*NOTES.onset, duration - 0.01], [*NOTES.offset, 3], [57, 63, 57, 60], [70] * 4
    )
    separation = separator.prepare(Audio(samples, RATE), notes)
    start, sound = separation.note(3)
    assert start + sound.duration == pytest.approx(duration)


def test_notes_of_another_recording(separator):
    """They are separated, with a warning that names the file."""
    rng = np.random.default_rng(0)
    onset = np.sort(rng.uniform(0, 7, 20))
    played, others = (
        NoteList(start, start + 0.4, rng.integers(45, 85, 20), [70] * 20)
        for start in (onset, rng.permutation(onset) + rng.uniform(0.2, 0.5, 20))
    )
    audio = Audio(record(played, duration=8.0), RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        separator.prepare(audio, played)
    with pytest.warns(UserWarning, match="the audio: the notes may be those of another recording"):
        separation = separator.prepare(audio, others)
    assert_adds_up(join(separation, {"all": np.arange(20)}), audio.samples)


def assert_error(call, kind, *words):
    """It raises one line that has the words."""
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_notes_that_cannot_be(separator, tmp_path):
    path = tmp_path / "song.wav"
    write_audio(path, Audio(record(NOTES), RATE))
    for rows, words in (
        ([], ["song.wav", "no notes"]),
        ([(1.7, 60)], ["song.wav", "1.7 s", "ends at 1.6 s"]),
        ([(0.2, 60), (100.0, 60)], ["song.wav", "100.0 s", "ends at 1.6 s"]),
        ([(0.2, 20)], ["song.wav", "pitch 20"]),
        ([(0.2, 60), (0.2, 109)], ["song.wav", "pitch 109"]),
    ):
        onset, pitch = np.array(rows).reshape(-1, 2).T
        notes = NoteList(onset, onset + 0.5, pitch, [70] * len(rows))
        assert_error(lambda notes=notes: separator.prepare(path, notes), ParameterError, *words)


def test_recordings_that_cannot_be(separator, tmp_path):
    silent = Audio(np.zeros((2, 1000)), 1000)
    notes = NoteList([0.1], [0.5], [60], [70])
    assert_error(lambda: separator.prepare(silent, notes), AudioError, "the audio", "silent")
    write_audio(tmp_path / "silent.wav", silent)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    for name in ("silent.wav", "broken.wav", "none.wav"):
        path = tmp_path / name
        assert_error(lambda path=path: separator.prepare(path, notes), AudioError, name)


def test_a_file_that_is_cut_short(separator, tmp_path):
    """The parts are as long as what there is, and a warning names the file."""
    path = tmp_path / "cut.wav"
    samples = record(NOTES, duration=8.0)
    write_audio(path, Audio(samples, RATE), subtype="FLOAT")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"cut\.wav: is truncated"):
        parts = join(separator.prepare(path, NOTES), {"low": [0, 2]})
    n_samples = parts["low"].shape[1]
    assert n_samples == pytest.approx(4 * RATE, abs=100)
    assert_adds_up(parts, samples[:, :n_samples])


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"a": [3]}, ["group a", "0 to 2"]),
        ({"a": [-1]}, ["group a", "0 to 2"]),
        ({"a": [0, 1], "b": [1]}, ["group b", "another group"]),
        ({"a": [True, False]}, ["group a", "3 notes"]),
        ({"a": [True] * 4}, ["group a", "3 notes"]),
        ({"a": [0.5]}, ["group a"]),
        ({"a": ["left"]}, ["group a"]),
        ({"a": [[0], [1]]}, ["group a"]),
        ({"a": 1}, ["group a"]),
        ({RESIDUAL: [0]}, [RESIDUAL]),
    ],
)
def test_groups_that_cannot_be(prepared, groups, words):
    assert_error(lambda: next(prepared.parts(groups)), ParameterError, *words)


def test_dictionaries_and_options_that_cannot_be(tmp_path):
    assert_error(lambda: Separator("no-such"), Exception, "no-such")
    with pytest.raises(ParameterError, match="adapt"):
        Separator(adapt=2)
    with pytest.raises(ParameterError, match="device"):
        Separator(device="none")


def test_dictionaries_need_sustain_and_decay(tmp_path):
    dictionary = TimbreDictionary.load("default")
    n_attack = dictionary.n_attack
    for n_timbres in (n_attack, n_attack + 1):
        less = replace(dictionary, W=dictionary.W[:, :, :n_timbres])
        less.save(tmp_path / "mine")
        words = f"two timbres besides the frames of the attack, not {n_timbres - n_attack}"
        with pytest.raises(ParameterError, match=rf"mine.*: must have {words}"):
            Separator(tmp_path / "mine")
        with pytest.raises(ParameterError, match=f"the dictionary: must have {words}"):
            Separator(less)


def test_a_dictionary_of_the_users(tmp_path, prepared):
    dictionary = TimbreDictionary.load("default")
    dictionary.save(tmp_path / "mine")
    for chosen in (dictionary, tmp_path / "mine"):
        separation = Separator(chosen, device="cpu").prepare(Audio(record(NOTES), RATE), NOTES)
        expected = join(prepared, {"low": [0, 2]})["low"]
        np.testing.assert_array_equal(join(separation, {"low": [0, 2]})["low"], expected)
