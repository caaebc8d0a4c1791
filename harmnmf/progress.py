"""Progress of long computations: reported to a function, or shown as a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["seconds_done"]


@contextmanager
def seconds_done(
    progress: bool | Callable[[float], None] | None, duration: Callable[[], float]
) -> Iterator[Callable[[float], None] | None]:
    """Yield a function to call with the seconds of audio done so far, or None.

    It is `progress` itself or, if that is True, it updates a bar of tqdm: a widget in a notebook,
    text on stderr elsewhere. `duration` computes the length of the audio in seconds, or 0 if it is
    unknown.
    """
    if progress is not True:
        yield progress or None
        return
    from tqdm.auto import tqdm

    with tqdm(total=round(duration(), 1) or None, unit="s") as bar:
        # The last frame ends a little after the last sample.
        yield lambda seconds: bar.update(round(min(seconds, bar.total or seconds), 1) - bar.n)
