"""The log of a training, ``metrics.jsonl``: a JSON object a line, written at each checkpoint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from harmnmf.storage.files import atomic_path

__all__ = ["is_metrics", "read_metrics", "write_metrics"]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read the lines of a log, without those that are damaged, which a warning counts.

    Steps ascend; a missing log has no lines.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = text.splitlines()
    parsed = [line for line in map(_parse, lines) if line is not None]
    if len(parsed) < len(lines):
        warnings.warn(
            f"{path}: {len(lines) - len(parsed)} of {len(lines)} lines are damaged, and left out",
            stacklevel=2,
        )
    by_step = {line["step"]: line for line in parsed}
    return [by_step[step] for step in sorted(by_step)]


def write_metrics(path: Path, last: Mapping[str, float]) -> None:
    """Make a log end with a line: lines of the same step and of later ones are removed.

    The line of the last checkpoint so restores a log that lacks it, or goes beyond it.
    """
    lines = [line for line in read_metrics(path) if line["step"] < last["step"]]
    text = "".join(f"{json.dumps(line)}\n" for line in [*lines, last])
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_metrics(value: object) -> TypeGuard[dict[str, float]]:
    """Tell whether parsed JSON is a line of metrics: numbers by name, among them a step."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("step"), int)
        and all(isinstance(x, int | float) for x in value.values())
    )


def _parse(line: str) -> dict[str, float] | None:
    """Parse a line; None if it is damaged."""
    try:
        metrics: dict[str, float] = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return metrics if is_metrics(metrics) else None
