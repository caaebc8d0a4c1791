"""Batches that are drawn while a GPU computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from .loop import Batch

__all__ = ["draw_batches"]


def draw_batches(
    draw: Callable[[int], Batch], steps: Iterable[int], device: torch.device
) -> Iterator[Batch]:
    """Draw a batch for each step and move it to a device.

    For a GPU, the next batch is drawn in a thread while it computes. More threads are no faster:
    they compete with the one that starts the computations for the interpreter.

    Parameters
    ----------
    draw : callable
        Called with the number of a step; returns its batch. Must depend on nothing else.
    steps : iterable of int
        Numbers of the steps.
    device : torch.device
        PyTorch device.

    Yields
    ------
    mapping of str to Tensor
        The batches, in the order of the steps.

    Examples
    --------
    >>> batches = draw_batches(lambda i: {"x": torch.tensor(i)}, range(3), torch.device("cpu"))
    >>> [int(batch["x"]) for batch in batches]
    [0, 1, 2]
    """
    if device.type == "cpu":
        yield from map(draw, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        drawn = None
        for step in steps:
            previous, drawn = drawn, pool.submit(draw, step)
            if previous is not None:
                yield _moved(previous.result(), device)
        if drawn is not None:
            yield _moved(drawn.result(), device)


def _moved(batch: Batch, device: torch.device) -> Batch:
    return {name: x.to(device) for name, x in batch.items()}
