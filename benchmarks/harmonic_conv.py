"""Time and memory of harmonic convolutions compared with Conv2d and harmonic lowering.

::

    export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592
    export MALLOC_TOP_PAD_=268435456
    python -m benchmarks.harmonic_conv
    python -m benchmarks.harmonic_conv --setting 1 --setting 1a --seconds 5
    python -m benchmarks.harmonic_conv --device cuda --seconds 0.5

The settings are those of H. Takeuchi et al., "Harmonic Lowering for accelerating harmonic
convolution for audio signals", Interspeech 2020: anchor n, S × S inputs, K × K kernels, 16 samples
of 16 channels to 32. Lowering stacks K resampled copies of the input as channels and convolves
them along time. On the logarithmic axis an octave has S / 4 bins.

Each system runs in both memory formats, and the faster counts. Memory is the peak of the process,
or of PyTorch on a GPU, above what it had before, arguments included. Cells
are forward / forward and backward; those of all systems but Conv2d are ratios to it.

glibc returns large blocks to the system and has new ones zeroed page by page, which costs up to as
much again as the convolution. With the variables above, it keeps them.
"""

from __future__ import annotations

import ctypes
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import torch
from torch.nn import functional

from harmnmf.enhancement import harmonic_conv2d, log_harmonic_conv2d
from harmnmf.enhancement.harmonic_conv.rows import Taps, read_positions

from .report import Table, benchmark

N_SAMPLES, N_IN, N_OUT = 16, 16, 32
FORMATS = (torch.contiguous_format, torch.channels_last)


class Setting(NamedTuple):
    """Anchor n, rows and frames S, and kernel size K in both directions."""

    anchor: int
    size: int
    kernel: int

    @property
    def bins_per_octave(self) -> float:
        """Bins of the logarithmic axis."""
        return self.size / 4


SETTINGS = {
    "1": Setting(1, 256, 7),
    "2": Setting(1, 256, 5),
    "3": Setting(1, 256, 3),
    "1a": Setting(7, 256, 7),
    "2a": Setting(5, 256, 5),
    "3a": Setting(3, 256, 3),
    "4": Setting(1, 512, 3),
    "5": Setting(1, 256, 3),
    "6": Setting(1, 128, 3),
    "7": Setting(1, 64, 3),
    "8": Setting(1, 32, 3),
    "9": Setting(1, 16, 3),
}

System = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def conv2d(setting: Setting, device: str) -> System:
    return partial(functional.conv2d, padding=setting.kernel // 2)


def ours(setting: Setting, device: str) -> System:
    return partial(harmonic_conv2d, padding=setting.kernel // 2, anchor=setting.anchor)


def ours_log(setting: Setting, device: str) -> System:
    return partial(
        log_harmonic_conv2d,
        padding=setting.kernel // 2,
        anchor=setting.anchor,
        out_log_scale=setting.bins_per_octave,
        radix=2.0,
    )


def lowering(setting: Setting, device: str, bins_per_octave: float | None = None) -> System:
    taps = Taps(setting.size, setting.kernel, setting.anchor, bins_per_octave=bins_per_octave)
    lower, fraction, valid = (torch.from_numpy(x).to(device) for x in read_positions(taps))
    columns = [
        (low.clamp(0, setting.size - 1), (low + 1).clamp(0, setting.size - 1), part, on)
        for low, part, on in zip(lower.T, fraction.T.float(), valid.T.float(), strict=True)
    ]

    def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        copies = [
            x[:, :, low] * ((1 - part) * on)[:, None] + x[:, :, high] * (part * on)[:, None]
            for low, high, part, on in columns
        ]
        kernel = weight.transpose(1, 2).flatten(1, 2)[:, :, None]
        return functional.conv2d(torch.cat(copies, 1), kernel, padding=(0, setting.kernel // 2))

    return convolve


def lowering_log(setting: Setting, device: str) -> System:
    return lowering(setting, device, setting.bins_per_octave)


SYSTEMS: dict[str, Callable[[Setting, str], System]] = {
    "Conv2d": conv2d,
    "**harmnmf**": ours,
    "lowering": lowering,
    "**harmnmf**, log": ours_log,
    "lowering, log": lowering_log,
}


def arguments(
    setting: Setting, memory_format: torch.memory_format, device: str
) -> list[torch.Tensor]:
    """Random input, weight and gradient with respect to the output."""
    shapes = [
        (N_SAMPLES, N_IN, setting.size, setting.size),
        (N_OUT, N_IN, setting.kernel, setting.kernel),
        (N_SAMPLES, N_OUT, setting.size, setting.size),
    ]
    generator = torch.Generator(device).manual_seed(0)
    x, weight, grad = (
        torch.randn(shape, generator=generator, device=device).to(memory_format=memory_format)
        for shape in shapes
    )
    return [x.requires_grad_(), weight.requires_grad_(), grad]


def forward(system: System, x: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> None:
    with torch.no_grad():
        system(x, weight)


def backward(system: System, x: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> None:
    torch.autograd.grad(system(x, weight), (x, weight), grad)


PASSES = (forward, backward)


def times(
    systems: dict[str, System], setting: Setting, seconds: float, device: str
) -> dict[str, list[float]]:
    """Shortest times in ms. Systems take turns, so that other load affects all equally."""
    runs = [
        (name, which, partial(PASSES[which], system, *arguments(setting, memory_format, device)))
        for memory_format in FORMATS
        for name, system in systems.items()
        for which in range(2)
    ]
    best = {name: [math.inf, math.inf] for name in systems}
    spent, rounds = 0.0, 0
    while rounds < 2 or spent < seconds * len(systems):
        for name, which, run in runs:
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize(device)
            elapsed = time.perf_counter() - start
            best[name][which] = min(best[name][which], elapsed)
            spent += elapsed
        rounds += 1
    return {name: [1000 * value for value in values] for name, values in best.items()}


def peak_memory(run: Callable[..., None], system: System, setting: Setting, device: str) -> float:
    """Peak memory of the process or on the GPU, above that before, in MB."""
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        run(system, *arguments(setting, torch.channels_last, device))
        return (torch.cuda.max_memory_allocated(device) - allocated) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    run(system, *arguments(setting, torch.channels_last, device))
    return resident("VmHWM") - before


def resident(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def compare(
    measured: dict[str, dict[str, list[float]]], labels: Sequence[str]
) -> Iterator[list[str]]:
    """Format for each setting the first system's values, and the others' ratios to them."""
    for name, values in measured.items():
        row = [name, *map(str, SETTINGS[name])]
        first = values[labels[0]]
        row.append(" / ".join(f"{value:.3g}" for value in first))
        for label in labels[1:]:
            pairs = zip(values.get(label, []), first, strict=False)
            row.append(" / ".join(f"{value / one:.2f}" for value, one in pairs))
        yield row


@benchmark(data=False)
@click.option(
    "--setting", "names", type=click.Choice(list(SETTINGS)), multiple=True, default=list(SETTINGS)
)
@click.option(
    "--without-lowering",
    type=click.Choice(list(SETTINGS)),
    multiple=True,
    help="Setting for which lowering takes too much memory.",
)
@click.option("--seconds", default=4.0, show_default=True, help="Seconds for each system.")
@click.option("--device", default="cpu", show_default=True)
def main(
    names: tuple[str, ...], without_lowering: tuple[str, ...], seconds: float, device: str
) -> Iterator[Table]:
    time_ms: dict[str, dict[str, list[float]]] = {}
    memory: dict[str, dict[str, list[float]]] = {}
    for name in names:
        setting = SETTINGS[name]
        systems = {
            label: make(setting, device)
            for label, make in SYSTEMS.items()
            if not (name in without_lowering and label.startswith("lowering"))
        }
        time_ms[name] = times(systems, setting, seconds, device)
        memory[name] = {
            label: [peak_memory(run, system, setting, device) for run in PASSES]
            for label, system in systems.items()
        }
    labels = list(SYSTEMS)
    for kind, unit, measured in (("time", "ms", time_ms), ("memory", "MB", memory)):
        columns = ["setting", "n", "S", "K", f"{labels[0]}, {unit}", *labels[1:]]
        title = f"{kind.capitalize()} compared with Conv2d"
        yield Table(f"harmonic_conv_{kind}", title, columns, compare(measured, labels))


if __name__ == "__main__":
    main()
