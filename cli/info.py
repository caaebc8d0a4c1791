"""`harmnmf info`: versions and devices, for bug reports."""

from __future__ import annotations

import importlib.metadata
import platform

import click

import harmnmf

_LIBRARIES = (
    "torch", "numpy", "scipy", "soundfile", "soxr", "pretty_midi", "mir_eval", "safetensors",
)  # fmt: skip


@click.command()
def command() -> None:
    """Show versions, devices and shipped models."""
    import torch

    from harmnmf.decoder.causal_network import shipped_live_networks
    from harmnmf.decoder.network import shipped_networks
    from harmnmf.dictionary.timbre_dictionary import shipped_dictionaries
    from harmnmf.enhancement.shipped import shipped_models
    from harmnmf.score.beats.network import shipped_beat_networks
    from harmnmf.synthesis.sampled_piano import shipped_pianos

    rows = [("harmnmf", harmnmf.__version__), ("python", platform.python_version())]
    rows += [(name, importlib.metadata.version(name)) for name in _LIBRARIES]
    rows.append(("platform", platform.platform()))
    rows.append(("threads", str(torch.get_num_threads())))
    rows += [("device", device) for device in _devices()]
    shipped = {
        "dictionary": shipped_dictionaries(),
        "network": shipped_networks(),
        "live network": shipped_live_networks(),
        "beats": shipped_beat_networks(),
        "piano": shipped_pianos(),
        "enhancement": shipped_models(),
    }
    rows += [(kind, str(path)) for kind, files in shipped.items() for path in files.values()]
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
