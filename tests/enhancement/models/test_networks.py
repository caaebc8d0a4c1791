"""Tests of all networks, each in its main configurations."""

from __future__ import annotations

import math

import pytest
import torch
from small_networks import SMALL, build, randomized, spectra

from harmnmf import FormatError, ParameterError
from harmnmf.enhancement.losses.objectives import build_objective
from harmnmf.enhancement.losses.speech import negative_si_snr
from harmnmf.enhancement.models.registry import MODELS, build_model, load_model, save_model
from harmnmf.enhancement.models.spectrogram_fusion import ATTENTIONS
from harmnmf.enhancement.models.spectrum_attention_fusion import NORMALIZATIONS
from harmnmf.enhancement.transform import Waveform
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.storage.arrays import load_arrays, save_arrays

NETWORKS = [
    ("harmonic-light", {}),
    ("harmonic-light", {"n_candidates": 0}),
    ("harmonic-attention", {"temporal": "dprnn", "causal": True}),
    ("harmonic-attention", {"temporal": "dprnn", "causal": False}),
    ("harmonic-attention", {"temporal": "attention", "causal": True}),
    ("harmonic-attention", {"temporal": "attention", "causal": False}),
    ("harmonic-refinement", {}),
    *(("spectrum-attention-fusion", {"normalization": kind}) for kind in NORMALIZATIONS),
    ("spectrum-attention-fusion", {"phase_input": False, "bias_decoder": False}),
    *(("spectrogram-fusion", {"attention": attention}) for attention in ATTENTIONS),
]
every_network = pytest.mark.parametrize(("name", "config"), NETWORKS, ids=str)


def test_every_model_is_tested() -> None:
    assert set(SMALL) == {name for name, _ in NETWORKS} == set(MODELS)


@every_network
@torch.no_grad()
def test_any_number_of_samples(name, config) -> None:
    network = Waveform(build(name, **config))
    for n_samples in (1, 256, 1001):
        estimate = network(torch.randn(2, n_samples))
        assert estimate.shape == (2, n_samples)
        assert torch.isfinite(estimate).all()


@every_network
@torch.no_grad()
def test_items_of_a_batch_are_independent(name, config) -> None:
    model = build(name, **config)
    spectrum = spectra(n_batch=3, n_bins=model.transform.n_bins)
    spectrum[1] = 0
    together = model(spectrum)
    assert not together[1].any()
    for i in range(3):
        torch.testing.assert_close(together[i], model(spectrum[i : i + 1])[0], rtol=1e-4, atol=1e-5)


@every_network
def test_every_parameter_learns(name, config) -> None:
    objective = build_objective(randomized(build(name, **config), std=0.2).train())
    terms = objective(*(0.1 * torch.randn(2, 2, 2000)))
    assert set(terms) == set(objective.weights)
    sum(terms.values()).backward()
    for parameter_name, parameter in objective.waveform.model.named_parameters():
        if parameter_name.startswith("light."):  # the fixed part of a refinement
            assert parameter.grad is None, parameter_name
            continue
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        # A constant that is added to all keys changes no attention.
        assert parameter.grad.any() or parameter_name.endswith("key.bias"), parameter_name


@every_network
def test_silence_has_finite_gradients(name, config) -> None:
    objective = build_objective(build(name, **config).train())
    sounds = 0.1 * torch.randn(2, 2, 2000)
    sounds[:, 0] = 0
    sounds[:, 1, 500:1500] = 0
    sum(objective(*sounds).values()).backward()
    for parameter in objective.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize(("name", "config"), [*NETWORKS[:6], ("spectrogram-fusion", {})], ids=str)
@torch.no_grad()
def test_which_frames_an_output_depends_on(name, config) -> None:
    model, spectrum = build(name, **config), spectra(6, seed=2)
    is_causal = name == "harmonic-light" or config.get("causal", False)
    for changed_frame in (0, 4):
        changed = spectrum.clone()
        changed[..., changed_frame] += 1
        difference = (model(spectrum) - model(changed)).abs().amax((0, 1))
        assert (difference[changed_frame:] > 1e-7).all()
        assert (difference[:changed_frame] < 1e-6).all() == (is_causal or changed_frame == 0)


@pytest.mark.parametrize(
    "name", ["harmonic-light", "harmonic-refinement", "spectrum-attention-fusion"]
)
@torch.no_grad()
def test_mixed_precision_is_close(name) -> None:
    model = build(name)
    spectrum = spectra(n_bins=model.transform.n_bins)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(spectrum)
    assert mixed.dtype == torch.complex64
    expected = model(spectrum)
    assert (mixed - expected).abs().square().sum() < 0.01 * expected.abs().square().sum()


@pytest.mark.parametrize("name", ["harmonic-attention", "harmonic-light"])
@torch.no_grad()
def test_combs_can_be_chosen(name) -> None:
    smooth, published = (build(name, comb=comb)(spectra()) for comb in ("smooth", "published"))
    assert not torch.allclose(smooth, published)


@every_network
@torch.no_grad()
def test_files_keep_networks(name, config, tmp_path) -> None:
    model = randomized(build(name, **config))
    save_model(tmp_path / "model", name, model, {"about": "a test"})
    loaded, metadata = load_model(tmp_path / "model")
    assert (loaded.config, metadata, loaded.training) == (model.config, {"about": "a test"}, False)
    spectrum = spectra(n_bins=model.transform.n_bins)
    assert torch.equal(loaded(spectrum), model(spectrum))


@pytest.mark.parametrize(
    "change",
    [
        {"model": "loud"},
        {"model": ["harmonic-light"]},
        {"kind": "dictionary"},
        {"config": "harmonic"},
        *(
            {"config": {**SMALL["harmonic-light"], **change}}
            for change in ({"n_cats": 3}, {"n_channels": 5}, {"n_blocks": 1}, {"comb": [1]})
        ),
    ],
    ids=str,
)
def test_files_of_other_networks_raise(tmp_path, change) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, "harmonic-light", build("harmonic-light"), {})
    arrays, metadata = load_arrays(path, kind="enhancement-model")
    save_arrays(path, arrays, metadata | change)
    with pytest.raises(FormatError, match=r"a\.safetensors"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("harmonic-light", {"n_channels": 0}, "n_channels must be an integer of at least 1, not 0"),
        ("harmonic-light", {"n_features": 30}, "n_features must be a multiple of n_heads, 4"),
        ("harmonic-light", {"n_candidates": -1}, "n_candidates must be an integer of at least 0"),
        ("harmonic-light", {"n_cats": 3}, "n_cats"),
        ("harmonic-attention", {"n_channels": ()}, "n_channels must be even and positive"),
        ("harmonic-attention", {"n_channels": (4, 5)}, "n_channels must be even"),
        ("harmonic-attention", {"temporal": "lstm"}, "one of dprnn, attention, not 'lstm'"),
        ("harmonic-attention", {"comb": "rounded"}, "one of smooth, published, not 'rounded'"),
        ("harmonic-refinement", {"n_channels": 30}, "n_channels must be a multiple of 4, not 30"),
        ("spectrum-attention-fusion", {"n_fft": 401}, "n_fft"),
        ("spectrum-attention-fusion", {"kernel_size": 10}, "kernel_size must be odd, not 10"),
        ("spectrum-attention-fusion", {"time_dilations": [1, 0]}, "time_dilations must be an int"),
        ("spectrogram-fusion", {"attention": "both"}, "all-info, separate-info, .* not 'both'"),
        ("spectrogram-fusion", {"power": 1.5}, "at most 1, not 1.5"),
        ("loud", {}, "no model 'loud'; choose one of harmonic-light"),
    ],
)  # fmt: skip
def test_invalid_configurations_raise(name, config, message) -> None:
    with pytest.raises(ParameterError, match=message):
        build_model(name, **config)


# The moving averages of batch normalisation take more than 20 steps to settle.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config"), [n for n in NETWORKS if n[1].get("normalization") != "batch"], ids=str
)
def test_networks_overfit_two_mixtures(name, config) -> None:
    model = build(name, **config)
    time = torch.arange(2000) / SAMPLE_RATE
    pitches = torch.tensor([[110.0], [200.0]])
    tones = sum(torch.sin(2 * math.pi * pitches * k * time) / k for k in range(1, 9))
    clean = (1 + 0.5 * torch.sin(pitches / 10 * time)) * tones
    noisy = clean + clean.std() * torch.randn(clean.shape)
    network, objective = Waveform(model.train()), build_objective(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        if name == "spectrogram-fusion":
            loss = sum(objective(noisy, clean).values())
        else:
            loss = negative_si_snr(network(noisy), clean).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        gain = negative_si_snr(noisy, clean) - negative_si_snr(network.eval()(noisy), clean)
    assert gain.min() > 5
