from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from harmnmf import Audio

ROOT = Path(__file__).resolve().parent.parent


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")


@pytest.fixture
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def noise() -> Audio:
    """Two seconds of stereo noise at 44.1 kHz with different channels."""
    rng = np.random.default_rng(0)
    return Audio(rng.uniform(-0.5, 0.5, (2, 88200)).astype(np.float32), 44100)


@pytest.fixture(scope="session")
def voice() -> torch.Tensor:
    """Two seconds of synthetic speech at 16 kHz, with syllables, harmonics and a formant."""
    rng = np.random.default_rng(0)
    time = np.arange(32000) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * time)) / 16000
    source = sum(np.cos(k * phase) / k for k in range(1, 30)) + 0.02 * rng.normal(size=len(time))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * time), 0, None)
    return torch.from_numpy(lfilter([1], [1, -1.2, 0.8], source) * syllables).float() * 0.02


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Function that runs a new interpreter in the root of the repository."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args], capture_output=True, text=True, cwd=ROOT, timeout=60
        )

    return run
