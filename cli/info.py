"""``harmnmf info``: what a report of a fault should contain."""

from __future__ import annotations

import importlib.metadata
import platform
from importlib import resources
from pathlib import Path

import click

import harmnmf

_LIBRARIES = ("torch", "numpy", "scipy", "librosa", "soundfile", "soxr", "pretty_midi", "mir_eval")


@click.command()
def command() -> None:
    """Show versions, devices and what is shipped."""
    import torch

    rows = [("harmnmf", harmnmf.__version__), ("python", platform.python_version())]
    rows += [(name, importlib.metadata.version(name)) for name in _LIBRARIES]
    rows.append(("platform", platform.platform()))
    rows.append(("threads", str(torch.get_num_threads())))
    rows += [("device", device) for device in _devices()]
    data = Path(harmnmf.__file__).parent / "data"
    folders = {
        "dictionary": data,
        "network": data / "networks",
        "enhancement": Path(str(resources.files("harmnmf.enhancement"))) / "weights",
    }
    for kind, folder in folders.items():
        shipped = [str(path) for path in sorted(folder.glob("*.npz"))] or ["none shipped"]
        rows += [(kind, path) for path in shipped]
    for name, value in rows:
        click.echo(f"{name:<12} {value}")


def _devices() -> list[str]:
    """Name the devices that PyTorch can compute on, the processor first."""
    import torch

    devices = ["cpu"]
    for index in range(torch.cuda.device_count()):
        devices.append(f"cuda:{index} ({torch.cuda.get_device_name(index)})")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices
