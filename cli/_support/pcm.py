"""Raw samples through pipes: mono, 16-bit, signed, little-endian."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np

    from harmnmf.enhancement.streaming import EnhancementStream

_BYTES = 2  # per sample
_FULL_SCALE = 32768
# Maximum number of bytes to read at once: one second at 16 kHz.
_READ = 16_000 * _BYTES


def stream_pcm(stream: EnhancementStream, source: BinaryIO, sink: BinaryIO) -> None:
    """Enhance samples as they arrive; the output is aligned with the input and has its length."""
    import numpy as np

    n_skipped = stream.latency

    def write(samples: np.ndarray) -> None:
        nonlocal n_skipped
        first = min(n_skipped, len(samples))
        n_skipped -= first
        scaled = np.rint(samples[first:] * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1)
        sink.write(scaled.astype("<i2").tobytes())
        sink.flush()

    pending = b""
    while data := source.read1(_READ):  # type: ignore[attr-defined]
        pending += data
        n_whole = len(pending) // _BYTES * _BYTES
        samples = np.frombuffer(pending[:n_whole], "<i2") / np.float32(_FULL_SCALE)
        pending = pending[n_whole:]
        write(stream.process(samples))
    write(stream.flush())
