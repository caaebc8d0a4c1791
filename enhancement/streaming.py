"""Real-time enhancement: as many samples out as in, delayed by one frame."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from harmnmf.errors import ParameterError
from harmnmf.signal.audio import SAMPLE_RATE, Audio

from .attenuation import Attenuation
from .transform import ShortTimeFourier

__all__ = ["EnhancementStream", "StreamingModel"]


class StreamingModel(Protocol):
    """A causal network."""

    transform: ShortTimeFourier

    def step(
        self, spectrum: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Enhance the next frames, (batch, n_bins, n_frames); also return the next state."""


class EnhancementStream:
    """Enhance a mono signal at 16 kHz block by block.

    After the first `latency` samples, the output is that of
    :class:`harmnmf.enhancement.enhancer.Enhancer` for the whole signal as one segment, if it has no
    constant offset (DC), which needs the whole signal to be removed.

    Parameters
    ----------
    model : StreamingModel
        A causal network, such as ``harmonic-light``.
    attenuation : Attenuation, optional
        Dry/wet mix and attenuation limit; none by default.
    device : torch.device, optional
        Device of the network.

    Attributes
    ----------
    latency : int
        Delay of the output in samples; independent of the length of the blocks.

    Raises
    ------
    ParameterError
        If the network is not causal.

    Examples
    --------
    >>> from harmnmf.enhancement.models.registry import build_model
    >>> stream = EnhancementStream(build_model("harmonic-light").eval())
    >>> stream.latency / 16000
    0.0319375
    >>> noisy = np.random.default_rng(0).normal(0, 0.1, 1000)
    >>> [len(stream.process(noisy[i : i + 300])) for i in range(0, 1000, 300)]
    [300, 300, 300, 100]
    >>> len(stream.flush())
    511
    """

    def __init__(
        self,
        model: StreamingModel,
        attenuation: Attenuation | None = None,
        device: torch.device | None = None,
    ) -> None:
        if not hasattr(model, "step"):
            raise ParameterError(
                f"{type(model).__name__} is not causal and cannot stream; use a causal network such"
                " as harmonic-light"
            )
        self.model = model
        self.attenuation = attenuation or Attenuation()
        self.device = device or torch.device("cpu")
        self.transform = model.transform
        # The last sample of a block may be the first one of a frame.
        self.latency = self.transform.n_fft - 1
        self._reset()

    def _reset(self) -> None:
        n_fft = self.transform.n_fft
        self._state: torch.Tensor | None = None
        self._n_received = 0
        # The first frame is centred at the first sample.
        self._pending = torch.zeros(n_fft // 2)
        self._n_padding = n_fft // 2
        self._sum, self._weight = torch.zeros(n_fft), torch.zeros(n_fft)
        self._ready = torch.zeros(self.latency)

    def process(self, block: ArrayLike) -> NDArray[np.float32]:
        """Enhance the next samples.

        Parameters
        ----------
        block : array_like, shape (n_samples,)
            Real and finite, with full scale at ±1; of any length.

        Returns
        -------
        ndarray, shape (n_samples,)
            Enhanced samples; the first `latency` ones of the stream are zeros.

        Raises
        ------
        ParameterError
            If the block is not one-dimensional.
        AudioError
            If a sample is invalid.
        """
        samples = np.asarray(block)
        if samples.ndim != 1:
            raise ParameterError(f"a block must have shape (n_samples,), not {samples.shape}")
        if len(samples):
            self._enhance_frames(torch.from_numpy(Audio(samples, SAMPLE_RATE).samples.copy()))
        self._n_received += len(samples)
        return self._take(len(samples))

    def flush(self) -> NDArray[np.float32]:
        """Return the last samples, shape (latency,), and reset the stream."""
        n_fft, hop = self.transform.n_fft, self.transform.hop_length
        self._enhance_frames(torch.zeros(-self._n_received % hop + n_fft // 2))
        self._output(self._sum, self._weight, self._pending)
        rest = self._take(self.latency)
        self._reset()
        return rest

    @torch.inference_mode()
    def _enhance_frames(self, samples: torch.Tensor) -> None:
        """Enhance the frames that these samples complete."""
        n_fft, hop, window = self.transform.n_fft, self.transform.hop_length, self.transform.window
        pending = torch.cat([self._pending, samples])
        n_frames = max(0, 1 + (len(pending) - n_fft) // hop)
        self._pending = pending[n_frames * hop :]
        if not n_frames:
            return
        frames = pending.unfold(0, n_fft, hop)
        spectrum = torch.fft.rfft(frames * window).mT.to(self.device)
        estimate, self._state = self.model.step(spectrum[None], self._state)
        limited = self.attenuation.limit_bins(estimate[0], spectrum)
        enhanced = torch.fft.irfft(limited.mT).cpu() * window
        for frame, noisy in zip(enhanced, frames, strict=True):
            self._sum += frame
            self._weight += window.square()
            # No later frame overlaps with the first hop.
            self._output(self._sum[:hop], self._weight[:hop], noisy[:hop])
            self._sum, self._weight = (
                functional.pad(x[hop:], (0, hop)) for x in (self._sum, self._weight)
            )

    def _output(self, total: torch.Tensor, weight: torch.Tensor, noisy: torch.Tensor) -> None:
        """Queue overlap-added samples, without the padding before the first sample."""
        n_samples = min(len(total), len(noisy))
        first = min(self._n_padding, n_samples)
        self._n_padding -= first
        enhanced = total[first:n_samples] / weight[first:n_samples]
        mixed = self.attenuation.mix(enhanced, noisy[first:n_samples])
        self._ready = torch.cat([self._ready, mixed])

    def _take(self, n_samples: int) -> NDArray[np.float32]:
        taken, self._ready = self._ready[:n_samples], self._ready[n_samples:]
        result: NDArray[np.float32] = taken.numpy()
        return result
