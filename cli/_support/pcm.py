"""Raw samples through pipes: mono, 16-bit, signed, little-endian."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np

    from harmnmf.enhancement.streaming import EnhancementStream


def stream_pcm(stream: EnhancementStream, source: BinaryIO, sink: BinaryIO) -> None:
    """Enhance samples as they arrive; the output is aligned with the input and has its length.

    Warns of what is left out or clipped. Raises AudioError if the input is an audio file or empty.
    """
    from harmnmf.signal.audio import SAMPLE_RATE
    from harmnmf.signal.pcm import PcmReader, to_pcm

    n_skipped = stream.latency
    n_clipped = 0

    def write(samples: np.ndarray) -> None:
        nonlocal n_skipped, n_clipped
        first = min(n_skipped, len(samples))
        n_skipped -= first
        data, n_beyond = to_pcm(samples[first:])
        n_clipped += n_beyond
        sink.write(data.tobytes())
        sink.flush()

    reader = PcmReader(source, SAMPLE_RATE, 1, "--stdin")
    while (samples := reader.read(SAMPLE_RATE)) is not None:
        write(stream.process(samples[0]))
    write(stream.flush())
    if n_clipped:
        warnings.warn(f"{n_clipped} samples beyond full scale were clipped", stacklevel=2)
