from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harmnmf import ParameterError
from harmnmf.enhancement.transform import ShortTimeFourier, Waveform, compress, compress_parts


@settings(deadline=None)
@given(
    n_samples=st.integers(1, 700),
    n_fft=st.sampled_from([8, 64, 400]),
    overlap=st.sampled_from([2, 4]),
    window_type=st.sampled_from(["sqrt_hann", "hann"]),
)
def test_synthesis_inverts_analysis(n_samples, n_fft, overlap, window_type):
    transform = ShortTimeFourier(n_fft, n_fft // overlap, window_type)
    samples = torch.randn(2, 3, n_samples, dtype=torch.float64)
    spectrum = transform.analyze(samples)
    n_frames = 1 + -(-n_samples // transform.hop_length)
    assert spectrum.shape == (2, 3, transform.n_bins, n_frames)
    torch.testing.assert_close(transform.synthesize(spectrum, n_samples), samples)


@pytest.mark.parametrize("window_type", ["sqrt_hann", "hann"])
def test_frames_equal_the_definition(window_type):
    transform = ShortTimeFourier(16, 4, window_type)
    samples = torch.randn(21, dtype=torch.float64)
    padded = np.pad(samples.numpy(), (8, 20))
    window = transform.window.numpy().astype(float)
    frames = [np.fft.rfft(window * padded[4 * t : 4 * t + 16]) for t in range(7)]
    np.testing.assert_allclose(transform.analyze(samples), np.stack(frames, axis=1), atol=1e-6)


def test_squared_windows_add_up_to_one():
    for n_fft, hop_length in ((512, 256), (512, 128), (400, 100)):
        squares = ShortTimeFourier(n_fft, hop_length).window.square()
        torch.testing.assert_close(squares.reshape(-1, hop_length).sum(0), torch.ones(hop_length))


@pytest.mark.parametrize(("n_fft", "hop_length"), [(0, 1), (7, 1), (512, 512), (512, 100), (8, 0)])
def test_invalid_sizes(n_fft, hop_length):
    with pytest.raises(ParameterError):
        ShortTimeFourier(n_fft, hop_length)


def test_waveforms_keep_their_shape():
    class Half(nn.Module):
        transform = ShortTimeFourier(64, 32)

        def forward(self, spectrum):
            assert spectrum.ndim == 3
            return spectrum / 2

    for shape in ((100,), (3, 100), (2, 2, 97)):
        samples = torch.randn(shape)
        torch.testing.assert_close(Waveform(Half())(samples), samples / 2)


def test_compression_of_magnitudes():
    spectrum = torch.randn(2, 5, 3, dtype=torch.complex128)
    compressed = compress(spectrum, 0.3)
    torch.testing.assert_close(compressed.abs(), spectrum.abs() ** 0.3)
    torch.testing.assert_close(compressed.angle(), spectrum.angle())
    parts = compress_parts(torch.stack([spectrum.real, spectrum.imag], dim=1), 0.3)
    torch.testing.assert_close(torch.complex(*parts.unbind(1)), compressed)


def test_compression_has_a_gradient_in_silence():
    spectrum = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    compress(spectrum).abs().sum().backward()
    assert torch.isfinite(torch.view_as_real(spectrum.grad)).all()


def test_training_after_inference():
    transform = ShortTimeFourier(48, 24)  # sizes of no other test: the window is cached
    with torch.inference_mode():
        transform.analyze(torch.randn(100))
    samples = torch.randn(100, requires_grad=True)
    transform.analyze(samples).abs().sum().backward()
    assert samples.grad is not None
