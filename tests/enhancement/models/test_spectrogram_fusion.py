"""Spectrogram fusion: its attention by plain formulas, its stages, its phase, what it learns."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from harmnmf import ParameterError
from harmnmf.enhancement import si_sdr
from harmnmf.enhancement.losses.fusion import multi_target_loss, tend_loss
from harmnmf.enhancement.models.registry import build_model, load_model, save_model
from harmnmf.enhancement.models.spectrogram_fusion import (
    ATTENTIONS,
    SpectrogramFusion,
    SpectrogramFusionConfig,
)
from harmnmf.enhancement.transform import Waveform

OUTPUTS = ["fusion", "mapping", "masking"]
N_BINS = 257


def small_model(attention: str = "all-info", **config: float) -> SpectrogramFusion:
    torch.manual_seed(0)
    sizes = {"lstm_size": 8, "n_lstm_layers": 1, "hidden_size": 12, "n_heads": 3, **config}
    return SpectrogramFusion(SpectrogramFusionConfig(attention, **sizes)).eval()


def random_spectrum(n_batch: int = 2, n_samples: int = 2000, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    samples = 0.1 * torch.randn(n_batch, n_samples, generator=generator)
    return small_model().transform.analyze(samples)


def dense(layer, x):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def dense_attention(attention, query, source):
    """One frame of one head at a time."""
    n_frames, size = query.shape
    n_heads = attention.n_heads
    d = size // n_heads
    Q, K, V = (
        dense(attention.query, query), dense(attention.key, source), dense(attention.value, source)
    )  # fmt: skip
    result = np.zeros((n_frames, size))
    for h in range(n_heads):
        part = slice(h * d, (h + 1) * d)
        slope = 2.0 ** (-8 * (h + 1) / n_heads)
        for t in range(n_frames):
            weights = np.array(
                [
                    np.exp(Q[t, part] @ K[s, part] / np.sqrt(d) - slope * abs(t - s))
                    for s in range(n_frames)
                ]
            )
            result[t, part] = weights / weights.sum() @ V[:, part]
    return dense(attention.output, result)


def dense_branch(branch, query, source=None):
    Q = np.maximum(dense(branch.query_layer, np.concatenate(query, axis=1)), 0)
    S = Q
    if source is not None:
        S = np.maximum(dense(branch.source_layer, np.concatenate(source, axis=1)), 0)
    y = Q + dense_attention(branch.attention, Q, S)
    return (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)


def dense_features(branches, attention, mixture, mapped, masked):
    if attention == "all-info":
        return dense_branch(branches[0], [mixture, mapped, masked])
    if attention == "separate-info":
        return dense_branch(branches[0], [mixture], [mapped, masked])
    if attention == "no-encoder-info":
        first = dense_branch(branches[0], [mixture, mapped])
        second = dense_branch(branches[1], [mixture, masked])
    else:
        first = dense_branch(branches[0], [mixture])
        second = dense_branch(branches[1], [mapped, masked])
    return np.concatenate([first, second], axis=1)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_second_stage_is_its_formula(attention):
    model = small_model(attention)
    x = np.random.default_rng(0).random((3, 2, 7, N_BINS))  # inputs, batch, frames, bins
    with torch.no_grad():
        found = model.second(*(torch.from_numpy(part).float() for part in x))
    for i in range(2):
        features = dense_features(list(model.second.branches), attention, *x[:, i])
        first, second = np.split(np.exp(dense(model.second.masks, features)), 2, axis=1)
        mapped = np.log1p(np.exp(dense(model.second.heads.mapping, features)))
        mask = 1 / (1 + np.exp(-dense(model.second.heads.masking, features)))
        expected = (first / (first + second), second / (first + second), mapped, mask * x[0, i])
        for y, y_dense in zip(found, expected, strict=True):
            np.testing.assert_allclose(y[i], y_dense, atol=1e-5)


def test_first_stage_maps_and_masks_what_the_recurrent_layers_say():
    model = small_model()
    mixture = torch.rand(1, 9, N_BINS)
    with torch.no_grad():
        mapped, masked = model.first(mixture)
        features = model.first.lstm(mixture)[0][0].double().numpy()
    heads = model.first.heads
    np.testing.assert_allclose(
        mapped[0], np.log1p(np.exp(dense(heads.mapping, features))), atol=1e-5
    )
    mask = 1 / (1 + np.exp(-dense(heads.masking, features)))
    np.testing.assert_allclose(masked[0], mask * mixture[0].numpy(), atol=1e-5)


def test_only_magnitudes_count():
    model, spectrum = small_model(), random_spectrum()
    turned = spectrum * torch.polar(torch.ones(N_BINS, 9), torch.randn(N_BINS, 9))
    torch.testing.assert_close(model.estimate(turned), model.estimate(spectrum))


def test_first_stage_sees_past_and_future():
    model = small_model()
    mixture = torch.rand(1, 9, N_BINS)
    changed = mixture.clone()
    changed[:, 4] += 1
    for x, y in zip(model.first(mixture), model.first(changed), strict=True):
        assert (x != y).any(dim=2).all()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_masks_share_every_bin(attention):
    spectrum = random_spectrum()
    outputs = small_model(attention).estimate(spectrum)
    for mask in (outputs.mask_mapped, outputs.mask_masked):
        assert mask.shape == spectrum.shape
        assert ((mask > 0) & (mask < 1)).all()
    torch.testing.assert_close(outputs.mask_mapped + outputs.mask_masked, torch.ones(2, N_BINS, 9))
    # So that the fusion lies between both estimates.
    low = torch.minimum(outputs.mapped, outputs.masked)
    high = torch.maximum(outputs.mapped, outputs.masked)
    assert ((outputs.fused >= low - 1e-6) & (outputs.fused <= high + 1e-6)).all()
    torch.testing.assert_close(outputs.linear, (low + high) / 2)


def reanalyzed(linear: np.ndarray) -> np.ndarray:
    """Go from a spectrum, (n_bins, n_frames), to samples and back, frame by frame."""
    n_frames = linear.shape[1]
    window = np.sin(np.pi * np.arange(512) / 512)
    samples = np.zeros(512 + 256 * (n_frames - 1))
    for n in range(n_frames):
        samples[256 * n : 256 * n + 512] += window * np.fft.irfft(linear[:, n])
    samples[:256] = samples[-256:] = 0  # what lies beyond the first and the last frame's centre
    frames = [window * samples[256 * n : 256 * n + 512] for n in range(n_frames)]
    return np.fft.rfft(frames).T


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0])
def test_fusion_has_the_phase_of_the_linear_fusion_analysed_again(power):
    model, spectrum = small_model(power=power), random_spectrum(1)
    with torch.no_grad():
        estimate = model(spectrum)[0].numpy()
        outputs = model.estimate(spectrum)
    X = spectrum[0].to(torch.complex128).numpy()
    level = np.sqrt((np.abs(X) ** 2).mean())
    linear = (outputs.mapped + outputs.masked)[0].double().numpy() / 2
    again = reanalyzed(level * linear ** (1 / power) * np.exp(1j * np.angle(X)))
    fused = level * outputs.fused[0].double().numpy() ** (1 / power)
    np.testing.assert_allclose(np.abs(estimate), fused, rtol=1e-3)
    # Where there is hardly anything, rounding decides on the phase.
    clear = np.abs(again) > 1e-3 * np.abs(again).max()
    assert clear.mean() > 0.9
    np.testing.assert_allclose(np.angle(estimate[clear] / again[clear]), 0, atol=1e-3)
    # It is another phase than the mixture's.
    assert np.abs(np.angle(estimate / X)).mean() > 0.05


def test_single_stages_have_the_phase_of_the_mixture():
    model, spectrum = small_model(), random_spectrum()
    outputs = model.estimate(spectrum)
    phase = torch.polar(torch.ones(spectrum.shape), spectrum.angle())
    for output, estimate in (("mapping", outputs.mapped), ("masking", outputs.masked)):
        expected = outputs.level * estimate.square() * phase
        torch.testing.assert_close(model(spectrum, output), expected, rtol=1e-4, atol=1e-5)
    assert (model(spectrum, "masking").abs() <= spectrum.abs()).all()
    with pytest.raises(ParameterError, match="fusion, mapping, masking, not 'both'"):
        model(spectrum, "both")


def test_compressed_magnitudes_are_relative_to_the_level():
    model, spectrum = small_model(power=0.3), random_spectrum(1)
    level = model.estimate(spectrum).level
    np.testing.assert_allclose(level, np.sqrt(np.mean(np.abs(spectrum.numpy()) ** 2)), rtol=1e-5)
    compressed = model.compress(spectrum, level)
    np.testing.assert_allclose(compressed, np.abs((spectrum / level).numpy()) ** 0.3, rtol=1e-4)
    torch.testing.assert_close(model.expand(compressed, level), spectrum.abs())


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("gain", [1e-4, -1.0, 100.0])
def test_level_does_not_matter(output, gain):
    model, spectrum = small_model(), random_spectrum()
    torch.testing.assert_close(
        model(gain * spectrum, output) / gain, model(spectrum, output), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_items_of_a_batch_do_not_matter_to_each_other(attention):
    model, spectrum = small_model(attention), random_spectrum(3)
    spectrum[1] = 0
    together = model(spectrum)
    for i in range(3):
        torch.testing.assert_close(together[i], model(spectrum[i : i + 1])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("n_samples", [1, 255, 256, 257, 1001])
def test_any_length_is_kept(output, n_samples):
    model = small_model()
    samples = torch.randn(2, n_samples)
    spectrum = model.transform.analyze(samples)
    estimate = model(spectrum, output)
    assert estimate.shape == spectrum.shape
    assert estimate.dtype == torch.complex64
    assert torch.isfinite(torch.view_as_real(estimate)).all()
    assert Waveform(model)(samples).shape == samples.shape


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("n_samples", [1, 1000])
def test_silence_stays_silent(output, n_samples):
    model = small_model()
    spectrum = model.transform.analyze(torch.zeros(1, n_samples))
    assert (model(spectrum, output) == 0).all()


@pytest.mark.parametrize("tiny", [0.0, 1e-30, 1e-12])
def test_training_survives_silence(tiny):
    model = small_model()
    spectrum = tiny * random_spectrum()
    outputs = model.estimate(spectrum)
    clean = model.compress(spectrum / 2, outputs.level)
    loss = multi_target_loss(outputs, clean) + tend_loss(outputs, clean)
    (loss + model(spectrum).abs().sum()).backward()
    assert all(torch.isfinite(weights.grad).all() for weights in model.parameters())


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_file_keeps_model(attention, tmp_path):
    sizes = json.loads(json.dumps(asdict(small_model(attention).config)))
    model = build_model("spectrogram-fusion", **sizes)
    save_model(tmp_path / "model.npz", "spectrogram-fusion", model, {})
    loaded, _ = load_model(tmp_path / "model.npz")
    spectrum = random_spectrum()
    torch.testing.assert_close(loaded(spectrum), model(spectrum), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"attention": "both"}, "all-info, separate-info, no-encoder-info, dual, not 'both'"),
        ({"lstm_size": 0}, "lstm_size must be at least 1"),
        ({"n_lstm_layers": 0}, "n_lstm_layers must be at least 1"),
        ({"hidden_size": -4}, "hidden_size must be at least 1"),
        ({"n_heads": 0}, "n_heads must be at least 1"),
        ({"hidden_size": 10}, "hidden_size must be a multiple of n_heads, 4, not 10"),
        ({"power": 0.0}, "power must be above 0"),
        ({"power": 1.5}, "at most 1, not 1.5"),
    ],
)
def test_invalid_configurations_are_refused(config, message):
    with pytest.raises(ParameterError, match=message):
        SpectrogramFusionConfig(**config)


def song(seed: int, n_samples: int = 16000) -> tuple[np.ndarray, np.ndarray]:
    """Sing syllables that glide, over a chord and drums as loud as they."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / 16000
    f0 = rng.uniform(250, 400) * 2 ** (0.3 * np.sin(2 * np.pi * rng.uniform(1, 2) * t))
    phase = 2 * np.pi * np.cumsum(f0) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 9))
    voice *= np.clip(2 * np.sin(2 * np.pi * rng.uniform(2, 3) * t), 0, 1)
    chord = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(60, 200, 3))
    drums = rng.normal(size=n_samples) * np.exp(-40 * (t % 0.25))
    music = chord + drums
    return voice / np.std(voice), music / np.std(music)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_four_songs_are_learned_by_heart(attention):
    songs = torch.tensor(np.array([song(seed) for seed in range(4)]), dtype=torch.float32)
    voices, music = songs.unbind(1)
    mixtures = voices + 2 * music
    torch.manual_seed(0)
    model = build_model("spectrogram-fusion", attention=attention).train()
    mixture, voice = model.transform.analyze(mixtures), model.transform.analyze(voices)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(150):
        outputs = model.estimate(mixture)
        clean = model.compress(voice, outputs.level)
        loss = multi_target_loss(outputs, clean) + tend_loss(outputs, clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        estimates = Waveform(model.eval())(mixtures)
    for reference, noisy, estimate in zip(voices, mixtures, estimates, strict=True):
        assert si_sdr(reference, estimate) - si_sdr(reference, noisy) > 15
