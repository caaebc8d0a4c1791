"""Rates of a device: copies in its memory and products of matrices.

::

    python -m benchmarks.device_rates --device cuda

The ceilings to compare other times with: bytes read and written a second of a copy that exceeds the
caches, and operations a second of products of square matrices of random numbers, in single
precision, in single precision through tensor cores (TF32) and in bfloat16. Medians of ten runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import click
import numpy as np
import torch

from .report import Table, benchmark


def median_seconds(run: Callable[[], object], device: str) -> float:
    seconds = []
    for _ in range(13):
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[3:]))


@benchmark(data=False)
@click.option("--size", default=8192, show_default=True, help="Rows and columns of the matrices.")
@click.option("--device", default="cpu", show_default=True)
def main(size: int, device: str) -> Iterator[Table]:
    def rows() -> Iterator[list[str]]:
        source = torch.rand(8 * size, size, device=device)
        copy = torch.empty_like(source)
        seconds = median_seconds(lambda: copy.copy_(source), device)
        yield ["copy, GB/s", f"{2 * source.nbytes / seconds / 1e9:.0f}"]
        for name, dtype, is_fast in (
            ("float32", torch.float32, False),
            ("TF32", torch.float32, True),
            ("bfloat16", torch.bfloat16, False),
        ):
            a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
            torch.backends.cuda.matmul.allow_tf32 = is_fast
            seconds = median_seconds(lambda a=a, b=b: a @ b, device)
            yield [f"product in {name}, TFLOP/s", f"{2 * size**3 / seconds / 1e12:.3g}"]

    yield Table("device_rates", "Rates of the device", ["operation", "rate"], rows())


if __name__ == "__main__":
    main()
