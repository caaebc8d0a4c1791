from __future__ import annotations

import numpy as np
import pytest
import soundfile

from harmnmf import Audio, AudioError, HarmonicSeries, ParameterError, learn_from_notes, write_audio
from harmnmf.signal.harmonics import piano_inharmonicity, pitch_to_hz
from harmnmf.signal.spectrogram import STFT, LogFrequency

RATE = 16000
FRONT_END = LogFrequency()
N_ATTACK, SUSTAIN, DECAY = 10, 10, 11
# Decibels of the partials of a struck tone, and their decay in decibels per second.
LEVELS = np.array([0.0, -3, -10, -6, -15, -12])
LOSSES = 6.0 * np.arange(1, 7)


def struck(pitch, *, duration=2.0, gain=0.1, late=0.0, levels=LEVELS, tuning=0.0):
    """Synthesise a note with the partials of a piano, after some silence."""
    t = np.arange(int(duration * RATE)) / RATE
    series = HarmonicSeries(len(levels), piano_inharmonicity(pitch))
    tone = sum(
        10 ** ((level - loss * t) / 20) * np.cos(2 * np.pi * hz * t)
        for hz, level, loss in zip(
            series.frequencies(pitch_to_hz(pitch, tuning)), levels, LOSSES, strict=False
        )
    )
    silence = np.zeros(round(late * RATE))
    return Audio(np.concatenate([silence, gain * tone, np.zeros(RATE // 2)]), RATE)


@pytest.fixture
def learn(tmp_path):
    """Learn from notes given as name=Audio, or as a mapping of instruments to such notes."""

    def run(pitches, instruments=None, fix_names=None, **notes):
        files = {}
        for instrument, recordings in (instruments or {"toy": notes}).items():
            (tmp_path / instrument).mkdir(exist_ok=True)
            files[instrument] = [tmp_path / instrument / f"{name}.wav" for name in recordings]
            for path, audio in zip(files[instrument], recordings.values(), strict=True):
                write_audio(path, audio)
        return learn_from_notes(files, front_end=FRONT_END, pitches=pitches, fix_names=fix_names)

    return run


def partial_levels(W, pitch, timbre):
    """Read the decibels of a column of W at its partials, the strongest at 0 dB."""
    series = HarmonicSeries(len(LEVELS), piano_inharmonicity(pitch))
    positions, _ = series.positions(pitch_to_hz(pitch), FRONT_END.axis)
    column = W[:, 0, timbre]
    levels = np.array([20 * np.log10(column[int(p) - 1 : int(p) + 3].max()) for p in positions])
    return levels - levels.max()


def test_spectra_peak_at_the_partials_and_are_scaled(learn):
    W = learn([57], A3=struck(57)).W
    for timbre, (start, end) in ((SUSTAIN, (0.24, 0.6)), (DECAY, (0.6, 1.6))):
        column = W[:, 0, timbre]
        peaks = np.flatnonzero((column[1:-1] > column[:-2]) & (column[1:-1] > column[2:])) + 1
        strong = peaks[column[peaks] > column.max() * 10 ** (-50 / 20)]
        series = HarmonicSeries(len(LEVELS), piano_inharmonicity(57))
        positions, _ = series.positions(pitch_to_hz(57), FRONT_END.axis)
        np.testing.assert_allclose(strong, positions, atol=0.6)
        t = np.linspace(start, end, 100)[:, None]
        expected = 20 * np.log10(np.mean(10 ** ((LEVELS - LOSSES * t) / 20), axis=0))
        levels = partial_levels(W, 57, timbre)
        np.testing.assert_allclose(levels, expected - expected.max(), atol=2)
    sums = W.sum(axis=0)[0]
    assert sums[0] < sums[1]
    assert sums[:N_ATTACK].mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(sums[N_ATTACK:], 1, rtol=1e-5)


@pytest.mark.parametrize("pitch", [38, 76])
def test_a_key_left_out_is_filled_partial_by_partial(learn, pitch):
    # The colour changes along the keyboard, by as many decibels to either side.
    tilt = np.arange(len(LEVELS))
    notes = {
        f"{pitch + step:03d}": struck(pitch + step, levels=LEVELS + step * tilt / 3)
        for step in (-3, 0, 3)
    }
    direct = learn([pitch], **{f"{pitch:03d}": notes[f"{pitch:03d}"]}).W
    del notes[f"{pitch:03d}"]
    filled = learn([pitch], **notes).W
    for timbre in (3, N_ATTACK - 1, SUSTAIN, DECAY):
        np.testing.assert_allclose(
            partial_levels(filled, pitch, timbre), partial_levels(direct, pitch, timbre), atol=3
        )


def test_level_delay_rate_and_channels_do_not_matter(learn):
    note = struck(57)
    W = learn([57], A3=note).W
    np.testing.assert_allclose(learn([57], A3=struck(57, gain=0.002)).W, W, rtol=1e-3, atol=1e-6)
    for late in (0.0031, 1.2345):
        np.testing.assert_allclose(learn([57], A3=struck(57, late=late)).W, W, atol=1e-6)
    stereo = Audio(np.stack([note.resample(44100).samples] * 2), 44100)
    np.testing.assert_allclose(learn([57], A3=stereo).W, W, atol=0.02)


def test_opposite_channels_do_not_cancel(learn):
    note = struck(57)
    opposite = Audio(np.stack([note.samples, -note.samples]), RATE)
    with pytest.warns(UserWarning, match=r"A3\.wav: .* channel"):
        W = learn([57], A3=opposite).W
    np.testing.assert_allclose(W, learn([57], A3=note).W, atol=1e-5)


def test_layers_of_a_key_and_instruments_weigh_the_same(learn):
    soft, loud = struck(57, gain=0.01, levels=LEVELS[:2]), struck(57, gain=0.3)
    expected = np.mean([learn([57], A3=note).W for note in (soft, loud)], axis=0)
    np.testing.assert_allclose(learn([57], A3=soft, A3_=loud).W, expected, atol=1e-3)
    together = learn(
        [57], {"bright": {"A3_1": loud, "A3_2": loud, "A3_3": loud}, "dull": {"A3": soft}}
    )
    np.testing.assert_allclose(together.W, expected, atol=1e-3)
    assert together.metadata["instruments"] == {
        "bright": {"notes": 3, "keys": [57], "tuning": 0},
        "dull": {"notes": 1, "keys": [57], "tuning": 0},
    }


def test_a_short_note_keeps_its_last_spectrum(learn):
    short = Audio(struck(69, duration=0.15).samples[: round(0.15 * RATE)], RATE)
    with pytest.warns(UserWarning, match=r"A4\.wav: lasts only 0\.15 s"):
        W = learn([69], A4=short).W
    for timbre in (SUSTAIN, DECAY):
        assert W[:, 0, timbre].sum() == pytest.approx(1, rel=1e-5)
    message = r"A4\.wav: lasts only 0\.15 s, and its sustain is not heard, nor that of 1 more"
    with pytest.warns(UserWarning, match=message):
        learn([69], A4=short, A4_b=short, A4_c=struck(69))


def test_empty_notes_are_left_out(learn):
    silence, click = Audio(np.zeros(RATE), RATE), Audio(np.full(10, 0.5), RATE)
    with pytest.raises(AudioError, match=r"A4\.wav: lasts only 0\.6 ms"):
        learn([69], A4=click, A4_b=silence)
    with pytest.warns(UserWarning, match=r"left out 1 of 2 notes: .*A4\.wav: .* silent"):
        learned = learn([69], A4=silence, A4_b=struck(69))
    assert learned.metadata["instruments"]["toy"]["notes"] == 1
    with pytest.warns(UserWarning, match=r"left out 2 of 3 notes: .*A3\.wav: .* silent"):
        again = learn([69], A3=silence, A4=click, A4_b=struck(69))
    np.testing.assert_array_equal(again.W, learned.W)


def test_another_front_end_and_attack(tmp_path):
    write_audio(tmp_path / "A4.wav", struck(69))
    front_end, seen = STFT(n_fft=2048, hop_length=160), []
    dictionary = learn_from_notes(
        {"toy": [tmp_path / "A4.wav"]},
        front_end=front_end,
        pitches=[69, 70],
        n_attack=4,
        metadata={"name": "short"},
        progress=seen.append,
    )
    assert seen == [tmp_path / "A4.wav"]
    assert dictionary.metadata["name"] == "short"
    assert dictionary.W.shape == (1025, 2, 6)
    assert dictionary.attack_lead == 0.01
    peaks = dictionary.axis.to_hz(dictionary.W[:, :, -1].argmax(axis=0))
    np.testing.assert_allclose(peaks, pitch_to_hz([69, 70]), atol=8)


@pytest.mark.parametrize("tuning", [-0.4, 0.2, 0.45])
def test_a_piano_out_of_tune_is_brought_to_440_hz(learn, tuning):
    keys = (52, 57, 62, 67)
    expected, learned = (
        learn(keys, **{f"{key:03}": struck(key, tuning=x) for key in keys}) for x in (0.0, tuning)
    )
    np.testing.assert_allclose(expected.tuning, 0, atol=0.03)
    np.testing.assert_allclose(learned.tuning, tuning, atol=0.03)
    assert learned.overall_tuning == pytest.approx(tuning, abs=0.02)
    assert learned.metadata["instruments"]["toy"]["tuning"] == pytest.approx(100 * tuning, abs=2)
    np.testing.assert_allclose(learned.W[..., N_ATTACK:], expected.W[..., N_ATTACK:], atol=0.02)


def test_deviations_of_single_keys_stay_in_the_spectra(learn):
    tuning = dict(zip((52, 57, 62, 67), (-0.15, 0.1, 0.0, 0.05), strict=True))
    learned = learn(list(tuning), **{f"{k:03}": struck(k, tuning=x) for k, x in tuning.items()})
    np.testing.assert_allclose(learned.tuning, list(tuning.values()), atol=0.03)
    assert learned.metadata["instruments"]["toy"]["tuning"] == pytest.approx(2.5, abs=2)


def test_names_an_octave_off(learn):
    keys = (52, 57, 62, 67)
    expected = learn(keys, **{f"{key:03}": struck(key) for key in keys})
    notes = {f"{key - 12:03}": struck(key) for key in keys}
    with pytest.raises(AudioError, match=r"toy: the names of 4 of 4 notes are 12 semitones below"):
        learn(keys, {"toy": notes})
    with pytest.warns(UserWarning, match="where middle C is C4"):
        fixed = learn(keys, {"toy": notes}, fix_names=True)
    np.testing.assert_array_equal(fixed.W, expected.W)
    kept = learn([key - 12 for key in keys], {"toy": notes}, fix_names=False)
    assert kept.metadata["instruments"]["toy"]["keys"] == [40, 45, 50, 55]


def test_names_without_a_pitch_can_be_heard(learn):
    with pytest.raises(AudioError, match=r"grand\.wav: its name has no pitch; .*--fix-names"):
        learn([57], grand=struck(57))
    heard = learn([57], grand=struck(57), fix_names=True)
    np.testing.assert_array_equal(heard.W, learn([57], A3=struck(57)).W)


@pytest.mark.parametrize("where", [2000, -2000])
def test_clicks_are_passed_over(learn, where):
    note = struck(57, late=0.5)
    samples = note.samples.copy()
    samples[where : where + 10] = 0.9
    clicked = learn([57], A3=Audio(samples, RATE))
    np.testing.assert_allclose(clicked.W, learn([57], A3=note).W, atol=1e-6)


@pytest.mark.parametrize("duration", [0.8, 2.5])
def test_two_notes_in_a_file_are_an_error(learn, duration):
    first, second = struck(57, duration=4.0).samples, struck(61).samples
    audio = Audio(np.concatenate([first[: round(duration * RATE)], second]), RATE)
    with pytest.raises(AudioError, match=r"A3\.wav: holds two notes, A3 and C#4; cut it"):
        learn([57], A3=audio)


def test_noise_is_no_note(learn):
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    with pytest.raises(AudioError, match=r"A3\.wav: does not sound like A3"):
        learn([57], A3=Audio(noise, RATE))


def test_one_key_is_a_poor_basis_for_a_keyboard(learn):
    with pytest.warns(UserWarning, match="toy: one key, A3, is a poor basis"):
        dictionary = learn(range(21, 109), A3=struck(57))
    strongest = dictionary.axis.to_hz(dictionary.W[:, :60, SUSTAIN].argmax(axis=0))
    np.testing.assert_allclose(strongest, pitch_to_hz(range(21, 81)), rtol=0.03)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full(RATE, 5e-5), "silent; record"),  # dither of 16-bit files
        (np.full(RATE, np.nan), "NaN"),
    ],
)
def test_bad_recordings(tmp_path, samples, message):
    path = tmp_path / "C4.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"C4\.wav: .*{message}"):
        learn_from_notes({"toy": [path]}, front_end=FRONT_END)


def test_names_are_checked_before_the_first_file_is_read(tmp_path):
    with pytest.raises(AudioError, match=r"piano\.wav: its name has no pitch"):
        learn_from_notes({"a": [tmp_path / "missing_C4.wav"], "b": [tmp_path / "piano.wav"]})


@pytest.mark.parametrize(
    ("instruments", "options", "message"),
    [
        ({"toy": []}, {}, "one recorded note"),
        ({"toy": ["C4.wav"]}, {"pitches": []}, "MIDI numbers"),
        ({"toy": ["C4.wav"]}, {"pitches": [60, 128]}, "from 0 to 127"),
        ({"toy": ["C4.wav"]}, {"n_attack": 0}, "n_attack"),
        ({"toy": ["C4.wav"]}, {"fix_names": "yes"}, "fix_names"),
    ],
)
def test_invalid_parameters_are_errors(instruments, options, message):
    with pytest.raises(ParameterError, match=message):
        learn_from_notes(instruments, front_end=FRONT_END, **options)
