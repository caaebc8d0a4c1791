"""Size, speed and memory of speech enhancement.

::

    pip install '.[bench]'
    python -m benchmarks.enhancement_costs

The real-time factor is the best of three with ten seconds of noise. The memory is the peak of a
process that enhances a minute, with Python and PyTorch. Multiply-accumulates are those of one
second of audio, without the Fourier transforms.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harmnmf.enhancement.enhancer import Enhancer

from .data import SAMPLE_RATE
from .enhancement import Enhance, available, load_system, model_option
from .report import Table, benchmark, decimals

# Seconds of noise, long enough that start-up and padding do not count.
TIMED = COUNTED = 10
REMEMBERED = 60
N_TIMES = 3


def noise(seconds: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, seconds * SAMPLE_RATE).astype(np.float32)


def n_parameters(model: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_accumulates(model: nn.Module) -> float:
    """Count the multiply-accumulates of a network of spectrograms for a second of audio.

    They are those of convolutions, matrix products, attention and recurrent layers. PyTorch counts
    recurrent layers or not, depending on their implementation: they are counted here.
    """
    n_recurrent = 0
    recurrent = {name: x for name, x in model.named_modules() if isinstance(x, nn.RNNBase)}

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        nonlocal n_recurrent
        n_steps = inputs[0].numel() // inputs[0].shape[-1]
        matrices = (x for name, x in layer.named_parameters() if name.startswith("weight"))
        n_recurrent += n_steps * sum(matrix.numel() for matrix in matrices)

    hooks = [layer.register_forward_hook(count) for layer in recurrent.values()]
    spectrum = model.transform.analyze(torch.from_numpy(noise(COUNTED))[None])  # type: ignore[operator]
    # Products of matrices instead of an attention that is not counted.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(spectrum)
    for hook in hooks:
        hook.remove()
    counts = counter.get_flop_counts()
    own = [counts.get(f"{type(model).__name__}.{name}", {}) for name in recurrent]
    n_operations = counter.get_total_flops() - sum(sum(found.values()) for found in own)
    return (n_operations / 2 + n_recurrent) / COUNTED


def real_time_factor(enhance: Enhance, n_threads: int) -> float:
    """Time of enhancing over the duration of the audio: the best of three."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    samples = noise(TIMED)
    enhance(samples)
    times = []
    for _ in range(N_TIMES):
        start = time.perf_counter()
        enhance(samples)
        times.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return min(times) / TIMED


def peak_memory(name: str) -> float:
    """Peak memory in GB of a process that enhances a minute."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_enhance_and_measure, name).result()


def _enhance_and_measure(name: str) -> float:
    torch.set_num_threads(1)
    load_system(name)(noise(REMEMBERED))
    # getrusage includes the process that started this one.
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) / 2**20


def cost_row(name: str) -> list[str]:
    """Measure the costs of a system."""
    system = load_system(name)
    enhancer = system.func if isinstance(system, partial) else None
    size = rate = ""
    if isinstance(enhancer, Enhancer):
        size = f"{n_parameters(enhancer.model) / 1e3:.1f} k"
        rate = f"{multiply_accumulates(enhancer.model) / 1e6:.0f} M"
    factors = decimals(real_time_factor(system, n_threads) for n_threads in (1, 2))
    return [name, size, rate, *factors, f"{peak_memory(name):.2f} GB"]


@benchmark(data=False, threads=1)
@model_option
def main(models: tuple[str, ...]) -> Iterator[Table]:
    columns = ["system", "parameters", "multiply-accumulates per second"]
    columns += ["real-time factor, 1 thread", "2 threads", "peak memory"]
    yield Table("enhancement_costs", "Costs", columns, map(cost_row, available(models)))


if __name__ == "__main__":
    main()
