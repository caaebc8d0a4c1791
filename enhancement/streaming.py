"""Enhancement while it is being recorded: as many samples out as in, a frame later."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from harmnmf.errors import ParameterError
from harmnmf.signal.audio import SAMPLE_RATE, Audio

from .attenuation import Remainder
from .transform import ShortTimeFourier

__all__ = ["EnhancementStream", "StreamingModel"]


class StreamingModel(Protocol):
    """A network that needs nothing but the past."""

    transform: ShortTimeFourier

    def step(
        self, spectrum: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Enhance the next frames, (batch, n_bins, n_frames), and give what the ones after need."""


class EnhancementStream:
    """Enhance a mono signal of 16 kHz block by block.

    Joined together and without the first `latency` samples, what comes out is what
    :class:`harmnmf.enhancement.enhancer.Enhancer` makes of the whole in one part.

    Parameters
    ----------
    model : StreamingModel
        A network that looks at nothing later, such as ``harmonic-light``.
    remainder : Remainder, optional
        What is kept of the noise.
    device : torch.device, optional
        Where the network is.

    Attributes
    ----------
    latency : int
        Samples by which the output is delayed: what a frame has to wait for, for blocks of any
        length.

    Raises
    ------
    ParameterError
        If the network cannot go on from where it was.

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
        remainder: Remainder | None = None,
        device: torch.device | None = None,
    ) -> None:
        if not hasattr(model, "step"):
            raise ParameterError(
                f"{type(model).__name__} needs what comes later and cannot stream; use a causal"
                " network such as harmonic-light"
            )
        self.model = model
        self.remainder = remainder or Remainder()
        self.device = device or torch.device("cpu")
        self.transform = model.transform
        # The last sample of a block may be the first one that a frame still waits for.
        self.latency = self.transform.n_fft - 1
        self._begin()

    def _begin(self) -> None:
        n_fft = self.transform.n_fft
        self._state: torch.Tensor | None = None
        self._n_heard = 0
        # The first frame is centred at the first sample.
        self._waiting = torch.zeros(n_fft // 2)
        self._n_before = n_fft // 2
        self._sum, self._weight = torch.zeros(n_fft), torch.zeros(n_fft)
        self._ready = torch.zeros(self.latency)

    def process(self, block: ArrayLike) -> NDArray[np.float32]:
        """Enhance the next samples.

        Parameters
        ----------
        block : array_like, shape (n_samples,)
            Real, finite, with full scale at ±1; any number of them.

        Returns
        -------
        ndarray
            As many samples; the first `latency` ones of all are zeros.

        Raises
        ------
        ParameterError
            If the block is not of that shape.
        AudioError
            If the samples are not as described.
        """
        samples = np.asarray(block)
        if samples.ndim != 1:
            raise ParameterError(f"a block must have shape (n_samples,), not {samples.shape}")
        if len(samples):
            self._hear(torch.from_numpy(Audio(samples, SAMPLE_RATE).samples.copy()))
        self._n_heard += len(samples)
        return self._take(len(samples))

    def flush(self) -> NDArray[np.float32]:
        """Give the last `latency` samples, and begin anew.

        Returns
        -------
        ndarray, shape (latency,)
            What was still to come.
        """
        n_fft, hop = self.transform.n_fft, self.transform.hop_length
        self._hear(torch.zeros(-self._n_heard % hop + n_fft // 2))
        self._emit(self._sum, self._weight, self._waiting)
        rest = self._take(self.latency)
        self._begin()
        return rest

    @torch.inference_mode()
    def _hear(self, samples: torch.Tensor) -> None:
        """Enhance all frames that are complete with these samples."""
        n_fft, hop = self.transform.n_fft, self.transform.hop_length
        waiting = torch.cat([self._waiting, samples])
        n_frames = max(0, 1 + (len(waiting) - n_fft) // hop)
        self._waiting = waiting[n_frames * hop :]
        if not n_frames:
            return
        window = self.transform.window
        frames = waiting.unfold(0, n_fft, hop)
        spectrum = torch.fft.rfft(frames * window).mT.to(self.device)
        estimate, self._state = self.model.step(spectrum[None], self._state)
        enhanced = (
            torch.fft.irfft(self.remainder.keep_in_spectrum(estimate[0], spectrum).mT).cpu()
            * window
        )
        for frame, noisy in zip(enhanced, frames, strict=True):
            self._sum += frame
            self._weight += window.square()
            # No later frame adds to these.
            self._emit(self._sum[:hop], self._weight[:hop], noisy[:hop])
            self._sum, self._weight = (
                functional.pad(x[hop:], (0, hop)) for x in (self._sum, self._weight)
            )

    def _emit(self, total: torch.Tensor, weight: torch.Tensor, noisy: torch.Tensor) -> None:
        """Queue samples, but for those before the first one."""
        n_samples = min(len(total), len(noisy))
        first = min(self._n_before, n_samples)
        self._n_before -= first
        enhanced = total[first:n_samples] / weight[first:n_samples]
        mixed = self.remainder.keep_in_samples(enhanced, noisy[first:n_samples])
        self._ready = torch.cat([self._ready, mixed])

    def _take(self, n_samples: int) -> NDArray[np.float32]:
        taken, self._ready = self._ready[:n_samples], self._ready[n_samples:]
        result: NDArray[np.float32] = taken.numpy()
        return result
