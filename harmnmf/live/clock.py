"""Clock by which live transcription paces itself."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """What the module `time` offers; tests pass one of their own."""

    def monotonic(self) -> float:
        """Return the time in seconds, from any beginning."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...
