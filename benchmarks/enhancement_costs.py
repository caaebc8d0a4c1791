"""What enhancing a second of audio costs, and what a network is made of."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

SAMPLE_RATE = 16_000
# Seconds of noise: what happens once, and beyond both ends, must not count.
TIMED = COUNTED = 10
REMEMBERED = 60
N_TIMES = 3

Enhance = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def noise(seconds: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, seconds * SAMPLE_RATE).astype(np.float32)


def n_parameters(model: nn.Module) -> int:
    """Count what is learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_accumulates(model: nn.Module) -> float:
    """Count the multiplications of a network with additions, for a second of audio.

    They are those of convolutions, products of matrices, attention and recurrent layers, without
    the Fourier transforms and what is done to each element by itself.

    Parameters
    ----------
    model : torch.nn.Module
        A network of complex spectrograms.

    Returns
    -------
    float
        Half the floating-point operations that PyTorch counts, but for recurrent layers, which it
        counts or not, as their implementation has it: those are counted here, from their sizes.
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
    """Take the time of enhancing, over that of the audio: the best of three."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    samples = noise(TIMED)
    enhance(samples)
    seconds = []
    for _ in range(N_TIMES):
        start = time.perf_counter()
        enhance(samples)
        seconds.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return min(seconds) / TIMED


def peak_memory(load: Callable[[str], Enhance], name: str) -> float:
    """Find how much memory a process takes that enhances a minute, in GB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_enhance_a_minute, load, name).result()


def _enhance_a_minute(load: Callable[[str], Enhance], name: str) -> float:
    torch.set_num_threads(1)
    load(name)(noise(REMEMBERED))
    # What getrusage tells includes the process that this one was made by.
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) / 2**20
