from __future__ import annotations

import json
import math
import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import FormatError, FrequencyAxis, ParameterError, harmonic_templates
from harmnmf.signal.front_end import Spectrogram
from harmnmf.signal.spectrogram import STFT, LogFrequency, front_end_from_dict

RATE = 16000
# Windows from 15 to 60 ms, so that all bounds are at work and tests are quick.
SMALL = LogFrequency(
    sample_rate=8000,
    hop_length=100,
    n_fft=512,
    bins_per_octave=24,
    n_bins=100,
    fmin=200.0,
    n_cycles=30.0,
    min_window=0.015,
    max_window=0.06,
)
LOG = LogFrequency()
FRONT_ENDS = [
    pytest.param(STFT(), id="fourier"),
    pytest.param(LOG, id="logarithmic"),
    pytest.param(SMALL, id="small"),
]


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).uniform(-1, 1, 9000).astype(np.float32)


def sinusoid(frequency, n_samples, rate=RATE, phase=0.0):
    return np.cos(2 * np.pi * frequency * np.arange(n_samples) / rate + phase)


def inner_product(samples, front_end, k, n):
    """Magnitude of one bin and frame by the definition of LogFrequency, sample by sample."""
    rate = front_end.sample_rate
    f = front_end.fmin * 2 ** (k / front_end.bins_per_octave)
    duration = min(max(front_end.n_cycles / f, front_end.min_window), front_end.max_window)
    total, weight = 0j, 0.0
    for m in range(-front_end.n_fft // 2, front_end.n_fft // 2):
        t = m / rate
        if abs(t) < duration / 2:
            hann = 0.5 + 0.5 * math.cos(2 * math.pi * t / duration)
            weight += hann
            i = n * front_end.hop_length + m
            if 0 <= i < len(samples):
                angle = -2 * math.pi * f * t
                total += float(samples[i]) * hann * complex(math.cos(angle), math.sin(angle))
    return 2 * abs(total) / weight


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_samples"),
    [(2048, 320, 9000), (512, 512, 4096), (512, 400, 700), (64, 7, 20), (2, 1, 9)],
)
def test_stft_equals_librosa(noise, n_fft, hop_length, n_samples):
    signal = noise[:n_samples]
    ours = STFT(n_fft=n_fft, hop_length=hop_length).transform(signal)
    # A frame is centred on its sample, with zeros beyond the ends; the periodic Hann window
    # sums to n_fft / 2, and half of a sinusoid's amplitude is at the negative frequency.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_fft=", UserWarning)  # that the signal is short
        theirs = librosa.stft(
            signal.astype(np.float64), n_fft=n_fft, hop_length=hop_length, pad_mode="constant"
        )
    # Filtering the spectrum cancels the side lobes of a rectangle in single precision.
    np.testing.assert_allclose(ours.values, np.abs(theirs) * 4 / n_fft, atol=2e-6)
    np.testing.assert_allclose(ours.axis.frequencies, librosa.fft_frequencies(sr=RATE, n_fft=n_fft))


@pytest.mark.parametrize(
    ("front_end", "bins", "frames"),
    [(SMALL, range(SMALL.n_bins), [0, 3, 45, 90]), (LOG, [0, 100, 250, 389], [0, 14, 28])],
    ids=["small", "default"],
)
def test_log_frequency_equals_its_definition(noise, front_end, bins, frames):
    values = front_end.transform(noise).values
    for n in frames:
        exact = [inner_product(noise, front_end, k, n) for k in bins]
        # Kernels lack negative frequencies and their -60 dB tails: errors are far below 1e-3.
        np.testing.assert_allclose(values[bins, n], exact, atol=4e-4)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_sinusoids_match_templates(front_end):
    axis, rate = front_end.axis, front_end.sample_rate
    pitch = 81.3  # between bins
    f0 = 440 * 2 ** ((pitch - 69) / 12)
    template = harmonic_templates(
        axis,
        [pitch],
        window_durations=front_end.window_durations,
        n_templates=1,
        n_partials=1,
        inharmonicity=0,
    )[:, 0, 0]
    samples = sinusoid(f0, 3 * front_end.n_fft, rate)
    column = front_end.transform(samples).values[
        :, front_end.n_fft * 3 // 2 // front_end.hop_length
    ]
    # Only the main lobe is drawn; the first side lobe of a Hann window is 2.7 % high.
    inside = template > 0
    assert inside.sum() >= 3
    np.testing.assert_allclose(column[inside], template[inside], atol=5e-3)
    assert column[~inside].max() < 0.028


@pytest.mark.parametrize(
    "front_end",
    [
        STFT(n_fft=64, hop_length=20),
        STFT(n_fft=64, hop_length=64),
        STFT(n_fft=64, hop_length=45),
        SMALL,
    ],
    ids=repr,
)
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_stream_equals_transform(front_end, data):
    n_samples = data.draw(st.integers(1, 1200))
    cuts = data.draw(st.lists(st.integers(0, n_samples), max_size=12))
    singles = data.draw(st.integers(0, min(n_samples, 40)))
    rng = np.random.default_rng(n_samples)
    signal = rng.uniform(-1, 1, n_samples).astype(np.float32)
    # Repeated cuts make empty blocks; the first few samples come one by one.
    blocks = np.split(signal, sorted([*cuts, *range(singles)]))
    stream = front_end.stream()
    joined = np.concatenate([*map(stream.push, blocks), stream.finish()], axis=1)
    whole = front_end.transform(signal)
    assert whole.n_frames == 1 + n_samples // front_end.hop_length
    # The order of summation may differ with the number of frames that are multiplied at once.
    np.testing.assert_allclose(joined, whole.values, atol=2e-6)


def test_frames_are_returned_when_complete():
    stream = STFT(n_fft=512, hop_length=160).stream()
    n_frames = 0
    for n_blocks in range(1, 101):
        n_frames += stream.push(np.ones(160)).shape[1]
        # Frame n needs the samples before 160 n + 256.
        assert n_frames == (160 * n_blocks - 256) // 160 + 1
    assert n_frames + stream.finish().shape[1] == 101


def test_no_samples_give_no_frames():
    stream = STFT().stream()
    assert stream.push([]).shape == stream.finish().shape == (1025, 0)


@pytest.mark.filterwarnings("error")
def test_any_array_of_numbers_is_a_signal(noise):
    noise = np.round(noise * 100)
    expected = STFT().transform(noise).values
    readonly = noise.copy()
    readonly.flags.writeable = False
    strided = np.repeat(noise, 2)[::2]
    for samples in (noise.astype(">f4"), noise.astype(int).tolist(), strided, readonly):
        values = STFT().transform(samples).values
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(readonly, noise)


def test_semitones_have_a_central_bin():
    axis = LOG.axis
    bins = axis.to_bin(librosa.midi_to_hz(np.arange(21, 109)))
    np.testing.assert_allclose(bins, 2 + 4 * np.arange(88), atol=1e-6)
    assert axis.frequencies[-1] < RATE / 2


def test_windows_follow_the_frequency_within_bounds():
    durations = LOG.window_durations
    frequencies = LOG.axis.frequencies
    assert durations.shape == (390,)
    np.testing.assert_allclose(durations[frequencies < 200], 0.5)
    np.testing.assert_allclose(durations[frequencies > 100 / 0.06], 0.06)
    middle = (frequencies > 200) & (frequencies < 100 / 0.06)
    np.testing.assert_allclose(durations[middle] * frequencies[middle], 100)
    np.testing.assert_array_equal(STFT(n_fft=1024).window_durations, np.full(513, 1024 / RATE))


@pytest.mark.parametrize("front_end", [STFT(), STFT(44100, 441, 4096), LOG, SMALL], ids=repr)
def test_front_ends_round_trip_through_json(front_end):
    again = front_end_from_dict(json.loads(json.dumps(front_end.to_dict())))
    assert again == front_end
    assert type(again) is type(front_end)
    assert hash(again) == hash(front_end)


@pytest.mark.parametrize(
    "description",
    [
        None,
        {},
        {"name": "CQT"},
        {"name": "STFT", "colour": "red"},
        {"name": "STFT", "n_fft": 511},
        {"name": "LogFrequency", "fmin": None},
        {"name": "LogFrequency", "n_cycles": "many"},
    ],
)
def test_damaged_descriptions(description):
    with pytest.raises(FormatError) as caught:
        front_end_from_dict(description)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: STFT(n_fft=0), "n_fft"),
        (lambda: STFT(n_fft=511), "even"),
        (lambda: STFT(hop_length=0), "hop_length"),
        (lambda: STFT(hop_length=True), "hop_length"),
        (lambda: STFT(n_fft=512, hop_length=513), "hop_length"),
        (lambda: STFT(sample_rate=-1), "sample_rate"),
        (lambda: LogFrequency(min_window=0.0), "min_window"),
        (lambda: LogFrequency(min_window=0.6), "min_window"),
        (lambda: LogFrequency(max_window=math.nan), "max_window"),
        (lambda: LogFrequency(n_cycles=0.0), "n_cycles"),
        (lambda: LogFrequency(n_fft=4096), "does not fit"),
        (lambda: LogFrequency(n_bins=400), "Nyquist"),
        (lambda: LogFrequency(n_bins=0), "n_bins"),
        (lambda: LogFrequency(fmin=0.0), "fmin"),
        (lambda: LogFrequency(bins_per_octave=0), "resolution"),
        (lambda: STFT().transform([]), "at least one sample"),
        (lambda: STFT().transform(np.ones((2, 100))), "mono"),
        (lambda: STFT().stream().push(np.float32(1)), "mono"),
        (lambda: Spectrogram(np.ones((2, 3)), FrequencyAxis.linear(4, 8), 8, 2), "shape"),
    ],
)
def test_invalid_parameters(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
