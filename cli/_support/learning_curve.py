"""Figure of the learning curve of a training run."""

from __future__ import annotations

import json
from pathlib import Path


def draw_learning_curve(run: Path) -> dict[str, float]:
    """Plot the metrics of a training run, and return those of the last step."""
    from harmnmf.plotting.figures import plot_learning_curve, save_figure

    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    metrics: list[dict[str, float]] = [json.loads(line) for line in text.splitlines()]
    save_figure(plot_learning_curve(metrics), run / "learning_curve.png")
    return metrics[-1]
