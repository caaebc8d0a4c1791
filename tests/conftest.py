from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harmnmf import Audio

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def noise() -> Audio:
    """Two seconds of stereo noise at 44.1 kHz, whose channels differ."""
    rng = np.random.default_rng(0)
    return Audio(rng.uniform(-0.5, 0.5, (2, 88200)).astype(np.float32), 44100)


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a fresh interpreter in the repository with some arguments."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args], capture_output=True, text=True, cwd=ROOT, timeout=60
        )

    return run
