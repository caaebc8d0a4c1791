"""Batches that are drawn while a GPU computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from .loop import Batch

__all__ = ["draw_batches"]

# Batches drawn before they are needed, each in a thread: drawing one takes longer than a step.
_AHEAD = 2


def draw_batches(
    draw: Callable[[int], Batch], steps: Iterable[int], device: torch.device
) -> Iterator[Batch]:
    """Draw a batch for each step and move it to a device.

    Those for a GPU are drawn in other threads while it computes.

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
    pending: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(_AHEAD)
    try:
        for step in steps:
            pending.append(pool.submit(draw, step))
            if len(pending) > _AHEAD:
                yield _moved(pending.popleft().result(), device)
        while pending:
            yield _moved(pending.popleft().result(), device)
    finally:
        # After an interrupt, do not wait for the pending batches.
        pool.shutdown(cancel_futures=True)


def _moved(batch: Batch, device: torch.device) -> Batch:
    return {name: x.to(device) for name, x in batch.items()}
