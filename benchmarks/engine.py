"""Speed of the multiplicative solver compared with scikit-learn, torchnmf and sgemm.

::

    pip install '.[bench]'
    python -m benchmarks.engine --data PATH/TO/data
    python -m benchmarks.engine --data PATH/TO/data --frames 100000 --divergence KL --repeats 1

Factorises the same spectrogram of real piano recordings (2048-point frames every 10 ms) from the
same random start. scikit-learn runs for a number of iterations, and the others until they reach its
objective. Times are those of whole calls, without tolerances. "Of sgemm" is the rate of an
iteration's matrix products over the rate of the same products by themselves (8FKN operations, or
12FKN if β is not 1); "× ours" is time over that of harmnmf.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import librosa
import numpy as np
import torch
from sklearn.decomposition import NMF
from torchnmf.nmf import NMF as TorchNMF

from harmnmf import read_audio
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.loop import PERIOD
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, factorize

from .data import real_recordings
from .report import Table, benchmark

DIVERGENCES = {"KL": 1.0, "β = 0.5": 0.5, "IS": 0.0}

Factors = tuple[torch.Tensor, torch.Tensor]
System = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float, int], Factors]


def ours(V: torch.Tensor, W: torch.Tensor, H: torch.Tensor, beta: float, n_iter: int) -> Factors:
    options = MultiplicativeOptions(beta=beta, floor=0.0, max_iter=n_iter, tol=None)
    result = factorize(V, W, H, options)
    return result.W, result.H


def scikit_learn(
    V: torch.Tensor, W: torch.Tensor, H: torch.Tensor, beta: float, n_iter: int
) -> Factors:
    model = NMF(W.shape[1], init="custom", solver="mu", beta_loss=beta, tol=0, max_iter=n_iter)
    start = {"W": H.T.contiguous().numpy(), "H": W.T.contiguous().numpy()}
    Ht = model.fit_transform(V.T.numpy(), **start)
    return torch.from_numpy(model.components_.T), torch.from_numpy(Ht.T)


def torchnmf(
    V: torch.Tensor, W: torch.Tensor, H: torch.Tensor, beta: float, n_iter: int
) -> Factors:
    # It factorises V ≈ H Wᵀ with frames first.
    model = TorchNMF(W=W.clone(), H=H.T.contiguous()).to(V.device)
    model.fit(V.T.contiguous(), beta=beta, tol=0, max_iter=n_iter)
    return model.W.detach(), model.H.detach().T


def spectrogram(data: Path, n_frames: int) -> torch.Tensor:
    """Concatenated magnitudes of real recordings, shape (1025, n_frames)."""
    parts: list[np.ndarray] = []
    for path in real_recordings(data):
        if sum(part.shape[1] for part in parts) >= n_frames:
            break
        samples = read_audio(path, sample_rate=16000).samples
        parts.append(np.abs(librosa.stft(samples, n_fft=2048, hop_length=160)))
    V = torch.from_numpy(np.concatenate(parts, axis=1)[:, :n_frames]).contiguous()
    # IS is not defined for zeros: all systems get the same floor with the data.
    return V / V.max() + 1e-5


def timed(function: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def sgemm_rate(V: torch.Tensor, W: torch.Tensor, H: torch.Tensor) -> float:
    """Measure the rate of an iteration's matrix products, in operations per second."""
    X = torch.empty_like(V)

    def products() -> None:
        torch.mm(W, H, out=X)
        W.T @ X
        torch.mm(W, H, out=X)
        X @ H.T

    return 8 * V.numel() * W.shape[1] / min(timed(products, V.device) for _ in range(10))


def objective(V: torch.Tensor, factors: Factors, beta: float) -> float:
    W, H = (X.to(V.device) for X in factors)
    parts = torch.arange(V.shape[1]).split(4096)
    return sum(float(beta_divergence(V[:, n], W @ H[:, n], beta)) for n in parts)


def count(
    system: System,
    V: torch.Tensor,
    W: torch.Tensor,
    H: torch.Tensor,
    beta: float,
    target: float,
    n_max: int,
) -> tuple[int, float]:
    """Count the iterations after which the objective is no greater than the target, and time them.

    Without momentum, a run can be continued from its result: iterations are done ten at a time,
    and the last ten one by one.
    """
    n_iter, seconds, factors = 0, 0.0, (W, H)
    for chunk in (PERIOD, 1):
        while n_iter < 2 * n_max:
            start = time.perf_counter()
            result = system(V, *factors, beta, chunk)
            elapsed = time.perf_counter() - start
            if objective(V, result, beta) <= target:
                break
            factors, n_iter, seconds = result, n_iter + chunk, seconds + elapsed
    return n_iter + 1, seconds + elapsed


def count_ours(
    V: torch.Tensor, W: torch.Tensor, H: torch.Tensor, beta: float, target: float, n_max: int
) -> int:
    """Count our iterations up to the target, restarting for each number of them."""
    for n_iter in (n_max // 2, n_max):
        options = MultiplicativeOptions(beta=beta, floor=0.0, max_iter=n_iter, tol=0.0)
        record = factorize(V, W, H, options).objective
        if (record <= target).any():
            break
    high = PERIOD * int((record <= target).to(torch.int).argmax())
    low = high - PERIOD
    while high - low > 1:
        n_iter = (low + high) // 2
        if objective(V, ours(V, W, H, beta, n_iter), beta) <= target:
            high = n_iter
        else:
            low = n_iter
    return high


def race(
    V: torch.Tensor,
    W: torch.Tensor,
    H: torch.Tensor,
    beta: float,
    device: str,
    n: int,
    repeats: int,
) -> dict[System, tuple[int, float]]:
    """Count iterations and seconds that each system needs for the objective of scikit-learn's n."""
    there = [X.to(device) for X in (V, W, H)]
    start = time.perf_counter()
    factors = scikit_learn(V, W, H, beta, n)
    results: dict[System, tuple[int, float]] = {scikit_learn: (n, time.perf_counter() - start)}
    target = objective(V, factors, beta)
    results[torchnmf] = count(torchnmf, *there, beta, target, n)
    results[ours] = count_ours(*there, beta, target, n), float("inf")
    for repeat in range(repeats):
        for system, (n_iter, seconds) in results.items():
            if repeat > 0 or system is ours:
                arrays = [V, W, H] if system is scikit_learn else there
                run = timed(partial(system, *arrays, beta, n_iter), arrays[0].device)
                results[system] = n_iter, min(seconds, run)
    return results


@benchmark()
@click.option("--frames", "n_frames", default=3000, show_default=True)
@click.option(
    "--components", "ranks", default=(88, 352), show_default=True, multiple=True, type=int
)
@click.option(
    "--divergence",
    "divergences",
    default=tuple(DIVERGENCES),
    show_default=True,
    multiple=True,
    type=click.Choice(tuple(DIVERGENCES)),
)
@click.option("--iterations", default=200, show_default=True, help="Iterations of scikit-learn.")
@click.option("--repeats", default=3, show_default=True, help="Runs, of which the fastest counts.")
@click.option("--device", default="cpu", show_default=True)
def main(
    data: Path,
    n_frames: int,
    ranks: tuple[int, ...],
    divergences: tuple[str, ...],
    iterations: int,
    repeats: int,
    device: str,
) -> Iterator[Table]:
    warnings.filterwarnings("ignore", module="sklearn")
    V = spectrogram(data, n_frames)

    def rows() -> Iterator[list[str]]:
        generator = torch.Generator().manual_seed(0)
        for K in ranks:
            W = torch.rand(V.shape[0], K, generator=generator) + 0.01
            H = torch.rand(K, V.shape[1], generator=generator) + 0.01
            H *= V.sum() / (W @ H).sum()
            rate = sgemm_rate(*(X.to(device) for X in (V, W, H)))
            for name in divergences:
                results = race(V, W, H, DIVERGENCES[name], device, iterations, repeats)
                operations = (8 if name == "KL" else 12) * V.numel() * K
                row = [str(n_frames), str(K), name, f"{rate / 1e9:.0f}"]
                for system in (ours, torchnmf, scikit_learn):
                    n_iter, seconds = results[system]
                    share = operations * n_iter / seconds / rate
                    row += [str(n_iter), f"{seconds:.2f}", f"{share:.2f}"]
                    if system is not ours:
                        row.append(f"{seconds / results[ours][1]:.1f}")
                yield row

    columns = ["N", "K", "divergence", "sgemm, GFLOP/s", "**harmnmf**: iterations"]
    columns += ["s", "of sgemm", "torchnmf: iterations", "s", "of sgemm", "× ours"]
    columns += ["scikit-learn: iterations", "s", "of sgemm", "× ours"]
    name = "engine" if n_frames < 10_000 else "engine_long"
    yield Table(name, f"Time to the objective of scikit-learn, N = {n_frames}", columns, rows())


if __name__ == "__main__":
    main()
