"""A small dictionary and small causal networks for streams, and music for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harmnmf import TimbreDictionary, harmonic_templates
from harmnmf.decoder.causal_network import CausalNetwork, CausalNetworkConfig
from harmnmf.decoder.features import FeatureSettings, NoteFeatures, SlidingWindow
from harmnmf.decoder.stream_analysis import measure_stream
from harmnmf.signal.spectrogram import LowLatency

PITCHES = tuple(range(50, 74))
_BINS: dict[str, Any] = {
    "n_fft": 2048, "bins_per_octave": 24, "n_bins": 120, "fmin": 110.0, "max_delay": 0.03,
}  # fmt: skip
SETTINGS = FeatureSettings(
    front_end=LowLatency(**_BINS, n_cycles=30.0, min_window=0.03, max_window=0.12),
    onset_front_end=LowLatency(**_BINS, n_cycles=12.0, min_window=0.02, max_window=0.06),
    pitches=PITCHES,
    n_attack=3,
    n_iter=2,
    sliding=SlidingWindow(n_frames=6, n_step=2, ages=(0, 4)),
)
CONFIG = CausalNetworkConfig(
    n_channels=4, n_partials=3, time_dilations=(1, 2, 4), key_dilations=(12, 1, 7),
    centred_up_to=2, delays=(0, 3, 5, 9),
)  # fmt: skip


def dictionary() -> TimbreDictionary:
    """Harmonic spectra that become darker from the attack to the decay."""
    front_end = SETTINGS.front_end
    partials = harmonic_templates(
        front_end.axis,
        PITCHES,
        window_durations=front_end.window_durations,
        n_templates=1,
        n_partials=8,
    )[:, :, 0]
    tilt = front_end.axis.frequencies[:, None, None] / 440
    W = partials[:, :, None] * tilt ** -np.array([0.0, 0.3, 0.6, 1.0, 1.5])
    W /= W.sum(axis=0)
    return TimbreDictionary(W, np.array(PITCHES), front_end, n_attack=3, attack_lead=0.02)


def network(config: CausalNetworkConfig = CONFIG, seed: int = 0) -> CausalNetwork:
    """A network with random weights and normalisations, whose probabilities are around a half."""
    torch.manual_seed(seed)
    made = CausalNetwork(config, {"name": "small"}, SETTINGS)
    with torch.no_grad():
        for name, x in made.named_buffers():
            if name.endswith("running_mean"):
                x.normal_(0, 0.1)
            elif name.endswith("running_var"):
                x.uniform_(0.5, 2.0)
        # Over random music, logits have a mean of 0 and a deviation of 2.
        made.eval()
        features = measure_stream(music(1.0), dictionary(), SETTINGS)
        inputs = [x[None] for x in SETTINGS.tensors(features)]
        for layer in ("notes", "pedal"):
            for head, logits in zip(made.heads, made(*inputs), strict=True):
                values = torch.stack(logits[:4]) if layer == "notes" else logits.pedal
                out = getattr(head, layer)
                scale = 2 / values.flatten(1).std(dim=1)
                mean = values.flatten(1).mean(dim=1)
                out.bias.copy_((out.bias - mean) * scale)
                out.weight.mul_(scale.view(-1, *[1] * (out.weight.ndim - 1)))
    return made


def random_features(n_frames: int, seed: int = 0) -> NoteFeatures:
    rng = np.random.default_rng(seed)
    shapes = (120, n_frames), (120, n_frames), (len(PITCHES), SETTINGS.n_inputs, n_frames)
    return NoteFeatures(*(rng.integers(0, 200, shape, np.uint8) for shape in shapes))


def music(duration: float, rate: int = 16000, tuning: float = 0.0, seed: int = 0) -> Any:
    """Decaying harmonic tones of random keys, one after the other, (n_samples,)."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(round(duration * rate))
    for start in np.arange(0.1, duration - 0.2, 0.15):
        f0 = 440 * 2 ** ((rng.choice(PITCHES) - 69 + tuning) / 12)
        t = np.arange(len(samples) - round(start * rate)) / rate
        tone = sum(np.sin(2 * np.pi * h * f0 * t) / h for h in range(1, 7) if h * f0 < 7000)
        samples[-len(t) :] += rng.uniform(0.05, 0.2) * np.exp(-5 * t) * tone
    return samples.astype(np.float32)
