"""Dictionaries learned from music and its score, with more or less harmonic constraints.

::

    python -m benchmarks.timbre_dictionary --data PATH/TO/data --figures docs

There is one spectrum per key. On each sampled piano, the piece with the most different keys is for
training, and the one with the fewest notes of other keys is held out. All dictionaries are learned
from the same magnitudes, with activations only where the score has notes, and judged by the same
divergence, β = 0.5 between magnitudes. Harmonicity is the share of a column's energy in the main
lobes of its key's partials. Errors are relative to those of the free dictionary; the held-out error
is that of activations restricted by the score, with the dictionary fixed. Frame F separates held
keys from others without the score, by the best threshold for each piece and dictionary. Frames with
keys that were not learned are left out.

Note F is that of dictionaries learned by :func:`harmnmf.learn_from_score` from the beginnings of
one piece of each piano, close to the default dictionary instead of to templates, on the recordings
in ``piano/real`` without adaptation or network.

Convergence compares gradient descent in decibels with multiplicative updates from the same start
with the same objective.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from harmnmf import (
    HarmonicNMF,
    TimbreDictionary,
    Transcriber,
    harmonic_templates,
    learn_from_score,
    read_audio,
    save_figure,
)
from harmnmf.dictionary.alignment import estimate_offset
from harmnmf.dictionary.from_score import timbre_roll
from harmnmf.nmf.solvers.decibel import DecibelOptions, factorize_decibel
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.loop import PERIOD
from harmnmf.nmf.solvers.multiplicative import (
    MultiplicativeOptions,
    estimate_activations,
    factorize,
    factorize_harmonic,
)
from harmnmf.nmf.templates import initial_weights
from harmnmf.plotting.axes import RANGE, decibels, label_hz, label_pitches
from harmnmf.signal.harmonics import PIANO_PITCHES
from harmnmf.signal.spectrogram import LogFrequency
from harmnmf.signal.tuning import estimate_tuning

from .data import PIANOS, notes_of, sampled_pianos
from .report import Table, benchmark, decimals
from .transcription import means, score_recordings

FRONT_END = LogFrequency()
PIANO = np.array(PIANO_PITCHES)
BETA = 0.5
FLOOR = 10 ** (-50 / 20)  # of HarmonicNMF, relative to the largest magnitude
# Standard deviations in dB, for two floors of the prior mean in dB below its maximum: the solver's
# default, and the floor of the data. In these dB, 10 log₁₀ of magnitudes, 25 are 50.
SWEEPS = {
    60.0: (math.inf, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.0),
    25.0: (30.0, 10.0, 3.0, 1.0, 0.3),
}
SIGMAS = SWEEPS[60.0]
N_ITER, N_EM = 100, 400
N_CONVERGENCE = 200
TRANSCRIBED = 30.0  # seconds of each recording that is transcribed or learned from for that
BEST = (10.0, 25.0)  # sigma and floor of the one to draw
FULL: dict[str, dict[str, Any]] = {
    "hard": {},
    "EM": {"solver": "bayesian", "algorithm": "em"},
    **{
        f"MAP, σ = {name}": {"solver": "decibel", "sigma": float(name.replace("∞", "inf"))}
        for name in ("∞", "30", "10", "3", "0.3")
    },
}

# Colours of Okabe and Ito, which the colour-blind can tell apart.
BLUE, VERMILION, GREEN, ORANGE, BLACK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#111111"


class Piece(NamedTuple):
    """Magnitudes (n_bins, n_frames), keys that may sound, keys that are held, and the tuning."""

    V: torch.Tensor
    roll: NDArray[np.bool_]
    held: NDArray[np.bool_]
    tuning: float


class Learned(NamedTuple):
    """Columns (n_bins, n_keys) of the keys that are played, and their activations."""

    W: torch.Tensor
    H: torch.Tensor


class Judged(NamedTuple):
    """Energy on partials of each key, divergences of both pieces, frame F of the held-out one."""

    harmonicity: NDArray[np.float64]
    error: float
    held_out: float
    frame_F: float


def choose_pieces(folder: Path, duration: float) -> tuple[Path, Path]:
    """Piece of a piano with the most different keys, and the one with the fewest other keys."""
    pitches = {path: notes_of(path, duration).pitch for path in sorted(folder.glob("*.ogg"))}
    learned = max(pitches, key=lambda path: len(set(pitches[path])))
    known = pitches.pop(learned)
    return learned, max(pitches, key=lambda path: float(np.isin(pitches[path], known).mean()))


def read_piece(path: Path, duration: float) -> Piece:
    samples = read_audio(path, sample_rate=FRONT_END.sample_rate, duration=duration).samples
    notes = notes_of(path, duration)
    notes = notes.shift(estimate_offset(samples, FRONT_END.sample_rate, notes)).without_overlaps()
    V = FRONT_END.transform(samples).values
    hop = FRONT_END.hop_length / FRONT_END.sample_rate
    roll = timbre_roll(notes, PIANO, V.shape[1], hop, n_attack=1).max(axis=1)
    held = np.zeros_like(roll)
    for pitch, (onset, offset) in zip(notes.pitch, notes.intervals, strict=True):
        held[pitch - PIANO[0], round(onset / hop) : round(offset / hop)] = True
    # Partials bias the estimate, those of the templates just as much.
    model = harmonic_templates(FRONT_END.axis, window_durations=FRONT_END.window_durations)
    W = np.einsum("fkm,mk->fk", model, initial_weights())
    recorded, expected = (estimate_tuning(values, FRONT_END.axis) for values in (V, W))
    tuning = 0.0 if recorded is None or expected is None else recorded - expected
    return frames_of(Piece(torch.from_numpy(V), roll, held, tuning), roll.any(axis=0))


def frames_of(piece: Piece, kept: ArrayLike) -> Piece:
    frames = np.flatnonzero(kept)
    return Piece(piece.V[:, frames], piece.roll[:, frames], piece.held[:, frames], piece.tuning)


def templates(piece: Piece, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    return harmonic_templates(
        FRONT_END.axis,
        PIANO[keys],
        window_durations=FRONT_END.window_durations,
        tuning=piece.tuning,
    )


def start(piece: Piece, keys: NDArray[np.int64]) -> torch.Tensor:
    """Activations at the level of their frames where the score has notes, 0 elsewhere."""
    return torch.from_numpy(piece.roll[keys]) * piece.V.sum(dim=0)


def learn_free(piece: Piece, keys: NDArray[np.int64], n_iter: int = N_ITER) -> Learned:
    V = piece.V
    floor = FLOOR * float(V.max())
    options = MultiplicativeOptions(beta=BETA, floor=floor, max_iter=n_iter, tol=None)
    result = factorize(V, torch.ones(len(V), len(keys)), start(piece, keys), options)
    return Learned(result.W, result.H)


def learn_harmonic(piece: Piece, keys: NDArray[np.int64], **options: Any) -> Learned:
    nmf = HarmonicNMF(
        templates(piece, keys),
        weights=initial_weights(PIANO[keys], tuning=piece.tuning),
        beta=BETA,
        **{"max_iter": N_ITER, "tol": None, "device": "cpu", **options},
    )
    H = nmf.fit_transform(piece.V.T.numpy(), activations=start(piece, keys).T.numpy())
    return Learned(torch.from_numpy(nmf.components_.T), torch.from_numpy(H.T))


def learn_nothing(piece: Piece, keys: NDArray[np.int64]) -> Learned:
    return learn_harmonic(piece, keys, max_iter=0)


def learn_map(piece: Piece, keys: NDArray[np.int64], sigma: float, dynamic_range: float) -> Learned:
    """Do as HarmonicNMF does, with another floor of the prior mean."""
    V, floor = piece.V, FLOOR * float(piece.V.max())
    P = torch.from_numpy(templates(piece, keys)).float()
    E = torch.from_numpy(initial_weights(PIANO[keys], tuning=piece.tuning)).float()
    options = MultiplicativeOptions(beta=BETA, floor=floor, max_iter=2, tol=None)
    begun = factorize_harmonic(V, P, E, start(piece, keys), options)
    result = factorize_decibel(
        V,
        P,
        begun.E[..., None],
        begun.H[:, None],
        DecibelOptions(
            sigma=sigma,
            beta=BETA,
            floor=floor,
            dynamic_range=dynamic_range,
            optimizer="adam",
            max_iter=N_ITER,
            tol=None,
        ),
    )
    return Learned(result.W[..., 0], result.H[:, 0])


def map_name(sigma: float, dynamic_range: float = 60.0) -> str:
    return f"MAP, σ = {sigma_name(sigma)}, down to −{dynamic_range:g}"


def sigma_name(sigma: float) -> str:
    return f"{sigma:g}".replace("inf", "∞")


LEARNERS: dict[str, Callable[[Piece, NDArray[np.int64]], Learned]] = {
    "templates as they start": learn_nothing,
    "free, from a flat start": learn_free,
    "hard": learn_harmonic,
    f"EM, {N_ITER} iterations": partial(learn_harmonic, solver="bayesian", algorithm="em"),
    f"EM, {N_EM} iterations": partial(
        learn_harmonic, solver="bayesian", algorithm="em", max_iter=N_EM
    ),
    "IS, multiplicative": partial(learn_harmonic, solver="bayesian"),
}
LEARNERS |= {
    map_name(sigma, depth): partial(learn_map, sigma=sigma, dynamic_range=depth)
    for depth, sigmas in SWEEPS.items()
    for sigma in sigmas
}


def activate(piece: Piece, W: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
    floor = FLOOR * float(piece.V.max())
    options = MultiplicativeOptions(beta=BETA, floor=floor, max_iter=50, tol=None)
    return estimate_activations(piece.V, W, H, options).H


def divergence_per_bin(piece: Piece, W: torch.Tensor, keys: NDArray[np.int64]) -> float:
    """Divergence of a fixed dictionary, with activations restricted by the score."""
    V, floor = piece.V, FLOOR * float(piece.V.max())
    H = activate(piece, W, start(piece, keys))
    return float(beta_divergence(V + floor, W @ H + floor, BETA)) / V.numel()


def frame_measure(piece: Piece, W: torch.Tensor, keys: NDArray[np.int64]) -> float:
    """Frame F of the held keys, by the level of activations at the best threshold."""
    H = activate(piece, W, piece.V.sum(dim=0).expand(len(keys), -1)).numpy()
    levels, held = H / H.max(), piece.held[keys]
    found = [levels > 10 ** (level / 20) for level in range(-50, -5)]
    return max(2 * (held & f).sum() / (held.sum() + f.sum()) for f in found)


def judge(learned: Learned, piece: Piece, held_out: Piece, keys: NDArray[np.int64]) -> Judged:
    energy = learned.W.numpy().astype(np.float64) ** 2
    on_partials = (templates(piece, keys) > 0).any(axis=2)
    harmonicity = (energy * on_partials).sum(axis=0) / energy.sum(axis=0)
    unknown = np.setdiff1d(np.arange(len(PIANO)), keys)
    part = frames_of(held_out, ~held_out.roll[unknown].any(axis=0))
    return Judged(
        harmonicity,
        divergence_per_bin(piece, learned.W, keys),
        divergence_per_bin(part, learned.W, keys),
        frame_measure(part, learned.W, keys),
    )


def mean_judged(parts: list[Judged], references: list[Judged]) -> list[str]:
    """Format harmonicity over all keys, errors relative to the references, and frame F."""
    harmonicity = np.concatenate([part.harmonicity for part in parts])
    errors = [
        [part.error / one.error, part.held_out / one.held_out]
        for part, one in zip(parts, references, strict=True)
    ]
    return [
        *decimals([harmonicity.mean(), np.percentile(harmonicity, 10)]),
        str((harmonicity < 0.5).sum()),
        *decimals(np.mean(errors, axis=0), 2),
        *decimals([np.mean([part.frame_F for part in parts])]),
    ]


def learn_full(data: Path, **options: Any) -> TimbreDictionary:
    """Learn attacks, sustains and decays from the beginnings of one piece of each piano."""
    pieces = [choose_pieces(folder, TRANSCRIBED)[0] for folder in sampled_pianos(data)]
    return learn_from_score(
        [(read_audio(path, duration=TRANSCRIBED), notes_of(path, TRANSCRIBED)) for path in pieces],
        device="cpu",
        **options,
    )


def note_measures(dictionary: TimbreDictionary | str, data: Path) -> list[float]:
    """Onset F on both pianos."""
    transcriber = Transcriber(dictionary, decoder="nmf", adapt=False, device="cpu")
    return means(score_recordings(transcriber, data, TRANSCRIBED), "F")


class Curve(NamedTuple):
    """Recorded iterations, their objective per value, and the seconds per iteration."""

    iterations: NDArray[np.int64]
    objective: NDArray[np.float64]
    seconds: float


def fair_start(
    piece: Piece, keys: NDArray[np.int64], dynamic_range: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Start where factorize_decibel does: W at PE over its floor, H at the level of the data."""
    P = torch.from_numpy(templates(piece, keys)).float()
    E = torch.from_numpy(initial_weights(PIANO[keys], tuning=piece.tuning)).float()
    PE = torch.einsum("fkm,mk->fk", P, E)
    W = PE + 10 ** (-dynamic_range / 10) * PE.max()
    H = start(piece, keys)
    H = H * (piece.V.sum() / (W @ H).sum())
    return W, H, piece.V, FLOOR * float(piece.V.max())


def convergence(piece: Piece, keys: NDArray[np.int64], dynamic_range: float) -> dict[str, Curve]:
    """Minimise the same divergence from the same start by every method."""
    W, H, V, floor = fair_start(piece, keys, dynamic_range)
    P, E = W[..., None], torch.ones(1, len(keys), 1)

    def multiplicative(accelerate: bool) -> torch.Tensor:
        options = MultiplicativeOptions(
            beta=BETA, accelerate=accelerate, floor=floor, max_iter=N_CONVERGENCE, tol=0.0
        )
        return factorize(V, W, H, options).objective

    def gradient(optimizer: Literal["lbfgs", "adam"]) -> torch.Tensor:
        options = DecibelOptions(
            sigma=math.inf,
            beta=BETA,
            floor=floor,
            optimizer=optimizer,
            max_iter=N_CONVERGENCE,
            tol=0.0,
        )
        return factorize_decibel(V, P, E, H[:, None], options).objective

    methods: dict[str, tuple[Callable[[], torch.Tensor], int]] = {
        "multiplicative, accelerated": (lambda: multiplicative(True), PERIOD),
        "multiplicative": (lambda: multiplicative(False), PERIOD),
        "dB, Adam, steps of 1 dB": (lambda: gradient("adam"), 1),
        "dB, L-BFGS": (lambda: gradient("lbfgs"), 1),
    }
    seconds = dict.fromkeys(methods, math.inf)
    records = {}
    for _ in range(3):
        for name, (method, _) in methods.items():
            began = time.perf_counter()
            records[name] = method()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return {
        name: Curve(
            period * np.arange(len(records[name])),
            records[name].numpy() / V.numel(),
            seconds[name] / N_CONVERGENCE,
        )
        for name, (_, period) in methods.items()
    }


def convergence_table(curves: dict[float, dict[str, Curve]]) -> Table:
    looks = (0, 10, 50, N_CONVERGENCE)
    rows = []
    for depth, methods in curves.items():
        target = float(methods["multiplicative"].objective[-1])
        for name, (iterations, objective, seconds) in methods.items():
            values = decimals([1000 * objective[iterations == n][0] for n in looks], 2)
            reached = iterations[objective <= target]
            n = f"{reached[0]}" if len(reached) else "never"
            there = [n, f"{reached[0] * seconds:.1f}" if len(reached) else ""]
            start_of_W = f"PE, down to −{depth:g}"
            rows.append([start_of_W, name, f"{1000 * seconds:.0f}", *values, *there])
    columns = ["start of W", "method", "ms per iteration"]
    columns += [*(f"1000 D after {n}" for n in looks), "iterations to the target", "s"]
    return Table("timbre_dictionary_convergence", "Convergence", columns, rows)


def draw_columns(columns: dict[str, NDArray[np.float32]], title: str) -> Figure:
    """Draw dictionaries side by side, each column in decibels below its greatest value."""
    axis = FRONT_END.axis
    edges = axis.to_hz(np.arange(axis.n_bins + 1) - 0.5)
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    all_axes = figure.subplots(1, len(columns), sharey=True)
    for axes, (name, W) in zip(all_axes, columns.items(), strict=True):
        mesh = axes.pcolormesh(
            np.append(PIANO - 0.5, PIANO[-1] + 0.5),
            edges,
            decibels(W),
            cmap=colormaps["magma"].resampled(20),  # 3 dB each, and a smaller file
            vmin=-RANGE,
            vmax=0.0,
            rasterized=True,
        )
        axes.set_yscale("log")
        label_hz(axes.yaxis)
        label_pitches(axes.xaxis, PIANO[0], PIANO[-1])
        axes.set(title=name, xlabel="Key", ylim=(edges[0], edges[-1]))
    all_axes[0].set_ylabel("Frequency (Hz)")
    figure.colorbar(mesh, ax=all_axes, label="Level (dB)", pad=0.01)
    figure.suptitle(title, fontweight="bold")
    return figure


def draw_sweep(
    judged: dict[str, list[Judged]], notes: dict[float, list[float]], default: list[float]
) -> Figure:
    """Draw held-out error, harmonicity and notes against sigma, from rigid to free."""
    ticks = {sigma: place for place, sigma in enumerate(reversed(SIGMAS))}
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    error, harmonicity, music = figure.subplots(1, 3)
    free = judged["free, from a flat start"]

    def summary(name: str) -> tuple[float, float]:
        ratios = [a.held_out / b.held_out for a, b in zip(judged[name], free, strict=True)]
        shares = np.concatenate([part.harmonicity for part in judged[name]])
        return float(np.mean(ratios)), 100 * float(np.percentile(shares, 10))

    for (depth, sigmas), color, marker in zip(
        SWEEPS.items(), (BLUE, VERMILION), ("o", "s"), strict=True
    ):
        values = np.array([summary(map_name(sigma, depth)) for sigma in sigmas])
        for axes, column in ((error, 0), (harmonicity, 1)):
            axes.plot(
                [ticks[sigma] for sigma in sigmas],
                values[:, column],
                color=color,
                marker=marker,
                label=f"MAP, prior mean down to −{depth:g} dB",
            )
    for name, color, line in (
        ("hard", BLACK, "--"),
        (f"EM, {N_EM} iterations", GREEN, "-."),
        ("free, from a flat start", ORANGE, ":"),
    ):
        for axes, value in zip((error, harmonicity), summary(name), strict=True):
            axes.axhline(value, color=color, linestyle=line, label=name)
    for piano, (name, color, marker) in enumerate(
        (("close microphones", BLUE, "o"), ("ambient microphones", VERMILION, "s"))
    ):
        places = [ticks[sigma] for sigma in notes]
        music.plot(
            places, [F[piano] for F in notes.values()], color=color, marker=marker, label=name
        )
        label = f"{name}, nothing learned"
        music.axhline(default[piano], color=color, linestyle=":", label=label)
    error.set(title="Held-out error", ylabel="Held-out divergence / free", yscale="log")
    harmonicity.set(
        title="Harmonicity of the columns", ylabel="Energy on partials, 10th percentile (%)"
    )
    music.set(title="Transcription", ylabel="Onset F, piano/real")
    plain_ticks(error.yaxis)
    for axes in (error, harmonicity, music):
        axes.set_xticks(list(ticks.values()), [sigma_name(sigma) for sigma in ticks])
        axes.set_xlabel("σ (dB): rigid to free")
        axes.grid(axis="y", color="#00000022", linewidth=0.6)
    figure.legend(
        *error.get_legend_handles_labels(), ncols=5, fontsize="small", loc="outside lower left"
    )
    music.legend(fontsize="x-small")
    return figure


def plain_ticks(axis: Axis) -> None:
    axis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20]))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def draw_convergence(curves: dict[float, dict[str, Curve]]) -> Figure:
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    grid = figure.subplots(2, 2, sharey=True, sharex="col")
    styles = ((BLUE, "-"), (ORANGE, "--"), (VERMILION, "-."), (BLACK, ":"))
    for (by_iteration, by_second), (depth, methods) in zip(grid, curves.items(), strict=True):
        for (name, curve), (color, line) in zip(methods.items(), styles, strict=True):
            style: dict[str, Any] = {"color": color, "linestyle": line, "label": name}
            by_iteration.plot(curve.iterations, 1000 * curve.objective, **style)
            by_second.plot(curve.iterations * curve.seconds, 1000 * curve.objective, **style)
        title = f"W starts at PE, and {depth:g} dB below its maximum elsewhere"
        by_iteration.set_title(title, loc="left", fontsize="medium")
        by_iteration.set(ylabel="1000 D per value", yscale="log")
        plain_ticks(by_iteration.yaxis)
        for axes in (by_iteration, by_second):
            axes.grid(color="#00000022", linewidth=0.6)
    grid[0, 1].legend(fontsize="small")
    grid[1, 0].set_xlabel("Iteration")
    grid[1, 1].set_xlabel("Time (s)")
    return figure


@benchmark(threads=1)
@click.option("--duration", default=60.0, show_default=True, help="Seconds of each piece.")
@click.option(
    "--figures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the figures to draw.",
)
def main(data: Path, duration: float, figures: Path | None) -> Iterator[Table]:
    judged: dict[str, list[Judged]] = {name: [] for name in LEARNERS}
    # Columns of the last piano, for the pictures and the convergence.
    columns: dict[str, NDArray[np.float32]] = {}
    for folder in sampled_pianos(data):
        piece, held_out = (read_piece(path, duration) for path in choose_pieces(folder, duration))
        keys = np.flatnonzero(piece.roll.any(axis=1))
        for name, learn in LEARNERS.items():
            learned = learn(piece, keys)
            judged[name].append(judge(learned, piece, held_out, keys))
            columns[name] = np.zeros((FRONT_END.axis.n_bins, len(PIANO)), np.float32)
            columns[name][:, keys] = learned.W / learned.W.amax(dim=0)
    free = judged["free, from a flat start"]
    n_columns = sum(len(part.harmonicity) for part in free)
    header = ["dictionary", "energy on partials", "its 10th percentile", "columns below half"]
    header += ["error", "held-out error", "frame F"]
    title = f"Constraints: {n_columns} columns of {len(free)} pianos"
    rows = [[name, *mean_judged(parts, free)] for name, parts in judged.items()]
    yield Table("timbre_dictionary", title, header, rows)
    curves = {depth: convergence(piece, keys, depth) for depth in SWEEPS}
    yield convergence_table(curves)

    default = note_measures("default", data)
    notes: dict[float, list[float]] = {}

    def note_rows() -> Iterator[list[str]]:
        yield ["default, nothing learned", *decimals(default)]
        for name, options in FULL.items():
            F = note_measures(learn_full(data, **options), data)
            if "sigma" in options:
                notes[options["sigma"]] = F
            yield [name, *decimals(F)]

    header = ["dictionary", *(f"{piano} F" for piano in PIANOS)]
    yield Table(
        "timbre_dictionary_notes", "Transcription with these dictionaries", header, note_rows()
    )
    if figures is not None:
        shown = {
            "Free": columns["free, from a flat start"],
            "Hard": columns["hard"],
            "EM": columns[f"EM, {N_EM} iterations"],
            f"MAP, σ = {BEST[0]:g} dB": columns[map_name(*BEST)],
        }
        title = f"Keys of {folder.name}, learned from {duration:g} s of music and its score"
        save_figure(draw_columns(shown, title), figures / "timbre_columns.png")
        save_figure(draw_sweep(judged, notes, default), figures / "timbre_sweep.png")
        save_figure(draw_convergence(curves), figures / "timbre_convergence.png")


if __name__ == "__main__":
    main()
