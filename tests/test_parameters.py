"""Parameters outside their domain raise ParameterError, in every public class and function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harmnmf import (
    STFT,
    Audio,
    FrequencyAxis,
    HarmonicNMF,
    HarmonicSeries,
    LogFrequency,
    NoteList,
    ParameterError,
    TimbreDictionary,
    Transcriber,
    adapt_dictionary,
    evaluate_notes,
    harmonic_templates,
    read_audio,
    stream_audio,
)
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.features import FeatureSettings, NoteFeatures
from harmnmf.decoder.network import NoteNetworkConfig
from harmnmf.decoder.posteriors import NotePosteriors, PosteriorDecoder, decode_posteriors
from harmnmf.decoder.rules import PianoActivations, decode_notes
from harmnmf.decoder.training_set import ExcerptSource
from harmnmf.enhancement import DeepPrior, Enhancer, HarmonicConv2d, comb_matrix
from harmnmf.enhancement.mixtures.mixing import MixtureConditions
from harmnmf.enhancement.models.registry import build_model
from harmnmf.enhancement.transform import ShortTimeFourier
from harmnmf.nmf.solvers.acceleration import MultiplicativeOptions
from harmnmf.nmf.solvers.bayesian import BayesianOptions
from harmnmf.nmf.solvers.convolutive import estimate_note_activations
from harmnmf.nmf.solvers.decibel import DecibelOptions
from harmnmf.nmf.solvers.loop import SolverOptions
from harmnmf.nmf.templates import initial_weights
from harmnmf.synthesis.microphone import RecordingConditions
from harmnmf.synthesis.sampled_piano import SampledPiano

NAN, INF = math.nan, math.inf
AXIS = FrequencyAxis.logarithmic(fmin=220.0, bins_per_octave=12, n_bins=36)
SONG = NoteList([0.1], [0.2], [69], [80])
TEMPLATES = np.ones((36, 2, 2))
DICTIONARY = TimbreDictionary.load("default")


def nmf(solver: str) -> Callable[..., Any]:
    return lambda **options: HarmonicNMF(
        **{"templates": TEMPLATES, "solver": solver, "max_iter": 1, **options}
    ).fit(np.ones((5, 36)))


def posteriors() -> NotePosteriors:
    levels = np.zeros((4, 88, 5), np.float32)
    return NotePosteriors(*levels, np.zeros(5, np.float32), np.arange(21, 109), 0.02)


def activations() -> PianoActivations:
    silence = np.zeros((88, 5), np.float32)
    return PianoActivations(silence, silence, np.arange(21, 109), 0.02, 1, 0.0)


def network_config(name: str) -> Callable[..., Any]:
    return lambda **options: build_model(name, **options)


def transcriber(**options: Any) -> Transcriber:
    return Transcriber(DICTIONARY, "nmf", **{"device": "cpu", **options})


def decoder(**options: Any) -> PosteriorDecoder:
    return PosteriorDecoder(np.arange(21, 109), **{"hop_duration": 0.02, **options})


def dictionary(**options: Any) -> TimbreDictionary:
    return TimbreDictionary(
        DICTIONARY.W,
        DICTIONARY.pitches,
        DICTIONARY.front_end,
        **{"n_attack": 10, "attack_lead": 0.0, **options},
    )


def axis(**options: Any) -> FrequencyAxis:
    return FrequencyAxis(
        **{"scale": "logarithmic", "n_bins": 3, "fmin": 10.0, "resolution": 2.0, **options}
    )


def piano(**options: Any) -> Any:
    samples = SampledPiano({69: [np.sin(np.arange(16000) / 6) * np.exp(-np.arange(16000) / 4000)]})
    return samples.render(SONG, rng=np.random.default_rng(0), **options)


def fourier(**options: Any) -> ShortTimeFourier:
    return ShortTimeFourier(**{"n_fft": 512, "hop_length": 128, **options})


def note_activations(**options: Any) -> Any:
    return estimate_note_activations(
        torch.ones(3, 4), torch.ones(3, 2, 2), **{"n_attack": 1, **options}
    )


def enhancer(**options: Any) -> Enhancer:
    return Enhancer(build_model("harmonic-light"), **{"device": "cpu", **options})


def templates(**options: Any) -> Any:
    return harmonic_templates(AXIS, [60], **{"window_durations": 0.1, **options})


def excerpt(**options: Any) -> NoteExcerpt:
    silence = np.zeros((390, 5), np.uint8)
    features = NoteFeatures(silence, silence, np.zeros((88, 3, 5), np.uint8))
    return NoteExcerpt(features, NoteList([], [], [], []), **{"hop_duration": 0.02, **options})


# Wrong values of each kind; "count?" may be None.
WRONG: dict[str, list[Any]] = {
    "number": ["5", NAN, INF, -INF, True, [1.0], None, 1j],
    "flag": ["yes", 2, 0.5, NAN, None],
    "name": ["", "no such", 1, None, NAN, ["adam"]],
    "integer": ["5", NAN, INF, 1.5, True, [1], None],
}
WRONG["numbers"] = ["5", NAN, INF, -INF, True, None, 1j]
WRONG["numbers not negative"] = [*WRONG["numbers"], -1.0]
WRONG["numbers positive"] = [*WRONG["numbers not negative"], 0]
WRONG["pitches"] = ["5", [1.5], ["1"], [True], 3.5, None, [60, 59], [], [128], [-1], [NAN]]
WRONG["positive"] = [*WRONG["number"], 0, -1.0]
WRONG["not negative"] = [*WRONG["number"], -1.0]
WRONG["fraction"] = [*WRONG["number"], -0.1, 1.1]
WRONG["count"] = [*WRONG["integer"], 0, -1]
WRONG["index"] = [*WRONG["integer"], -1]
WRONG["range"] = ["5", NAN, [1], (2, 1), (0, NAN), (0, "1"), None]
WRONG["counts"] = ["5", [1.5], [0], ["1"], [True], 3.5, None]

SOLVER = {"max_iter": "index", "tol": "not negative?", "floor": "not negative?"}
CASES: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "SolverOptions": (SolverOptions, SOLVER),
    "MultiplicativeOptions": (
        MultiplicativeOptions, {**SOLVER, "beta": "number", "accelerate": "flag"}
    ),
    "BayesianOptions": (
        BayesianOptions, {**SOLVER, "algorithm": "name", "smoothness": "not negative"}
    ),
    "DecibelOptions": (
        DecibelOptions,
        {
            **SOLVER, "beta": "number", "sigma": "not negative∞", "dynamic_range": "positive",
            "domain": "name", "optimizer": "name", "estimate_E": "flag", "estimate_H": "flag",
        },
    ),
    "estimate_note_activations": (
        note_activations, {**SOLVER, "beta": "number", "n_attack": "count"}
    ),
    **{
        f"HarmonicNMF {solver}": (
            nmf(solver),
            {
                "solver": "name", "n_timbres": "count", "beta": "number", "max_iter": "index",
                "tol": "not negative?", "sigma": "not negative∞", "smoothness": "not negative",
                "algorithm": "name",
            },
        )
        for solver in ("multiplicative", "bayesian", "decibel")
    },
    "harmonic_templates": (
        templates,
        {
            "n_templates": "count", "n_partials": "count?", "spacing_erb": "positive",
            "width_erb": "positive", "window_durations": "numbers positive", "tuning": "numbers",
            "inharmonicity": "numbers not negative?",
        },
    ),
    "initial_weights": (
        initial_weights, {"n_templates": "count", "spacing_erb": "positive", "tuning": "numbers"}
    ),
    "FrequencyAxis": (
        axis, {"scale": "name", "n_bins": "count", "fmin": "positive", "resolution": "positive"}
    ),
    "HarmonicSeries": (
        lambda **options: HarmonicSeries(**{"n_partials": 3, **options}),
        {"n_partials": "count", "inharmonicity": "numbers not negative"},
    ),
    "STFT": (STFT, {"sample_rate": "count", "hop_length": "count", "n_fft": "count"}),
    "LogFrequency": (
        LogFrequency,
        {
            "sample_rate": "count", "hop_length": "count", "n_fft": "count", "n_bins": "count",
            "bins_per_octave": "positive", "fmin": "positive", "n_cycles": "positive",
            "min_window": "positive", "max_window": "positive",
        },
    ),
    "TimbreDictionary": (dictionary, {"n_attack": "count", "attack_lead": "fraction"}),
    "Transcriber": (
        transcriber,
        {
            "onset_threshold": "number?", "offset_threshold": "number?", "latency": "number?",
            "tuning": "number?", "adapt": "flag?", "n_iter": "count?",
            "block_duration": "positive", "calibration_duration": "positive", "device": "name",
        },
    ),
    "decode_notes": (
        lambda **options: decode_notes(activations(), **options),
        {"onset_threshold": "number", "offset_threshold": "number", "latency": "number"},
    ),
    "decode_posteriors": (
        lambda **options: decode_posteriors(posteriors(), **options),
        {"onset_threshold": "number", "offset_threshold": "number", "latency": "number"},
    ),
    "PosteriorDecoder": (
        decoder, {"hop_duration": "positive", "onset_threshold": "number", "latency": "number"}
    ),
    "NoteExcerpt": (excerpt, {"hop_duration": "positive"}),
    "FeatureSettings": (
        FeatureSettings,
        {
            "n_attack": "count", "n_rows": "count", "n_iter": "count", "steps_per_db": "count",
            "floor_db": "number", "pitches": "pitches",
        },
    ),
    "NoteNetworkConfig": (
        NoteNetworkConfig,
        {
            "n_channels": "count", "n_partials": "count", "activations": "flag",
            "time_dilations": "counts", "key_dilations": "counts",
        },
    ),
    "RecordingConditions": (
        RecordingConditions, dict.fromkeys(vars(RecordingConditions()), "fraction")
    ),
    "SampledPiano.render": (piano, {"tuning": "number", "resonance_db": "number?"}),
    "Enhancer": (
        enhancer, {"dry": "fraction", "attenuation_limit": "not negative?∞", "device": "name"}
    ),
    "DeepPrior": (
        DeepPrior,
        {
            "convolution": "name", "n_steps": "count", "n_channels": "counts", "anchor": "count",
            "learning_rate": "positive", "seed": "index", "device": "name",
        },
    ),
    "MixtureConditions": (
        MixtureConditions,
        {
            name: "range" if name.endswith("_db") else "fraction"
            for name in vars(MixtureConditions())
        },
    ),
    "ShortTimeFourier": (fourier, {"n_fft": "count", "hop_length": "count"}),
    "read_audio": (
        lambda **options: read_audio(Audio(np.zeros(9), 8000), **options),
        {"offset": "not negative", "duration": "positive?∞"},
    ),
    "stream_audio": (
        lambda **options: list(stream_audio(Audio(np.zeros(9), 8000), **options)),
        {"block_duration": "positive"},
    ),
    "evaluate_notes": (
        lambda **options: evaluate_notes(SONG, SONG, **options),
        {"onset_tolerance": "positive", "offset_ratio": "positive"},
    ),
    "adapt_dictionary": (
        lambda **options: adapt_dictionary(
            DICTIONARY.front_end.transform(np.ones(800)), DICTIONARY, **options
        ),
        {"sigma": "positive∞", "device": "name"},
    ),
    "comb_matrix": (
        lambda **options: comb_matrix(FrequencyAxis.linear(512, 16000), **options),
        {"construction": "name", "normalize": "flag"},
    ),
    "HarmonicConv2d": (
        lambda **options: HarmonicConv2d(
            **{"in_channels": 1, "out_channels": 1, "kernel_size": 3, **options}
        ),
        {"kernel_size": "count", "stride": "count", "anchor": "count"},
    ),
    "harmonic-attention": (
        network_config("harmonic-attention"),
        {"n_channels": "counts", "temporal": "name", "causal": "flag", "comb": "name"},
    ),
    "harmonic-refinement": (
        network_config("harmonic-refinement"), {"n_channels": "count", "n_blocks": "count"}
    ),
    "spectrum-attention-fusion": (
        network_config("spectrum-attention-fusion"),
        {
            **dict.fromkeys(
                (
                    "n_fft", "hop_length", "n_channels", "n_blocks", "n_heads", "band_window",
                    "kernel_size",
                ),
                "count",
            ),
            "time_dilations": "counts", "normalization": "name", "phase_input": "flag",
            "bias_decoder": "flag",
        },
    ),
    "spectrogram-fusion": (
        network_config("spectrogram-fusion"),
        {
            **dict.fromkeys(("lstm_size", "n_lstm_layers", "hidden_size", "n_heads"), "count"),
            "attention": "name", "power": "positive",
        },
    ),
    "ExcerptSource": (
        lambda **options: ExcerptSource(
            {"a": Path("a")}, {"a": Path("b")}, [Path("c")], **options
        ),
        {"duration": "positive", "seed": "index"},
    ),
    "harmonic-light": (
        network_config("harmonic-light"),
        {
            **dict.fromkeys(
                ("n_channels", "n_bands", "n_features", "n_heads", "n_blocks", "n_cells"), "count"
            ),
            "n_candidates": "index", "comb": "name",
        },
    ),
}  # fmt: skip


def wrong_values() -> Iterator[Any]:
    """Each parameter with each wrong value of its kind."""
    for name, (_, parameters) in CASES.items():
        for parameter, kind in parameters.items():
            wrong = WRONG[kind.rstrip("?∞")]
            for value in wrong:
                if (value is None and "?" in kind) or (value == INF and "∞" in kind):
                    continue
                yield pytest.param(name, parameter, value, id=f"{name}-{parameter}-{value!r}")


@pytest.mark.parametrize(("name", "parameter", "value"), list(wrong_values()))
def test_wrong_values_raise_parameter_error(name: str, parameter: str, value: Any) -> None:
    with pytest.raises(ParameterError):
        CASES[name][0](**{parameter: value})


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_numpy_are_numbers(name: str) -> None:
    build, parameters = CASES[name]
    signature = inspect.signature(build)
    defaults = {
        key: signature.parameters[key].default for key in parameters if key in signature.parameters
    }
    build(
        **{
            key: np.float32(value) if isinstance(value, float) else np.int64(value)
            for key, value in defaults.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
    )
