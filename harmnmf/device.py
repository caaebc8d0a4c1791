"""Choice of the PyTorch device, and its threads in forked processes."""

from __future__ import annotations

import os

import torch

from .errors import ParameterError

__all__ = ["low_precision", "resolve_device"]

# CPUs that emulate bfloat16 take several times as long, and cannot run LSTMs in it.
_EMULATING = ("DEFAULT", "AVX2")


def resolve_device(name: str) -> torch.device:
    """Return the PyTorch device with a name; "auto" is a GPU if there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(name, str):
        raise ParameterError(f"device must be a name such as cpu or cuda:1, not {name!r}")
    try:
        device = torch.device(name)
        # Data cannot be copied back from a device like "meta".
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ParameterError(
            f"device {name!r} cannot be used here ({reason}); `harmnmf info` lists those available"
        ) from error
    return device


def low_precision(device: str, *, enabled: bool = True) -> torch.autocast:
    """Return a context in which networks compute in bfloat16, except on CPUs without AVX-512.

    `device` is a type of devices: "cpu" or "cuda".
    """
    emulated = device == "cpu" and torch.backends.cpu.get_cpu_capability() in _EMULATING
    return torch.autocast(device, torch.bfloat16, enabled=enabled and not emulated)


def _stop_threads() -> None:
    global _n_threads
    _n_threads = torch.get_num_threads()
    torch.set_num_threads(1)


def _restart_threads() -> None:
    torch.set_num_threads(_n_threads)


# Threads are not copied by a fork. A child process in which PyTorch expects several threads hangs,
# so PyTorch has one thread at the time of the fork.
_n_threads = 1
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop_threads, after_in_parent=_restart_threads)
