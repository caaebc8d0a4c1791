"""Encode audio with FFmpeg."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np


def encode(path, samples, rate, codec, container, *, layout=None, **options):
    """Write samples of shape (n_samples, n_channels) in any codec and container of FFmpeg."""
    n_channels = samples.shape[1]
    layout = layout or {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[n_channels]
    packed = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    with av.open(str(path), "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate, options={"strict": "experimental"})
        stream.layout = layout
        if not codec.startswith("libopencore"):
            stream.bit_rate = 64_000 * n_channels
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return path


def decode(path):
    """Decode a file with FFmpeg alone: samples of shape (n_samples, n_channels), and the rate."""
    with av.open(str(path), metadata_errors="replace") as file:
        stream = file.streams.best("audio")
        blocks = []
        resampler = av.AudioResampler(format="flt")
        for packet in file.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            blocks += [part.to_ndarray() for frame in frames for part in resampler.resample(frame)]
        samples = np.concatenate(blocks, axis=1)
        n_channels = stream.codec_context.layout.nb_channels
        return samples.reshape(-1, n_channels), stream.codec_context.sample_rate
