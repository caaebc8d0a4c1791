"""Raw samples through pipes, as programs for audio read and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np

    from harmnmf.enhancement.streaming import EnhancementStream

_BYTES = 2  # of a sample
_FULL_SCALE = 32768
# At most what is read at once: a second at 16 kHz.
_READ = 16_000 * _BYTES


def stream_pcm(stream: EnhancementStream, source: BinaryIO, sink: BinaryIO) -> None:
    """Enhance samples as they come: mono, 16 bits, signed, the lower byte first.

    Parameters
    ----------
    stream : EnhancementStream
        What enhances them.
    source, sink : binary file
        Where they come from until it ends, and where as many of them go, aligned with those that
        came, the latency of the stream later.
    """
    import numpy as np

    n_before = stream.latency

    def write(samples: np.ndarray) -> None:
        nonlocal n_before
        first = min(n_before, len(samples))
        n_before -= first
        scaled = np.rint(samples[first:] * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1)
        sink.write(scaled.astype("<i2").tobytes())
        sink.flush()

    waiting = b""
    while data := source.read1(_READ):  # type: ignore[attr-defined]
        waiting += data
        n_whole = len(waiting) // _BYTES * _BYTES
        samples = np.frombuffer(waiting[:n_whole], "<i2") / np.float32(_FULL_SCALE)
        waiting = waiting[n_whole:]
        write(stream.process(samples))
    write(stream.flush())
