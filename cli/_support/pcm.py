"""Raw samples through pipes: mono, 16-bit, signed, little-endian."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, BinaryIO

from harmnmf.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

    from harmnmf.enhancement.streaming import EnhancementStream

_BYTES = 2  # per sample
_FULL_SCALE = 32768
# Maximum number of bytes to read at once: one second at 16 kHz.
_READ = 16_000 * _BYTES
# First bytes of files that are no raw samples.
_HEADERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3")


def stream_pcm(stream: EnhancementStream, source: BinaryIO, sink: BinaryIO) -> None:
    """Enhance samples as they arrive; the output is aligned with the input and has its length.

    Warns of what is left out or clipped. Raises AudioError if the input is an audio file or empty.
    """
    import numpy as np

    n_skipped = stream.latency
    n_read = n_clipped = 0

    def write(samples: np.ndarray) -> None:
        nonlocal n_skipped, n_clipped
        first = min(n_skipped, len(samples))
        n_skipped -= first
        scaled = np.rint(samples[first:] * _FULL_SCALE)
        # +1 is full scale, and no integer.
        n_clipped += int((np.abs(scaled) > _FULL_SCALE).sum())
        sink.write(scaled.clip(-_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes())
        sink.flush()

    pending = b""
    while data := source.read1(_READ):  # type: ignore[attr-defined]
        pending += data
        if n_read == 0 and pending.startswith(_HEADERS):
            raise AudioError(
                "--stdin: the input is an audio file, not raw samples; name it as AUDIO, or decode "
                "it with ffmpeg -i FILE -f s16le -ac 1 -ar 16000 -"
            )
        n_whole = len(pending) // _BYTES * _BYTES
        samples = np.frombuffer(pending[:n_whole], "<i2") / np.float32(_FULL_SCALE)
        pending = pending[n_whole:]
        n_read += len(samples)
        write(stream.process(samples))
    write(stream.flush())
    if n_read == 0:
        raise AudioError("--stdin: there are no samples in the input")
    if pending:
        warnings.warn(
            "the input ends within a sample of 16 bits: its last byte was left out", stacklevel=2
        )
    if n_clipped:
        warnings.warn(f"{n_clipped} samples beyond full scale were clipped", stacklevel=2)
