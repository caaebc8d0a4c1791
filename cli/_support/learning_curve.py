"""The learning curve that every training draws."""

from __future__ import annotations

import json
from pathlib import Path


def draw_learning_curve(run: Path) -> dict[str, float]:
    """Draw the metrics of a training run, and return the last ones."""
    from harmnmf.plotting.figures import plot_learning_curve, save_figure

    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    metrics: list[dict[str, float]] = [json.loads(line) for line in text.splitlines()]
    save_figure(plot_learning_curve(metrics), run / "learning_curve.png")
    return metrics[-1]
